// `_p`, its utilities, and the context object `pjvm`.
(function (host, need, js) {
  'use strict';
  const { text, parse, split, indexOf, slice, replace, lower, keys, define, put, push, has, isArray, TypeErrorClass } = js;
  const base = need('base');
  const { guarded, settings, textArgument, failure, lazy } = base;

  const charsetOf = (given) => (given ? text(given) : 'utf-8');
  const ESCAPES = { __proto__: null, '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };
  const util = {
    queryParse(query, charset) {
      const wanted = charsetOf(charset);
      const decoded = (part) => guarded(() => host.percentDecode(part, wanted, true));
      const out = {};
      if (query === undefined || query === null || query === '') return out;
      const pairs = split(text(query), '&');
      for (let at = 0; at < pairs.length; at += 1) {
        const pair = pairs[at];
        const equals = indexOf(pair, '=');
        const name = decoded(equals < 0 ? pair : slice(pair, 0, equals));
        const value = equals < 0 ? 'undefined' : decoded(slice(pair, equals + 1));
        if (!has(out, name)) put(out, name, value, true);
        else if (isArray(out[name])) push(out[name], value);
        else put(out, name, [out[name], value], true);
      }
      return out;
    },
    decodeURI(value, charset) {
      return guarded(() => host.percentDecode(text(value), charsetOf(charset), false));
    },
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
    decodeURI: util.decodeURI,
    newJSONObject(value) {
      try {
        return parse(text(value));
      } catch (_) {
        throw failure(0, 'Invalid');
      }
    },
  };

  const _p = {
    localbox: () => need('access').as('client').cell().box(),
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
  lazy(_p, 'extension', () => need('extension').extension);
  // The classes, which are made when they are used for the first time.
  const addClasses = (file, names) => {
    for (let at = 0; at < names.length; at += 1) {
      const name = names[at];
      define(_p, name, {
        __proto__: null,
        configurable: true,
        enumerable: false,
        get: () => {
          need(file);
          const { Class } = base.classOf(name);
          put(_p, name, Class, false);
          return Class;
        },
        set: (value) => put(_p, name, value, false),
      });
    }
  };
  addClasses('access', ['Accessor', 'OwnerAccessor']);
  addClasses('query', ['Query']);
  addClasses('control', ['LinkManager', 'Account', 'Role', 'Relation', 'ExtRole', 'ExtCell', 'EntityType', 'AssociationEnd', 'ComplexType',
    'Property', 'ComplexTypeProperty', 'OData', 'AccountManager', 'RoleManager', 'RelationManager', 'ExtRoleManager', 'ExtCellManager',
    'EntityTypeManager', 'AssociationEndManager', 'ComplexTypeManager', 'PropertyManager', 'ComplexTypePropertyManager', 'BoxManager',
    'CellManager']);
  addClasses('dav', ['Webdav', 'DavCollection', 'BoxCtl', 'Box']);
  addClasses('acl', ['AclManager']);
  addClasses('odata', ['ODataCollectionCtl', 'ODataCollection', 'EntitySet']);
  addClasses('service', ['Response', 'ServiceCollection', 'EventManager', 'LogResponse', 'CurrentLogManager', 'ArchiveLogManager']);
  addClasses('cell', ['CellCtl', 'Cell', 'UnitManager', 'UnitCtl']);

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
