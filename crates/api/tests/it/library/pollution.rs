//! Scripts that replace what the language has: the library and the checks of the response work as before.

use personium_testkit::TestResponse;
use serde_json::json;

use super::{ScriptUnit, register};

const SCRIPT: &str = "c/app/svc/__src/polluted.js";

/// Changes of the language by scripts, before they use the library.
const POLLUTIONS: [(&str, &str); 20] = [
    (
        "toJSON of objects",
        "Object.prototype.toJSON = function () { return 'gone'; };",
    ),
    (
        "toJSON of lists and texts",
        "Array.prototype.toJSON = function () { return 'gone'; }; String.prototype.toJSON = Array.prototype.toJSON;",
    ),
    (
        "JSON",
        "JSON.stringify = JSON.parse = function () { return 'gone'; };",
    ),
    (
        "descriptors",
        "Object.prototype.get = 5; Object.prototype.set = 'x'; Object.prototype.writable = false; Object.prototype.enumerable = false;",
    ),
    (
        "getters of objects",
        "'accept body headers token tokens kind schema grant last stream then family code refused text stack status charset lines body results d ok message'
           .split(' ').forEach(function (name) {
             Object.defineProperty(Object.prototype, name, {get: function () { throw name; }, set: function () { throw name; }, configurable: true}); });",
    ),
    (
        "members of objects",
        "'accept body headers token tokens schema grant last stream then code refused extensions'
           .split(' ').forEach(function (name) { Object.prototype[name] = 'mine'; });",
    ),
    (
        "indexes of lists",
        "for (var i = 0; i < 8; i += 1) {
           Object.defineProperty(Array.prototype, i, {get: function () { throw 'read'; }, set: function () { throw 'written'; }}); }",
    ),
    (
        "fixed indexes of lists",
        "for (var i = 0; i < 8; i += 1) Object.defineProperty(Array.prototype, i, {value: 'mine'});",
    ),
    (
        "indexes of objects",
        "for (var i = 0; i < 8; i += 1) {
           Object.defineProperty(Object.prototype, i, {get: function () { throw 'read'; }, set: function () { throw 'written'; }}); }",
    ),
    (
        "iterators",
        "Array.prototype[Symbol.iterator] = null; String.prototype[Symbol.iterator] = null;",
    ),
    (
        "methods of lists",
        "Object.getOwnPropertyNames(Array.prototype).forEach(function (name) {
           if (typeof Array.prototype[name] === 'function' && name !== 'forEach') Array.prototype[name] = null; }); Array.prototype.forEach = null;",
    ),
    (
        "methods of texts",
        "Object.getOwnPropertyNames(String.prototype).forEach(function (name) { if (name !== 'length') String.prototype[name] = null; });",
    ),
    (
        "patterns",
        "RegExp.prototype.exec = RegExp.prototype.test = function () { return null; }; RegExp.prototype[Symbol.replace] = null;
         RegExp.prototype[Symbol.split] = null; Object.defineProperty(RegExp.prototype, 'flags', {get: function () { throw 'flags'; }});",
    ),
    (
        "functions",
        "Function.prototype.call = Function.prototype.apply = Function.prototype.bind = null;",
    ),
    (
        "methods of classes",
        "Object.getOwnPropertyNames(Object).forEach(function (name) { try { Object[name] = null; } catch (e) {} });
         Object.prototype.hasOwnProperty = null; Array.isArray = null; String.fromCharCode = null; ArrayBuffer.isView = null;",
    ),
    (
        "maps",
        "WeakMap.prototype.get = WeakMap.prototype.set = Map.prototype.get = Map.prototype.set = function () { return 7; };",
    ),
    (
        "globals",
        "String = Number = Object = Array = RegExp = WeakMap = Proxy = Reflect = Symbol = Promise = JSON = ArrayBuffer = Uint8Array = Error =
         TypeError = encodeURIComponent = decodeURIComponent = undefined;",
    ),
    (
        "stacks",
        "Error.prepareStackTrace = function () { throw 'stack'; }; Error.stackTraceLimit = 0;",
    ),
    (
        "instances",
        "[Error, String, ArrayBuffer].forEach(function (f) {
           Object.defineProperty(f, Symbol.hasInstance, {value: function () { return false; }}); });",
    ),
    (
        "promises",
        "Promise.prototype.then = null; Promise.resolve = null; Object.prototype.constructor = null;",
    ),
];

/// Uses the library; `out` is what it found.
const USE: &str = "
    var home = _p.as('serviceSubject').cell(), box = home.box();
    box.put('made', 'text/plain', 'content');
    var out = box.getString('made') + ',' + box.getFileList().length + ',' + home.ctl.role.retrieve('known').name;
    out += ',' + home.ctl.role.query().filter('Name eq \\'known\\'').top(1).run().d.results.length;
    var set = box.odata('od').entitySet('E');
    out += ',' + set.retrieve('one').__id + ',' + set.query().run().d.results[0].__id;
    out += ',' + home.acl.get().ace.length + ',' + home.getToken().token_type;
    out += ',' + _p.as({cellUrl: 'c', userId: 'me', password: 'password1'}).cell().getToken().token_type;
    out += ',' + new _p.extension.HttpClient().get('http://unit.example/c/app/made', null).status;
    out += ',' + require('module').value + ',' + _p.util.queryParse('a=1&b=2').b + ',' + _p.util.escape4xss('<');
    try { box.getString('none'); } catch (e) { out += ',' + e.code; }
    console.log('line', 1);
    box.del('made');";

