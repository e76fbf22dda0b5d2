// What the last match of a regular expression found, as members of `RegExp`. It is loaded for scripts that name one of them.
(function (original, put, RegExpClass) {
  'use strict';
  const { apply, exec, define } = original;
  let last = null;
  const methods = {
    exec(text) {
      const found = apply(exec, this, [text]);
      if (found !== null) last = found;
      return found;
    },
  };
  put(RegExpClass.prototype, 'exec', methods.exec, false);
  const slice = (text, from, to) => apply(original.slice, text, [from, to]);
  const end = () => last.index + last[0].length;
  const part = (at) => (last === null || last[at] === undefined ? '' : last[at]);
  const member = (name, get) => define(RegExpClass, name, {
    __proto__: null, configurable: true, get: get, set() {},
  });
  for (let at = 1; at <= 9; at += 1) member('$' + at, () => part(at));
  const others = {
    __proto__: null,
    lastMatch: () => part(0),
    leftContext: () => (last === null ? '' : slice(last.input, 0, last.index)),
    rightContext: () => (last === null ? '' : slice(last.input, end())),
    lastParen: () => (last === null ? '' : part(last.length - 1)),
    input: () => (last === null ? '' : last.input),
  };
  const SHORT = { __proto__: null, lastMatch: '$&', leftContext: '$`', rightContext: "$'", lastParen: '$+', input: '$_' };
  for (const name in others) {
    member(name, others[name]);
    member(SHORT[name], others[name]);
  }
})
