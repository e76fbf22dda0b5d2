// The extensions: `_p.extension.*`. `HttpClient` is here, the others are in files of their own.
(function (host, need, js) {
  'use strict';
  const { text, put, copy, stringify, keys, create, encode, isArray, upper, lower, replace, slice, split, indexOf, exec, ErrorClass } = js;
  const { failure, stateOf, member, defineClass, make, classes, lazy } = need('base');

  const fail = (message) => {
    throw new ErrorClass(message);
  };
  const isObject = (value) => typeof value === 'object' && value !== null && !isArray(value);
  const failed = (error) => fail('An error occurred. Cause: [' + text(error.code) + ': ' + text(error.message) + ']');
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
      return failed(error);
    }
  };
  // Names of headers, which come in lower case, as servers write them.
  const WRITTEN = {
    __proto__: null, etag: 'ETag', 'www-authenticate': 'WWW-Authenticate', 'content-md5': 'Content-MD5', dnt: 'DNT', te: 'TE', nel: 'NEL',
    'x-xss-protection': 'X-XSS-Protection', 'x-ua-compatible': 'X-UA-Compatible', 'x-dns-prefetch-control': 'X-DNS-Prefetch-Control',
    'content-id': 'Content-ID', 'mime-version': 'MIME-Version', 'expect-ct': 'Expect-CT', 'sourcemap': 'SourceMap', p3p: 'P3P',
    'x-ratelimit-limit': 'X-RateLimit-Limit', 'x-ratelimit-remaining': 'X-RateLimit-Remaining', 'x-ratelimit-reset': 'X-RateLimit-Reset',
    'x-personium-requestkey': 'X-Personium-RequestKey',
  };
  const titleCase = (name) => WRITTEN[name] || replace(name, /(^|-)([a-z])/g, (found) => found[1] + upper(found[2]));

  // HttpClient.
  const required = (name, value) => {
    if (value === '' || (name === 'url' && (value === undefined || value === null))) fail('Parameter [' + name + '] is not set.');
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
  const headerOf = (answer, name) => {
    for (let at = 0; at < answer.headers.length; at += 1) {
      if (answer.headers[at][0] === name) return answer.headers[at][1];
    }
    return null;
  };
  // The text of a body, in the character set that its media type names.
  const bodyText = (answer) => {
    const type = headerOf(answer, 'content-type');
    const found = type === null ? null : exec(/;\s*charset\s*=\s*"?([^";\s]+)/i, type);
    try {
      if (found !== null) return host.readText(answer.body, found[1]);
    } catch (error) {
      if (error.code !== 'charset') return failed(error);
    }
    try {
      return host.readText(answer.body, 'utf-8');
    } catch (error) {
      return failed(error);
    }
  };

  // Redirects (RFC 9110, section 15.4): GET follows 301, 302, 303, 307 and 308, other methods follow 303 with GET.
  const REDIRECTS_MAX = 10;
  const withoutDots = (path) => {
    const out = [];
    const segments = split(path, '/');
    const last = segments.length - 1;
    for (let at = 0; at <= last; at += 1) {
      const isDot = segments[at] === '.' || segments[at] === '..';
      if (segments[at] === '..' && out.length > 1) out.length -= 1;
      if (!isDot) js.push(out, segments[at]);
      else if (at === last) js.push(out, '');
    }
    let joined = '';
    for (let at = 0; at < out.length; at += 1) joined += (at > 0 ? '/' : '') + out[at];
    return joined;
  };
  // The parts of an absolute URL, without its fragment; null if it is none of HTTP.
  const partsOf = (url) => {
    const found = exec(/^(https?):\/\/([^\/?#]*)([^?#]*)(\?[^#]*)?/i, url);
    return found === null ? null : { __proto__: null, scheme: lower(found[1]), authority: lower(found[2]), path: found[3] || '/', query: found[4] || '' };
  };
  // The URL that a reference leads to (RFC 3986, section 5.2).
  const resolved = (base, reference) => {
    const absolute = partsOf(reference);
    if (absolute !== null) return absolute;
    if (exec(/^[a-z][a-z0-9+.-]*:/i, reference) !== null) return null;
    if (slice(reference, 0, 2) === '//') return partsOf(base.scheme + ':' + reference);
    const found = exec(/^([^?#]*)(\?[^#]*)?/, reference);
    let path = found[1];
    if (path === '') path = base.path;
    else if (slice(path, 0, 1) !== '/') path = replace(base.path, /[^\/]*$/, '') + path;
    const query = found[2] || (found[1] === '' ? base.query : '');
    return { __proto__: null, scheme: base.scheme, authority: base.authority, path: withoutDots(path), query: query };
  };
  // A URL, with what is not ASCII escaped.
  const escaped = (url) => replace(url, /[^\u0000-\u007f]+/g, (found) => encode(js.wellFormed(found[0])));
  const isRedirect = (method, status) => status === 303 || (method === 'GET' && (status === 301 || status === 302 || status === 307 || status === 308));
  const CREDENTIALS = ['authorization', 'cookie', 'proxy-authorization'];
  // Adds the cookies that an answer sets, without their attributes.
  const keepCookies = (jar, answer) => {
    for (let at = 0; at < answer.headers.length; at += 1) {
      const found = answer.headers[at][0] === 'set-cookie' ? exec(/^\s*([^=;\s]+)=([^;]*)/, answer.headers[at][1]) : null;
      if (found !== null) jar[found[1]] = found[2];
    }
  };
  const withCookies = (headers, jar) => {
    const out = copy(create(null), headers);
    const names = keys(jar);
    for (let at = 0; at < names.length; at += 1) {
      out.cookie = (out.cookie === undefined || out.cookie === null ? '' : text(out.cookie) + '; ') + names[at] + '=' + jar[names[at]];
    }
    return out;
  };
  const followed = (method, url, options) => {
    let at = escaped(text(url));
    let jar = create(null);
    let sent = { __proto__: null, method: method, headers: options.headers, body: options.body };
    for (let count = 0; ; count += 1) {
      const headers = withCookies(sent.headers, jar);
      const answer = send(sent.method, at, { __proto__: null, headers: headers, body: sent.body, stream: true });
      const location = headerOf(answer, 'location');
      if (location === null || !isRedirect(sent.method, answer.status)) return answer;
      // The body is read, so that it is not kept until the script ends.
      try { bodyText(answer); } catch (_) { /* it is nothing to the script */ }
      if (count === REDIRECTS_MAX) fail('An error occurred. Cause: [redirect: more than ' + REDIRECTS_MAX + ' redirects]');
      const from = partsOf(at);
      const to = from === null ? null : resolved(from, escaped(location));
      if (to === null) fail('An error occurred. Cause: [redirect: invalid URL]');
      if (from.scheme === 'https' && to.scheme !== 'https') fail('An error occurred. Cause: [redirect: from https to http]');
      // Another host gets nothing that is meant for this one.
      const kept = copy(create(null), sent.headers);
      if (from.authority === to.authority) {
        keepCookies(jar, answer);
      } else {
        jar = create(null);
        for (let index = 0; index < CREDENTIALS.length; index += 1) delete kept[CREDENTIALS[index]];
      }
      sent = { __proto__: null, method: 'GET', headers: kept, body: undefined };
      at = to.scheme + '://' + to.authority + to.path + to.query;
    }
  };
  const resultOf = (answer, stream) => {
    const headers = create(null);
    for (let at = 0; at < answer.headers.length; at += 1) headers[titleCase(answer.headers[at][0])] = answer.headers[at][1];
    const result = { status: text(answer.status), headers: stringify(headers) };
    if (stream) {
      put(result, 'body', host.newStream(answer.body), true);
    } else {
      const body = bodyText(answer);
      if (answer.status !== 204 && answer.status !== 304) put(result, 'body', body, true);
    }
    return result;
  };
  const withoutBody = (method) => function (url, headers, respondsAsStream) {
    const state = stateOf(this, 'http');
    required('url', url);
    const stream = respondsAsStream === true;
    return resultOf(followed(method, url, { __proto__: null, headers: headersOf(state, headers) }), stream);
  };
  const withBody = (method) => function (url, headers, contentType, body, respondsAsStream) {
    const state = stateOf(this, 'http');
    required('url', url);
    required('contentType', contentType);
    required('body', body);
    const handle = host.handleOf(body);
    const all = headersOf(state, headers);
    all['content-type'] = text(contentType);
    const stream = respondsAsStream === true;
    const options = { __proto__: null, headers: all, body: handle === undefined ? text(body) : handle };
    return resultOf(followed(method, url, options), stream);
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