async fn polluted_unit() -> ScriptUnit {
    let unit = ScriptUnit::new().await;
    let routes = [("run", "run.js"), ("polluted", "polluted.js")];
    register(&unit.unit, "c/app/svc", Some("subject"), &routes).await;
    let module = "c/app/svc/__src/module.js";
    unit.unit.put_file(module, "exports.value = 'mine';").await;
    let prepared = "box.mkOData('od'); box.odata('od').schema.entityType.create({Name:'E'});
        box.odata('od').entitySet('E').create({__id:'one'}); cell.ctl.role.create({Name:'known'}); return 1;";
    assert_eq!(unit.value(prepared).await, json!(1));
    unit
}

async fn run(unit: &ScriptUnit, body: &str) -> TestResponse {
    let script = format!("function (request) {{ {body} }}");
    unit.unit.put_file(SCRIPT, &script).await;
    unit.caller
        .request("GET", "c/app/svc/polluted")
        .send()
        .await
}

#[tokio::test]
async fn responses_and_failures_of_polluted_scripts_are_their_own() {
    let unit = polluted_unit().await;
    for (name, pollution) in POLLUTIONS {
        let answer = "return {status: 201, headers: {'Content-Type': 'text/plain;charset=utf-8', 'X-A': 'b'}, body: ['a', 'b']};";
        let answered = run(&unit, &format!("{pollution} {answer}")).await;
        assert_eq!(answered.status, 201, "{name}: {}", answered.text());
        assert_eq!(answered.text(), "ab", "{name}");
        assert_eq!(answered.header("x-a"), Some("b"), "{name}");
        let refused = run(
            &unit,
            &format!("{pollution} return {{status: 'x', headers: {{}}, body: []}};"),
        )
        .await;
        assert_eq!(refused.status, 500, "{name}");
        let expected = "Server Error : response status illegal type.";
        assert_eq!(refused.text(), expected, "{name}");
        let failed = run(&unit, &format!("{pollution} throw 'mine';")).await;
        assert_eq!(failed.status, 500, "{name}");
        assert!(
            failed.text().starts_with("Server Error : mine"),
            "{name}: {}",
            failed.text()
        );
    }
}

#[tokio::test]
async fn library_works_for_polluted_scripts() {
    let unit = polluted_unit().await;
    let answer = "return {status: 200, headers: {}, body: [out]};";
    let clean = run(&unit, &format!("{USE} {answer}")).await.expect(200);
    for (name, pollution) in POLLUTIONS {
        let answered = run(&unit, &format!("{pollution} {USE} {answer}")).await;
        assert_eq!(answered.status, 200, "{name}: {}", answered.text());
        assert_eq!(answered.text(), clean.text(), "{name}");
    }
    assert!(clean.text().starts_with("content,"), "{}", clean.text());
}

/// Values of every kind that JSON has, by the library. `out` is what it has stored and written.
const WRITE: &str = "
    var set = _p.as('serviceSubject').cell().box().odata('od').entitySet('E'), out = '';
    set.merge('one', {number: new Number(5), text: new String('t'), truth: new Boolean(false), none: undefined, act: function () {}}, '*');
    var merged = set.retrieve('one');
    out += merged.number + merged.text + merged.truth + merged.none + merged.act;
    var response = new JSGIResponse(), circle = {inner: {}};
    response.setResponseData({list: [1, null, undefined, NaN, {a: [[{}]], 日: 'line\\nbreak'}], day: new Date(0),
      own: {toJSON: function (name) { return ['as', name]; }}, hidden: Object.defineProperty({}, 'x', {value: 1})});
    out += response.body;
    circle.inner.circle = circle;
    try { set.merge('one', circle, '*'); } catch (e) { out += e.name; }
    try { response.setResponseData({big: 5n}); } catch (e) { out += e.name; }
    console.log({one: [{two: 1}]});";

#[tokio::test]
async fn values_are_written_as_json_whatever_lists_inherit() {
    let unit = polluted_unit().await;
    let answer = "return {status: 200, headers: {}, body: [out]};";
    let clean = run(&unit, &format!("{WRITE} {answer}")).await.expect(200);
    for (name, pollution) in POLLUTIONS {
        if !name.contains("indexes") {
            continue;
        }
        let answered = run(&unit, &format!("{pollution} {WRITE} {answer}")).await;
        assert_eq!(answered.status, 200, "{name}: {}", answered.text());
        assert_eq!(answered.text(), clean.text(), "{name}");
    }
    let text = clean.text();
    let begin = "5tfalseundefinedundefined{\"list\":[1,null,null,null,{\"a\":[[{}]],\"日\":\"line\\nbreak\"}],\"day\":\"1970-";
    assert!(text.starts_with(begin), "{text}");
    let end = "\"own\":[\"as\",\"own\"],\"hidden\":{}}_p.PersoniumExceptionTypeError";
    assert!(text.ends_with(end), "{text}");
}
