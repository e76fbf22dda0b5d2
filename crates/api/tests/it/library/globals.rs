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
        return [u.queryParse('a=1&b=%E6%97%A5&a=2&c&d=x+y&a=3&e=&=f'), u.queryParse(''), u.queryParse(null), u.queryParse(), u.queryParse('q=%93%FA', 'MS932'),
          Object.keys(u.queryParse('__proto__=x')), ({}).x === undefined,
          u.decodeURI('%93%FA+', 'MS932'), u.decodeURI('%E6%97%A5'), u.escape4xss('<a href=\"x\">\\'&'), u.escape4xss({a:'<'}), u.escape4xss(5),
          u.obj2javaJson({a:1}), fails(function () { u.decodeURI('x', 'no-such'); })[0], fails(function () { u.queryParse('a=1', 'no-such'); })[0]];";
    let expected = json!([
        {"a": ["1", "2", "3"], "b": "日", "c": "undefined", "d": "x y", "e": "", "": "f"}, {}, {}, {}, {"q": "日"},
        ["__proto__"], true, "日+", "日", "&lt;a href=&quot;x&quot;&gt;&apos;&amp;", {"a": "<"}, 5, {"a": 1}, 0, 0
    ]);
    assert_eq!(unit.value(code).await, expected);
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
