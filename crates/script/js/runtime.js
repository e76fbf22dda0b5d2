// What surrounds every script: its request, and the globals of the library, which is loaded when a script uses one of them. `native` are the functions of the server. Scripts never get it.
//
// A script may replace every built-in function and add members to every prototype. The files of the engine therefore use only
// functions that were taken here, before the script runs, and objects without a prototype.
(function (native) {
  'use strict';
  const { apply, get } = Reflect;
  const ErrorClass = Error;
  // The functions of the language, as they were.
  const original = {
    __proto__: null,
    apply: apply,
    get: get,
    call: Function.prototype.call,
    bind: Function.prototype.bind,
    parse: JSON.parse,
    stringify: JSON.stringify,
    text: String,
    number: Number,
    encode: encodeURIComponent,
    decode: decodeURIComponent,
    isArray: Array.isArray,
    keys: Object.keys,
    create: Object.create,
    define: Object.defineProperty,
    setPrototype: Object.setPrototypeOf,
    prototypeOf: Object.getPrototypeOf,
    hasOwn: Object.prototype.hasOwnProperty,
    objectPrototype: Object.prototype,
    arrayPrototype: Array.prototype,
    // The values in objects of these classes. Others are refused.
    unwrappers: {
      __proto__: null, length: 3, 0: String.prototype.valueOf, 1: Number.prototype.valueOf, 2: Boolean.prototype.valueOf,
    },
    ErrorClass: ErrorClass,
    TypeErrorClass: TypeError,
    ProxyClass: Proxy,
    Bytes: Uint8Array,
    isView: ArrayBuffer.isView,
    bufferLength: Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'byteLength').get,
    fromCharCode: String.fromCharCode,
    fromCodePoint: String.fromCodePoint,
    indexOf: String.prototype.indexOf,
    slice: String.prototype.slice,
    trim: String.prototype.trim,
    lower: String.prototype.toLowerCase,
    upper: String.prototype.toUpperCase,
    wellFormed: String.prototype.toWellFormed,
    codeAt: String.prototype.charCodeAt,
    numberText: Number.prototype.toString,
    DateClass: Date,
    isoTime: Date.prototype.toISOString,
    timeOf: Date.parse,
    exec: RegExp.prototype.exec,
    subarray: Uint8Array.prototype.subarray,
    remembered: WeakMap.prototype.get,
    remember: WeakMap.prototype.set,
    toPrimitive: Symbol.toPrimitive,
    toStringTag: Symbol.toStringTag,
  };
  const { parse, stringify, text: textOf, keys, create, define, exec } = original;
  const scope = globalThis;
  // A clock that is finer than scripts need.
  delete scope.performance;

  const wellFormed = (text) => apply(original.wellFormed, text, []);
  const matches = (pattern, text) => apply(exec, pattern, [text]) !== null;
  // A text as JSON. Only objects are asked for `toJSON`.
  const quoted = (text) => stringify(wellFormed(text));
  const put = (object, name, value, enumerable) => define(object, name, {
    __proto__: null, value: value, writable: true, configurable: true, enumerable: enumerable,
  });

  // The files of the library, which are evaluated when they are used for the first time.
  const loaded = create(null);
  let contextText = '';
  const shared = { __proto__: null, original: original, put: put, quoted: quoted, matches: matches, context: () => parse(contextText) };
  const need = (name) => {
    if (loaded[name] === undefined) {
      const made = native.library(name + '.js');
      loaded[name] = name === 'host' ? made(native, shared, need) : made(need('host').host, need, need('host').js);
    }
    return loaded[name];
  };
  const lazyGlobal = (name, file) => define(scope, name, {
    __proto__: null,
    configurable: true,
    enumerable: false,
    get: () => {
      const value = need(file).globals(name);
      put(scope, name, value, false);
      return value;
    },
    set: (value) => put(scope, name, value, false),
  });
  lazyGlobal('require', 'globals');
  lazyGlobal('JSGIResponse', 'globals');
  lazyGlobal('console', 'globals');
  lazyGlobal('_p', 'entry');
  lazyGlobal('dc', 'entry');
  lazyGlobal('pjvm', 'entry');
  lazyGlobal('dcjvm', 'entry');
  lazyGlobal('Packages', 'entry');
  lazyGlobal('java', 'entry');
  lazyGlobal('JavaAdapter', 'entry');

  // Streams, by their handles.
  const handles = new WeakMap();
  class PersoniumInputStream {
    constructor() {
      throw new ErrorClass('not found');
    }
  }
  const streamPrototype = PersoniumInputStream.prototype;
  shared.newStream = (handle) => {
    const stream = create(streamPrototype);
    apply(original.remember, handles, [stream, handle]);
    return stream;
  };
  const handleOf = (value) =>
    (typeof value === 'object' && value !== null ? apply(original.remembered, handles, [value]) : undefined);
  shared.handleOf = handleOf;

  // The input of the request.
  class RequestInput {
    #charset = null;
    #charsetOr(given) {
      if (this.#charset === null) this.#charset = given === undefined || given === null ? 'utf-8' : textOf(given);
      return this.#charset;
    }
    readAll(charset) {
      return need('host').host.readText(0, this.#charsetOr(charset));
    }
    readLine(charset) {
      return need('host').host.readLine(0, this.#charsetOr(charset));
    }
    stream() {
      return shared.newStream(0);
    }
  }

  const requestOf = (data) => {
    const headers = data.headers;
    const others = data.hiddenHeaders;
    const names = keys(others);
    for (let at = 0; at < names.length; at += 1) {
      if (!(names[at] in headers)) put(headers, names[at], others[names[at]], false);
    }
    return {
      method: data.method,
      scheme: data.scheme,
      host: data.host,
      port: data.port,
      scriptName: data.scriptName,
      pathInfo: data.pathInfo,
      queryString: data.queryString,
      pathParameters: data.variables,
      headers: headers,
      input: new RequestInput(),
      env: { requestUri: data.requestUri },
      jsgi: {
        version: [0, 3], errors: '', multithread: '', multiprocess: '', run_once: '', cgi: '', ext: '',
      },
    };
  };

  // A response that is more than a plain object with texts: see `response.rs`.
  let refusedText = () => undefined;
  const respond = (value) => {
    const response = native.library('response.js')(native.more(create(null), 'output'), shared);
    refusedText = response.refusedText;
    response.respond(value);
  };

  // What is said about an uncaught value: its text, its stack, whether it is a refused response.
  const describe = (error) => {
    const refused = refusedText(error);
    if (refused !== undefined) return '{"refused":' + quoted(refused) + '}';
    let text = '"unknown error"';
    let stack = '""';
    try {
      text = quoted(textOf(error));
    } catch (_) { /* the value cannot be shown */ }
    try {
      if (error instanceof ErrorClass) stack = quoted(textOf(error.stack));
    } catch (_) { /* the stack cannot be shown */ }
    return '{"text":' + text + ',"stack":' + stack + '}';
  };

  return {
    start: (context, request) => {
      contextText = context;
      return requestOf(parse(request));
    },
    respond: respond,
    describe: describe,
  };
})
