//! Scripts that attack the engine: each ends with an answer, and other requests are answered meanwhile.

use std::time::Duration;

use personium_testkit::{StubServer, wait_until};
use serde_json::json;

use super::{failure_of, put, run, unit, unit_with, value_of, wait_for_a_script_that_ends};

/// Scripts that are not done when their response is.
const GO_ON: &[&str] = &[
    "(function again() { Promise.resolve().then(again); })();",
    "(async function () { for (;;) await null; })();",
    "(async function () { await null; console.log('late'); for (;;); })();",
    "queueMicrotask(function () { console.log('late'); for (;;); });",
    "new Promise(function () {}).finally(function () { console.log('late'); });",
    "(async function* () { for (;;) yield 1; })().next().then(function () { console.log('late'); for (;;); });",
];

/// Jobs that a script leaves behind never run. What it has queued before its function returns is done first.
#[tokio::test]
async fn nothing_goes_on_after_the_response() {
    let unit = unit().await;
    for job in GO_ON {
        let script = format!(
            "function(r) {{ return {{status: 200, headers: {{}}, body: {{forEach: function (write) {{
               write('all'); {job} new FinalizationRegistry(function () {{ console.log('late'); }}).register({{}}, 1); }}}}}}; }}"
        );
        let response = run(&unit, &script).await;
        assert_eq!(response.status, 200, "{job}: {}", response.text());
        assert_eq!(response.text(), "all", "{job}");
    }
    let log = unit.admin_request("GET", "c/__log/current/default.log");
    let lines = log.send().await;
    assert!(!lines.text().contains("late"), "{}", lines.text());
}

#[tokio::test]
async fn bytecode_and_modules_of_the_engine_are_not_loaded() {
    let unit = unit().await;
    // A module as the engine would write it: version, atoms, a function. And the same as text.
    let bytes: &[u8] = &[
        0x15, 0x01, 0x02, 0x66, 0x0d, 0xc0, 0x00, 0x02, 0x01, 0xa0, 0xff,
    ];
    let path = "c/b/svc/__src/t.js";
    let stored = unit.admin_request("PUT", path).body(bytes).send().await;
    assert_eq!(stored.status, 201, "{}", stored.text());
    let run_bytes = unit.admin_request("GET", "c/b/svc/t").send().await;
    assert_eq!(run_bytes.status, 500);
    let text = run_bytes.text();
    assert!(text.starts_with("Server Error : "), "{text}");
    let stored = unit.admin_request("PUT", "c/b/svc/__src/code.js");
    stored.body(bytes).send().await.expect(201);
    let text = failure_of(&unit, "function(r) { require('code'); }").await;
    assert!(text.contains("syntax error (code#1)"), "{text}");
    let ascii: Vec<u8> = bytes.iter().map(|byte| byte & 0x7f).collect();
    let stored = unit.admin_request("PUT", "c/b/svc/__src/code.js");
    stored.body(ascii).send().await.expect(204);
    let text = failure_of(&unit, "function(r) { require('code'); }").await;
    assert!(text.contains("syntax error (code#1)"), "{text}");
    // What is no text is its own value.
    let evaluated = "[eval(new Uint8Array([21, 1, 2])).length, typeof eval(new ArrayBuffer(8)),
      [String.fromCharCode(21, 1, 2), '\\u0015\\u0001'].map(function (text) {
        return [eval, Function, require].map(function (f) { try { f(text); return 'loaded'; } catch (e) { return e.name; } }); })]";
    let refused = json!(["SyntaxError", "SyntaxError", "JavaException"]);
    assert_eq!(
        value_of(&unit, evaluated).await,
        json!([3, "object", [refused, refused]])
    );
    let names = [
        "std",
        "os",
        "bjson",
        "host.js",
        "personium:host.js",
        "./t.js",
        "file:///etc/passwd",
    ];
    for name in names {
        let script = format!(
            "function(r) {{ return import('{name}').then(function () {{ throw 'loaded'; }}, function (e) {{
               return {{status: 200, headers: {{}}, body: [e.name]}}; }}); }}"
        );
        let response = run(&unit, &script).await;
        assert_eq!(
            (response.status.as_u16(), response.text().as_str()),
            (200, "ReferenceError"),
            "{name}"
        );
    }
    let absent = "['std', 'os', 'bjson', 'print', 'load', 'performance', 'navigator', 'scriptArgs'].filter(function (n) { return typeof globalThis[n] !== 'undefined'; })";
    assert_eq!(value_of(&unit, absent).await, json!([]));
}

