// What surrounds a script: the request, its streams, the checks of the response, `require`, `console`, `JSGIResponse`.
// `native` are the functions of the server. Scripts never get it.
(function (native) {
  'use strict';
  const TEXT_OF = String;
  const parse = JSON.parse;
  const stringify = JSON.stringify;
  const isArray = Array.isArray;
  const keysOf = Object.keys;
  const ErrorClass = Error;
  const Bytes = Uint8Array;
  const ByteBuffer = ArrayBuffer;
  const uncurry = (f) => Function.prototype.call.bind(f);
  const slice = uncurry(Array.prototype.slice);
  const matches = uncurry(RegExp.prototype.test);
  const replaced = uncurry(String.prototype.replace);
  const lower = uncurry(String.prototype.toLowerCase);
  const trimmedEnd = uncurry(String.prototype.trimEnd);
  const wellFormed = uncurry(String.prototype.toWellFormed);
  const apply = uncurry(Function.prototype.apply);
  const charsOf = String.fromCharCode;
  const handles = new WeakMap();
  const handleIn = uncurry(WeakMap.prototype.get).bind(null, handles);
  const rememberHandle = uncurry(WeakMap.prototype.set).bind(null, handles);
  const CHUNK = 8192;

  const loaded = Object.create(null);
  const shared = {};

  let context = null;

  const codedError = (code, message) => {
    const error = new ErrorClass(message);
    error.code = code;
    return error;
  };

  // The bytes of a buffer or view as a text with one character for each byte.
  const binaryText = (data) => {
    let bytes;
    if (data instanceof ByteBuffer) {
      bytes = new Bytes(data);
    } else if (ByteBuffer.isView(data)) {
      bytes = new Bytes(data.buffer, data.byteOffset, data.byteLength);
    } else {
      throw codedError('argument', 'neither a buffer nor a view');
    }
    let out = '';
    for (let at = 0; at < bytes.length; at += CHUNK) {
      out += apply(charsOf, null, bytes.subarray(at, at + CHUNK));
    }
    return out;
  };

  class PersoniumInputStream {
    constructor() {
      throw new ErrorClass('not found');
    }
  }
  const newStream = (handle) => {
    const stream = Object.create(PersoniumInputStream.prototype);
    rememberHandle(stream, handle);
    return stream;
  };
  const handleOf = (value) => (typeof value === 'object' && value !== null ? handleIn(value) : undefined);

  const sentBody = (body) => {
    if (body === null || body === undefined) return ['none', ''];
    if (typeof body === 'string') return ['text', wellFormed(body)];
    if (typeof body === 'number') return ['stream', TEXT_OF(body)];
    return ['binary', binaryText(body)];
  };

  const send = (request) => {
    const [kind, body] = sentBody(request.body);
    const headers = [];
    const given = request.headers || {};
    for (const name of keysOf(given)) {
      headers[headers.length] = [TEXT_OF(name), wellFormed(TEXT_OF(given[name]))];
    }
    const head = {
      method: TEXT_OF(request.method),
      url: wellFormed(TEXT_OF(request.url)),
      headers: headers,
      token: request.token === undefined || request.token === null ? null : TEXT_OF(request.token),
      kind: kind,
    };
    const answer = parse(native.send(stringify(head), body));
    const handle = answer.handle;
    if (request.accept === 'stream') {
      answer.body = handle;
    } else if (request.accept === 'bytes') {
      answer.body = native.readBytes(handle, -1);
    } else {
      answer.body = native.readText(handle, 'utf-8');
    }
    return answer;
  };

  // Pairs of kind and text.
  const writtenValues = (values) => {
    const out = [];
    for (let at = 0; at < values.length; at += 1) out[at] = [TEXT_OF(values[at][0]), wellFormed(TEXT_OF(values[at][1]))];
    return out;
  };

  const host = {
    get context() {
      return context;
    },
    send: send,
    newStream: newStream,
    handleOf: handleOf,
    readBytes: (handle, max) => native.readBytes(handle, max),
    readText: (handle, charset) => native.readText(handle, TEXT_OF(charset)),
    readLine: (handle, charset) => native.readLine(handle, TEXT_OF(charset)),
    decode: (bytes, charset) => native.decode(binaryText(bytes), TEXT_OF(charset)),
    encode: (text, charset) => native.encode(wellFormed(TEXT_OF(text)), TEXT_OF(charset)),
    percentDecode: (text, charset, plusIsBlank) =>
      native.percentDecode(wellFormed(TEXT_OF(text)), TEXT_OF(charset), plusIsBlank === true),
    base64: (bytes) => native.base64(binaryText(bytes)),
    fromBase64: (text) => native.fromBase64(TEXT_OF(text)),
    sendMail: (mail) => native.sendMail(wellFormed(TEXT_OF(mail))),
    callExtension: (extension, method, createdWith, given) => {
      const call = {
        extension: TEXT_OF(extension), method: TEXT_OF(method), createdWith: writtenValues(createdWith), arguments: writtenValues(given),
      };
      return parse(native.callExtension(stringify(call)));
    },
    uuid: () => native.uuid(),
    log: (level, text) => native.log(TEXT_OF(level), wellFormed(TEXT_OF(text))),
    readSource: (name) => native.readSource(wellFormed(TEXT_OF(name))),
    tokenOfService: (cellUrl) => native.tokenOfService(wellFormed(TEXT_OF(cellUrl))),
    load: (name) => {
      const key = TEXT_OF(name);
      if (!(key in loaded)) loaded[key] = native.library(key)(host, shared);
      return loaded[key];
    },
  };

  // The input of the request.
  class RequestInput {
    #charset = null;
    #charsetOr(given) {
      if (this.#charset === null) this.#charset = given === undefined || given === null ? 'utf-8' : TEXT_OF(given);
      return this.#charset;
    }
    readAll(charset) {
      return native.readText(0, this.#charsetOr(charset));
    }
    readLine(charset) {
      return native.readLine(0, this.#charsetOr(charset));
    }
    stream() {
      return newStream(0);
    }
  }

  const hidden = (headers, others) => {
    for (const name of keysOf(others)) {
      if (!(name in headers)) Object.defineProperty(headers, name, { value: others[name], writable: true, configurable: true });
    }
    return headers;
  };

  const requestOf = (data) => ({
    method: data.method,
    scheme: data.scheme,
    host: data.host,
    port: data.port,
    scriptName: data.scriptName,
    pathInfo: data.pathInfo,
    queryString: data.queryString,
    pathParameters: context.variables,
    headers: hidden(data.headers, data.hiddenHeaders),
    input: new RequestInput(),
    env: { requestUri: data.requestUri },
    jsgi: {
      version: [0, 3], errors: '', multithread: '', multiprocess: '', run_once: '', cgi: '', ext: '',
    },
  });

  // A refused response. The text goes to the client.
  class BadResponse {
    constructor(text) {
      this.text = text;
    }
  }
  const refuse = (text) => {
    throw new BadResponse(text);
  };

  const isObject = (value) => typeof value === 'object' && value !== null && !isArray(value);
  const textOfValue = (value) => {
    if (typeof value === 'string') return value;
    if (value instanceof String) return TEXT_OF(value);
    return undefined;
  };

  const checkedHeaders = (headers) => {
    const out = [];
    let charset = 'utf-8';
    for (const name of keysOf(headers)) {
      if (!matches(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, name) || matches(/^[0-9]+$/, name)) {
        refuse('header key format error');
      }
      const value = textOfValue(headers[name]);
      if (value === undefined) refuse('header value format error');
      if (lower(name) === 'content-type') charset = charsetOf(value);
      out[out.length] = [name, wellFormed(replaced(value, /[\u0000-\u0008\u000a-\u001f\u007f]/g, ' '))];
    }
    return [out, charset];
  };

  const charsetOf = (mediaType) => {
    const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
    const pattern = '^\\s*' + token + '/' + token
      + '\\s*(;\\s*(' + token + '\\s*=\\s*(' + token + '|"[^"]*")\\s*)?)*$';
    if (!matches(new RegExp(pattern), mediaType)) refuse('Response header parsing media type.');
    let charset = 'utf-8';
    replaced(mediaType, /;\s*charset\s*=\s*(?:"([^"]*)"|([^;\s]*))/i, (_, quoted, plain) => {
      charset = quoted === undefined ? plain : quoted;
      return '';
    });
    if (!native.hasCharset(charset)) refuse('response charset illegal type.');
    return charset;
  };

  const checkElement = (element) => {
    if (textOfValue(element) === undefined && handleOf(element) === undefined) {
      refuse('response body illegal type.');
    }
  };

  const write = (element, charset) => {
    const text = textOfValue(element);
    if (text !== undefined) {
      native.write(wellFormed(text), charset);
      return;
    }
    const handle = handleOf(element);
    if (handle === undefined) refuse('response body illegal type.');
    native.pipe(handle);
  };

  const respond = (value) => {
    if (!isObject(value)) refuse('not NativeObject');
    const status = value.status;
    if (typeof status !== 'number') refuse('response status illegal type.');
    if (!matches(/^[2-9][0-9][0-9]$/, TEXT_OF(status))) {
      refuse('response status illegal type. status: ' + status);
    }
    const headers = value.headers;
    if (!isObject(headers)) refuse('not headers');
    const [lines, charset] = checkedHeaders(headers);
    const body = value.body;
    if (typeof body !== 'object' || body === null || typeof body.forEach !== 'function') {
      refuse('response body undefined forEach.');
    }
    if (isArray(body)) body.forEach(checkElement);
    native.head(status, stringify(lines));
    body.forEach((element) => write(element, charset));
  };

  // The number of the last line of a text that is not blank.
  const linesOf = (text) => {
    let count = 1;
    replaced(trimmedEnd(text), /\n/g, () => {
      count += 1;
      return '';
    });
    return count;
  };

  const require = (name) => {
    const text = native.readSource(wellFormed(TEXT_OF(name)));
    if (text === null) {
      const missing = new ErrorClass('io.personium.engine.PersoniumEngineException: 404 Not Found');
      missing.name = 'JavaException';
      throw missing;
    }
    let module;
    try {
      module = native.evaluate('(function(exports){' + text + '\n})', TEXT_OF(name) + '.js');
    } catch (error) {
      let line = matches(/:[0-9]+/, TEXT_OF(error.stack)) ? native.lineOf(TEXT_OF(error.stack)) : 1;
      // What is missing at the end is missing on the last line.
      if (line > linesOf(text)) line = linesOf(text);
      const bad = new ErrorClass('syntax error (' + name + '#' + line + ')');
      bad.name = 'InternalError';
      throw bad;
    }
    const exports = function () {};
    module(exports);
    return exports;
  };

  function JSGIResponse() {}
  JSGIResponse.prototype = {
    constructor: JSGIResponse,
    status: 200,
    headers: { 'Content-Type': 'application/json;charset=utf-8' },
    body: [],
    setResponseData: function (data) {
      if (data === null || data === undefined) {
        this.body = [];
      } else if (TEXT_OF(this.headers['Content-Type']).indexOf('application/json') >= 0) {
        this.body = [stringify(data)];
      } else {
        this.body = [data];
      }
    },
  };

  const shown = (value) => {
    if (typeof value === 'string') return value;
    try {
      const json = typeof value === 'object' && !(value instanceof ErrorClass) ? stringify(value) : undefined;
      return json === undefined ? TEXT_OF(value) : json;
    } catch (_) {
      return 'unprintable';
    }
  };
  const logger = (level) => function () {
    const parts = slice(arguments);
    let text = '';
    for (let at = 0; at < parts.length; at += 1) text += (at > 0 ? ' ' : '') + shown(parts[at]);
    host.log(level, text);
  };
  const console = {
    log: logger('info'), info: logger('info'), warn: logger('warn'), error: logger('error'), debug: logger('debug'),
  };

  // What is said about an uncaught value: its text, its stack, whether it is a refused response.
  const describe = (error) => {
    if (error instanceof BadResponse) return stringify({ refused: error.text });
    let text = 'unknown error';
    let stack = '';
    try {
      text = wellFormed(TEXT_OF(error));
    } catch (_) { /* the value cannot be shown */ }
    try {
      if (error instanceof ErrorClass) stack = wellFormed(TEXT_OF(error.stack));
    } catch (_) { /* the stack cannot be shown */ }
    return stringify({ text: text, stack: stack });
  };

  return {
    host: host,
    globals: { require: require, JSGIResponse: JSGIResponse, console: console },
    start: (contextText, requestText) => {
      context = parse(contextText);
      return requestOf(parse(requestText));
    },
    respond: respond,
    describe: describe,
  };
})
