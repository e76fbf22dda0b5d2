//! Limits of scripts: each ends with an answer, while other requests are answered.

use std::time::Duration;

use personium_testkit::{TestUnit, wait_until};

use super::{failure_of, put, run, unit, unit_with, value_of, wait_for_a_script_that_ends};

/// A unit whose scripts have one second.
async fn hurried() -> TestUnit {
    unit_with(|settings| settings.scripts.limits.timeout = Duration::from_secs(1)).await
}

/// Scripts that would never end.
const ENDLESS: &[&str] = &[
    "function(r) { for (;;); }",
    "function(r) { try { for (;;); } catch (e) {} finally { for (;;); } }",
    "function(r) { for (;;) { try { for (;;); } catch (e) {} } }",
    "function(r) { function f() { Promise.resolve().then(f); Promise.resolve().then(f); } f(); }",
    "async function(r) { for (;;) await null; }",
    "function(r) { return {status: 200, headers: {}, body: {forEach: function() { for (;;); }}}; }",
    "function(r) { return {status: 200, headers: {}, get body() { for (;;); }}; }",
    "function(r) { throw {toString: function() { for (;;); }}; }",
    "function(r) { return /(x+x+)+y/.test('x'.repeat(40)); }",
    "function(r) { 'x'.repeat(100000).replace(/(?:x+)+$|y/g, ''); return /^(a|aa)+$/.test('a'.repeat(60) + 'b'); }",
    "function(r) { Array.prototype.indexOf.call({length: 2 ** 53 - 1}, 1); }",
    "function(r) { [3, 2, 1].sort(() => { for (;;); }); }",
    "function(r) { JSON.stringify({toJSON: () => { for (;;); }}); }",
    "function(r) { return new Proxy({}, {get: () => { for (;;); }}); }",
    "function(r) { let i = 0; for (;;) request(i++); function request(n) { new Array(10).fill(n); } }",
];

#[tokio::test]
async fn endless_scripts_are_stopped_by_their_time_limit() {
    let unit = hurried().await;
    for script in ENDLESS {
        // On a busy machine the script before may not have ended; until then its cell begins no other.
        wait_until("an end by the time limit", async || {
            let response = run(&unit, script).await;
            assert_eq!(response.status, 503, "{script}: {}", response.text());
            response.text() == "Script TimeOut"
        })
        .await;
    }
    wait_for_a_script_that_ends(&unit).await;
}

#[tokio::test]
async fn promise_that_is_never_settled_is_a_failure() {
    let unit = unit().await;
    let text = failure_of(&unit, "function(r) { return new Promise(() => {}); }").await;
    assert!(text.contains("promise"), "{text}");
}

#[tokio::test]
async fn other_requests_are_answered_while_scripts_loop() {
    let unit = unit_with(|settings| settings.scripts.limits.timeout = Duration::from_mins(1)).await;
    put(&unit, "t.js", "function(r) { for (;;); }").await;
    unit.put_file("c/b/file", "content").await;
    // More than there are processors.
    let loops: Vec<_> = (0..12)
        .map(|_| {
            let request = unit.admin_request("GET", "c/b/svc/t");
            tokio::spawn(async move { request.send().await.status })
        })
        .collect();
    while unit.service.scripts_started() < 12 {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        unit.admin_request("GET", "c/b/file")
            .send()
            .await
            .expect(200);
    }
    assert!(loops.iter().all(|script| !script.is_finished()));
    for script in loops {
        assert_eq!(script.await.unwrap(), 503);
    }
}

