// The extensions: `_p.extension.*`. Some are built in, others are plugins of the operator.
(function (host, need, js) {
  'use strict';
  const { text, number, parse, define, put, copy, stringify, keys, create, isArray, upper, lower, replace, ErrorClass } = js;
  const { failure, stateOf, member, defineClass, make, classes } = need('base');

  const fail = (message) => {
    throw new ErrorClass(message);
  };
  const isObject = (value) => typeof value === 'object' && value !== null && !isArray(value);
  // Sends a request without an identity of the unit.
  const send = (method, url, options) => {
    const headers = create(null);
    const names = keys(options.headers);
    for (let at = 0; at < names.length; at += 1) {
      const value = options.headers[names[at]];
      if (value !== null && value !== undefined) headers[lower(names[at])] = text(value);
    }
    const body = member(options, 'body');
    try {
      return host.send({
        __proto__: null, method: method, url: text(url), headers: headers, token: null, accept: member(options, 'stream') ? 'stream' : 'text',
        body: body === undefined ? null : body,
      });
    } catch (error) {
      return fail('An error occurred. Cause: [' + text(error.code) + ': ' + text(error.message) + ']');
    }
  };
  const titleCase = (name) => replace(name, /(^|-)([a-z])/g, (found) => found[1] + upper(found[2]));

  // HttpClient.
  const required = (name, value) => {
    if (value === undefined || value === null || value === '') fail('Parameter [' + name + '] is not set.');
    return value;
  };
  const headersOf = (state, given) => {
    if (given !== undefined && given !== null && !isObject(given)) fail('Parameter [headers] is not NativeObject.');
    const headers = create(null);
    const add = (set) => {
      const names = keys(set);
      for (let at = 0; at < names.length; at += 1) headers[lower(names[at])] = set[names[at]];
    };
    add(state.defaults);
    if (given !== undefined && given !== null) add(given);
    return headers;
  };
  const resultOf = (answer, stream) => {
    const headers = create(null);
    for (let at = 0; at < answer.headers.length; at += 1) headers[titleCase(answer.headers[at][0])] = answer.headers[at][1];
    const result = { status: text(answer.status), headers: stringify(headers) };
    if (stream) {
      put(result, 'body', host.newStream(answer.body), true);
    } else if (answer.status !== 204 && answer.status !== 304) {
      put(result, 'body', answer.body, true);
    }
    return result;
  };
  const withoutBody = (method) => function (url, headers, respondsAsStream) {
    const state = stateOf(this, 'http');
    required('url', url);
    const stream = respondsAsStream === true;
    return resultOf(send(method, url, { __proto__: null, headers: headersOf(state, headers), stream: stream }), stream);
  };
  const withBody = (method) => function (url, headers, contentType, body, respondsAsStream) {
    const state = stateOf(this, 'http');
    required('url', url);
    required('contentType', contentType);
    required('body', body);
    const handle = host.handleOf(body);
    const all = headersOf(state, headers);
    all['content-type'] = contentType;
    const stream = respondsAsStream === true;
    const options = { __proto__: null, headers: all, stream: stream, body: handle === undefined ? text(body) : handle };
    return resultOf(send(method, url, options), stream);
  };
  const HTTP_METHODS = {
    get: withoutBody('GET'), delete: withoutBody('DELETE'), post: withBody('POST'), put: withBody('PUT'), patch: withBody('PATCH'),
    postParam: withBody('POST'), putParam: withBody('PUT'),
  };
  defineClass('HttpClient', null, HTTP_METHODS);
  const HttpClient = function (given) {
    if (new.target === undefined) fail('HttpClient is a constructor');
    let defaults = create(null);
    if (given !== undefined && given !== null) {
      if (!isObject(given)) fail('Parameter [params] is not NativeObject.');
      const ignore = given.IgnoreHostnameVerification;
      if (ignore !== undefined && typeof ignore !== 'boolean') fail('Parameter [IgnoreHostnameVerification] is not Boolean.');
      if (ignore === true) host.log('warn', 'HttpClient verifies the names of servers, IgnoreHostnameVerification or not');
      if (given.DefaultHeaders !== undefined) {
        if (!isObject(given.DefaultHeaders)) fail('Parameter [DefaultHeaders] is not NativeObject.');
        defaults = copy(create(null), given.DefaultHeaders);
      }
    }
    return make('HttpClient', { family: 'http', defaults: defaults });
  };

  // Slack. As in the original, failures are only logged. The proxy is that of the unit.
  const SLACK_URL = 'https://slack.com/api/chat.postMessage';
  const postMessage = (messenger, message, channel) => {
    const state = stateOf(messenger, 'slack');
    if (state.token === null) {
      host.log('warn', 'Slack: no token is set');
      return;
    }
    const body = stringify({ __proto__: null, channel: channel === undefined || channel === null ? state.channel : text(channel), text: text(message) });
    const headers = { __proto__: null, authorization: 'Bearer ' + state.token, 'content-type': 'application/json; charset=utf-8' };
    try {
      const answer = send('POST', SLACK_URL, { __proto__: null, headers: headers, body: body });
      const accepted = answer.status === 200 && member(parse(answer.body), 'ok') === true;
      if (!accepted) host.log('warn', 'Slack: the message was refused with status ' + text(answer.status));
    } catch (error) {
      host.log('warn', 'Slack: ' + text(error.message));
    }
  };
  defineClass('Slack', null, {
    setConfig(token, channel, proxy) {
      const state = stateOf(this, 'slack');
      if (token !== undefined && token !== null) state.token = text(token);
      state.channel = channel ? text(channel) : 'general';
      if (proxy !== undefined && proxy !== null) host.log('warn', 'Slack: requests go through the proxy of the unit, if it has one');
    },
    sendMessage(message) {
      postMessage(this, message);
    },
    sendMessageToChannel(message, channel) {
      postMessage(this, message, channel);
    },
    sendMessageToUser(message, user) {
      postMessage(this, message, '@' + text(user));
    },
  });
  const Slack = function () {
    if (new.target === undefined) fail('Slack is a constructor');
    return make('Slack', { family: 'slack', token: null, channel: 'general' });
  };

  // MailSender. It goes through the mail server of the unit.
  const ADDRESSES_MAX = 50;
  const mailAddress = (given) => {
    if (!isObject(given) || typeof given.address !== 'string' || given.address === '') fail('Invalid mail address');
    const name = given.name;
    if (name !== undefined && name !== null && typeof name !== 'string') fail('Invalid mail address');
    return { __proto__: null, address: given.address, name: name ? name : null };
  };
  // Lists without a prototype: `stringify` finds no `toJSON` of a script.
  const bareList = () => js.setPrototype([], null);
  const mailAddresses = (given) => {
    const out = bareList();
    if (given === undefined || given === null) return out;
    if (!isArray(given)) fail('Invalid JSON. The addresses are not an array.');
    if (given.length > ADDRESSES_MAX) fail('Number of recipients exceeds the limit(' + ADDRESSES_MAX + ').');
    for (let at = 0; at < given.length; at += 1) js.push(out, mailAddress(given[at]));
    return out;
  };
  const mailText = (given, name) => {
    if (given === undefined || given === null) return '';
    if (typeof given !== 'string') fail('Invalid JSON. ' + name + ' is not a string.');
    return given;
  };
  defineClass('MailSender', null, {
    send(given) {
      stateOf(this, 'mail');
      if (!isObject(given)) fail('Invalid argument for send method.');
      const mail = {
        __proto__: null, to: mailAddresses(given.to), cc: mailAddresses(given.cc), bcc: mailAddresses(given.bcc),
        replyTo: mailAddresses(given['reply-to']), from: given.from ? mailAddress(given.from) : null,
        subject: mailText(given.subject, 'subject'), text: mailText(given.text, 'text'),
        charset: mailText(given.charset, 'charset') || 'ISO-2022-JP',
        envelopeFrom: mailText(given['envelope-from'], 'envelope-from') || null, headers: bareList(),
      };
      const recipients = mail.to.length + mail.cc.length + mail.bcc.length;
      if (recipients === 0) fail('No mail recipients');
      if (recipients > ADDRESSES_MAX) fail('Number of recipients exceeds the limit(' + ADDRESSES_MAX + ').');
      if (mail.replyTo.length === 0) fail('No reply-to address');
      if (mail.from === null) fail('No from address');
      if (mail.subject === '') fail('Empty subject');
      if (mail.text === '') fail('Empty mail body');
      const headers = given.headers;
      if (headers !== undefined && headers !== null) {
        if (!isObject(headers)) fail('Invalid JSON. headers is not an object.');
        const names = keys(headers);
        for (let at = 0; at < names.length; at += 1) {
          const value = headers[names[at]];
          if (value !== null && value !== undefined) js.push(mail.headers, js.setPrototype([names[at], text(value)], null));
        }
      }
      try {
        host.sendMail(stringify(mail));
      } catch (error) {
        if (error.code === 'argument' || error.code === 'charset') return fail(text(error.message));
        if (error.code === 'absent') throw failure(501, 'smtp host is not specified in configuration.');
        return fail('Failed to send message. Cause: [' + text(error.message) + ']');
      }
    },
  });
  const MailSender = function () {
    if (new.target === undefined) fail('MailSender is a constructor');
    return make('MailSender', { family: 'mail' });
  };

  // Extensions of the original that this unit does not have.
  const absent = (name) => function () {
    throw failure(501, 'the extension ' + name + ' is not available in this unit');
  };
  const extension = {
    HttpClient: HttpClient,
    Slack: Slack,
    // Another name of it.
    SlackMessenger: Slack,
    MailSender: MailSender,
    Ews: absent('Ews'),
    AWSSecurityTokenService: absent('AWSSecurityTokenService'),
  };

  // Those of the operator. A call gets the arguments of the constructor and its own, as pairs of kind and text.
  const written = (value) => {
    if (value === undefined || value === null) return ['absent', ''];
    if (typeof value === 'boolean' || typeof value === 'number') return [typeof value, text(value)];
    if (typeof value === 'string') return ['text', value];
    if (typeof value !== 'object') return fail('An argument is neither data nor a stream.');
    const handle = host.handleOf(value);
    if (handle !== undefined) return ['stream', text(handle)];
    if (js.isBytes(value)) return ['bytes', host.base64(value)];
    const json = stringify(value);
    if (json === undefined) fail('An argument is neither data nor a stream.');
    const plain = parse(json);
    return typeof plain === 'object' && plain !== null ? ['json', json] : written(plain);
  };
  const allWritten = (given) => {
    const out = [];
    for (let at = 0; at < given.length; at += 1) js.push(out, written(given[at]));
    return out;
  };
  const RESULTS = {
    __proto__: null,
    absent: () => null,
    boolean: (value) => value === 'true',
    number: number,
    text: (value) => value,
    json: parse,
    stream: (value) => host.newStream(number(value)),
  };
  const method = (family, name) => function () {
    const state = stateOf(this, family);
    const given = allWritten(arguments);
    let result;
    try {
      result = host.callExtension(state.extension, name, state.createdWith, given);
    } catch (error) {
      return fail(text(error.message));
    }
    return RESULTS[result[0]](result[1]);
  };
  const addExtension = (name, methodNames) => {
    const kind = 'extension ' + name;
    const methods = create(null);
    for (let at = 0; at < methodNames.length; at += 1) methods[methodNames[at]] = method(kind, methodNames[at]);
    defineClass(kind, null, methods);
    const Class = function () {
      if (new.target === undefined) fail(name + ' is a constructor');
      const createdWith = allWritten(arguments);
      for (let at = 0; at < createdWith.length; at += 1) {
        if (createdWith[at][0] === 'stream') fail('A stream is read once: it is no argument of a constructor.');
      }
      return make(kind, { family: kind, extension: name, createdWith: createdWith });
    };
    define(Class, 'name', { __proto__: null, value: name, configurable: true });
    Class.prototype = classes[kind].proto;
    put(Class.prototype, 'constructor', Class, false);
    put(extension, name, Class, true);
  };
  const added = host.context.extensions;
  for (let at = 0; at < added.length; at += 1) addExtension(added[at].name, added[at].methods);

  HttpClient.prototype = classes.HttpClient.proto;
  Slack.prototype = classes.Slack.proto;
  MailSender.prototype = classes.MailSender.proto;
  return { __proto__: null, extension: extension };
})
