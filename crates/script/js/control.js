// Control objects and schema entities: their managers, items and links.
(function (host, need, js) {
  'use strict';
  const { text, keys, isArray, put, push, copy } = js;
  const {
    invalid, stateOf, peek, defineClass, make, isPlain, textArgument, objectArgument, member, json, checked, encodeName, cellUrlOf, failure,
  } = need('base');
  const { query, predicate } = need('query');

  // For each kind: its key, the members of an item (name, property, whether it becomes a text), those that are always empty, and the
  // kinds it links to.
  const asText = (name, property) => [name, property, true];
  const asIs = (name, property) => [name, property, false];
  const NAME = asText('name', 'Name');
  const BOX = asText('boxName', '_Box.Name');
  const TYPE = asText('type', 'Type');
  const NULLABLE = asIs('nullable', 'Nullable');
  const DEFAULT_VALUE = asIs('defaultValue', 'DefaultValue');
  const COLLECTION_KIND = asText('collectionKind', 'CollectionKind');
  const KINDS = {
    __proto__: null,
    Account: { key: ['Name'], members: [NAME], links: { __proto__: null, role: 'Role' } },
    Role: {
      key: ['Name', '_Box.Name'], members: [NAME, BOX], empty: ['id'],
      links: { __proto__: null, account: 'Account', relation: 'Relation', extCell: 'ExtCell', extRole: 'ExtRole' },
    },
    Relation: { key: ['Name', '_Box.Name'], members: [NAME, BOX], empty: ['id'], links: { __proto__: null, role: 'Role', extCell: 'ExtCell' } },
    ExtRole: {
      key: ['ExtRole', '_Relation.Name', '_Relation._Box.Name'],
      members: [asText('name', 'ExtRole'), asText('relationName', '_Relation.Name'),
        asText('relationBoxName', '_Relation._Box.Name')],
      empty: ['id'],
      links: { __proto__: null, role: 'Role' },
    },
    ExtCell: {
      key: ['Url'], members: [asText('url', 'Url')], empty: ['id', 'name'],
      links: { __proto__: null, role: 'Role', relation: 'Relation' },
    },
    EntityType: { key: ['Name'], members: [NAME], links: { __proto__: null } },
    AssociationEnd: {
      key: ['Name', '_EntityType.Name'],
      members: [NAME, asText('entityTypeName', '_EntityType.Name'), asText('multiplicity', 'Multiplicity')],
      links: { __proto__: null, associationEnd: 'AssociationEnd' },
    },
    ComplexType: { key: ['Name'], members: [NAME], links: { __proto__: null } },
    Property: {
      key: ['Name', '_EntityType.Name'],
      members: [NAME, asText('entityTypeName', '_EntityType.Name'), TYPE, NULLABLE, DEFAULT_VALUE, COLLECTION_KIND,
        asIs('isKey', 'IsKey'), asText('uniqueKey', 'UniqueKey')],
      links: { __proto__: null },
    },
    ComplexTypeProperty: {
      key: ['Name', '_ComplexType.Name'],
      members: [NAME, asText('complexTypeName', '_ComplexType.Name'), TYPE, NULLABLE, DEFAULT_VALUE, COLLECTION_KIND],
      links: { __proto__: null },
    },
    Box: { key: ['Name'], members: [NAME, asText('schema', 'Schema')], links: { __proto__: null } },
    Cell: { key: ['Name'], members: [NAME], links: { __proto__: null } },
  };

  // The key of an entity as pairs: from a text, or an object with the properties of the key.
  const keyOf = (kind, given, defaults) => {
    const names = KINDS[kind].key;
    if (isPlain(given)) return [[names[0], textArgument(given)]];
    objectArgument(given);
    const pairs = [];
    for (let at = 0; at < names.length; at += 1) {
      const name = names[at];
      let value = member(given, name);
      if (value === undefined && defaults !== null) value = member(defaults, name);
      if (value === undefined || value === null) continue;
      push(pairs, [name, textArgument(value)]);
    }
    if (pairs.length === 0 || pairs[0][0] !== names[0]) throw invalid();
    return pairs;
  };

  const linkManager = (owner, kind) => make('LinkManager', { family: 'links', owner: owner, target: kind });
  const linked = (manager, given) => {
    const state = stateOf(manager, 'links');
    const target = peek(given);
    if (target === undefined || target.family !== 'item' || target.kind !== state.target) throw invalid();
    return { __proto__: null, state: state, url: state.owner.url + '/$links/_' + state.target, target: target };
  };
  defineClass('LinkManager', null, {
    link(given) {
      const { state, url, target } = linked(this, given);
      json(state.owner.session, 'POST', url, { __proto__: null, uri: target.url });
    },
    unLink(given) {
      const { state, url, target } = linked(this, given);
      checked(state.owner.session, 'DELETE', url + predicate(target.key), { __proto__: null, headers: { __proto__: null, Accept: 'application/json' } });
    },
  });

  const ITEM_METHODS = {
    getName() {
      return stateOf(this, 'item').values.name;
    },
  };
  const NAMES = keys(KINDS);
  for (let index = 0; index < NAMES.length; index += 1) {
    const kind = NAMES[index];
    if (kind === 'Box' || kind === 'Cell') continue;
    defineClass(kind, null, ITEM_METHODS, (item, state) => {
      copy(item, state.values);
      const { links } = KINDS[kind];
      const empty = member(KINDS[kind], 'empty');
      if (empty !== undefined) {
        for (let at = 0; at < empty.length; at += 1) put(item, empty[at], '', true);
      }
      const names = keys(links);
      for (let at = 0; at < names.length; at += 1) put(item, names[at], linkManager(state, links[names[at]]), true);
    });
  }

  // The members of an item from the properties of an entity.
  const valuesOf = (kind, entity) => {
    const values = js.create(null);
    const { members } = KINDS[kind];
    for (let at = 0; at < members.length; at += 1) {
      const name = members[at][0];
      const property = members[at][1];
      const convert = members[at][2];
      const value = entity === null || member(entity, property) === undefined ? null : entity[property];
      values[name] = convert ? text(value) : value;
    }
    // A default of a text is a text, also if there is none.
    if (values.type === 'Edm.String') values.defaultValue = text(values.defaultValue);
    return values;
  };
  const keyOfEntity = (kind, entity) => {
    const pairs = [];
    const names = KINDS[kind].key;
    for (let at = 0; at < names.length; at += 1) {
      const value = member(entity, names[at]);
      if (value !== undefined && value !== null) push(pairs, [names[at], text(value)]);
    }
    return pairs;
  };
  const itemOf = (state, entity) => {
    const values = valuesOf(state.item, entity);
    if (state.item === 'Box') return need('dav').boxOf(state.session, state.cellUrl, values);
    if (state.item === 'Cell') return need('cell').namedCell(state.session, values.name);
    const key = keyOfEntity(state.item, entity);
    const url = state.root + state.item + predicate(key);
    return make(state.item, { family: 'item', session: state.session, key: key, url: url, values: values });
  };
  const entityIn = (answer) => {
    const d = answer === null ? undefined : member(answer, 'd');
    const results = typeof d === 'object' && d !== null ? member(d, 'results') : undefined;
    if (typeof results !== 'object' || results === null || isArray(results)) {
      throw failure(0, 'io exception : the response has no entity');
    }
    return results;
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
      if (state.item === 'ComplexTypeProperty') put(item, 'entityTypeName', item.complexTypeName, true);
      return item;
    },
    del(given, etag) {
      const state = stateOf(this, 'manager');
      const headers = { __proto__: null, 'If-Match': etag ? text(etag) : '*', Accept: 'application/json' };
      checked(state.session, 'DELETE', entityUrl(state, given), { __proto__: null, headers: headers });
    },
    query() {
      const state = stateOf(this, 'manager');
      return query(state.session, state.root + state.item);
    },
  };
  const createEntity = (state, given, headers) => {
    objectArgument(given);
    let value = given;
    if (state.defaults !== null) value = copy(copy({}, state.defaults), given);
    return entityIn(json(state.session, 'POST', state.root + state.item, value, headers));
  };

  defineClass('OData', null, METHODS);
  for (let index = 0; index < NAMES.length; index += 1) {
    const kind = NAMES[index];
    let methods = {};
    if (kind === 'Account') {
      methods = {
        create(given, password) {
          const state = stateOf(this, 'manager');
          if (password !== undefined && password !== null && !isPlain(password)) throw invalid();
          return itemOf(state, createEntity(state, given, { __proto__: null, 'X-Personium-Credential': password }));
        },
        changePassword(name, password) {
          const state = stateOf(this, 'manager');
          const url = entityUrl(state, textArgument(name));
          json(state.session, 'MERGE', url, { __proto__: null }, { __proto__: null, 'X-Personium-Credential': textArgument(password), 'If-Match': '*' });
        },
      };
    } else if (kind === 'Box') {
      methods = {
        recursiveDelete(name) {
          const state = stateOf(this, 'manager');
          const url = state.cellUrl + encodeName(textArgument(name));
          checked(state.session, 'DELETE', url, { __proto__: null, headers: { __proto__: null, 'X-Personium-Recursive': 'true' } });
        },
      };
    } else if (kind === 'Cell') {
      methods = {
        update(name, given, etag) {
          const state = stateOf(this, 'manager');
          const headers = { __proto__: null, 'If-Match': etag ? text(etag) : '*' };
          json(state.session, 'PUT', entityUrl(state, textArgument(name)), objectArgument(given), headers);
        },
        recursiveDelete(name) {
          const state = stateOf(this, 'manager');
          const url = cellUrlOf(textArgument(name));
          checked(state.session, 'DELETE', url, { __proto__: null, headers: { __proto__: null, 'X-Personium-Recursive': 'true' } });
        },
      };
    }
    defineClass(kind + 'Manager', 'OData', methods);
  }

  // A manager. `root` is the URL before the name of the set; `defaults` are properties that an argument may leave out, or null.
  const manager = (kind, session, root, others) => make(kind + 'Manager', copy({
    family: 'manager', item: kind, session: session, root: root, defaults: null, cellUrl: null,
  }, others));

  return { __proto__: null, manager };
})
