// The messages of errors of the engine as Rhino has them. It is loaded when they are asked for.
(function (original) {
  'use strict';
  const { apply, exec, text: textOf } = original;
  const slice = (text, from, to) => apply(original.slice, text, [from, to]);
  const indexOf = (text, part, from) => apply(original.indexOf, text, [part, from]);
  const found = (pattern, text) => apply(exec, pattern, [text]);

  // What Rhino says about a text that is no JSON.
  const jsonFailure = (given) => {
    const text = textOf(given);
    let at = 0;
    const fail = (message) => {
      throw { __proto__: null, message: message };
    };
    const blank = () => {
      while (at < text.length && found(/[\t\r\n ]/, text[at]) !== null) at += 1;
    };
    const string = () => {
      at += 1;
      for (;;) {
        if (at >= text.length) fail('Unterminated string literal');
        const c = text[at];
        at += 1;
        if (c === '"') return;
        if (c < ' ') fail('String contains control character');
        if (c !== '\\') continue;
        if (at >= text.length) fail('Unterminated string literal');
        const escaped = text[at];
        at += 1;
        if (escaped === 'u') {
          if (found(/^[0-9A-Fa-f]{4}/, slice(text, at, at + 4)) === null) fail('Invalid character code: ' + (text.length - at < 5 ? '\\u' + slice(text, at) : slice(text, at, at + 4)));
          at += 4;
        } else if (indexOf('"\\/bfnrt', escaped) < 0) fail("Unexpected character in string: '\\" + escaped + "'");
      }
    };
    const word = (expected) => {
      if (slice(text, at, at + expected.length) !== expected) fail('Unexpected token: ' + text[at]);
      at += expected.length;
    };
    const digits = (from) => {
      if (at >= text.length || found(/[0-9]/, text[at]) === null) fail('Unsupported number format: ' + slice(text, from, at + 1));
      while (at < text.length && found(/[0-9]/, text[at]) !== null) at += 1;
    };
    const number = () => {
      const from = at;
      if (text[at] === '-') at += 1;
      if (text[at] === '0') at += 1;
      else digits(from);
      if (text[at] === '.') {
        at += 1;
        digits(from);
      }
      if (text[at] === 'e' || text[at] === 'E') {
        at += 1;
        if (text[at] === '+' || text[at] === '-') at += 1;
        digits(from);
      }
    };
    const list = () => {
      at += 1;
      let needsComma = false;
      let isFirst = true;
      for (blank(); at < text.length; blank()) {
        const c = text[at];
        if (c === ']') {
          if (!needsComma && !isFirst) fail('Unexpected comma in array literal');
          at += 1;
          return;
        }
        isFirst = false;
        if (c === ',') {
          if (!needsComma) fail('Unexpected comma in array literal');
          needsComma = false;
          at += 1;
        } else {
          if (needsComma) fail('Missing comma in array literal');
          value();
          needsComma = true;
        }
      }
      fail('Unterminated array literal');
    };
    const object = () => {
      at += 1;
      let needsComma = false;
      let isFirst = true;
      for (blank(); at < text.length; blank()) {
        const c = text[at];
        if (c === '}') {
          if (!needsComma && !isFirst) fail('Unexpected comma in object literal');
          at += 1;
          return;
        }
        if (c === ',') {
          if (!needsComma) fail('Unexpected comma in object literal');
          needsComma = false;
          at += 1;
        } else if (c === '"') {
          if (needsComma) fail('Missing comma in object literal');
          string();
          blank();
          if (text[at] !== ':') fail(at >= text.length ? 'Expected : but reached end of stream' : 'Expected : found ' + text[at]);
          at += 1;
          value();
          needsComma = true;
        } else fail('Unexpected token in object literal');
        isFirst = false;
      }
      fail('Unterminated object literal');
    };
    const value = () => {
      blank();
      if (at >= text.length) fail('Empty JSON string');
      const c = text[at];
      if (c === '{') object();
      else if (c === '[') list();
      else if (c === 't') word('true');
      else if (c === 'f') word('false');
      else if (c === 'n') word('null');
      else if (c === '"') string();
      else if (found(/[-0-9]/, c) !== null) number();
      else fail('Unexpected token: ' + c);
    };
    try {
      value();
      blank();
      return at < text.length ? 'Expected end of stream at char ' + at : null;
    } catch (failure) {
      return typeof failure.message === 'string' ? failure.message : null;
    }
  };

  return { __proto__: null, jsonFailure };
})
