// The extensions: `_p.extension.*`. `HttpClient` is here, the others are in files of their own.
(function (host, need, js) {
  'use strict';
  const { text, put, copy, stringify, keys, create, isArray, upper, lower, replace, ErrorClass } = js;
  const { failure, stateOf, member, defineClass, make, classes, lazy } = need('base');

  const fail = (message) => {
    throw new ErrorClass(message);
  };
  const isObject = (value) => typeof value === 'object' && value !== null && !isArray(value);
  // Sends a request, without an identity of the unit unless the options have one.
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
        __proto__: null, method: method, url: text(url), headers: headers, token: member(options, 'token') || null, accept: member(options, 'stream') ? 'stream' : 'text',
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
  HttpClient.prototype = classes.HttpClient.proto;

  // Extensions of the original that this unit does not have.
  const absent = (name) => function () {
    throw failure(501, 'the extension ' + name + ' is not available in this unit');
  };
  const extension = {
    HttpClient: HttpClient,
    Slack: null,
    // Another name of it.
    SlackMessenger: null,
    MailSender: null,
    Ews: absent('Ews'),
    AWSSecurityTokenService: null,
  };
  lazy(extension, 'Slack', () => need('slack').Slack);
  lazy(extension, 'SlackMessenger', () => need('slack').Slack);
  lazy(extension, 'MailSender', () => need('mail').MailSender);
  lazy(extension, 'AWSSecurityTokenService', () => need('aws').AWSSecurityTokenService);
  const added = host.context.extensions;
  for (let at = 0; at < added.length; at += 1) {
    put(extension, added[at].name, need('operated').classOfExtension(added[at].name, added[at].methods), true);
  }

  return { __proto__: null, extension, fail, isObject, send };
})