/// Scripts that throw for ever, or put what never ends where the engine looks when it makes an error.
const ENDLESS_ERRORS: &[&str] = &[
    "for (;;) { try { null.x; } catch (e) {} }",
    "for (;;) { try { null.x; } catch (e) {} try { none(); } catch (e) {} }",
    "for (;;) { try { null.x; } catch (e) {} try { null.y; } catch (e) {} try { null.z; } catch (e) {} }",
    "for (;;) new Error('m');",
    "for (;;) { try { eval('1+'); } catch (e) {} }",
    "for (var n = 0; ; n += 1) { try { null['x' + n]; } catch (e) {} }",
    "for (;;) { try { decodeURIComponent('%'); } catch (e) {} }",
    "Error.prepareStackTrace = function () { for (;;); }; for (;;) { try { null.x; } catch (e) {} new Error('m'); }",
    "Object.getPrototypeOf(TypeError).prepareStackTrace = function () { for (;;); }; for (;;) new Error('m');",
    "Object.defineProperty(Error, 'prepareStackTrace', {get: function () { for (;;); }}); for (;;) { try { null.x; } catch (e) {} }",
    "Error.stackTraceLimit = {valueOf: function () { for (;;); }}; for (;;) { try { null.x; } catch (e) {} new Error('m'); }",
    "Object.defineProperty(Error.prototype, 'message', {get: function () { for (;;); }}); for (;;) { try { null.x; } catch (e) {} }",
    "Object.defineProperty(TypeError.prototype, 'name', {get: function () { for (;;); }}); for (;;) { try { null.x; } catch (e) {} }",
    "var p = new Proxy({}, {defineProperty: function () { for (;;); }}); for (;;) { try { Error.captureStackTrace(p); } catch (e) {} }",
    "for (;;) { var e; try { null.x; } catch (caught) { e = caught; } Object.defineProperty(e, 'message', {get: function () { for (;;); }}); Error.captureStackTrace(e); }",
    "(function f() { try { f(); } catch (e) {} try { f(); } catch (e) {} })(); for (;;);",
    "var big = []; for (;;) { try { big.push(new Array(100000).fill(1)); null.x; } catch (e) {} }",
];

#[tokio::test]
async fn errors_without_end_are_stopped_in_time() {
    let unit =
        unit_with(|settings| settings.scripts.limits.timeout = Duration::from_millis(300)).await;
    for errors in ENDLESS_ERRORS {
        let script = format!("function(r) {{ {errors} }}");
        wait_until("an end by the limit of time", async || {
            let response = run(&unit, &script).await;
            assert!(
                response.status.as_u16() >= 500,
                "{script}: {}",
                response.text()
            );
            response.text() == "Script TimeOut"
        })
        .await;
    }
    wait_for_a_script_that_ends(&unit).await;
}

