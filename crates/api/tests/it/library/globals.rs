//! The globals of scripts, and the utilities of `_p`.

use serde_json::json;

use super::ScriptUnit;

#[tokio::test]
async fn globals_exist_and_are_not_listed() {
    let unit = ScriptUnit::new().await;
    let code = "return [[typeof _p, typeof dc, typeof pjvm, typeof dcjvm, typeof require, typeof JSGIResponse, typeof Packages, typeof java,
          typeof console, typeof setTimeout, typeof XMLHttpRequest, typeof print, typeof load, typeof process, typeof globalThis.host, typeof shared],
        _p === dc, _p.pjvm === pjvm, _p.dcjvm === pjvm, Object.keys(globalThis), Object.keys(_p).sort()];";
    let out = unit.value(code).await;
    let expected = json!([
        "object",
        "object",
        "object",
        "object",
        "function",
        "function",
        "object",
        "object",
        "object",
        "undefined",
        "undefined",
        "undefined",
        "undefined",
        "undefined",
        "undefined",
        "undefined"
    ]);
    assert_eq!(out[0], expected);
    assert_eq!(
        (&out[1], &out[2], &out[3]),
        (&json!(true), &json!(true), &json!(true))
    );
    assert_eq!(out[4], json!([]));
    let members = json!([
        "PersoniumException",
        "as",
        "dcjvm",
        "extension",
        "getServerVersion",
        "localbox",
        "pjvm",
        "setPersoniumVersion",
        "setThreadable",
        "util"
    ]);
    assert_eq!(out[5], members);
}

#[tokio::test]
async fn globals_can_be_replaced_by_the_script() {
    let unit = ScriptUnit::new().await;
    let script = "function () { dc = 5; var pjvm = 6; java = 'j';
        return {status:200, headers:{}, body:[JSON.stringify([dc, pjvm, java, typeof _p])]}; }";
    unit.put_script(script).await;
    assert_eq!(unit.call_script().await.text(), r#"[5,6,"j","object"]"#);
}

#[tokio::test]
async fn utilities_decode_and_escape() {
    let unit = ScriptUnit::new().await;
    let code = "var u = _p.util;
        return [u.queryParse('a=1&b=%E6%97%A5&a=2&c&d=x+y&a=3&e=&=f'), u.queryParse(''), u.queryParse('q=%93%FA', 'MS932'), u.queryParse('f=a=b&&0&2&'),
          u.queryParse('e=&e=1&e=', null), Object.keys(u.queryParse('__proto__=x')), ({}).x === undefined,
          u.decodeURI('%93%FA+\u{e9}', 'MS932'), pjvm.decodeURI('%E6%97%A5+'), u.escape4xss('<a href=\"x\">\\'&'), u.escape4xss({a:'<'}), u.escape4xss(5),
          u.obj2javaJson({a:1}), u.decodeURI(undefined, 'utf-8')];";
    let expected = json!([
        {"a": ["1", "2", "3"], "b": "日", "c": "undefined", "d": "x y", "e": "", "": "f"}, {}, {"q": "日"}, {"f": "a", "2": "undefined"},
        {"e": ["1", ""]}, ["__proto__"], true, "日 ?", "日 ", "&lt;a href=&quot;x&quot;&gt;&apos;&amp;", {"a": "<"}, 5, {"a": 1}, "undefined"
    ]);
    assert_eq!(unit.value(code).await, expected);
    let code = "return ['u.decodeURI(\"x\")', 'u.decodeURI(\"x\", \"nope\")', 'u.decodeURI(\"x\", null)', 'u.decodeURI(\"%zz\", \"utf-8\")', 'pjvm.decodeURI(\"a%E\")',
          'u.queryParse(\"a=1\", \"nope\")', 'u.queryParse(\"a=%1y\")', 'u.queryParse()', 'u.queryParse(null)', 'u.decodeURI(null, \"utf-8\")'].map(function (call) {
            try { new Function('u', 'return ' + call)(_p.util); } catch (e) { return [e.name, e.code === undefined, e.message.replace(/^.*: /, '')]; } });";
    let java = |text: &str| json!(["JavaException", true, text]);
    let none = |method: &str, of: &str| {
        json!([
            "TypeError",
            true,
            format!("Cannot call method \"{method}\" of {of}")
        ])
    };
    let expected = json!([
        java("undefined"),
        java("nope"),
        java("null"),
        java("122"),
        java(""),
        java("nope"),
        java("121"),
        none("split", "undefined"),
        none("split", "null"),
        none("toString", "null")
    ]);
    assert_eq!(unit.value(code).await, expected);
    // The input can still be read, and its character set is that of the first reading.
    let script =
        "function (request) { var i = request.input;
        var thrown = ['nope', undefined, null, ''].map(function (given) { try { i.readAll(given); } catch (e) { return [e.name, typeof e.code, e.message].join(); } });
        return {status:200, headers:{}, body:[i.readLine('MS932'), i.readAll('nope'), thrown.join('|')]}; }";
    unit.put_script(script).await;
    let request = unit.caller.request("POST", "c/app/svc/other");
    let response = request.body(b"\x93\xfa\n\x96\x7b").send().await;
    let java = |text: &str| format!("JavaException,undefined,java.{text}");
    let thrown = [
        java("io.UnsupportedEncodingException: nope"),
        java("io.UnsupportedEncodingException: undefined"),
        java("lang.NullPointerException: charsetName"),
        java("io.UnsupportedEncodingException: "),
    ];
    assert_eq!(response.text(), format!("日本{}", thrown.join("|")));
}