#[tokio::test]
async fn memory_of_a_script_is_limited() {
    let unit = unit_with(|settings| settings.scripts.limits.memory_max_bytes = 16 << 20).await;
    for script in [
        "function(r) { const all = []; for (;;) all.push(new Array(1000).fill(0)); }",
        "function(r) { let s = 'x'; for (;;) s += s + s; }",
        "function(r) { return 'x'.repeat(1 << 29); }",
        "function(r) { new ArrayBuffer(1 << 30); }",
        "function(r) { new SharedArrayBuffer(1 << 30); }",
        "function(r) { new Uint8Array(1e10); }",
        "function(r) { const m = new Map(); for (let i = 0; ; i += 1) m.set(i, {}); }",
        "function(r) { let o = {}; for (let i = 0; ; i += 1) o = {o}; }",
        "function(r) { for (let i = 0; ; i += 1) globalThis['x' + i] = i; }",
        "function(r) { const all = []; try { for (;;) all.push({}); } catch (e) { for (;;) all.push({}); } }",
        "function(r) { new Array(1e6).join('x'.repeat(1e6)); }",
        "function(r) { 2n ** (2n ** 40n); }",
        "function(r) { return JSON.parse('['.repeat(1e7)); }",
        "function(r) { return new RegExp('(a{1000}){1000}').test('a'); }",
    ] {
        let response = run(&unit, script).await;
        assert_eq!(response.status, 500, "{script}: {}", response.text());
        assert!(
            response.text().starts_with("Server Error : "),
            "{script}: {}",
            response.text()
        );
    }
    assert_eq!(value_of(&unit, "1 + 1").await, 2);
}

#[tokio::test]
async fn deep_recursion_is_an_error_that_the_script_can_catch() {
    let unit = unit().await;
    for script in [
        "function(r) { function f() { return f() + 1; } f(); }",
        "function(r) { const o = {}; o.toString = function() { return '' + o; }; return '' + o; }",
        "function(r) { let p = {}; for (let i = 0; i < 1e5; i += 1) p = new Proxy(p, {}); return p.x; }",
        "function(r) { let a = []; for (let i = 0; i < 1e5; i += 1) a = [a]; return JSON.stringify(a); }",
        "function(r) { eval('('.repeat(1e6)); }",
        "function(r) { new RegExp('('.repeat(1e6)); }",
        "function(r) { require('t'); }",
    ] {
        let response = run(&unit, script).await;
        assert_eq!(response.status, 500, "{script}: {}", response.text());
    }
    put(&unit, "again.js", "require('again');").await;
    let caught = "(() => { let depth = 0; try { (function f() { depth += 1; f(); })(); } catch (e) { return depth > 500 && e instanceof Error; } })()";
    assert_eq!(value_of(&unit, caught).await, true);
    let modules =
        "(() => { try { require('again'); } catch (e) { return e instanceof Error; } })()";
    assert_eq!(value_of(&unit, modules).await, true);
}

#[tokio::test]
async fn output_of_a_script_is_limited() {
    let unit = unit_with(|settings| settings.scripts.limits.output_max_bytes = 1 << 20).await;
    let whole = "function(r) { return {status: 200, headers: {}, body: ['x'.repeat(SIZE)]}; }";
    let small = run(&unit, &whole.replace("SIZE", "1 << 20")).await;
    assert_eq!((small.status.as_u16(), small.body.len()), (200, 1 << 20));
    let text = failure_of(&unit, &whole.replace("SIZE", "(1 << 20) + 1")).await;
    assert!(text.contains("1048576"), "{text}");
    // The error of an endless text is cut.
    let text = failure_of(&unit, "function(r) { throw 'y'.repeat(1 << 20); }").await;
    assert!(text.len() < 10_000, "{}", text.len());
    let header =
        "function(r) { return {status: 200, headers: {a: 'x'.repeat(1 << 20)}, body: []}; }";
    let refused = run(&unit, header).await;
    assert_eq!(
        refused.status,
        500,
        "{:?}",
        refused.header("a").map(str::len)
    );
}

#[tokio::test]
async fn threads_cannot_be_blocked() {
    let unit = hurried().await;
    let script = "function(r) { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); }";
    let response = run(&unit, script).await;
    assert_eq!(response.status, 500, "{}", response.text());
}

/// A function such as `shift` ends only when its work is done. The answer is the same, and other requests do not wait for it.
#[tokio::test]
async fn script_in_a_function_that_does_not_look_at_the_time_is_answered() {
    let unit =
        unit_with(|settings| settings.scripts.limits.timeout = Duration::from_millis(200)).await;
    let script = "function(r) { Array.prototype.shift.call({length: 5000000}); for (;;); }";
    let response = run(&unit, script).await;
    assert_eq!(response.status, 503, "{}", response.text());
    unit.put_file("c/b/file", "content").await;
    let read = unit.admin_request("GET", "c/b/file").send().await;
    assert_eq!(read.text(), "content");
}