#[tokio::test]
async fn messages_of_errors_in_huge_and_broken_texts_are_made() {
    let unit = unit().await;
    let many = "[[1, ".repeat(100);
    let long = "x".repeat(20_000);
    for (script, message) in [
        (
            format!("function(r) {{ var a = '{long}'; try {{ a.none(); }} catch (e) {{ throw e.message.length; }} }}"),
            "52 (unnamed script#1)",
        ),
        (
            format!("function(r) {{ null.{long}; }}"),
            "TypeError: Cannot read property",
        ),
        (
            format!("function(r) {{ if (r.none) {{ var a = {many}2{}; }} none.x; var none; }}", "]]".repeat(100)),
            "Cannot read property \"x\" from undefined (unnamed script#1)",
        ),
        (
            format!("function(r) {{ {} none.x; var none; }}", ";".repeat(400_000)),
            "Cannot read property \"x\" from undefined (unnamed script#1)",
        ),
        (
            "function(r) { var s = ''; for (var i = 0; i < 3000; i += 1) { try { eval('var v' + i + '; v' + i + '()'); } catch (e) { s = e.message; } } throw s; }".to_owned(),
            "not a function (unnamed script#1)",
        ),
    ] {
        let text = failure_of(&unit, &script).await;
        let start: String = script.chars().take(80).collect();
        assert!(text.contains(message), "{start}: {text}");
    }
}

#[tokio::test]
async fn functions_of_the_engine_do_not_show_their_source() {
    let unit = unit().await;
    let shown = "(function () {
      var seen = new Set(), shown = [];
      (function walk(value, depth) {
        if (depth > 6 || value === null || (typeof value !== 'object' && typeof value !== 'function') || seen.has(value)) return;
        seen.add(value);
        if (typeof value === 'function' && !/^(async )?(function|class|get|set)?[^{]*\\{\\s*\\[native code\\]\\s*\\}$/.test(Function.prototype.toString.call(value))) {
          shown.push(Function.prototype.toString.call(value).slice(0, 80)); }
        Reflect.ownKeys(value).forEach(function (name) {
          var found = Object.getOwnPropertyDescriptor(value, name);
          [found.get, found.set, found.value].forEach(function (next) { walk(next, depth + 1); });
          try { walk(value[name], depth + 1); } catch (e) {} });
        walk(Object.getPrototypeOf(value), depth + 1);
      })([_p, pjvm, require, console, JSGIResponse, request, _p.as('client').cell(), _p.extension, Packages.io.personium.client.Principal], 0);
      return [seen.size > 300, shown];
    })()";
    assert_eq!(value_of(&unit, shown).await, json!([true, []]));
}

/// Uses of the library with a value `E` whose every use never ends.
const ENDLESS_ARGUMENTS: &[&str] = &[
    "new _p.extension.HttpClient().get('http://unit.example/', {'X-A': E})",
    "new _p.extension.HttpClient().get(E, {})",
    "new _p.extension.HttpClient().post('http://unit.example/', {}, 'text/plain', E)",
    "new _p.extension.HttpClient(P)",
    "new _p.extension.Slack().setConfig(E)",
    "new _p.extension.MailSender().send(P)",
    "cell.ctl.role.create({Name: E})",
    "cell.ctl.role.query().filter(E).run()",
    "cell.box('b').odata('o').entitySet('s').query().top(E).skip(E).run()",
    "cell.box('b').odata('o').entitySet('s').create(P)",
    "cell.box('b').put({path: 'p', contentType: 'text/plain', get data() { for (;;); }})",
    "cell.acl.set({ace: [{role: P, privilege: ['read']}]})",
    "cell.event.post({Type: E})",
    "_p.as(P)",
    "_p.util.queryParse(E)",
    "pjvm.setDefaultHeader('X-A', E)",
    "console.log(E)",
    "require(E)",
    "JSON.stringify({a: new JSGIResponse().setResponseData(E)})",
];

