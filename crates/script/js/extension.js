// The extensions: `_p.extension.*`. Some are built in, others are plugins of the operator.
(function (host, shared) {
  'use strict';
  const { text, number, parse, isView, ByteBuffer, define, stringify, keys, create, isArray, upper, lower, replace, ErrorClass } = shared.js;
  const { failure, stateOf, defineClass, make, classes } = shared.base;

  const fail = (message) => {
    throw new ErrorClass(message);
  };
  const isObject = (value) => typeof value === 'object' && value !== null && !isArray(value);
  // Sends a request without an identity of the unit.
  const send = (method, url, options) => {
    const headers = create(null);
    for (const name of keys(options.headers)) {
      if (options.headers[name] !== null && options.headers[name] !== undefined) {
        headers[lower(name)] = text(options.headers[name]);
      }
    }
    try {
      return host.send({
        method: method, url: text(url), headers: headers, token: null, accept: options.stream ? 'stream' : 'text',
        body: options.body === undefined ? null : options.body,
      });
    } catch (error) {
      return fail('An error occurred. Cause: [' + text(error.code) + ': ' + text(error.message) + ']');
    }
  };
  const titleCase = (name) => replace(name, /(^|-)([a-z])/g, (_, before, letter) => before + upper(letter));

  // HttpClient.
  const required = (name, value) => {
    if (value === undefined || value === null || value === '') fail('Parameter [' + name + '] is not set.');
    return value;
  };
  const headersOf = (state, given) => {
    if (given !== undefined && given !== null && !isObject(given)) fail('Parameter [headers] is not NativeObject.');
    const headers = create(null);
    for (const set of [state.defaults, given || {}]) {
      for (const name of keys(set)) headers[lower(name)] = set[name];
    }
    return headers;
  };
  const resultOf = (answer, stream) => {
    const headers = {};
    for (const line of answer.headers) headers[titleCase(line[0])] = line[1];
    const result = { status: text(answer.status), headers: stringify(headers) };
    if (stream) {
      result.body = host.newStream(answer.body);
    } else if (answer.status !== 204 && answer.status !== 304) {
      result.body = answer.body;
    }
    return result;
  };
  const withoutBody = (method) => function (url, headers, respondsAsStream) {
    const state = stateOf(this, 'http');
    required('url', url);
    const stream = respondsAsStream === true;
    return resultOf(send(method, url, { headers: headersOf(state, headers), stream: stream }), stream);
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
    const options = { headers: all, stream: stream, body: handle === undefined ? text(body) : handle };
    return resultOf(send(method, url, options), stream);
  };
  const HTTP_METHODS = {
    get: withoutBody('GET'), delete: withoutBody('DELETE'), post: withBody('POST'), put: withBody('PUT'), patch: withBody('PATCH'),
    postParam: withBody('POST'), putParam: withBody('PUT'),
  };
  defineClass('HttpClient', null, HTTP_METHODS);
  const HttpClient = function (given) {
    if (new.target === undefined) fail('HttpClient is a constructor');
    let defaults = {};
    if (given !== undefined && given !== null) {
      if (!isObject(given)) fail('Parameter [params] is not NativeObject.');
      const ignore = given.IgnoreHostnameVerification;
      if (ignore !== undefined && typeof ignore !== 'boolean') fail('Parameter [IgnoreHostnameVerification] is not Boolean.');
      if (ignore === true) host.log('warn', 'HttpClient verifies the names of servers, IgnoreHostnameVerification or not');
      if (given.DefaultHeaders !== undefined) {
        if (!isObject(given.DefaultHeaders)) fail('Parameter [DefaultHeaders] is not NativeObject.');
        defaults = Object.assign({}, given.DefaultHeaders);
      }
    }
    return make('HttpClient', { family: 'http', defaults: defaults });
  };

  // SlackMessenger. As in the original, failures of the exchange are only logged.
  const SLACK_URL = 'https://slack.com/api/chat.postMessage';
  const postMessage = (messenger, message, channel) => {
    const state = stateOf(messenger, 'slack');
    if (state.token === null) fail('The token of SlackMessenger is not set.');
    const body = stringify({ channel: text(channel), text: text(message) });
    const headers = { authorization: 'Bearer ' + state.token, 'content-type': 'application/json; charset=utf-8' };
    try {
      const answer = send('POST', SLACK_URL, { headers: headers, body: body });
      const accepted = answer.status === 200 && shared.js.parse(answer.body).ok === true;
      if (!accepted) host.log('warn', 'SlackMessenger: the message was refused with status ' + text(answer.status));
    } catch (error) {
      host.log('warn', 'SlackMessenger: ' + text(error.message));
    }
  };
  defineClass('SlackMessenger', null, {
    setConfig(token, channel, proxy) {
      const state = stateOf(this, 'slack');
      if (typeof token !== 'string' || token === '') fail('Parameter [token] is not set.');
      if (proxy !== undefined && proxy !== null) throw failure(501, 'SlackMessenger: a proxy is not supported');
      state.token = token;
      state.channel = channel ? text(channel) : 'general';
    },
    sendMessage(message) {
      postMessage(this, message, stateOf(this, 'slack').channel);
    },
    sendMessageToChannel(message, channel) {
      postMessage(this, message, required('channel', channel));
    },
    sendMessageToUser(message, user) {
      postMessage(this, message, '@' + text(required('user', user)));
    },
  });
  const SlackMessenger = function () {
    if (new.target === undefined) fail('SlackMessenger is a constructor');
    return make('SlackMessenger', { family: 'slack', token: null, channel: 'general' });
  };

  // MailSender. It goes through the mail server of the unit.
  const ADDRESSES_MAX = 50;
  const mailAddress = (given) => {
    if (!isObject(given) || typeof given.address !== 'string' || given.address === '') fail('Invalid mail address');
    const name = given.name;
    if (name !== undefined && name !== null && typeof name !== 'string') fail('Invalid mail address');
    return { address: given.address, name: name ? name : null };
  };
  const mailAddresses = (given) => {
    const out = [];
    if (given === undefined || given === null) return out;
    if (!isArray(given)) fail('Invalid JSON. The addresses are not an array.');
    if (given.length > ADDRESSES_MAX) fail('Number of recipients exceeds the limit(' + ADDRESSES_MAX + ').');
    for (let at = 0; at < given.length; at += 1) out[at] = mailAddress(given[at]);
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
        to: mailAddresses(given.to), cc: mailAddresses(given.cc), bcc: mailAddresses(given.bcc),
        replyTo: mailAddresses(given['reply-to']), from: given.from ? mailAddress(given.from) : null,
        subject: mailText(given.subject, 'subject'), text: mailText(given.text, 'text'),
        charset: mailText(given.charset, 'charset') || 'ISO-2022-JP',
        envelopeFrom: mailText(given['envelope-from'], 'envelope-from') || null, headers: [],
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
        for (const name of keys(headers)) {
          if (headers[name] !== null && headers[name] !== undefined) mail.headers[mail.headers.length] = [name, text(headers[name])];
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
    SlackMessenger: SlackMessenger,
    MailSender: MailSender,
    Ews: absent('Ews'),
    AWSSecurityTokenService: absent('AWSSecurityTokenService'),
  };
  const INTERNAL = ['HttpClient', 'SlackMessenger', 'MailSender'];

  // Those of the operator. A call gets the arguments of the constructor and its own, as pairs of kind and text.
  const written = (value) => {
    if (value === undefined || value === null) return ['absent', ''];
    if (typeof value === 'boolean' || typeof value === 'number') return [typeof value, text(value)];
    if (typeof value === 'string') return ['text', value];
    if (typeof value !== 'object') return fail('An argument is neither data nor a stream.');
    const handle = host.handleOf(value);
    if (handle !== undefined) return ['stream', text(handle)];
    if (value instanceof ByteBuffer || isView(value)) return ['bytes', host.base64(value)];
    const json = stringify(value);
    if (json === undefined) fail('An argument is neither data nor a stream.');
    const plain = parse(json);
    return typeof plain === 'object' && plain !== null ? ['json', json] : written(plain);
  };
  const allWritten = (given) => {
    const out = [];
    for (let at = 0; at < given.length; at += 1) out[at] = written(given[at]);
    return out;
  };
  const RESULTS = {
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
    const methods = {};
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
    define(Class, 'name', { value: name, configurable: true });
    Class.prototype = classes[kind].proto;
    define(Class.prototype, 'constructor', { value: Class, writable: true, configurable: true });
    INTERNAL[INTERNAL.length] = kind;
    extension[name] = Class;
  };
  const added = host.context.extensions;
  for (let at = 0; at < added.length; at += 1) addExtension(added[at].name, added[at].methods);

  HttpClient.prototype = classes.HttpClient.proto;
  SlackMessenger.prototype = classes.SlackMessenger.proto;
  MailSender.prototype = classes.MailSender.proto;
  shared.extension = { extension: extension, INTERNAL: INTERNAL };
})
