// Calls of services, events and logs.
(function (host, need, js) {
  'use strict';
  const { text, stringify, indexOf, slice } = js;
  const {
    invalid, guarded, stateOf, defineClass, make, textArgument, javaText, objectArgument, encodePath, joined, exchange, header, checked,
  } = need('base');

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
        if (charset === null) throw js.javaError('java.lang.NullPointerException: charsetName');
        try {
          state.body = host.readText(state.answer.body, charset ? text(charset) : 'utf-8');
        } catch (error) {
          if (error.code === 'charset') throw js.javaError('io.personium.client.DaoException: 0,io exception');
          guarded(() => {
            throw error;
          });
        }
      }
      return state.body;
    },
    bodyAsJson() {
      const state = stateOf(this, 'response');
      if (state.body === undefined) state.body = guarded(() => host.readText(state.answer.body, 'utf-8'));
      try {
        js.parse(state.body);
      } catch (_) {
        throw js.javaError('io.personium.client.DaoException: 0,parse exception: null');
      }
      return state.body;
    },
    bodyAsStream() {
      const state = stateOf(this, 'response');
      return guarded(() => host.newStream(state.answer.body));
    },
  }, (object, state) => {
    js.put(object, 'statusCode', state.answer.status, false);
  });
  const response = (answer) => make('Response', { family: 'response', answer: answer, body: undefined });

  defineClass('ServiceCollection', null, {
    call(name, body, contentType) {
      const state = stateOf(this, 'service');
      if (guarded(() => host.handleOf(body)) !== undefined || js.isBytes(body)) throw invalid();
      const options = { __proto__: null, headers: js.create(null), accept: 'stream' };
      const sent = javaText(body);
      if (sent) options.body = sent;
      const type = javaText(contentType) || (sent ? 'text/plain; charset=UTF-8' : '');
      if (type) options.headers['Content-Type'] = type;
      // The path may have a query.
      const path = textArgument(javaText(name));
      const query = indexOf(path, '?');
      let url = joined(state.url, query < 0 ? path : slice(path, 0, query));
      if (query >= 0) url += '?' + encodePath(slice(path, query + 1));
      return response(exchange(state.session, 'POST', url, options));
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
      stateOf(this, 'log');
      // As in the original, which never sets it.
      return 0;
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
