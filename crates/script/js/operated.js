// The extensions of the operator, which are plugins.
(function (host, need, js) {
  'use strict';
  const { text, number, parse, define, put, stringify, create, ErrorClass } = js;
  const { stateOf, defineClass, make, classes } = need('base');

  const fail = (message) => {
    throw new ErrorClass(message);
  };
  // A call gets the arguments of the constructor and its own, as pairs of kind and text.
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
  const classOfExtension = (name, methodNames) => {
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
    return Class;
  };

  return { __proto__: null, classOfExtension };
})
