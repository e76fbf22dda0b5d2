//! The language of scripts.

use serde_json::json;

use super::{run, unit, value_of};

#[tokio::test]
async fn scripts_are_sloppy_expressions() {
    let unit = unit().await;
    for script in [
        "// comments\n/* before */ function (request) { return answer(); }\nfunction answer() { return {status: 200, headers: {}, body: ['ok']}; }\nvar more = 1;",
        "function named(request) { undeclared = 'ok'; return {status: 200, headers: {}, body: [undeclared]}; }",
        "(function() { return function(request) { return {status: 200, headers: {}, body: ['ok']}; }; })()",
        "request => ({status: 200, headers: {}, body: ['ok']})",
        "async (request) => ({status: 200, headers: {}, body: [await Promise.resolve('ok')]})",
        "function(request) { return {status: 200, headers: {}, body: [this === globalThis ? 'ok' : 'other']}; }",
        "function(request) { with ({a: 'ok'}) { return {status: 200, headers: {}, body: [a]}; } }",
        "function(request) { let out = []; Promise.resolve().then(() => { out.push('ok'); }); return {status: 200, headers: {}, body: out}; }",
        "function(request) { return {status: 200, headers: {}, body: {forEach: function(f) { f('o'); f('k'); }}}; }",
        "function(request) { return {status: 200, headers: {}, body: [new String('o') + new String('k')]}; }",
    ] {
        let response = run(&unit, script).await;
        assert_eq!(
            (response.status.as_u16(), response.text().as_str()),
            (200, "ok"),
            "{script}"
        );
    }
}

#[tokio::test]
async fn language_is_that_of_2023_without_ways_out() {
    let unit = unit().await;
    let seen = value_of(
        &unit,
        "(() => { class A { #x = 1n; get x() { return Number(this.#x); } } const {a = 2, ...rest} = {b: 3}; \
         return [new A().x, a, rest, [1, [2, [3]]].flat(Infinity), [3, 1].toSorted(), 'x'.at(-1), 2 ** 3, null ?? 4, \
         'a-b'.replaceAll('-', '+'), Object.fromEntries([['k', 1]]), /(?<y>\\d)/.exec('a1').groups.y]; })()",
    )
    .await;
    let expected = json!([1, 2, {"b": 3}, [1, 2, 3], [1, 3], "x", 8, 4, "a+b", {"k": 1}, "1"]);
    assert_eq!(seen, expected);
    let absent = "['print', 'load', 'setTimeout', 'XMLHttpRequest', 'fetch', 'importPackage', 'process', 'std', 'os', 'host', 'native', \
                  'Deno', 'gc', '__personium_main'].filter((name) => name in globalThis)";
    assert_eq!(value_of(&unit, absent).await, json!([]));
    let modules = run(
        &unit,
        "async function(r) { await import('os'); return {status: 200, headers: {}, body: []}; }",
    )
    .await;
    assert_eq!(modules.status, 500);
}
