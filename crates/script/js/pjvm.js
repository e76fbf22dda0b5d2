// The context object `pjvm`.
(function (host, need, js) {
  'use strict';
  const { text, parse, lower } = js;
  const { settings, textArgument, failure } = need('base');
  const { decodedText } = need('p_util');

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
    getPersoniumVersion: () => settings.version,
    setPersoniumVersion(version) {
      settings.version = version === undefined || version === null ? null : text(version);
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

  // The members of the context that Java has as methods too.
  const BEANS = { __proto__: null, baseUrl: 'unitUrl', currentCellName: 'cellName', boxName: 'boxName', boxSchema: 'boxSchema', clientToken: 'callerToken' };
  for (const name in BEANS) js.define(pjvm, name, { __proto__: null, configurable: true, get: () => host.context[BEANS[name]] });

  return { __proto__: null, pjvm };
})
