// The globals of the library. The other files are evaluated when a script uses one of them for the first time.
(function (host, shared) {
  'use strict';
  // Functions that the library calls, taken before a script can replace them.
  const uncurry = (f) => Function.prototype.call.bind(f);
  shared.js = {
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
    freeze: Object.freeze,
    ErrorClass: Error,
    TypeErrorClass: TypeError,
    ProxyClass: Proxy,
    isView: ArrayBuffer.isView,
    ByteBuffer: ArrayBuffer,
    indexOf: uncurry(String.prototype.indexOf),
    slice: uncurry(String.prototype.slice),
    lower: uncurry(String.prototype.toLowerCase),
    upper: uncurry(String.prototype.toUpperCase),
    split: uncurry(String.prototype.split),
    replace: uncurry(String.prototype.replace),
    matches: uncurry(RegExp.prototype.test),
    has: uncurry(Object.prototype.hasOwnProperty),
  };

  // The order matters: a file uses what those before it put into `shared`.
  const FILES = ['base.js', 'xml.js', 'access.js', 'query.js', 'control.js', 'dav.js', 'odata.js', 'service.js', 'cell.js',
    'java.js', 'extension.js', 'entry.js'];
  const { define } = shared.js;
  const scope = globalThis;
  // A clock that is finer than scripts need.
  delete scope.performance;

  const library = () => {
    if (shared.globals === undefined) {
      for (let at = 0; at < FILES.length; at += 1) host.load(FILES[at]);
    }
    return shared.globals;
  };
  const setGlobal = (name, value) => define(scope, name, {
    value: value, writable: true, configurable: true, enumerable: false,
  });
  const lazyGlobal = (name) => define(scope, name, {
    configurable: true,
    enumerable: false,
    get: () => {
      const value = library()[name];
      setGlobal(name, value);
      return value;
    },
    set: (value) => setGlobal(name, value),
  });
  const NAMES = ['_p', 'dc', 'pjvm', 'dcjvm', 'Packages', 'java', 'JavaAdapter'];
  for (let at = 0; at < NAMES.length; at += 1) lazyGlobal(NAMES[at]);
})
