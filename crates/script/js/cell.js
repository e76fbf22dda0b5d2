// Cells, and the management of cells of a unit.
(function (host, need, js) {
  'use strict';
  const { text, matches, split, replace, indexOf, decode, javaError } = js;
  const { failure, guarded, stateOf, peek, defineClass, make, lazy, textArgument, cellUrlOf, encodeName, withSlash, header, checked, invalid } = need('base');

  const CONTROL = {
    __proto__: null, box: 'Box', account: 'Account', relation: 'Relation', role: 'Role', extRole: 'ExtRole', extCell: 'ExtCell',
  };
  defineClass('CellCtl', null, {}, (object, state) => {
    const names = js.keys(CONTROL);
    for (let at = 0; at < names.length; at += 1) {
      js.put(object, names[at], need('control').manager(CONTROL[names[at]], state.session, state.url + '__ctl/', { cellUrl: state.url }), true);
    }
  });

  const isOwnCell = (state) => state.url === host.context.cellUrl;
  const ownBox = (state) => {
    const { boxName, boxSchema } = host.context;
    return need('dav').boxOf(state.session, state.url, { name: boxName, schema: boxSchema === null ? '' : boxSchema });
  };
  // The box of an application. Without a schema the unit takes the one of the token.
  const findBox = (state, schema) => {
    const url = state.url + '__box' + (schema === null ? '' : '?schema=' + encodeName(schema));
    const answer = checked(state.session, 'GET', url, { __proto__: null, headers: { __proto__: null, Accept: 'application/json' } });
    const location = header(answer, 'location');
    if (location === null) throw failure(0, 'io exception : the response names no box');
    const parts = split(replace(location, /\/+$/, ''), '/');
    const name = guarded(() => decode(parts[parts.length - 1]));
    return need('dav').boxOf(state.session, state.url, { name: name, schema: schema === null ? '' : schema });
  };
  // Failures of some methods are those of Java.
  const asJava = (act) => {
    try {
      return act();
    } catch (error) {
      const state = peek(error);
      if (state === undefined || state.family !== 'exception') throw error;
      throw javaError('io.personium.client.DaoException: ' + text(error.code) + ',' + text(error.message));
    }
  };
  // The box of the application.
  const boxOfCell = (cell) => {
    const state = stateOf(cell, 'cell');
    if (isOwnCell(state)) return ownBox(state);
    const schema = host.context.boxSchema;
    if (state.schema) return findBox(state, null);
    if (schema === null) throw failure(0, 'the box of the application is not known');
    return findBox(state, schema);
  };
  // The content of an archive. It is fetched with the identity of the session from the cell that it is for, and without any from
  // everywhere else: a service there would get the token.
  const contentOf = (given, state) => {
    if (typeof given !== 'string') {
      const handle = guarded(() => host.handleOf(given));
      if (handle === undefined) throw invalid();
      return handle;
    }
    const isOwn = indexOf(given, state.url) === 0;
    return checked(isOwn ? state.session : need('grants').NONE, 'GET', textArgument(given), { __proto__: null, headers: js.create(null), accept: 'stream' }).body;
  };
  const install = (cell, name, given) => {
    const state = stateOf(cell, 'cell');
    const box = need('dav').boxOf(state.session, state.url, { name: textArgument(name), schema: '' });
    const options = { __proto__: null, headers: { __proto__: null, 'Content-Type': 'application/zip' }, body: contentOf(given, state) };
    checked(state.session, 'MKCOL', state.url + encodeName(name), options);
    return box;
  };

  defineClass('Cell', null, {
    box(given) {
      const state = stateOf(this, 'cell');
      if (!given) return asJava(() => boxOfCell(this));
      const name = textArgument(given);
      if (matches(/^(https?:|urn:|personium-localunit:)/i, name)) return asJava(() => findBox(state, name));
      return need('dav').boxOf(state.session, state.url, { name: name, schema: '' });
    },
    installBox(name, given) {
      return install(this, name, given);
    },
    installBoxFromURL(name, url) {
      return install(this, name, textArgument(url));
    },
    getUrl() {
      return stateOf(this, 'cell').url;
    },
    getName() {
      return stateOf(this, 'cell').name;
    },
    getToken() {
      const state = stateOf(this, 'cell');
      return need('grants').tokensOf(state.session, state.url);
    },
    setOwnerRepresentativeAccounts(user) {
      const state = stateOf(this, 'cell');
      const { escape, NAMESPACES, HEAD } = need('xml');
      const accounts = '<p:ownerRepresentativeAccounts><p:account>' + escape(textArgument(user))
        + '</p:account></p:ownerRepresentativeAccounts>';
      const body = HEAD + '<D:propertyupdate ' + NAMESPACES + '><D:set><D:prop>' + accounts
        + '</D:prop></D:set></D:propertyupdate>';
      const options = { __proto__: null, headers: { __proto__: null, 'Content-Type': 'application/xml' }, body: body };
      asJava(() => checked(state.session, 'PROPPATCH', state.url, options));
    },
  }, (object, state) => {
    const part = (name, kind, family, path) => lazy(object, name, () => make(kind, {
      family: family, session: state.session, url: state.url + path,
    }));
    js.put(object, 'name', state.name, true);
    part('ctl', 'CellCtl', 'ctl', '');
    part('event', 'EventManager', 'events', '__event');
    part('currentLog', 'CurrentLogManager', 'logs', '__log/current');
    part('archiveLog', 'ArchiveLogManager', 'logs', '__log/archive');
    lazy(object, 'acl', () => need('acl').aclOf(state.session, state.url, state.url));
  });
  const cellOf = (session, url, schema) => make('Cell', {
    family: 'cell', session: session, url: url, name: '', schema: schema || null,
  });
  const namedCell = (session, name) => make('Cell', {
    family: 'cell', session: session, url: cellUrlOf(name), name: name, schema: null,
  });

  defineClass('UnitManager', null, {
    cell(given) {
      const state = stateOf(this, 'unit');
      const url = given === undefined || given === null ? host.context.cellUrl : cellUrlOf(given);
      return cellOf(state.session, url, null);
    },
    getToken() {
      const state = stateOf(this, 'unit');
      return need('grants').tokensOf(state.session, state.url);
    },
  }, (object, state) => {
    lazy(object, 'ctl', () => make('UnitCtl', { family: 'unitctl', session: state.session, url: state.url }));
  });
  defineClass('UnitCtl', null, {}, (object, state) => {
    js.put(object, 'cell', need('control').manager('Cell', state.session, state.url + '__ctl/'), true);
  });
  const unitOf = (session, url) => make('UnitManager', { family: 'unit', session: session, url: withSlash(text(url)) });

  return { __proto__: null, cellOf, namedCell, unitOf, boxOfCell };
})
