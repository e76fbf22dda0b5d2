// The globals `require`, `JSGIResponse` and `console`.
(function (host, need, js) {
  'use strict';
  const { text: textOf, stringify, put, trim, indexOf, matches, ErrorClass } = js;

  // The number of the last line of a text that is not blank.
  const linesOf = (text) => {
    const trimmed = trim('.' + text);
    let count = 1;
    for (let at = indexOf(trimmed, '\n'); at >= 0; at = indexOf(trimmed, '\n', at + 1)) count += 1;
    return count;
  };

  const require = (name) => {
    const text = host.readSource(name);
    if (text === null) {
      throw js.javaError('io.personium.engine.PersoniumEngineException: 404 Not Found');
    }
    let module;
    try {
      module = host.evaluate('(function(exports){' + text + '\n})', textOf(name) + '.js');
    } catch (error) {
      const stack = textOf(error.stack);
      let line = matches(/:[0-9]+/, stack) ? host.lineOf(stack) : 1;
      // What is missing at the end is missing on the last line.
      if (line > linesOf(text)) line = linesOf(text);
      const bad = new ErrorClass('syntax error (' + name + '#' + line + ')');
      put(bad, 'name', 'InternalError', true);
      throw bad;
    }
    const exports = function () {};
    module(exports);
    return exports;
  };

  function JSGIResponse() {}
  JSGIResponse.prototype = {
    constructor: JSGIResponse,
    status: 200,
    headers: { 'Content-Type': 'application/json;charset=utf-8' },
    body: [],
    setResponseData: function (data) {
      if (data === null || data === undefined) {
        this.body = [];
      } else if (indexOf(textOf(this.headers['Content-Type']), 'application/json') >= 0) {
        this.body = [stringify(data)];
      } else {
        this.body = [data];
      }
    },
  };

  const shown = (value) => {
    if (typeof value === 'string') return value;
    try {
      const json = typeof value === 'object' && !(value instanceof ErrorClass) ? stringify(value) : undefined;
      return json === undefined ? textOf(value) : textOf(json);
    } catch (_) {
      return 'unprintable';
    }
  };
  const logger = (level) => function () {
    let text = '';
    for (let at = 0; at < arguments.length; at += 1) text += (at > 0 ? ' ' : '') + shown(arguments[at]);
    host.log(level, text);
  };
  const console = {
    log: logger('info'), info: logger('info'), warn: logger('warn'), error: logger('error'), debug: logger('debug'),
  };
  const GLOBALS = { __proto__: null, require: require, JSGIResponse: JSGIResponse, console: console };

  return { __proto__: null, globals: (name) => GLOBALS[name] };
})
