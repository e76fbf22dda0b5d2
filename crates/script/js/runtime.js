// What surrounds every script: its request, and the globals of the library, which is loaded when a script uses one of them. `native` are the functions of the server. Scripts never get it.
//
// A script may replace every built-in function and add members to every prototype. The files of the engine therefore use only
// functions that were taken here, before the script runs, and objects without a prototype.
(function (native) {
  'use strict';
  const { apply, construct, get } = Reflect;
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
    objectText: Object.prototype.toString,
    arrayPrototype: Array.prototype,
    WeakMapClass: WeakMap,
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
  const errorClasses = { __proto__: null, Error, TypeError, RangeError, ReferenceError, SyntaxError, EvalError, URIError };
  const { parse, stringify, text: textOf, keys, create, exec } = original;
  const scope = globalThis;
  const RegExpClass = RegExp;
  // A clock that is finer than scripts need.
  delete scope.performance;

  const wellFormed = (text) => apply(original.wellFormed, text, []);
  const matches = (pattern, text) => apply(exec, pattern, [text]) !== null;
  // A text as JSON. Only objects are asked for `toJSON`.
  const quoted = (text) => stringify(wellFormed(text));
  const { put, putAccessor } = native;

  // Errors as Rhino has them. The message of one that a script makes is listed among its members, and so is in its JSON. Those of the
  // engine have a place. Each class is called through a proxy, whose frame is not in the stack.
  const madeByScripts = new WeakMap();
  const ownFrame = '(personium:runtime.js';
  // The engine ignores what happens in functions that it calls for stacks: scripts cannot give it any.
  native.watchErrors(ErrorClass, Object.getOwnPropertyDescriptor(ErrorClass, 'prepareStackTrace').set);
  put(ErrorClass, 'prepareStackTrace', undefined, false);
  put(ErrorClass, 'stackTraceLimit', ErrorClass.stackTraceLimit, false);
  const captureStack = ErrorClass.captureStackTrace;
  put(ErrorClass, 'captureStackTrace', function captureStackTrace(target, from) {
    const captured = create(null);
    apply(captureStack, ErrorClass, [captured, typeof from === 'function' ? from : captureStackTrace]);
    put(target, 'stack', captured.stack, false);
  }, false);
  const withMessage = (error) => {
    const stack = error.stack;
    const frame = typeof stack === 'string' ? apply(original.indexOf, stack, [ownFrame]) : -1;
    if (frame >= 0) put(error, 'stack', apply(original.slice, stack, [apply(original.indexOf, stack, ['\n', frame]) + 1]), false);
    if (apply(original.hasOwn, error, ['message'])) put(error, 'message', error.message, true);
    apply(original.remember, madeByScripts, [error, true]);
    return error;
  };
  const errorHandler = {
    __proto__: null,
    construct: (Class, given, target) => withMessage(construct(Class, given, target)),
    apply: (Class, _, given) => withMessage(construct(Class, given)),
  };
  const isMadeByScripts = (value) => typeof value === 'object' && value !== null && apply(original.remembered, madeByScripts, [value]) === true;
  // What Rhino says about a text that is no JSON.
  let messages;
  const messagesFile = () => {
    if (messages === undefined) messages = native.library('messages.js')(original);
    return messages;
  };
  put(JSON, 'parse', function parse(text, reviver) {
    try {
      return apply(original.parse, JSON, [text, reviver]);
    } catch (error) {
      const message = error instanceof errorClasses.SyntaxError ? messagesFile().jsonFailure(text) : null;
      if (message !== null) put(error, 'message', message, false);
      throw error;
    }
  }, false);
  let compare;
  put(textOf.prototype, 'localeCompare', function localeCompare(other) {
    if (compare === undefined) compare = native.library('locale.js')(original);
    return compare(textOf(this), textOf(other));
  }, false);
  const DateClass = original.DateClass;
  original.define(scope, 'Date', {
    __proto__: null,
    configurable: true,
    enumerable: false,
    get: () => {
      put(scope, 'Date', DateClass, false);
      native.library('dates.js')(original, put, DateClass);
      return DateClass;
    },
    set: (value) => put(scope, 'Date', value, false),
  });
  let mainFile = '';
  const placeOf = (error) => {
    // Also of what inherits from such an error.
    const isMade = isMadeByScripts(error) || isMadeByScripts(original.prototypeOf(error));
    const stack = isMade ? '' : error.stack;
    const found = typeof stack === 'string' ? apply(exec, /at (?:[^\n(]*\()?(?!personium:|<)([^\n():]+):([0-9]+)/, [stack]) : null;
    if (found === null) return { __proto__: null, fileName: '', lineNumber: 0 };
    const isModule = found[1] !== mainFile && apply(original.slice, found[1], [-3]) === '.js';
    const file = isModule ? apply(original.slice, found[1], [0, -3]) : 'unnamed script';
    return { __proto__: null, fileName: file, lineNumber: original.number(found[2]) };
  };
  const placeMember = (name) => putAccessor(ErrorClass.prototype, name, function () {
    return typeof this === 'object' && this !== null ? placeOf(this)[name] : undefined;
  }, function (value) {
    put(this, name, value, true);
  }, true);
  placeMember('fileName');
  placeMember('lineNumber');
  // The members of an error of the engine that are in its JSON.
  function toJSON() {
    const out = {};
    if (typeof this !== 'object' || this === null) return out;
    if (!isMadeByScripts(this)) {
      const place = placeOf(this);
      put(out, 'message', this.message, true);
      if (place.lineNumber > 0) {
        put(out, 'fileName', place.fileName, true);
        put(out, 'lineNumber', place.lineNumber, true);
      }
    }
    const names = keys(this);
    for (let at = 0; at < names.length; at += 1) put(out, names[at], this[names[at]], true);
    return out;
  }
  const errorNames = keys(errorClasses);
  for (let at = 0; at < errorNames.length; at += 1) {
    const Class = errorClasses[errorNames[at]];
    const Shown = new original.ProxyClass(Class, errorHandler);
    // These properties can be written, and are not enumerated.
    Class.prototype.constructor = Shown;
    if (Class !== ErrorClass) {
      original.setPrototype(Class, scope.Error);
      put(Class.prototype, 'toJSON', toJSON, false);
    }
    scope[errorNames[at]] = Shown;
  }
  // What Rhino has beyond the standard: methods of arrays and texts as functions, and comparisons of texts. The functions are made when
  // a script uses the class for the first time.
  const withFunctions = (name, Class) => {
    const prototype = Class.prototype;
    let isComplete = false;
    const settle = (object, member) => {
      try {
        put(object, member, Class, false);
      } catch {
        // A script has frozen the object: it keeps this getter.
      }
    };
    let isAssigned = false;
    const complete = () => {
      if (!isComplete) {
        native.library('generics.js')(put, apply)(name, Class, prototype);
        isComplete = true;
        settle(prototype, 'constructor');
        if (!isAssigned) settle(scope, name);
      }
      return Class;
    };
    putAccessor(scope, name, complete, (value) => {
      isAssigned = true;
      put(scope, name, value, false);
    }, false);
    putAccessor(prototype, 'constructor', complete, function (value) {
      complete();
      // Assigned to an object that inherits it, it becomes a member of that.
      if ((typeof this === 'object' && this !== null) || typeof this === 'function') put(this, 'constructor', value, this !== prototype);
    }, false);
  };
  withFunctions('Array', Array);
  withFunctions('String', textOf);
  const comparisons = {
    equals(other) {
      return textOf(this) === textOf(other);
    },
    equalsIgnoreCase(other) {
      return apply(original.lower, textOf(this), []) === apply(original.lower, textOf(other), []);
    },
  };
  put(textOf.prototype, 'equals', comparisons.equals, false);
  put(textOf.prototype, 'equalsIgnoreCase', comparisons.equalsIgnoreCase, false);

  // The error that a script gets where a class of Java failed.
  const javaError = (text) => {
    const error = new ErrorClass(text);
    put(error, 'message', text, true);
    put(error, 'name', 'JavaException', false);
    return error;
  };

  // The files of the library, which are evaluated when they are used for the first time.
  const loaded = create(null);
  let contextText = '';
  const shared = { __proto__: null, original: original, put: put, quoted: quoted, matches: matches, javaError: javaError,
    context: () => parse(contextText),
  };
  const need = (name) => {
    if (loaded[name] === undefined) {
      const made = native.library(name + '.js');
      loaded[name] = name === 'host' ? made(native, shared, need) : made(need('host').host, need, need('host').js);
    }
    return loaded[name];
  };
  const lazyGlobal = (name, file) => putAccessor(scope, name, () => {
    const value = need(file).globals(name);
    put(scope, name, value, false);
    return value;
  }, (value) => put(scope, name, value, false), false);
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
  let handles;
  let streamPrototype;
  shared.newStream = (handle) => {
    if (handles === undefined) {
      class PersoniumInputStream {
        constructor() {
          throw new ErrorClass('not found');
        }
      }
      streamPrototype = PersoniumInputStream.prototype;
      handles = new original.WeakMapClass();
    }
    const stream = create(streamPrototype);
    apply(original.remember, handles, [stream, handle]);
    return stream;
  };
  const handleOf = (value) =>
    (typeof value === 'object' && value !== null && handles !== undefined ? apply(original.remembered, handles, [value]) : undefined);
  shared.handleOf = handleOf;

  // The input of the request.
  class RequestInput {
    // That of the first reading counts.
    #charset = null;
    #read(act, given) {
      if (this.#charset === null && given.length > 0 && given[0] === null) throw javaError('java.lang.NullPointerException: charsetName');
      const charset = this.#charset !== null ? this.#charset : (given.length > 0 ? textOf(given[0]) : 'utf-8');
      try {
        const read = act(0, charset);
        this.#charset = charset;
        return read;
      } catch (error) {
        if (error.code !== 'charset') throw error;
        throw javaError('java.io.UnsupportedEncodingException: ' + charset);
      }
    }
    readAll() {
      return this.#read(need('host').host.readText, arguments);
    }
    readLine() {
      return this.#read(need('host').host.readLine, arguments);
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
    const request = {
      method: data.method,
      host: data.host,
      port: data.port,
      scriptName: data.scriptName,
      pathInfo: data.pathInfo,
      queryString: data.queryString,
      scheme: data.scheme,
      headers: headers,
      env: { requestUri: data.requestUri },
      jsgi: {
        version: [0, 3], errors: '', multithread: '', multiprocess: '', run_once: '', cgi: '', ext: '',
      },
      input: new RequestInput(),
    };
    // Scripts that list the members find those of the original.
    put(request, 'pathParameters', data.variables, false);
    return request;
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
      if (error instanceof ErrorClass && typeof error.stack === 'string') stack = quoted(error.stack);
    } catch (_) { /* the stack cannot be shown */ }
    return '{"text":' + text + ',"stack":' + stack + ',"made":' + isMadeByScripts(error) + '}';
  };

  return {
    start: (context, request, file) => {
      contextText = context;
      mainFile = file;
      return requestOf(parse(request));
    },
    respond: respond,
    describe: describe,
    keepMatches: () => native.library('matches.js')(original, put, RegExpClass),
  };
})
