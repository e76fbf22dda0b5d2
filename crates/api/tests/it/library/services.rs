//! Calls of services, events and logs.

use serde_json::json;

use super::{ScriptUnit, register};

#[tokio::test]
async fn call_of_a_service_returns_its_response_whatever_its_status() {
    let unit = ScriptUnit::new().await;
    unit.unit.create_collection("c/app/other", "service").await;
    register(&unit.unit, "c/app/other", None, &[("echo/{id}", "echo.js")]).await;
    let echo = "function (request) { return {status:418, headers:{'X-Two':'2', 'Content-Type':'application/json'},
        body:[JSON.stringify([request.method, request.input.readAll(), request.headers['content-type'] || null, request.pathParameters.id])]}; }";
    unit.unit.put_file("c/app/other/__src/echo.js", echo).await;
    let code = "var service = box.service('other');
        var r = service.call('echo/1', '日本', 'text/plain;charset=utf-8');
        var stream = service.call('echo/2', 'x', 'text/plain').bodyAsStream();
        box.put('copy', 'application/json', stream);
        return [r.getStatusCode(), r.getHeader('X-Two'), r.getHeader('x-two'), r.getHeader('nope'), JSON.parse(r.bodyAsString()), typeof r.bodyAsJson(),
          JSON.parse(service.call('echo/3').bodyAsJson()), JSON.parse(box.getString('copy'))[3],
          service.call('nosuch', 'x', 'text/plain').getStatusCode(), service.call('nosuch', 'x', 'text/plain').bodyAsString(),
          box.service('nosuch').call('x', 'x', 'text/plain').getStatusCode(), service.name];";
    let expected = json!([
        418,
        "2",
        "2",
        "",
        ["POST", "日本", "text/plain;charset=utf-8", "1"],
        "string",
        ["POST", "undefined", "undefined", "3"],
        "2",
        404,
        "404 Not Found",
        404,
        ""
    ]);
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn call_of_a_service_needs_exec_of_the_identity() {
    let unit = ScriptUnit::new().await;
    unit.unit.create_collection("c/app/other", "service").await;
    register(&unit.unit, "c/app/other", None, &[("x", "x.js")]).await;
    let script = "function () { return {status:200, headers:{}, body:['done']}; }";
    unit.unit.put_file("c/app/other/__src/x.js", script).await;
    let code = "return [own, box].map(function (b) { var r = b.service('other').call('x', '', 'text/plain');
        return [r.getStatusCode(), r.bodyAsString().slice(0, 23)]; });";
    let denied = json!([403, "{\"code\":\"PR403-AU-0002\""]);
    assert_eq!(unit.value(code).await, json!([denied, [200, "done"]]));
    unit.unit
        .grant_by_new_role("c/app/other", ("me", "executes"), &["p:exec"])
        .await;
    assert_eq!(
        unit.value(code).await,
        json!([[200, "done"], [200, "done"]])
    );
}

#[tokio::test]
async fn values_are_sent_as_their_texts() {
    let unit = ScriptUnit::new().await;
    let echo = "function (request) { return {status:200, headers:{}, body:[[request.input.readAll(), request.headers['content-type'],
        request.queryString].join('|')]}; }";
    unit.put_script(echo).await;
    let code = "var call = function (name, body, type) { return box.service('svc').call(name, body, type).bodyAsString(); };
        return [5, true, {a: 1}, [1, 'b'], '', null, undefined].map(function (body) { return call('other', body, 'a/b'); }).concat([
          call('other', 'x', null), call('other', 'x', ''), call('other', 'x'), call('other', '', null), call('other?/a=日&b=%41', 'x', 'a/b'),
          call(5, 'x', 'a/b'), call(undefined, 'x', 'a/b')]);";
    let typed = |text: &str| format!("{text}|a/b|");
    let plain = "x|text/plain; charset=UTF-8|";
    let missing = "404 Not Found";
    let expected = json!([
        typed("5"),
        typed("true"),
        typed("[object Object]"),
        typed("1,b"),
        typed(""),
        typed(""),
        typed("undefined"),
        plain,
        plain,
        "x|undefined|",
        "||",
        "x|a/b|/a=%E6%97%A5&b=%41",
        missing,
        missing
    ]);
    assert_eq!(unit.value(code).await, expected);
    let code = "var r = box.service('svc').call('none', 'x', 'a/b'); try { r.bodyAsJson(); } catch (e) { return [e.name, e.message, r.bodyAsString()]; }";
    let thrown = "io.personium.client.DaoException: 0,parse exception: null";
    assert_eq!(
        unit.value(code).await,
        json!(["JavaException", thrown, missing])
    );
    let code = "return ['', null].map(function (name) { return fails(function () { box.service('svc').call(name, 'x', 'text/plain'); }); })
        .concat([request.input.stream(), new Uint8Array(1)].map(function (body) { return fails(function () { box.service('svc').call('other', body, 'a/b'); }); }));";
    for outcome in unit.value(code).await.as_array().unwrap() {
        assert_eq!(*outcome, json!([0, "Invalid"]));
    }
}

