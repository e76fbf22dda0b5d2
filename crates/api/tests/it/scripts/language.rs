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

#[tokio::test]
async fn errors_of_the_engine_have_the_messages_of_the_reference() {
    let unit = unit().await;
    let undefined =
        "TypeError org.mozilla.javascript.Undefined@0 is not a function, it is undefined.";
    let missing = "Cannot find function f in object [object Object].";
    let cases = [
        (
            "return missing",
            "ReferenceError \"missing\" is not defined.",
        ),
        (
            "return none.x",
            "TypeError Cannot read property \"x\" from undefined",
        ),
        (
            "return null.x",
            "TypeError Cannot read property \"x\" from null",
        ),
        (
            "return none.f()",
            "TypeError Cannot call method \"f\" of undefined",
        ),
        (
            "return o.b.c(1)",
            "TypeError Cannot call method \"c\" of undefined",
        ),
        (
            "return o.b['c']",
            "TypeError Cannot read property \"c\" from undefined",
        ),
        (
            "none.x = 1",
            "TypeError Cannot set property \"x\" of undefined to \"1\"",
        ),
        ("return o.f()", &format!("TypeError {missing}")),
        (
            "return o.a.f(function () {}, (1))",
            &format!("TypeError {missing}"),
        ),
        ("return o['f'](1)", &format!("TypeError {missing}")),
        ("return new o.None()", undefined),
        (
            "return none()",
            "TypeError none is not a function, it is undefined.",
        ),
        ("return [1].map(none)", undefined),
        (
            "'use strict'; missing = 1",
            "ReferenceError Assignment to undefined \"missing\" in strict mode",
        ),
        (
            "return 1 instanceof 1",
            "TypeError Can't use 'instanceof' on a non-object.",
        ),
        (
            "return 'a' in 'b'",
            "TypeError Can't use 'in' on a non-object.",
        ),
        (
            "return new Array(-1)",
            "RangeError Inappropriate array length.",
        ),
        (
            "return decodeURIComponent('%')",
            "URIError Malformed URI sequence.",
        ),
        (
            "throw new TypeError('x is not defined')",
            "TypeError x is not defined",
        ),
        ("return S('{')", "SyntaxError Unterminated object literal"),
        ("return S('')", "SyntaxError Empty JSON string"),
        ("return S('<a>')", "SyntaxError Unexpected token: <"),
        (
            "return S('[1,]')",
            "SyntaxError Unexpected comma in array literal",
        ),
        (
            "return S('{a:1}')",
            "SyntaxError Unexpected token in object literal",
        ),
        ("return S('{\"a\" 1}')", "SyntaxError Expected : found 1"),
        (
            "return S('{}x')",
            "SyntaxError Expected end of stream at char 2",
        ),
        ("return S('\"a')", "SyntaxError Unterminated string literal"),
        ("return S('-')", "SyntaxError Unsupported number format: -"),
        (
            "return S('[1 2]')",
            "SyntaxError Missing comma in array literal",
        ),
        (
            "return S('{\"a\":1,}')",
            "SyntaxError Unexpected comma in object literal",
        ),
        ("return S('nul')", "SyntaxError Unexpected token: n"),
        ("return S(' {\"a\": [\"x\", {}]}').a[0]", "x"),
    ];
    let functions = cases.map(|(code, _)| format!("function () {{ {code}; }}"));
    let seen = value_of(
        &unit,
        &format!(
            "(function () {{ var none, o = {{a: {{}}}}, S = JSON.parse; return [\n{}\n].map(function (f) {{\n\
             try {{ return f(); }} catch (e) {{ return e.name + ' ' + e.message; }} }}); }})()",
            functions.join(",\n")
        ),
    )
    .await;
    for ((code, expected), found) in cases.iter().zip(seen.as_array().unwrap()) {
        assert_eq!(found, expected, "{code}");
    }
    for (script, text) in [
        ("", "Unexpected end of file"),
        ("var x = 1;", "syntax error"),
        (
            "function(r) { var a = 1 var b; }",
            "missing ; before statement",
        ),
        ("function(r) { return 'a; }", "unterminated string literal"),
        ("function(r) { return {a: 1,; } }", "invalid property id"),
        ("function(r) { var class = 1; }", "missing variable name"),
        (
            "function(r) { try {} }",
            "'try' without 'catch' or 'finally'",
        ),
        ("function(r) { else {} }", "syntax error"),
        (
            "function(r) { eval('1+'); }",
            "SyntaxError: Unexpected end of file",
        ),
        (
            "function(r) { var s = 'abc'; s.foo(); }",
            "TypeError: Cannot find function foo in object abc.",
        ),
        (
            "function(r) { var a; a.b.c(1); }",
            "TypeError: Cannot read property \"b\" from undefined",
        ),
        (
            "function(r) { var o = {}; o.b.c(1); }",
            "TypeError: Cannot call method \"c\" of undefined",
        ),
        (
            "function(r) { var a; a(); }",
            "TypeError: org.mozilla.javascript.Undefined@0 is not a function, it is undefined.",
        ),
        (
            "function(r) { var o = {n: 5}; o.n(r); }",
            "TypeError: Cannot call property n in object [object Object]. It is not a function, it is \"number\".",
        ),
        ("function(r) { require('nofile'); }", "404 Not Found"),
    ] {
        let place = if text.starts_with("404") {
            ""
        } else {
            " (unnamed script#1)"
        };
        assert_eq!(
            run(&unit, script).await.text(),
            format!("Server Error : {text}{place}"),
            "{script}"
        );
    }
}

#[tokio::test]
async fn dates_comparisons_and_last_matches_are_those_of_the_reference() {
    let unit = unit().await;
    let seen = value_of(
        &unit,
        r#"(function () {
          var d = new Date(1577934245678), utc = d.getTimezoneOffset() === 0;
          /(\d+)-(x)?/.test('a12-b');
          return [utc ? String(d) : 'Thu Jan 02 2020 03:04:05 GMT-0000 (UTC)', utc ? d.toLocaleString() : 'January 2, 2020 at 3:04:05 AM UTC',
            utc ? d.toLocaleDateString() : 'January 2, 2020', String(new Date(NaN)), typeof (d + 1), d - 0,
            ['b', 'a', 'C', 'é', 'f', 'B', '10', '9', '_', '日', 'あ'].sort(function (a, b) { return a.localeCompare(b); }).join(' '),
            'file 2'.localeCompare('file1'), 'a'.localeCompare('a'), 'a'.localeCompare('A'), 'a b'.localeCompare('ab'),
            RegExp.$1, RegExp.$2, RegExp.lastMatch, RegExp.leftContext, RegExp.rightContext, 'abc'.replace(/b/, '-') + RegExp['$&']];
        })()"#,
    )
    .await;
    let expected = json!([
        "Thu Jan 02 2020 03:04:05 GMT-0000 (UTC)",
        "January 2, 2020 at 3:04:05 AM UTC",
        "January 2, 2020",
        "Invalid Date",
        "string",
        1_577_934_245_678_u64,
        "_ 10 9 a b B C é f あ 日",
        1,
        0,
        -1,
        1,
        "12",
        "",
        "12-",
        "a",
        "b",
        "a-cb"
    ]);
    assert_eq!(seen, expected);
}
