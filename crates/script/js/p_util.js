// The utilities `_p.util`.
(function (host, need, js) {
  'use strict';
  const { text, number, split, replace, put, push, has, isArray, javaError, TypeErrorClass } = js;

  // What Java says about an argument.
  const decoded = (part, charset) => {
    if (charset === null) throw javaError('java.lang.NullPointerException: null');
    const wanted = text(charset);
    try {
      return host.percentDecode(part, wanted);
    } catch (error) {
      throw javaError(error.code === 'charset' ? 'java.io.UnsupportedEncodingException: ' + wanted : text(error.message));
    }
  };
  const noText = (value, method) => new TypeErrorClass('Cannot call method "' + method + '" of ' + text(value));
  const decodedText = (value, charset) => {
    if (value === null) throw noText(value, 'toString');
    return decoded(text(value), charset);
  };
  const ESCAPES = { __proto__: null, '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };
  const util = {
    queryParse(query, charset) {
      if (query === undefined || query === null) throw noText(query, 'split');
      if (typeof query !== 'string' && !(query instanceof text)) throw new TypeErrorClass('Cannot find function split in object ' + text(query) + '.');
      const wanted = charset === undefined || charset === null ? 'utf-8' : charset;
      const out = {};
      const pairs = split(text(query), '&');
      for (let at = 0; at < pairs.length; at += 1) {
        // What follows a second equals sign does not count.
        const parts = split(pairs[at], '=');
        // As in the original, a part without equals sign is left out if it is empty or a number below 2.
        if (parts.length === 1 && number(parts[0]) < 2) continue;
        const name = decoded(parts[0], wanted);
        const value = parts.length === 1 ? 'undefined' : decoded(parts[1], wanted);
        const known = has(out, name) ? out[name] : '';
        if (known === '') put(out, name, value, true);
        else if (isArray(known)) push(known, value);
        else put(out, name, [known, value], true);
      }
      return out;
    },
    decodeURI: (value, charset) => decodedText(value, charset),
    obj2javaJson(value) {
      return value;
    },
    escape4xss(value) {
      return typeof value === 'string' ? replace(value, /[&<>"']/g, (found) => ESCAPES[found[0]]) : value;
    },
  };

  return { __proto__: null, util, decodedText };
})
