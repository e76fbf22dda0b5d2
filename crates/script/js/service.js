// Calls of services, events and logs.
(function (host, need, js) {
  'use strict';
  const { text, stringify } = js;
  const { invalid, guarded, stateOf, defineClass, make, textArgument, objectArgument, joined, exchange, header, checked } = need('base');

  // A response whose body is read when it is asked for.
  defineClass('Response', null, {
    getStatusCode() {
      return stateOf(this, 'response').answer.status;
    },
    getHeader(name) {
      const value = header(stateOf(this, 'response').answer, text(name));
      return value === null ? '' : value;
    },
    bodyAsString(charset) {
      const state = stateOf(this, 'response');
      if (state.body === undefined) {
        state.body = guarded(() => host.readText(state.answer.body, charset ? text(charset) : 'utf-8'));
      }
      return state.body;
    },
    bodyAsJson() {
      const state = stateOf(this, 'response');
      if (state.body === undefined) state.body = guarded(() => host.readText(state.answer.body, 'utf-8'));
      return state.body;
    },
    bodyAsStream() {
      const state = stateOf(this, 'response');
      return guarded(() => host.newStream(state.answer.body));
    },
  });
  const response = (answer) => make('Response', { family: 'response', answer: answer, body: undefined });

  defineClass('ServiceCollection', null, {
    call(name, body, contentType) {
      const state = stateOf(this, 'service');
      if (body !== undefined && body !== null && typeof body !== 'string') throw invalid();
      const options = { __proto__: null, headers: js.create(null), accept: 'stream' };
      if (contentType) options.headers['Content-Type'] = text(contentType);
      if (body) options.body = body;
      return response(exchange(state.session, 'POST', joined(state.url, textArgument(name)), options));
    },
  }, (object, state) => {
    js.put(object, 'name', state.name, true);
  });
  const serviceCollection = (session, url, name) => make('ServiceCollection', {
    family: 'service', session: session, url: url, name: name,
  });

  defineClass('EventManager', null, {
    post(event, requestKey) {
      const state = stateOf(this, 'events');
      const headers = { __proto__: null, 'Content-Type': 'application/json', Accept: 'application/json' };
      if (requestKey) headers['X-Personium-RequestKey'] = text(requestKey);
      const body = guarded(() => stringify(objectArgument(event)));
      return response(checked(state.session, 'POST', state.url, { __proto__: null, headers: headers, body: body, accept: 'stream' }));
    },
  });

  // A file of the event log.
  defineClass('LogResponse', null, {
    getStringBody() {
      const state = stateOf(this, 'log');
      if (state.body === undefined) state.body = guarded(() => host.readText(state.answer.body, 'utf-8'));
      return state.body;
    },
    getStreamBody() {
      const state = stateOf(this, 'log');
      return guarded(() => host.newStream(state.answer.body));
    },
    getHeaders() {
      const headers = {};
      const lines = stateOf(this, 'log').answer.headers;
      for (let at = 0; at < lines.length; at += 1) js.put(headers, lines[at][0], lines[at][1], true);
      return headers;
    },
    getStatusCode() {
      return stateOf(this, 'log').answer.status;
    },
  });
  const readLog = (manager, file, requestKey) => {
    const state = stateOf(manager, 'logs');
    const headers = js.create(null);
    if (requestKey) headers['X-Personium-RequestKey'] = text(requestKey);
    const options = { __proto__: null, headers: headers, accept: 'stream' };
    const answer = checked(state.session, 'GET', joined(state.url, textArgument(file)), options);
    return make('LogResponse', { family: 'log', answer: answer, body: undefined });
  };
  const LOG_METHODS = {
    getString(file, requestKey) {
      return readLog(this, file, requestKey);
    },
    getStream(file, requestKey) {
      return readLog(this, file, requestKey);
    },
  };
  defineClass('CurrentLogManager', null, LOG_METHODS);
  defineClass('ArchiveLogManager', null, LOG_METHODS);

  return { __proto__: null, response, serviceCollection };
})
