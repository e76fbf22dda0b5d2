// Failures, hidden state of objects, URLs and requests of the library.
(function (host, need, js) {
  'use strict';
  const { parse, stringify, text, number, encode, isArray, create, define, put, setPrototype, ErrorClass, TypeErrorClass } = js;
  const { indexOf, slice, lower, replace, matches, keys, has } = js;

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
    setPrototype(error, exceptionPrototype);
    put(error, 'name', '_p.PersoniumException', true);
    put(error, 'code', code, true);
    put(error, 'message', message, true);
    new Stamp(error, { __proto__: null, family: 'exception' });
    return error;
  };
  const exceptionPrototype = create(ErrorClass.prototype);
  define(PersoniumException, 'prototype', { __proto__: null, value: exceptionPrototype, writable: false });
  put(exceptionPrototype, 'constructor', PersoniumException, false);
  // Scripts tell it from the errors of the language by `Object.prototype.toString`, for which it is a plain object there.
  put(exceptionPrototype, js.toStringTag, 'Object', false);
  const failure = (code, message) => build(code, text(message));
  const invalid = () => build(0, 'Invalid');

  // A failure of the host as the exception that scripts get.
  const converted = (error) => {
    const state = Stamp.read(error);
    if (state !== undefined && state.family === 'exception') return error;
    const code = typeof error === 'object' && error !== null ? member(error, 'code') : undefined;
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
  const peek = Stamp.read;
  const stateOf = (object, family) => {
    const state = peek(object);
    if (state === undefined || state.family !== family) throw invalid();
    return state;
  };

  // The classes of the library. `core` of an object has the methods as they were before a script replaced some.
  const classes = create(null);
  const root = {};
  define(root, 'core', {
    __proto__: null,
    configurable: true,
    get() {
      const state = peek(this);
      if (state === undefined || state.kind === undefined) return undefined;
      const record = classes[state.kind];
      const core = create(coreOf(record));
      new Stamp(core, state);
      if (record.setUp) record.setUp(core, state);
      return core;
    },
  });
  // Failures of `core` are those of a Java client: scripts make the exception of the library from their text.
  const failingAsText = (method) => function () {
    try {
      return js.apply(method, this, arguments);
    } catch (error) {
      const state = peek(error);
      if (state === undefined || state.family !== 'exception') throw error;
      throw js.javaError('io.personium.client.DaoException: ' + text(error.code) + ',' + text(error.message));
    }
  };
  const coreOf = (record) => {
    if (record.coreProto === null) {
      record.coreProto = create(record.parent === null ? root : coreOf(record.parent));
      const names = keys(record.methods);
      for (let at = 0; at < names.length; at += 1) {
        const method = (record.core && record.core[names[at]]) || record.methods[names[at]];
        put(record.coreProto, names[at], failingAsText(method), false);
      }
    }
    return record.coreProto;
  };
  // The files of the classes that others make objects of.
  const FILES = {
    __proto__: null,
    EventManager: 'service', CurrentLogManager: 'service', ArchiveLogManager: 'service',
  };
  const classOf = (kind) => {
    if (classes[kind] === undefined) need(FILES[kind]);
    return classes[kind];
  };
  // `core` are methods that the objects of a Java client have in another form.
  const defineClass = (kind, parent, methods, setUp, core) => {
    const above = parent === null ? null : classOf(parent);
    const Class = function (core) {
      if (new.target === undefined) throw new TypeErrorClass(kind + ' is a constructor');
      const state = peek(core);
      if (state !== undefined && state.kind === kind) {
        new Stamp(this, state);
        if (setUp) setUp(this, state);
      }
    };
    define(Class, 'name', { __proto__: null, value: kind, configurable: true });
    const proto = create(above === null ? root : above.proto);
    js.putMethods(proto, methods);
    put(proto, 'constructor', Class, false);
    Class.prototype = proto;
    classes[kind] = {
      __proto__: null, Class: Class, proto: proto, parent: above, methods: methods, coreProto: null, setUp: setUp, core: core,
    };
  };
  // An object of a class. The members of the state that are missing are undefined, whatever a script adds to prototypes.
  const make = (kind, state) => {
    const record = classOf(kind);
    setPrototype(state, null);
    const object = create(record.proto);
    state.kind = kind;
    new Stamp(object, state);
    if (record.setUp) record.setUp(object, state);
    return object;
  };

  // A member that is made when it is used for the first time.
  const lazy = (object, name, build) => {
    let made;
    js.putAccessor(object, name, () => {
      if (made === undefined) {
        made = build();
        try {
          put(object, name, made, true);
        } catch {
          // A script has frozen the object: it keeps this getter.
        }
      }
      return made;
    }, (value) => put(object, name, value, true), true);
  };

  // Arguments.
  // Values that are texts where Java has a text: texts, numbers, booleans, and objects with a text.
  const isPlain = (value) => typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' || value instanceof text;
  const textArgument = (value) => {
    const out = isPlain(value) ? guarded(() => text(value)) : '';
    if (out === '') throw invalid();
    return out;
  };
  // A value as the text that a Java method with a text as its parameter gets; `null` stays.
  const javaText = (value) => (value === null ? null : guarded(() => text(value)));
  const objectArgument = (value) => {
    if (typeof value !== 'object' || value === null || isArray(value)) throw invalid();
    return value;
  };
  const member = (object, name) => (has(object, name) ? object[name] : undefined);

  // URLs. Escapes in a path are kept; everything else that a path cannot have is escaped.
  const encodeName = (name) => guarded(() => encode(name));
  const encodePath = (path) => guarded(() => replace(text(path), /%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9\-._~!$&'()*+,;=:@\/%]+/g, (found) => encode(found[0])));
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
    const at = indexOf(unitUrl, '://') + 3;
    return slice(unitUrl, 0, at) + encodeName(name) + '.' + slice(unitUrl, at);
  };
  const withSlash = (url) => (slice(url, -1) === '/' ? url : url + '/');

  // Requests. A session says with which identity they are sent.
  const settings = { __proto__: null, version: null, serverVersion: null, defaults: create(null) };
  const headersOf = (given) => {
    const headers = create(null);
    js.copy(headers, settings.defaults);
    if (settings.version !== null) headers['x-personium-version'] = settings.version;
    const names = keys(given);
    for (let at = 0; at < names.length; at += 1) {
      const value = given[names[at]];
      if (value !== undefined && value !== null) headers[lower(names[at])] = text(value);
    }
    return headers;
  };
  const OWN_HEADERS = {
    __proto__: null, host: true, 'content-length': true, 'transfer-encoding': true, connection: true, 'keep-alive': true, upgrade: true,
    te: true, trailer: true, expect: true,
  };
  const exchange = (session, method, url, options) => guarded(() => {
    const headers = headersOf(options.headers);
    const names = keys(headers);
    for (let at = 0; at < names.length; at += 1) {
      const name = names[at];
      if (OWN_HEADERS[name] === true || (name === 'authorization' && session.token !== null)) delete headers[name];
    }
    const body = member(options, 'body');
    const request = {
      __proto__: null, method: method, url: url, headers: headers, token: session.token, accept: member(options, 'accept') || 'text',
      body: body === undefined ? null : body,
    };
    let answer;
    try {
      answer = host.send(request);
    } catch (error) {
      const unknown = session.token === 'service' && member(error, 'code') === 'subject' && host.context.subject !== null;
      if (!unknown) throw error;
      // An account that does not exist has no token.
      request.token = null;
      answer = host.send(request);
    }
    if (answer.version !== null) settings.serverVersion = answer.version;
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
      throw failure(answer.status, guarded(() => bodyText(answer, member(options, 'accept'))));
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
    const sent = js.copy({ __proto__: null, Accept: 'application/json' }, headers);
    const options = { __proto__: null, headers: sent };
    if (value !== undefined) {
      sent['Content-Type'] = 'application/json';
      options.body = guarded(() => stringify(value));
    }
    const answer = checked(session, method, url, options);
    return answer.body === '' ? null : parsed(answer.body);
  };

  return {
    __proto__: null, PersoniumException, failure, invalid, guarded, stateOf, peek, classes, classOf, defineClass, make, lazy,
    isPlain, textArgument, javaText, objectArgument, member, encodeName, encodePath, joined, cellUrlOf, withSlash, settings, exchange, header, checked, parsed, json,
  };
})
