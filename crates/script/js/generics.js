// What Rhino has beyond the standard: the methods of arrays and texts as functions of their classes.
(function (put, apply) {
  'use strict';
  const NAMES = {
    __proto__: null,
    Array: ['join', 'reverse', 'sort', 'push', 'pop', 'shift', 'unshift', 'splice', 'concat', 'slice', 'indexOf', 'lastIndexOf', 'every',
      'filter', 'forEach', 'map', 'some', 'reduce', 'reduceRight'],
    String: ['charAt', 'charCodeAt', 'indexOf', 'lastIndexOf', 'split', 'substring', 'toLowerCase', 'toUpperCase', 'substr', 'concat',
      'slice', 'localeCompare', 'match', 'search', 'replace', 'trim'],
  };
  const generic = (method) => (self, ...given) => apply(method, self, given);
  return (name, Class, prototype) => {
    const names = NAMES[name];
    for (let at = 0; at < names.length; at += 1) {
      const method = prototype[names[at]];
      if (typeof method === 'function' && !(names[at] in Class)) put(Class, names[at], generic(method), false);
    }
  };
})
