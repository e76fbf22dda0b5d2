// Queries of OData, and the keys of entities.
(function (host, need, js) {
  'use strict';
  const { text, number, replace, indexOf, keys } = js;
  const { invalid, stateOf, defineClass, make, encodeName, json } = need('base');

  // `null` leaves an option out.
  const option = (name) => function (value) {
    const { options } = stateOf(this, 'query');
    if (value === null) delete options[name];
    else options[name] = text(value);
    return this;
  };
  // The integer part of a number counts; what is not above zero is left out.
  const count = (name) => function (value) {
    const { options } = stateOf(this, 'query');
    const given = number(value);
    const whole = given - (given % 1);
    if (whole <= 0) delete options[name];
    else options[name] = text(whole > 0 ? whole : value);
    return this;
  };
  defineClass('Query', null, {
    filter: option('$filter'),
    select: option('$select'),
    top: count('$top'),
    skip: count('$skip'),
    expand: option('$expand'),
    orderby: option('$orderby'),
    inlinecount: option('$inlinecount'),
    q: option('q'),
    run() {
      const state = stateOf(this, 'query');
      let url = state.url;
      let separator = '?';
      const names = keys(state.options);
      for (let at = 0; at < names.length; at += 1) {
        const name = names[at];
        url += separator + name + '=' + encodeName(state.options[name]);
        separator = '&';
      }
      return json(state.session, 'GET', url);
    },
  });
  const query = (session, url) => make('Query', { family: 'query', session: session, url: url, options: js.create(null) });

  const literal = (value) => "'" + encodeName(typeof value === 'string' && indexOf(value, "'") < 0 ? value : replace(value, /'/g, "''")) + "'";
  // The key of an entity in a URL. Parts are pairs of name and text.
  const predicate = (parts) => {
    if (parts.length === 0) throw invalid();
    if (parts.length === 1) return '(' + literal(parts[0][1]) + ')';
    let out = '(';
    for (let at = 0; at < parts.length; at += 1) {
      out += (at === 0 ? '' : ',') + parts[at][0] + '=' + literal(parts[at][1]);
    }
    return out + ')';
  };

  return { __proto__: null, query, predicate };
})
