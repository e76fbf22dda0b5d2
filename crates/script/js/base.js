// Failures, hidden state of objects, URLs and requests of the library.
(function (host, shared) {
  'use strict';
  const { parse, stringify, text, number, encode, isArray, create, define, setPrototype, ErrorClass, TypeErrorClass } = shared.js;
  const { indexOf, slice, lower, replace, matches, keys, has } = shared.js;

  // The exception of the library. Scripts make it from a text: what is before the first blank is dropped, and the rest is a
  // code and a message with a comma between them.
  function PersoniumException(given) {
    if (new.target === undefined) throw new TypeErrorClass('PersoniumException is a constructor');
    const whole = text(given);
    const rest = slice(whole, indexOf(whole, ' ') + 1);
    const comma = indexOf(rest, ',');
    const code = comma < 0 ? NaN : number(slice(rest, 0, comma));
    return code === code ? build(code, slice(rest, comma + 1)) : build(0, rest);
  }
  const build = (code, message) => {
    const error = new ErrorClass(message);
    setPrototype(error, PersoniumException.prototype);
    const own = (name, value) => define(error, name, { value: value, writable: true, enumerable: true, configurable: true });
    own('name', '_p.PersoniumException');
    own('code', code);
    own('message', message);
    return error;
  };
  define(PersoniumException, 'prototype', { value: create(ErrorClass.prototype), writable: false });
  define(PersoniumException.prototype, 'constructor', { value: PersoniumException, writable: true, configurable: true });
  const failure = (code, message) => build(code, text(message));
  const invalid = () => build(0, 'Invalid');

  // A failure of the host as the exception that scripts get.
  const converted = (error) => {
    if (error instanceof PersoniumException) return error;
    const code = typeof error === 'object' && error !== null ? error.code : undefined;
    if (code === 'subject') return build(0, 'ServiceSubject undefined.');
    if (code === 'argument' || typeof code !== 'string') return invalid();
    return build(0, 'io exception : ' + text(error.message));
  };
  const guarded = (act) => {
    try {
      return act();
    } catch (error) {
      throw converted(error);
    }
  };

  // State that scripts can neither read nor replace.
  const Given = function (object) {
    return object;
  };
  class Stamp extends Given {
    #state;
    constructor(object, state) {
      super(object);
      this.#state = state;
    }
    static read(object) {
      return typeof object === 'object' && object !== null && #state in object ? object.#state : undefined;
    }
  }
  const stateOf = (object, family) => {
    const state = Stamp.read(object);
    if (state === undefined || state.family !== family) throw invalid();
    return state;
  };
  const peek = (object) => Stamp.read(object);

  // The classes of the library. `core` of an object has the methods as they were before a script replaced some.
  const classes = create(null);
  const root = {};
  define(root, 'core', {
    configurable: true,
    get() {
      const state = Stamp.read(this);
      if (state === undefined) return undefined;
      const core = create(classes[state.kind].coreProto);
      new Stamp(core, state);
      if (classes[state.kind].setUp) classes[state.kind].setUp(core, state);
      return core;
    },
  });
  const addMethods = (proto, methods) => {
    for (const name of keys(methods)) {
      define(proto, name, { value: methods[name], writable: true, configurable: true, enumerable: false });
    }
  };
  const defineClass = (kind, parent, methods, setUp) => {
    const above = parent === null ? null : classes[parent];
    const Class = function (core) {
      if (new.target === undefined) throw new TypeErrorClass(kind + ' is a constructor');
      const state = Stamp.read(core);
      if (state !== undefined && state.kind === kind) {
        new Stamp(this, state);
        if (setUp) setUp(this, state);
      }
    };
    define(Class, 'name', { value: kind, configurable: true });
    const proto = create(above === null ? root : above.proto);
    const coreProto = create(above === null ? root : above.coreProto);
    addMethods(proto, methods);
    addMethods(coreProto, methods);
    define(proto, 'constructor', { value: Class, writable: true, configurable: true });
    Class.prototype = proto;
    classes[kind] = { Class: Class, proto: proto, coreProto: coreProto, setUp: setUp };
  };
  const make = (kind, state) => {
    const record = classes[kind];
    const object = create(record.proto);
    state.kind = kind;
    new Stamp(object, state);
    if (record.setUp) record.setUp(object, state);
    return object;
  };

  // Arguments.
  const textArgument = (value) => {
    if (typeof value !== 'string' || value === '') throw invalid();
    return value;
  };
  const objectArgument = (value) => {
    if (typeof value !== 'object' || value === null || isArray(value)) throw invalid();
    return value;
  };
  const member = (object, name) => (has(object, name) ? object[name] : undefined);

  // URLs. Escapes in a path are kept; everything else that a path cannot have is escaped.
  const encodeName = (name) => guarded(() => encode(name));
  const encodePath = (path) => guarded(() => replace(text(path), /%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~!$&'()*+,;=:@\/%]+/g, (part) => encode(part)));
  const joined = (base, path) => replace(base, /\/+$/, '') + '/' + replace(encodePath(path), /^\/+/, '');
  const cellUrlOf = (given) => {
    const name = textArgument(given);
    const unitUrl = host.context.unitUrl;
    const local = 'personium-localunit:';
    if (indexOf(name, local) === 0) {
      const rest = slice(name, local.length);
      if (indexOf(rest, '/') === 0) return withSlash(unitUrl + slice(rest, 1));
      return cellUrlOf(replace(rest, /[:\/].*$/, ''));
    }
    if (matches(/^https?:\/\//i, name)) return withSlash(name);
    if (host.context.pathBased) return unitUrl + encodeName(name) + '/';
    return replace(unitUrl, '://', () => '://' + encodeName(name) + '.');
  };
  const withSlash = (url) => (slice(url, -1) === '/' ? url : url + '/');

  // Requests. A session says with which identity they are sent.
  const settings = { version: null, serverVersion: null, defaults: create(null) };
  const headersOf = (given) => {
    const headers = create(null);
    for (const name of keys(settings.defaults)) headers[name] = settings.defaults[name];
    if (settings.version !== null) headers['x-personium-version'] = settings.version;
    for (const name of keys(given)) {
      if (given[name] !== undefined && given[name] !== null) headers[lower(name)] = text(given[name]);
    }
    return headers;
  };
  const OWN_HEADERS = /^(host|content-length|transfer-encoding|connection|keep-alive|upgrade|te|trailer|expect)$/;
  const exchange = (session, method, url, options) => guarded(() => {
    const headers = headersOf(options.headers || {});
    for (const name of keys(headers)) {
      if (matches(OWN_HEADERS, name) || (name === 'authorization' && session.token !== null)) delete headers[name];
    }
    const request = {
      method: method, url: url, headers: headers, token: session.token, accept: options.accept || 'text',
      body: options.body === undefined ? null : options.body,
    };
    let answer;
    try {
      answer = host.send(request);
    } catch (error) {
      const unknown = session.token === 'service' && error.code === 'subject' && host.context.subject !== null;
      if (!unknown) throw error;
      // An account that does not exist has no token.
      request.token = null;
      answer = host.send(request);
    }
    const version = header(answer, 'x-personium-version');
    if (version !== null) settings.serverVersion = version;
    return answer;
  });
  const header = (answer, name) => {
    const wanted = lower(name);
    for (let at = 0; at < answer.headers.length; at += 1) {
      if (answer.headers[at][0] === wanted) return answer.headers[at][1];
    }
    return null;
  };
  const bodyText = (answer, accept) => {
    if (accept === 'stream') return host.readText(answer.body, 'utf-8');
    return accept === 'bytes' ? host.decode(answer.body, 'utf-8') : answer.body;
  };
  const checked = (session, method, url, options) => {
    const answer = exchange(session, method, url, options);
    if (answer.status >= 300 && answer.status !== 302) {
      throw failure(answer.status, guarded(() => bodyText(answer, options.accept)));
    }
    return answer;
  };
  const parsed = (body) => {
    try {
      return parse(body);
    } catch (_) {
      throw build(0, 'io exception : the response is not JSON');
    }
  };
  const json = (session, method, url, value, headers) => {
    const sent = { Accept: 'application/json' };
    for (const name of keys(headers || {})) sent[name] = headers[name];
    const options = { headers: sent };
    if (value !== undefined) {
      sent['Content-Type'] = 'application/json';
      options.body = guarded(() => stringify(value));
    }
    const answer = checked(session, method, url, options);
    return answer.body === '' ? null : parsed(answer.body);
  };

  shared.PersoniumException = PersoniumException;
  shared.base = {
    failure, invalid, guarded, stateOf, peek, classes, defineClass, make, textArgument, objectArgument, member, encodeName,
    joined, cellUrlOf, withSlash, settings, exchange, header, checked, parsed, json,
  };
})