#[tokio::test]
async fn arguments_that_never_end_are_stopped_in_every_call() {
    let unit =
        unit_with(|settings| settings.scripts.limits.timeout = Duration::from_millis(300)).await;
    unit.put_file("c/b/file", "content").await;
    for call in ENDLESS_ARGUMENTS {
        let script = format!(
            "function(r) {{ var forever = function () {{ for (;;); }}, cell = _p.as('client').cell();
               var E = {{toString: forever, valueOf: forever, toJSON: forever, [Symbol.toPrimitive]: forever}};
               var P = new Proxy({{}}, {{get: forever, has: forever, ownKeys: forever, getOwnPropertyDescriptor: forever, getPrototypeOf: forever}});
               for (;;) {{ try {{ {call}; }} catch (e) {{}} }} }}"
        );
        put(&unit, "t.js", &script).await;
        // On a busy machine the script before may not have ended; until then its cell begins no other.
        wait_until("an end by the time limit", async || {
            let request = unit.admin_request("GET", "c/b/svc/t");
            let attack = tokio::spawn(async move { request.send().await });
            let read = unit.admin_request("GET", "c/b/file").send().await;
            assert_eq!(read.text(), "content", "{call}");
            let response = attack.await.unwrap();
            assert_eq!(response.status, 503, "{call}: {}", response.text());
            response.text() == "Script TimeOut"
        })
        .await;
    }
}

#[tokio::test]
async fn buffers_that_change_are_sent_as_they_are_or_refused() {
    let unit = unit_with(|settings| settings.allow_private_networks = true).await;
    let detached = "(function () {
      var message = function (data) { try { _p.as('client').cell().box('b').put({path: 'f', contentType: 'text/plain', data: data}); return 'stored'; }
        catch (e) { return e.name; } };
      var gone = new Uint8Array(8); gone.buffer.transfer();
      var grown = new ArrayBuffer(4, {maxByteLength: 64}), view = new Uint8Array(grown); grown.resize(0);
      var lying = new Uint8Array(4); Object.defineProperty(lying, 'byteLength', {get: function () { return 1 << 30; }});
      Object.defineProperty(lying, 'length', {value: 1 << 30});
      return [gone, view, lying, new Proxy(new Uint8Array(4), {}), Object.create(Uint8Array.prototype), {length: 4}, Symbol(), 5n, function () {}].map(message);
    })()";
    let out = value_of(&unit, detached).await;
    for outcome in out.as_array().unwrap() {
        let known = ["stored", "_p.PersoniumException", "TypeError"];
        assert!(known.contains(&outcome.as_str().unwrap()), "{out}");
    }
    // A number that is no stream of this script is none.
    let forged = "(function () { var message = function (body) { try { return new _p.extension.HttpClient().post('http://unit.example/c/b/x', {}, 'text/plain', body).status; }
      catch (e) { return e.name; } };
      return [message(7), message({handle: 1}), message(Object.create(Object.getPrototypeOf(request.input.stream())))]; })()";
    let out = value_of(&unit, forged).await;
    for outcome in out.as_array().unwrap() {
        assert!(outcome.as_str().unwrap().starts_with('4'), "{out}");
    }
}

#[tokio::test]
async fn texts_that_are_checked_slowly_end_in_time() {
    let unit = unit_with(|settings| settings.scripts.limits.timeout = Duration::from_secs(2)).await;
    for value in [
        "'a/b' + ';a=b '.repeat(1e6) + '!'",
        "'a/b' + ' ;'.repeat(1e6) + '!'",
        "' '.repeat(1e6) + '!'",
        "'a/b;charset=' + '\"'.repeat(1e6)",
    ] {
        let script = format!(
            "function(r) {{ return {{status: 200, headers: {{'Content-Type': {value}}}, body: []}}; }}"
        );
        let response = run(&unit, &script).await;
        assert!(
            [500, 503].contains(&response.status.as_u16()),
            "{value}: {}",
            response.status
        );
    }
    let pieces = "function(r) { return {status: 200, headers: {}, body: {forEach: function (write) { for (;;) write('x'); }}}; }";
    put(&unit, "t.js", pieces).await;
    wait_until("the end of an endless body", async || {
        // Its head is sent: the body is broken off.
        let response = unit.admin_request("GET", "c/b/svc/t").try_send().await;
        response.is_err() || response.is_ok_and(|response| response.status == 503)
    })
    .await;
    let many = "function(r) { var body = []; for (var i = 0; i < 1e5; i += 1) body.push(''); body.push('end'); return {status: 200, headers: {}, body: body}; }";
    wait_until("a body of many parts", async || {
        run(&unit, many).await.text() == "end"
    })
    .await;
}

