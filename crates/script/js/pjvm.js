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

  return { __proto__: null, pjvm };
})
