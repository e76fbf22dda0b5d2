// `_p`, its utilities, and the context object `pjvm`.
(function (host, shared) {
  'use strict';
  const { text, parse, split, indexOf, slice, replace, lower, keys, define, has, isArray, TypeErrorClass } = shared.js;
  const { classes, guarded, settings, textArgument, failure } = shared.base;

  const charsetOf = (given) => (given ? text(given) : 'utf-8');
  const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };
  const put = (object, name, value) => define(object, name, {
    value: value, writable: true, enumerable: true, configurable: true,
  });
  const util = {
    queryParse(query, charset) {
      const wanted = charsetOf(charset);
      const decoded = (part) => guarded(() => host.percentDecode(part, wanted, true));
      const out = {};
      if (query === undefined || query === null || query === '') return out;
      for (const pair of split(text(query), '&')) {
        const equals = indexOf(pair, '=');
        const name = decoded(equals < 0 ? pair : slice(pair, 0, equals));
        const value = equals < 0 ? 'undefined' : decoded(slice(pair, equals + 1));
        if (!has(out, name)) put(out, name, value);
        else if (isArray(out[name])) out[name][out[name].length] = value;
        else put(out, name, [out[name], value]);
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
      return typeof value === 'string' ? replace(value, /[&<>"']/g, (one) => ESCAPES[one]) : value;
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
    localbox: () => shared.access.as('client').cell().box(),
    as: (given) => shared.access.as(given),
    setPersoniumVersion(version) {
      settings.version = version === undefined || version === null ? null : text(version);
    },
    getServerVersion: () => settings.serverVersion,
    setThreadable() {},
    extension: shared.extension.extension,
    util: util,
    pjvm: pjvm,
    dcjvm: pjvm,
    PersoniumException: shared.PersoniumException,
  };
  const INTERNAL = shared.java.INTERNAL.concat(shared.extension.INTERNAL);
  for (const kind of keys(classes)) {
    if (!INTERNAL.includes(kind)) define(_p, kind, { value: classes[kind].Class, writable: true, configurable: true });
  }

  const JavaAdapter = function () {
    throw new TypeErrorClass('JavaAdapter is not available');
  };
  shared.globals = {
    _p: _p, dc: _p, pjvm: pjvm, dcjvm: pjvm, Packages: shared.java.Packages, java: shared.java.java, JavaAdapter: JavaAdapter,
  };
})
