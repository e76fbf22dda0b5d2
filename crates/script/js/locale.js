// Comparisons of texts by a dictionary, as Rhino has them: letters by the alphabet, then accents, then lower case before upper case.
(function (original) {
  'use strict';
  const { apply, text: textOf } = original;
  const { normalize, charCodeAt, toLowerCase } = textOf.prototype;
  const SIGNS = "_\u00af,;:!\u00a1?\u00bf/.\u00b4`^\u00a8~\u00b7\u00b8'\"\u00ab\u00bb()[]{}\u00a7\u00b6\u00a9\u00ae@\u00a4\u00a2$\u00a3\u00a5*\\&#%+\u00b1\u00f7\u00d7<=>\u00ac|\u00a6\u00b0";
  // Blanks, hyphens and controls count only if nothing else differs.
  const isIgnored = (code) => code <= 0x20 || (code >= 0x7f && code <= 0xa0) || code === 0x2d || code === 0xad;
  const isAccent = (code) => code >= 0x300 && code <= 0x36f;
  const signOf = (code) => {
    for (let at = 0; at < SIGNS.length; at += 1) {
      if (apply(charCodeAt, SIGNS, [at]) === code) return at;
    }
    return 0x400 + code;
  };
  const weightOf = (code) => {
    if (code >= 0x61 && code <= 0x7a) return 0x200 + code;
    if (code >= 0x41 && code <= 0x5a) return 0x220 + code;
    if (code >= 0x30 && code <= 0x39) return 0x100 + code;
    return signOf(code);
  };
  const compared = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  // The first difference of the characters that count.
  const letters = (one, other) => {
    let at = 0;
    let to = 0;
    for (;;) {
      let a = -1;
      let b = -1;
      while (at < one.length && a < 0) {
        const code = apply(charCodeAt, one, [at]);
        if (!isIgnored(code) && !isAccent(code)) a = weightOf(code);
        at += 1;
      }
      while (to < other.length && b < 0) {
        const code = apply(charCodeAt, other, [to]);
        if (!isIgnored(code) && !isAccent(code)) b = weightOf(code);
        to += 1;
      }
      if (a !== b) return compared(a, b);
      if (a < 0) return 0;
    }
  };
  const isUpper = (code) => code >= 0x41 && code <= 0x5a;
  const localeCompare = (one, other) => {
    if (one === other) return 0;
    const a = apply(normalize, one, ['NFD']);
    const b = apply(normalize, other, ['NFD']);
    let found = letters(a, b);
    if (found !== 0) return found;
    found = compared(apply(toLowerCase, a, []), apply(toLowerCase, b, []));
    if (found !== 0) return a.length === b.length ? found : compared(a.length, b.length);
    for (let at = 0; at < a.length && at < b.length; at += 1) {
      const upper = isUpper(apply(charCodeAt, a, [at]));
      if (upper !== isUpper(apply(charCodeAt, b, [at]))) return upper ? 1 : -1;
    }
    return compared(a, b);
  };
  return localeCompare;
})
