// OData collections: their schema and entities.
(function (host, need, js) {
  'use strict';
  const { text, stringify } = js;
  const { invalid, stateOf, defineClass, make, lazy, textArgument, objectArgument, encodeName, member, json, checked, guarded } = need('base');
  const { query, predicate } = need('query');

  const SCHEMA = {
    __proto__: null,
    entityType: 'EntityType', associationEnd: 'AssociationEnd', complexType: 'ComplexType', property: 'Property',
    complexTypeProperty: 'ComplexTypeProperty',
  };
  defineClass('ODataCollectionCtl', null, {}, (object, state) => {
    const names = js.keys(SCHEMA);
    for (let at = 0; at < names.length; at += 1) {
      js.put(object, names[at], need('control').manager(SCHEMA[names[at]], state.session, state.url + '/$metadata/'), true);
    }
  });
  defineClass('ODataCollection', null, {
    entitySet(name) {
      const state = stateOf(this, 'collection');
      return entitySet(state.session, state.url + '/' + encodeName(textArgument(name)), false);
    },
  }, (object, state) => {
    js.put(object, 'name', state.name, true);
    lazy(object, 'schema', () => make('ODataCollectionCtl', { family: 'schema', session: state.session, url: state.url }));
  });
  const odataCollection = (session, url, name) => make('ODataCollection', {
    family: 'collection', session: session, url: url, name: name,
  });

  const entitySet = (session, url, single) => make('EntitySet', { family: 'set', session: session, url: url, single: single });
  const entityUrl = (state, id) => state.url + predicate([['__id', textArgument(id)]]);
  const results = (answer) => {
    const d = answer === null ? undefined : member(answer, 'd');
    if (typeof d !== 'object' || d === null) throw invalid();
    return member(d, 'results');
  };
  const change = (set, method, change) => {
    const state = stateOf(set, 'set');
    const headers = { __proto__: null, Accept: 'application/json', 'Content-Type': 'application/json' };
    if (change.etag !== null) headers['If-Match'] = text(change.etag);
    const body = guarded(() => stringify(objectArgument(change.value)));
    checked(state.session, method, entityUrl(state, change.id), { __proto__: null, headers: headers, body: body });
  };
  defineClass('EntitySet', null, {
    create(value) {
      const state = stateOf(this, 'set');
      return results(json(state.session, 'POST', state.url, objectArgument(value)));
    },
    retrieve(id) {
      const state = stateOf(this, 'set');
      return results(json(state.session, 'GET', entityUrl(state, id)));
    },
    update(id, value, etag) {
      change(this, 'PUT', { __proto__: null, id: id, value: value, etag: etag });
    },
    merge(id, value, etag) {
      change(this, 'MERGE', { __proto__: null, id: id, value: value, etag: etag });
    },
    del(id, etag) {
      const state = stateOf(this, 'set');
      const headers = { __proto__: null, Accept: 'application/json', 'If-Match': etag ? text(etag) : '*' };
      checked(state.session, 'DELETE', entityUrl(state, id), { __proto__: null, headers: headers });
    },
    key(id) {
      const state = stateOf(this, 'set');
      return entitySet(state.session, entityUrl(state, id), true);
    },
    nav(name) {
      const state = stateOf(this, 'set');
      if (!state.single) throw invalid();
      return entitySet(state.session, state.url + '/_' + encodeName(textArgument(name)), false);
    },
    query() {
      const state = stateOf(this, 'set');
      return query(state.session, state.url);
    },
  });

  return { __proto__: null, odataCollection };
})
