// Control objects and schema entities: their managers, items and links.
(function (host, shared) {
  'use strict';
  const { text, keys, isArray } = shared.js;
  const { invalid, stateOf, peek, defineClass, make, textArgument, objectArgument, member, json, checked } = shared.base;
  const { query, predicate } = shared.odata;

  // For each kind: its key, the members of an item (name, property, whether it becomes a text), and the kinds it links to.
  const asText = (name, property) => [name, property, true];
  const asIs = (name, property) => [name, property, false];
  const NAME = asText('name', 'Name');
  const BOX = asText('boxName', '_Box.Name');
  const TYPED = [asText('type', 'Type'), asIs('nullable', 'Nullable'), asIs('defaultValue', 'DefaultValue'),
    asText('collectionKind', 'CollectionKind')];
  const KINDS = {
    Account: { key: ['Name'], members: [NAME], links: { role: 'Role' } },
    Role: {
      key: ['Name', '_Box.Name'], members: [NAME, BOX],
      links: { account: 'Account', relation: 'Relation', extCell: 'ExtCell', extRole: 'ExtRole' },
    },
    Relation: { key: ['Name', '_Box.Name'], members: [NAME, BOX], links: { role: 'Role', extCell: 'ExtCell' } },
    ExtRole: {
      key: ['ExtRole', '_Relation.Name', '_Relation._Box.Name'],
      members: [asText('name', 'ExtRole'), asText('relationName', '_Relation.Name'),
        asText('relationBoxName', '_Relation._Box.Name')],
      links: { role: 'Role' },
    },
    ExtCell: { key: ['Url'], members: [asText('url', 'Url')], links: { role: 'Role', relation: 'Relation' } },
    EntityType: { key: ['Name'], members: [NAME], links: {} },
    AssociationEnd: {
      key: ['Name', '_EntityType.Name'],
      members: [NAME, asText('entityTypeName', '_EntityType.Name'), asText('multiplicity', 'Multiplicity')],
      links: { associationEnd: 'AssociationEnd' },
    },
    ComplexType: { key: ['Name'], members: [NAME], links: {} },
    Property: {
      key: ['Name', '_EntityType.Name'],
      members: [NAME, asText('entityTypeName', '_EntityType.Name'), ...TYPED, asIs('isKey', 'IsKey'),
        asText('uniqueKey', 'UniqueKey')],
      links: {},
    },
    ComplexTypeProperty: {
      key: ['Name', '_ComplexType.Name'],
      members: [NAME, asText('complexTypeName', '_ComplexType.Name'), ...TYPED],
      links: {},
    },
    Box: { key: ['Name'], members: [NAME, asText('schema', 'Schema')], links: {} },
    Cell: { key: ['Name'], members: [NAME], links: {} },
  };

  // The key of an entity as pairs: from a text, or an object with the properties of the key.
  const keyOf = (kind, given, defaults) => {
    const names = KINDS[kind].key;
    if (typeof given === 'string') return [[names[0], textArgument(given)]];
    objectArgument(given);
    const pairs = [];
    for (const name of names) {
      let value = member(given, name);
      if (value === undefined && defaults !== null) value = member(defaults, name);
      if (value === undefined || value === null) continue;
      pairs.push([name, textArgument(value)]);
    }
    if (pairs.length === 0 || pairs[0][0] !== names[0]) throw invalid();
    return pairs;
  };

  const linkManager = (owner, kind) => make('LinkManager', { family: 'links', owner: owner, target: kind });
  const linked = (manager, given) => {
    const state = stateOf(manager, 'links');
    const target = peek(given);
    if (target === undefined || target.family !== 'item' || target.kind !== state.target) throw invalid();
    return { state: state, url: state.owner.url + '/$links/_' + state.target, target: target };
  };
  defineClass('LinkManager', null, {
    link(given) {
      const { state, url, target } = linked(this, given);
      json(state.owner.session, 'POST', url, { uri: target.url });
    },
    unLink(given) {
      const { state, url, target } = linked(this, given);
      checked(state.owner.session, 'DELETE', url + predicate(target.key), { headers: { Accept: 'application/json' } });
    },
  });

  const ITEM_METHODS = {
    getName() {
      return stateOf(this, 'item').values.name;
    },
  };
  for (const kind of keys(KINDS)) {
    if (kind === 'Box' || kind === 'Cell') continue;
    defineClass(kind, null, ITEM_METHODS, (item, state) => {
      for (const name of keys(state.values)) item[name] = state.values[name];
      for (const name of keys(KINDS[kind].links)) item[name] = linkManager(state, KINDS[kind].links[name]);
    });
  }

  // The members of an item from the properties of an entity.
  const valuesOf = (kind, entity) => {
    const values = {};
    for (const [name, property, convert] of KINDS[kind].members) {
      const value = entity === null || member(entity, property) === undefined ? null : entity[property];
      values[name] = convert ? text(value) : value;
    }
    // A default of a text is a text, also if there is none.
    if (values.type === 'Edm.String') values.defaultValue = text(values.defaultValue);
    return values;
  };
  const keyOfEntity = (kind, entity) => {
    const pairs = [];
    for (const name of KINDS[kind].key) {
      const value = member(entity, name);
      if (value !== undefined && value !== null) pairs.push([name, text(value)]);
    }
    return pairs;
  };
  const itemOf = (state, entity) => {
    const values = valuesOf(state.item, entity);
    if (state.item === 'Box') return shared.boxOf(state.session, state.cellUrl, values);
    if (state.item === 'Cell') return shared.namedCell(state.session, values.name);
    const key = keyOfEntity(state.item, entity);
    const url = state.root + state.item + predicate(key);
    return make(state.item, { family: 'item', session: state.session, key: key, url: url, values: values });
  };
  const entityIn = (answer) => {
    if (answer === null || typeof answer.d !== 'object' || answer.d === null || typeof answer.d.results !== 'object'
      || answer.d.results === null || isArray(answer.d.results)) {
      throw shared.base.failure(0, 'io exception : the response has no entity');
    }
    return answer.d.results;
  };
  const entityUrl = (state, given) => state.root + state.item + predicate(keyOf(state.item, given, state.defaults));

  const METHODS = {
    create(given) {
      const state = stateOf(this, 'manager');
      return itemOf(state, createEntity(state, given));
    },
    retrieve(given) {
      const state = stateOf(this, 'manager');
      const item = itemOf(state, entityIn(json(state.session, 'GET', entityUrl(state, given))));
      // What the original calls it after `retrieve`.
      if (state.item === 'ComplexTypeProperty') item.entityTypeName = item.complexTypeName;
      return item;
    },
    del(given, etag) {
      const state = stateOf(this, 'manager');
      const headers = { 'If-Match': etag ? text(etag) : '*', Accept: 'application/json' };
      checked(state.session, 'DELETE', entityUrl(state, given), { headers: headers });
    },
    query() {
      const state = stateOf(this, 'manager');
      return query(state.session, state.root + state.item);
    },
  };
  const createEntity = (state, given, headers) => {
    objectArgument(given);
    let value = given;
    if (state.defaults !== null) value = Object.assign({}, state.defaults, given);
    return entityIn(json(state.session, 'POST', state.root + state.item, value, headers));
  };

  defineClass('OData', null, METHODS);
  for (const kind of keys(KINDS)) {
    let methods = {};
    if (kind === 'Account') {
      methods = {
        create(given, password) {
          const state = stateOf(this, 'manager');
          if (password !== undefined && password !== null && typeof password !== 'string') throw invalid();
          return itemOf(state, createEntity(state, given, { 'X-Personium-Credential': password }));
        },
        changePassword(name, password) {
          const state = stateOf(this, 'manager');
          const url = entityUrl(state, textArgument(name));
          json(state.session, 'MERGE', url, {}, { 'X-Personium-Credential': textArgument(password), 'If-Match': '*' });
        },
      };
    } else if (kind === 'Box') {
      methods = {
        recursiveDelete(name) {
          const state = stateOf(this, 'manager');
          const url = state.cellUrl + shared.base.encodeName(textArgument(name));
          checked(state.session, 'DELETE', url, { headers: { 'X-Personium-Recursive': 'true' } });
        },
      };
    } else if (kind === 'Cell') {
      methods = {
        update(name, given, etag) {
          const state = stateOf(this, 'manager');
          const headers = { 'If-Match': etag ? text(etag) : '*' };
          json(state.session, 'PUT', entityUrl(state, textArgument(name)), objectArgument(given), headers);
        },
        recursiveDelete(name) {
          const state = stateOf(this, 'manager');
          const url = shared.base.cellUrlOf(textArgument(name));
          checked(state.session, 'DELETE', url, { headers: { 'X-Personium-Recursive': 'true' } });
        },
      };
    }
    defineClass(kind + 'Manager', 'OData', methods);
  }

  // A manager. `root` is the URL before the name of the set; `defaults` are properties that an argument may leave out, or null.
  const manager = (kind, session, root, others) => make(kind + 'Manager', Object.assign({
    family: 'manager', item: kind, session: session, root: root, defaults: null, cellUrl: null,
  }, others));

  shared.control = { manager };
})
