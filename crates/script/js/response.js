// The checks of a response, and its way to the server.
(function (native, shared) {
  'use strict';
  const { original, quoted, matches, handleOf } = shared;
  const { apply, text: textOf, isArray, keys, exec } = original;
  const wellFormed = (text) => apply(original.wellFormed, text, []);
  const lower = (text) => apply(original.lower, text, []);

  // A refused response. The text goes to the client.
  class BadResponse {
    #text;
    constructor(text) {
      this.#text = text;
    }
    static text(value) {
      return typeof value === 'object' && value !== null && #text in value ? value.#text : undefined;
    }
  }
  const refusedText = BadResponse.text;
  const refuse = (text) => {
    throw new BadResponse(text);
  };

  const isObject = (value) => typeof value === 'object' && value !== null && !isArray(value);
  const textOfValue = (value) => {
    if (typeof value === 'string') return value;
    if (typeof value === 'object' && value instanceof textOf) return textOf(value);
    return undefined;
  };

  // Control characters of a header become blanks.
  const withoutControls = (value) => {
    if (!matches(/[\u0000-\u0008\u000a-\u001f\u007f]/, value)) return value;
    let out = '';
    for (let at = 0; at < value.length; at += 1) {
      const character = value[at];
      out += matches(/[\u0000-\u0008\u000a-\u001f\u007f]/, character) ? ' ' : character;
    }
    return out;
  };

  const charsetOf = (mediaType) => {
    const type = /^\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+\/[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*(;\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+\s*=\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+|"[^"]*")\s*)?)*$/;
    if (!matches(type, mediaType)) refuse('Response header parsing media type.');
    const found = apply(exec, /;\s*charset\s*=\s*(?:"([^"]*)"|([^;\s]*))/i, [mediaType]);
    if (found === null) return 'utf-8';
    const charset = found[1] === undefined ? found[2] : found[1];
    if (!native.hasCharset(charset)) refuse('response charset illegal type.');
    return charset;
  };

  // The lines of the headers as JSON, and the character set of the body.
  const checkedHeaders = (headers) => {
    const names = keys(headers);
    let lines = '';
    let charset = 'utf-8';
    for (let at = 0; at < names.length; at += 1) {
      const name = names[at];
      if (!matches(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, name) || matches(/^-?[0-9]+$/, name)) {
        refuse('header key format error');
      }
      const value = textOfValue(headers[name]);
      if (value === undefined) refuse('header value format error');
      if (lower(name) === 'content-type') charset = charsetOf(value);
      lines += (lines === '' ? '[' : ',[') + quoted(name) + ',' + quoted(withoutControls(value)) + ']';
    }
    return { __proto__: null, lines: '[' + lines + ']', charset: charset };
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

  // Whether it is an object of no other class, such as a date or an error.
  const isPlain = (value) => isObject(value) && apply(original.objectText, value, []) === '[object Object]';

  const respond = (value) => {
    if (!isPlain(value)) refuse('not NativeObject');
    const status = value.status;
    if (typeof status !== 'number') refuse('response status illegal type.');
    if (!matches(/^[2-9][0-9][0-9]$/, textOf(status))) {
      refuse('response status illegal type. status: ' + status);
    }
    const headers = value.headers;
    if (!isPlain(headers)) refuse('not headers');
    const { lines, charset } = checkedHeaders(headers);
    const body = value.body;
    const isList = isArray(body);
    if (!isList && (typeof body !== 'object' || body === null || typeof body.forEach !== 'function')) {
      refuse('response body undefined forEach.');
    }
    if (isList) {
      for (let at = 0; at < body.length; at += 1) {
        if (at in body) checkElement(body[at]);
      }
    }
    native.head(status, lines);
    if (!isList) {
      body.forEach((element) => write(element, charset));
      return;
    }
    for (let at = 0; at < body.length; at += 1) {
      if (at in body) write(body[at], charset);
    }
  };

  return { __proto__: null, respond, refusedText };
})