#[tokio::test]
async fn errors_list_their_message_and_place() {
    let unit = ScriptUnit::new().await;
    let script = "function () {
        var shown = function (e) { var all = []; for (var name in e) all.push(name); return [Object.keys(e).join(), all.join(), JSON.stringify(e), e.lineNumber, e.fileName]; };
        var caught = function (act) { try { act(); } catch (e) { return e; } };
        function Own(m) { this.message = m; } Own.prototype = new Error();
        class Sub extends TypeError {}
        var out = [new Error('m'), Error('m'), new RangeError(5), new Error(), new Error(undefined), new Own('m'), new Sub('m'),
          caught(function () { throw new Error('m'); }),
          caught(function () { null.x; }),
          caught(function () { require('none'); })].map(shown);
        out.push(new Sub('m') instanceof Error, Object.getPrototypeOf(TypeError) === Error, new Error('m').constructor === Error, String(Error('m')),
          new Error('m', {cause: 1}).cause, /runtime|native/.test(new Error('m').stack), /other.js:11:/.test(new Error('m').stack),
          JSON.stringify({e: new Error('m')}), Error.call({}, 'm').message, Error.length, Error.name, typeof Error.captureStackTrace,
          Array.map([1], function (x) { return x + 1; }), String.replace('abc', 'b', 'x'), 'a'.equals('a'), 'a'.equalsIgnoreCase('A'), 'b'.equals('a'));
        return {status:200, headers:{}, body:[JSON.stringify(out)]}; }";
    unit.put_script(script).await;
    let listed = |own: &str, all: &str, text: &str| json!([own, all, text, 0, ""]);
    let made = |text: &str| listed("message", "message,fileName,lineNumber", text);
    let plain = made(r#"{"message":"m"}"#);
    let empty = listed("", "fileName,lineNumber", "{}");
    let missing = r#"{"message":"io.personium.engine.PersoniumEngineException: 404 Not Found"}"#;
    let expected = json!([
        plain,
        plain,
        made(r#"{"message":"5"}"#),
        empty,
        empty,
        plain,
        plain,
        plain,
        [
            "",
            "fileName,lineNumber",
            r#"{"message":"Cannot read property \"x\" from null","fileName":"unnamed script","lineNumber":8}"#,
            8,
            "unnamed script"
        ],
        [
            "message",
            "message,fileName,lineNumber",
            missing,
            9,
            "unnamed script"
        ],
        true,
        true,
        true,
        "Error: m",
        1,
        false,
        true,
        r#"{"e":{"message":"m"}}"#,
        "m",
        1,
        "Error",
        "function",
        [2],
        "axc",
        true,
        true,
        false
    ]);
    let response = unit.call_script().await.expect(200).json();
    assert_eq!(response, expected);
}

#[tokio::test]
async fn context_of_the_script_is_that_of_its_service() {
    let unit = ScriptUnit::new().await;
    let code = "return [pjvm.getBaseUrl(), pjvm.getCurrentCellName(), pjvm.getCellName(), pjvm.getCurrentCellUrl(), pjvm.getBoxName(), pjvm.getBoxSchema(),
        pjvm.isPathBasedCellUrlEnabled(), pjvm.decodeURI('%93%FA', 'MS932'), pjvm.newJSONObject('{\"a\":[1]}'), fails(function () { pjvm.newJSONObject('{'); })];";
    let expected = json!([
        "http://unit.example/", "c", "c", "http://unit.example/c/", "app", "http://unit.example/appcell/", true, "日",
        {"a": [1]}, [0, "Invalid"]
    ]);
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn default_headers_and_version_are_sent_with_the_following_requests() {
    let unit = ScriptUnit::new().await;
    let echo = "function (request) { return {status:200, headers:{}, body:[JSON.stringify([request.headers['x-extra'] || null,
        request.headers['x-personium-version'] || null])]}; }";
    unit.put_script(echo).await;
    let code = "var seen = function () { return JSON.parse(box.service('svc').call('other', 'x', 'text/plain').bodyAsString()); };
        var out = [_p.getServerVersion(), seen()];
        pjvm.setDefaultHeader('X-Extra', '1'); _p.setPersoniumVersion('1.6.0'); _p.setThreadable(true);
        out.push(seen());
        pjvm.removeDefaultHeader('x-extra'); _p.setPersoniumVersion(null);
        out.push(seen());
        pjvm.setDefaultHeader('Host', 'evil.example'); pjvm.setDefaultHeader('Content-Length', '5'); pjvm.setDefaultHeader('Authorization', 'Bearer x');
        out.push(seen(), typeof _p.getServerVersion(), pjvm.getServerVersion() === _p.getServerVersion());
        return out;";
    let none = json!([null, null]);
    let expected = json!([null, none, ["1", "1.6.0"], none, none, "string", true]);
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn java_packages_have_names_and_nothing_else() {
    let unit = ScriptUnit::new().await;
    let code = "var thrown = function (act) { try { act(); return null; } catch (e) { return [e.name, e.message]; } };
        return [String(Packages.java.lang.System), String(java.lang), thrown(function () { new java.lang.String('x'); }),
          thrown(function () { java.lang.System.exit(1); }), thrown(function () { Packages.java.lang.Runtime.getRuntime(); }),
          thrown(function () { new Packages.io.personium.engine.wrapper.PersoniumJSONObject(); })[1],
          thrown(function () { new Packages.io.personium.engine.extension.wrapper.PersoniumInputStream(); })[1],
          thrown(function () { new Packages.io.personium.engine.adapter.PersoniumRequestBodyStream(); })[1],
          thrown(function () { new JavaAdapter({}); })[0]];";
    let refused = |name: &str| {
        json!([
            "TypeError",
            format!("[JavaPackage {name}] is not a function, it is object.")
        ])
    };
    let expected = json!([
        "[JavaPackage java.lang.System]",
        "[JavaPackage java.lang]",
        refused("java.lang.String"),
        refused("java.lang.System.exit"),
        refused("java.lang.Runtime.getRuntime"),
        "not found",
        "not found",
        "not found",
        "TypeError"
    ]);
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn exceptions_are_made_from_texts_as_scripts_expect() {
    let unit = ScriptUnit::new().await;
    let code = "return ['x.y.DaoException: 409,{\"a\":1}', 'Parameter Invalid', 'text'].map(function (given) {
        var e = new _p.PersoniumException(given); return [e.code, e.message, e.name, e instanceof Error]; });";
    let name = "_p.PersoniumException";
    let expected = json!([
        [409, "{\"a\":1}", name, true],
        [0, "Invalid", name, true],
        [0, "text", name, true]
    ]);
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn uncaught_failure_of_the_library_is_answered_with_its_message() {
    let unit = ScriptUnit::new().await;
    let script = "function () {\n  return _p.as('serviceSubject').cell().ctl.role.retrieve({Name:'nope'});\n}";
    unit.put_script(script).await;
    let response = unit.call_script().await.expect(500);
    let text = response.text();
    assert!(
        text.starts_with("Server Error : _p.PersoniumException: {\"code\":\"PR404-OD-0002\""),
        "{text}"
    );
    assert!(text.ends_with("(unnamed script#2)"), "{text}");
}