#[tokio::test]
async fn service_that_calls_itself_without_end_is_stopped() {
    let unit = ScriptUnit::new().await;
    let script = "function () { var r;
        try { r = _p.as('serviceSubject').cell().box().service('svc').call('other', 'x', 'text/plain').bodyAsString(); } catch (e) { r = e.message; }
        return {status:200, headers:{}, body:['(', r, ')']}; }";
    unit.put_script(script).await;
    let text = unit.call_script().await.expect(200).text();
    let depth = text.matches('(').count();
    assert!((2..=20).contains(&depth), "{text}");
    assert!(text.contains("io exception : "), "{text}");
}

#[tokio::test]
async fn events_are_posted_with_the_key_of_the_request_or_their_own() {
    let unit = ScriptUnit::new().await;
    let rule = json!({"Name": "r", "EventExternal": true, "Action": "log"}).to_string();
    unit.unit.create("c/__ctl/Rule", &rule).await;
    let code = "var posted = cell.event.post({Type:'t1', Object:'o', Info:'i'}, 'own-key');
        cell.event.post({level:'INFO', action:'old', object:'o', result:'r'});
        return [posted.getStatusCode(), fails(function () { mine.event.post({Type:'t2'}); }), fails(function () { cell.event.post(); }),
          fails(function () { cell.event.post('x'); }), fails(function () { cell.event.post({Type:5}); })[0]];";
    let request = unit.caller.request("POST", "c/app/svc/run");
    let request = request
        .header("x-personium-requestkey", "key-of-request")
        .body(code);
    let out = request.send().await.expect(200).json()["value"].take();
    let invalid = json!([0, "Invalid"]);
    assert_eq!(
        out,
        json!([200, [403, "PR403-AU-0002"], invalid, invalid, 400])
    );
    let lines = crate::event::wait_for_log_lines(&unit.unit, "c", 2).await;
    assert!(
        lines[0].contains("own-key") && lines[0].contains("t1"),
        "{lines:?}"
    );
    assert!(lines[1].contains("key-of-request"), "{lines:?}");
}

#[tokio::test]
async fn logs_are_read_as_text_and_as_stream() {
    let unit = ScriptUnit::new().await;
    let rule = json!({"Name": "r", "EventExternal": true, "Action": "log"}).to_string();
    unit.unit.create("c/__ctl/Rule", &rule).await;
    unit.value("cell.event.post({Type:'type-of-log'});").await;
    crate::event::wait_for_log_lines(&unit.unit, "c", 1).await;
    let code = "var log = cell.currentLog.getString('default.log'), again = cell.currentLog.getStream('default.log', 'a-key');
        box.put('log', 'text/csv', again.getStreamBody());
        return [log.getStatusCode(), log.getStringBody().indexOf('type-of-log') > 0, log.getHeaders()['content-type'].slice(0, 8),
          box.getString('log').indexOf('type-of-log') > 0,
          fails(function () { cell.archiveLog.getString('default.log.1'); })[0], fails(function () { cell.archiveLog.getStream('default.log.1'); })[0],
          fails(function () { mine.currentLog.getString('default.log'); }), fails(function () { mine.archiveLog.getString('default.log.1'); }),
          fails(function () { cell.currentLog.getString(); })];";
    let denied = json!([403, "PR403-AU-0002"]);
    let expected = json!([
        0,
        true,
        "text/csv",
        true,
        404,
        404,
        denied,
        denied,
        [0, "Invalid"]
    ]);
    assert_eq!(unit.value(code).await, expected);
}
