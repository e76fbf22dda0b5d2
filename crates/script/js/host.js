// The functions of the server as the library uses them, and what it uses of the language.
(function (native, shared, need) {
  'use strict';
  const { original, quoted, matches, handleOf, newStream, javaError } = shared;
  const { apply, parse, text: textOf, isArray, keys, create, define, exec, ErrorClass, Bytes, isView } = original;
  const { put, putAccessor } = native;
  // The functions of the server are made when they are used for the first time.
  const parts = create(null);
  const part = (name) => {
    if (parts[name] === undefined) parts[name] = native.more(create(null), name);
    return parts[name];
  };
  const uncurried = (f) => apply(original.bind, original.call, [f]);
  const slice = uncurried(original.slice);
  const indexOf = uncurried(original.indexOf);
  const wellFormedText = uncurried(original.wellFormed);
  const trim = uncurried(original.trim);
  const wellFormed = (value) => wellFormedText(textOf(value));
  const CHUNK = 8192;
  const SEPARATOR = '\u0000';

  const push = (list, value) => {
    put(list, list.length, value, true);
  };
  // Replaces what matches: each match if the pattern is global. `by` is a text, or gets the match. No pattern matches nothing.
  const replaced = (text, pattern, by) => {
    let out = '';
    let from = 0;
    for (;;) {
      const found = apply(exec, pattern, [text]);
      if (found === null) break;
      out += slice(text, from, found.index) + (typeof by === 'string' ? by : by(found));
      from = found.index + found[0].length;
      if (pattern.lastIndex === 0) break;
    }
    return out + slice(text, from);
  };
  const split = (text, separator) => {
    const out = [];
    let from = 0;
    for (;;) {
      const at = indexOf(text, separator, from);
      if (at < 0) break;
      push(out, slice(text, from, at));
      from = at + separator.length;
    }
    push(out, slice(text, from));
    return out;
  };
  const copy = (target, source) => {
    if (source === null || source === undefined) return target;
    const names = keys(source);
    for (let at = 0; at < names.length; at += 1) put(target, names[at], source[names[at]], true);
    return target;
  };
  // JSON of a value as `JSON.stringify` makes it, which keeps the objects that it is in as elements of an ordinary array: an index
  // that a script has added to the prototype of arrays would get them.
  const NESTED_MAX = 32;
  const arraysAreChanged = () => {
    for (let at = 0; at < NESTED_MAX; at += 1) {
      if (at in original.arrayPrototype) return true;
    }
    return false;
  };
  const stringify = (value) => {
    if (typeof value !== 'object' || value === null || !arraysAreChanged()) return original.stringify(value);
    return written(value, '', null);
  };
  const unwrapped = (value) => {
    for (let at = 0; at < original.unwrappers.length; at += 1) {
      try {
        return apply(original.unwrappers[at], value, []);
      } catch (_) { /* it is no such object */ }
    }
    return value;
  };
  const written = (given, name, outer) => {
    let value = given;
    if ((typeof value === 'object' && value !== null) || typeof value === 'bigint') {
      const toJSON = value.toJSON;
      if (typeof toJSON === 'function') value = apply(toJSON, value, [name]);
    }
    if (typeof value === 'object' && value !== null) value = unwrapped(value);
    if (typeof value !== 'object' || value === null) return original.stringify(value);
    for (let above = outer; above !== null; above = above.outer) {
      if (above.value === value) throw new original.TypeErrorClass('circular reference');
    }
    const inner = { __proto__: null, value: value, outer: outer };
    let out = '';
    if (isArray(value)) {
      const length = value.length;
      for (let at = 0; at < length; at += 1) {
        const element = written(value[at], textOf(at), inner);
        out += (at === 0 ? '' : ',') + (element === undefined ? 'null' : element);
      }
      return '[' + out + ']';
    }
    const names = keys(value);
    for (let at = 0; at < names.length; at += 1) {
      const member = written(value[names[at]], names[at], inner);
      if (member !== undefined) out += (out === '' ? '' : ',') + original.stringify(names[at]) + ':' + member;
    }
    return '{' + out + '}';
  };
  const isBuffer = (value) => {
    try {
      apply(original.bufferLength, value, []);
      return true;
    } catch (_) {
      return false;
    }
  };
  const js = {
    __proto__: null,
    isBytes: (value) => isView(value) || isBuffer(value),
    apply: apply,
    get: original.get,
    parse: parse,
    stringify: stringify,
    text: textOf,
    number: original.number,
    encode: original.encode,
    decode: original.decode,
    isArray: isArray,
    keys: keys,
    create: create,
    define: define,
    put: put,
    putAccessor: putAccessor,
    putMethods: (object, methods) => part('methods').putMethods(object, methods),
    push: push,
    copy: copy,
    quoted: quoted,
    setPrototype: original.setPrototype,
    objectPrototype: original.objectPrototype,
    ErrorClass: ErrorClass,
    TypeErrorClass: original.TypeErrorClass,
    javaError: javaError,
    ProxyClass: original.ProxyClass,
    fromCodePoint: original.fromCodePoint,
    toPrimitive: original.toPrimitive,
    toStringTag: original.toStringTag,
    indexOf: indexOf,
    slice: slice,
    trim: trim,
    lower: uncurried(original.lower),
    upper: uncurried(original.upper),
    hex: (character) => uncurried(original.numberText)(uncurried(original.codeAt)(character, 0), 16),
    isoTime: () => uncurried(original.isoTime)(new original.DateClass()),
    timeOf: original.timeOf,
    split: split,
    replace: replaced,
    matches: matches,
    exec: (pattern, value) => apply(exec, pattern, [value]),
    wellFormed: wellFormedText,
    has: uncurried(original.hasOwn),
  };

  const codedError = (code, message) => {
    const error = new ErrorClass(message);
    put(error, 'code', code, true);
    return error;
  };

  // The bytes of a buffer or view as a text with one character for each byte.
  const binaryText = (data) => {
    let bytes;
    if (isView(data)) {
      bytes = new Bytes(data.buffer, data.byteOffset, data.byteLength);
    } else if (isBuffer(data)) {
      bytes = new Bytes(data);
    } else {
      throw codedError('argument', 'neither a buffer nor a view');
    }
    let out = '';
    for (let at = 0; at < bytes.length; at += CHUNK) {
      out += apply(original.fromCharCode, null, apply(original.subarray, bytes, [at, at + CHUNK]));
    }
    return out;
  };

  // Kind and text of the body of a request.
  const sentBody = (body) => {
    if (body === null || body === undefined) return { __proto__: null, kind: 'none', text: '' };
    if (typeof body === 'string') return { __proto__: null, kind: 'text', text: wellFormed(body) };
    if (typeof body === 'number') return { __proto__: null, kind: 'stream', text: textOf(body) };
    return { __proto__: null, kind: 'binary', text: binaryText(body) };
  };

  // Sends a request: an object with `method`, `url`, `headers`, `token`, `accept`, `body`.
  const send = (request) => {
    const { kind, text } = sentBody(request.body);
    // No value has the separator: the server refuses what has more parts than there are.
    let head = textOf(request.method) + SEPARATOR + (request.token === null ? '' : textOf(request.token)) + SEPARATOR + kind;
    const names = keys(request.headers);
    for (let at = 0; at < names.length; at += 1) head += SEPARATOR + names[at] + SEPARATOR + textOf(request.headers[names[at]]);
    let headers;
    const answer = {
      __proto__: null,
      status: 0,
      // The header that is read of each answer.
      version: null,
      lines: '',
      handle: 0,
      body: null,
      get headers() {
        if (headers === undefined) headers = parse(answer.lines);
        return headers;
      },
    };
    part('send').send(answer, wellFormed(head), wellFormed(request.url), names.length, text, request.accept === 'text');
    if (request.accept === 'stream') answer.body = answer.handle;
    else if (request.accept === 'bytes') answer.body = part('streams').readBytes(answer.handle, -1);
    return answer;
  };

  // Pairs of kind and text, as JSON.
  const writtenValues = (values) => {
    let out = '';
    for (let at = 0; at < values.length; at += 1) {
      out += (at === 0 ? '[' : ',[') + quoted(textOf(values[at][0])) + ',' + quoted(textOf(values[at][1])) + ']';
    }
    return '[' + out + ']';
  };

  let context;
  const host = {
    __proto__: null,
    get context() {
      if (context === undefined) context = shared.context();
      return context;
    },
    send: send,
    newStream: newStream,
    handleOf: handleOf,
    readText: (handle, charset) => part('streams').readText(handle, textOf(charset)),
    readLine: (handle, charset) => part('streams').readLine(handle, textOf(charset)),
    decode: (bytes, charset) => part('texts').decode(binaryText(bytes), textOf(charset)),
    encode: (text, charset) => part('texts').encode(wellFormed(text), textOf(charset)),
    percentDecode: (text, charset) => part('texts').percentDecode(wellFormed(text), textOf(charset)),
    base64: (bytes) => part('texts').base64(binaryText(bytes)),
    fromBase64: (text) => part('texts').fromBase64(textOf(text)),
    sendMail: (mail) => part('calls').sendMail(wellFormed(mail)),
    signForAws: (request) => part('calls').signForAws(wellFormed(stringify(request))),
    callExtension: (extension, method, createdWith, given) => parse(part('calls').callExtension('{"extension":' + quoted(textOf(extension))
      + ',"method":' + quoted(textOf(method)) + ',"createdWith":' + writtenValues(createdWith) + ',"arguments":' + writtenValues(given) + '}')),
    log: (level, text) => part('log').log(textOf(level), wellFormed(text)),
    tokenOfService: (cellUrl) => part('calls').tokenOfService(wellFormed(cellUrl)),
    readSource: (name) => part('sources').readSource(wellFormed(name)),
    evaluate: (text, file) => part('sources').evaluate(text, file),
    lineOf: (stack) => part('sources').lineOf(stack),
  };

  return { __proto__: null, host: host, js: js };
})