/// URLs that look as if they were of the unit.
#[tokio::test]
async fn token_of_the_caller_leaves_the_unit_by_no_url() {
    let unit = unit_with(|settings| settings.allow_private_networks = true).await;
    let server = StubServer::start().await;
    let place = server
        .url()
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    for url in [
        format!("http://{place}/c/"),
        format!("http://unit.example@{place}/c/"),
        format!("http://{place}/http://unit.example/c/"),
        format!("http://{place}\\@unit.example/c/"),
        format!("http://{place}#@unit.example/c/"),
        format!("http://{place}?http://unit.example/c/"),
        format!("HTTP://{place}/c/"),
    ] {
        let script = format!(
            "function(r) {{ var out; try {{ _p.as('client').cell('{}').ctl.role.query().run(); out = 'answered'; }} catch (e) {{ out = String(e.code); }}
               return {{status: 200, headers: {{}}, body: [out]}}; }}",
            url.replace('\\', "\\\\")
        );
        put(&unit, "t.js", &script).await;
        let request = unit.admin_request("GET", "c/b/svc/t");
        let answered = tokio::spawn(async move { request.send().await });
        // The server is reached by some of them.
        let arrived = tokio::select! {
            received = server.receive("200 OK", "{}") => Some(received),
            () = wait_for_end(&answered) => None,
        };
        if let Some(received) = arrived {
            assert!(
                received.header("authorization").is_none(),
                "{url}: {}",
                received.head
            );
        }
        let response = answered.await.unwrap();
        assert_eq!(response.status, 200, "{url}: {}", response.text());
    }
}

async fn wait_for_end<T>(task: &tokio::task::JoinHandle<T>) {
    while !task.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn identities_cannot_be_forged() {
    let unit = unit().await;
    unit.create_cell("d").await;
    unit.put_file("d/__/f", "of another cell").await;
    // Without a subject of the service, with a caller who may do nothing else.
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.grant_by_new_role("c/b/svc", ("me", "runs"), &["p:exec"])
        .await;
    let token = unit.access_token("c").await;
    let source = "function(request) { var status = function (act) { try { var out = act(); return typeof out === 'string' ? out : 'done'; } catch (e) { return e.code === undefined ? e.name : e.code; } };
      var get = function (who) { return status(function () { return _p.as(who).cell('d').box('__').getString('f'); }); };
      pjvm.setDefaultHeader('Authorization', 'Bearer forged'); pjvm.setDefaultHeader('X-Personium-Unit-User', 'http://unit.example/d/#me');
      pjvm.setDefaultHeader('X-Forwarded-Host', 'd.unit.example'); pjvm.setDefaultHeader('Host', 'other.example');
      var out = [get('client'), get('service'), get('serviceSubject'), get('caller'), get({accessToken: 'caller'}), get({accessToken: 'service'}),
        get({accessToken: 'token:x'}), get({token: 'service'}), get({accessToken: 'a\\r\\nX-Personium-Unit-User: x'}), get({session: {token: 'service'}}),
        get(Object.create({accessToken: 'x'})), get({cellUrl: 'c', userId: 'me', password: 'wrong'}), get({cellUrl: 'd', accessToken: pjvm.getClientToken()}),
        get({cellUrl: 'd', refreshToken: pjvm.getClientToken()}), get({__proto__: _p.as('client')})];
      return {status: 200, headers: {'Content-Type': 'application/json'}, body: [JSON.stringify(out)]}; }";
    put(&unit, "t.js", source).await;
    let caller = unit.with_token(&token);
    let answered = caller.request("GET", "c/b/svc/t").send().await.expect(200);
    let out = answered.json();
    for outcome in out.as_array().unwrap() {
        let refused = [json!(0), json!(400), json!(401), json!(403)];
        assert!(refused.contains(outcome), "{out}");
    }
}
