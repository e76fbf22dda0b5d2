// `_p`, its utilities, and the context object `pjvm`.
(function (host, need, js) {
  'use strict';
  const { text, number, parse, split, indexOf, replace, lower, put, push, has, isArray, javaError, TypeErrorClass } = js;
  const base = need('base');
  const { settings, textArgument, failure, lazy } = base;

  // What Java says about an argument.
  const decoded = (part, charset) => {
    if (charset === null) throw javaError('java.lang.NullPointerException: null');
    const wanted = text(charset);
    try {
      return host.percentDecode(part, wanted);
    } catch (error) {
      throw javaError(error.code === 'charset' ? 'java.io.UnsupportedEncodingException: ' + wanted : text(error.message));
    }
  };
  const noText = (value, method) => new TypeErrorClass("cannot read property '" + method + "' of " + text(value));
  const decodedText = (value, charset) => {
    if (value === null) throw noText(value, 'toString');
    return decoded(text(value), charset);
  };
  const ESCAPES = { __proto__: null, '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };
  const util = {
    queryParse(query, charset) {
      if (query === undefined || query === null) throw noText(query, 'split');
      if (typeof query !== 'string' && typeof query !== 'object') throw new TypeErrorClass('not a function');
      const wanted = charset === undefined || charset === null ? 'utf-8' : charset;
      const out = {};
      const pairs = split(text(query), '&');
      for (let at = 0; at < pairs.length; at += 1) {
        // What follows a second equals sign does not count.
        const parts = split(pairs[at], '=');
        // As in the original, a part without equals sign is left out if it is empty or a number below 2.
        if (parts.length === 1 && number(parts[0]) < 2) continue;
        const name = decoded(parts[0], wanted);
        const value = parts.length === 1 ? 'undefined' : decoded(parts[1], wanted);
        const known = has(out, name) ? out[name] : '';
        if (known === '') put(out, name, value, true);
        else if (isArray(known)) push(known, value);
        else put(out, name, [known, value], true);
      }
      return out;
    },
    decodeURI: (value, charset) => decodedText(value, charset),
    obj2javaJson(value) {
      return value;
    },
    escape4xss(value) {
      return typeof value === 'string' ? replace(value, /[&<>"']/g, (found) => ESCAPES[found[0]]) : value;
    },
  };

  const pjvm = {
    getBaseUrl: () => host.context.unitUrl,
    getCurrentCellName: () => host.context.cellName,
    getCellName: () => host.context.cellName,
    getCurrentCellUrl: () => host.context.cellUrl,
    getBoxName: () => host.context.boxName,
    getBoxSchema: () => host.context.boxSchema,
    getClientToken: () => (host.context.callerToken === null ? '' : host.context.callerToken),
    getServerVersion: () => settings.serverVersion,
    isPathBasedCellUrlEnabled: () => host.context.pathBased,
    setDefaultHeader(name, value) {
      const key = lower(textArgument(name));
      if (value === undefined || value === null) delete settings.defaults[key];
      else settings.defaults[key] = text(value);
    },
    removeDefaultHeader(name) {
      delete settings.defaults[lower(textArgument(name))];
    },
    decodeURI: (value, charset) => decodedText(value, charset === undefined ? 'utf-8' : charset),
    newJSONObject(value) {
      try {
        return parse(text(value));
      } catch (_) {
        throw failure(0, 'Invalid');
      }
    },
  };

  const members = {
    localbox: () => need('cell').boxOfCell(need('access').as('client').cell()),
    as: (given) => need('access').as(given),
    setPersoniumVersion(version) {
      settings.version = version === undefined || version === null ? null : text(version);
    },
    getServerVersion: () => settings.serverVersion,
    setThreadable() {},
    extension: null,
    util: util,
    pjvm: pjvm,
    dcjvm: pjvm,
    PersoniumException: base.PersoniumException,
  };
  lazy(members, 'extension', () => need('extension').extension);

  // The classes by their files. They are members too, which are made when they are used for the first time.
  const CLASSES = {
    __proto__: null,
    access: ' Accessor OwnerAccessor ',
    query: ' Query ',
    control: ' LinkManager Account Role Relation ExtRole ExtCell EntityType AssociationEnd ComplexType Property ComplexTypeProperty OData '
      + 'AccountManager RoleManager RelationManager ExtRoleManager ExtCellManager EntityTypeManager AssociationEndManager '
      + 'ComplexTypeManager PropertyManager ComplexTypePropertyManager BoxManager CellManager ',
    dav: ' Webdav DavCollection BoxCtl Box ',
    acl: ' AclManager ',
    odata: ' ODataCollectionCtl ODataCollection EntitySet ',
    service: ' Response ServiceCollection EventManager LogResponse CurrentLogManager ArchiveLogManager ',
    cell: ' CellCtl Cell UnitManager UnitCtl ',
  };
  const made = js.create(null);
  let allMade = false;
  const makeClass = (file, name) => {
    if (made[name] === true) return;
    need(file);
    put(members, name, base.classOf(name).Class, false);
    made[name] = true;
  };
  const makeNamed = (name) => {
    if (typeof name !== 'string' || indexOf(name, ' ') >= 0) return;
    for (const file in CLASSES) {
      if (indexOf(CLASSES[file], ' ' + name + ' ') >= 0) makeClass(file, name);
    }
  };
  const makeAll = () => {
    if (allMade) return;
    for (const file in CLASSES) {
      const names = split(js.trim(CLASSES[file]), ' ');
      for (let at = 0; at < names.length; at += 1) makeClass(file, names[at]);
    }
    allMade = true;
  };
  const get = (target, name, receiver) => {
    if (!allMade) makeNamed(name);
    return js.get(target, name, receiver);
  };
  // A proxy makes the class that is read. For every other operation all classes are made, and the operation is that of an ordinary
  // object: the handler of the proxy is asked for the trap of each operation, and has no other than `get`.
  const handler = new js.ProxyClass(js.create(null), {
    __proto__: null,
    get: (_, operation) => {
      if (operation === 'get') return get;
      makeAll();
      return undefined;
    },
  });
  const _p = new js.ProxyClass(members, handler);

  const JavaAdapter = function () {
    throw new TypeErrorClass('JavaAdapter is not available');
  };
  const globals = (name) => {
    if (name === 'Packages' || name === 'java') return need('java')[name];
    if (name === 'JavaAdapter') return JavaAdapter;
    return name === '_p' || name === 'dc' ? _p : pjvm;
  };
  return { __proto__: null, globals };
})