#[tokio::test]
async fn details_of_the_java_client_are_kept() {
    let unit = ScriptUnit::new().await;
    unit.unit
        .create_odata_collection("c/app/details", "Item")
        .await;
    let code = "
        var set = box.odata('details').entitySet('Item'), home = _p.as('client').cell(), path = box.getPath();
        set.create({__id: 'a', n: 1});
        set.update('a', {n: 2}, null);
        set.merge('a', {m: 3}, null);
        var e = set.retrieve('a');
        var says = function (f) { try { return f(); } catch (e) { return [e.name, e.code, e.message]; } };
        var call = function (charset) { return box.service('svc').call('none', 'x', 'a/b').bodyAsString(charset); };
        return [e.n, e.m, home.box(0).name, home.box(false).name, box.col('資料').col('/x y').getPath() === path + '/資料/x y',
          says(function () { _p.as(); }), says(function () { _p.as(null); }), says(function () { _p.as(5); }),
          says(function () { call('nope'); }), says(function () { call(null); }), box.service('svc').call('none', 'x', 'a/b').statusCode,
          pjvm.baseUrl === pjvm.getBaseUrl(), pjvm.boxName, pjvm.currentCellName, pjvm.boxSchema === pjvm.getBoxSchema(),
          pjvm.clientToken === pjvm.getClientToken(), pjvm.setPersoniumVersion('1.8'), pjvm.getPersoniumVersion()];";
    let expected = json!([
        2,
        3,
        "app",
        "app",
        true,
        [
            "_p.PersoniumException",
            0,
            "read property \"cellUrl\" from undefined"
        ],
        [
            "_p.PersoniumException",
            0,
            "read property \"cellUrl\" from null"
        ],
        ["_p.PersoniumException", 0, "Invalid"],
        [
            "JavaException",
            null,
            "io.personium.client.DaoException: 0,io exception"
        ],
        [
            "JavaException",
            null,
            "java.lang.NullPointerException: charsetName"
        ],
        404,
        true,
        "app",
        "c",
        true,
        true,
        null,
        "1.8"
    ]);
    assert_eq!(unit.value(code).await, expected);
}
