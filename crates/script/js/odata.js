// OData collections: their schema and entities.
(function (host, shared) {
  'use strict';
  const { text, stringify } = shared.js;
  const { invalid, stateOf, defineClass, make, textArgument, objectArgument, encodeName, json, checked, guarded } = shared.base;
  const { query, predicate } = shared.odata;

  const SCHEMA = {
    entityType: 'EntityType', associationEnd: 'AssociationEnd', complexType: 'ComplexType', property: 'Property',
    complexTypeProperty: 'ComplexTypeProperty',
  };
  defineClass('ODataCollectionCtl', null, {}, (object, state) => {
    for (const name of shared.js.keys(SCHEMA)) {
      object[name] = shared.control.manager(SCHEMA[name], state.session, state.url + '/$metadata/');
    }
  });
  defineClass('ODataCollection', null, {
    entitySet(name) {
      const state = stateOf(this, 'collection');
      return entitySet(state.session, state.url + '/' + encodeName(textArgument(name)), false);
    },
  }, (object, state) => {
    object.name = state.name;
    object.schema = make('ODataCollectionCtl', { family: 'schema', session: state.session, url: state.url });
  });
  shared.odataCollection = (session, url, name) => make('ODataCollection', {
    family: 'collection', session: session, url: url, name: name,
  });

  const entitySet = (session, url, single) => make('EntitySet', { family: 'set', session: session, url: url, single: single });
  const entityUrl = (state, id) => state.url + predicate([['__id', textArgument(id)]]);
  const results = (answer) => {
    if (answer === null || typeof answer.d !== 'object' || answer.d === null) throw invalid();
    return answer.d.results;
  };
  const change = (set, method, change) => {
    const state = stateOf(set, 'set');
    const headers = {
      Accept: 'application/json', 'Content-Type': 'application/json', 'If-Match': text(change.etag),
    };
    const body = guarded(() => stringify(objectArgument(change.value)));
    checked(state.session, method, entityUrl(state, change.id), { headers: headers, body: body });
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
      change(this, 'PUT', { id: id, value: value, etag: etag });
    },
    merge(id, value, etag) {
      change(this, 'MERGE', { id: id, value: value, etag: etag });
    },
    del(id, etag) {
      const state = stateOf(this, 'set');
      const headers = { Accept: 'application/json', 'If-Match': etag ? text(etag) : '*' };
      checked(state.session, 'DELETE', entityUrl(state, id), { headers: headers });
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
})
