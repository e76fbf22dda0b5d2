//! Responses and failures of scripts.

use personium_model::settings::ContentSandbox;

use super::{failure_of, put, run, unit, unit_with, value_of};

#[tokio::test]
async fn response_of_a_script_is_sent_as_it_is() {
    let unit = unit().await;
    let response = run(
        &unit,
        "function(request) {
  return { status: 201, headers: {'Content-Type': 'text/plain', 'X-Own': 'a b', 'Location': 'http://x.example/'}, body: ['hi ', 'there'] };
}",
    )
    .await;
    assert_eq!(response.status, 201);
    assert_eq!(response.text(), "hi there");
    for (name, value) in [
        ("content-type", "text/plain"),
        ("x-own", "a b"),
        ("location", "http://x.example/"),
    ] {
        assert_eq!(response.header(name), Some(value), "{name}");
    }
    let untyped = run(&unit, "() => ({status: 200, headers: {}, body: []})").await;
    assert_eq!(
        untyped.header("content-type"),
        Some("application/octet-stream")
    );
    let empty = run(
        &unit,
        "() => ({status: 204, headers: {}, body: ['dropped']})",
    )
    .await;
    assert_eq!((empty.status.as_u16(), empty.text().as_str()), (204, ""));
}

#[tokio::test]
async fn headers_about_the_connection_and_line_breaks_are_not_sent() {
    let unit = unit().await;
    let response = run(
        &unit,
        r"function(r) { return {status: 200, headers: {'Transfer-Encoding': 'gzip', 'Connection': 'x', 'Keep-Alive': 'a', 'Upgrade': 'u',
          'Content-Length': '3', 'X-Own': 'a\r\nX-Evil: 1'}, body: ['four']}; }",
    )
    .await;
    assert_eq!(response.status, 200);
    assert_eq!(response.text(), "four");
    for name in [
        "transfer-encoding",
        "connection",
        "keep-alive",
        "upgrade",
        "x-evil",
    ] {
        assert_eq!(response.header(name), None, "{name}");
    }
    assert_eq!(response.header("x-own"), Some("a  X-Evil: 1"));
    assert_ne!(response.header("content-length"), Some("3"));
}

#[tokio::test]
async fn headers_that_command_proxies_are_not_sent() {
    let unit = unit().await;
    let response = run(
        &unit,
        r"() => ({status: 200, headers: {'X-Accel-Redirect': '/internal/a', 'x-ACCEL-buffering': 'no', 'X-Sendfile': '/etc/passwd',
          'X-Lighttpd-Send-File': '/etc/passwd', 'X-Reproxy-Url': 'http://x/', 'X-Accelerator': 'a'}, body: ['x']})",
    )
    .await;
    assert_eq!(response.status, 200);
    for name in [
        "x-accel-redirect",
        "x-accel-buffering",
        "x-sendfile",
        "x-lighttpd-send-file",
        "x-reproxy-url",
    ] {
        assert_eq!(response.header(name), None, "{name}");
    }
    assert_eq!(response.header("x-accelerator"), Some("a"));
}

#[tokio::test]
async fn headers_about_the_origin_and_the_login_cookie_are_not_sent_where_cells_share_it() {
    let headers = [
        ("Clear-Site-Data", "*"),
        ("Strict-Transport-Security", "max-age=99999999"),
        ("Alt-Svc", "h2=\":1\""),
        ("NEL", "{}"),
        ("Report-To", "{}"),
        ("Service-Worker-Allowed", "/"),
        ("Set-Cookie", " p_cookie=x; Path=/other/"),
    ];
    for (sandbox, is_sent) in [
        (ContentSandbox::PathBased, false),
        (ContentSandbox::Never, true),
    ] {
        let unit = unit_with(|settings| settings.content_sandbox = sandbox).await;
        for (name, value) in headers {
            let script = format!(
                "() => ({{status: 200, headers: {{'{name}': '{value}', 'X-Own': 'a'}}, body: ['x']}})"
            );
            let response = run(&unit, &script).await;
            assert_eq!(response.header("x-own"), Some("a"), "{name}");
            assert_eq!(response.header(name).is_some(), is_sent, "{name}");
        }
        let other =
            "() => ({status: 200, headers: {'Set-Cookie': 'p_cookies=b; Path=/'}, body: ['x']})";
        let response = run(&unit, other).await;
        assert_eq!(response.header("set-cookie"), Some("p_cookies=b; Path=/"));
    }
}

#[tokio::test]
async fn page_of_a_script_is_kept_apart_from_the_common_origin_whatever_it_says() {
    let unit = unit_with(|settings| settings.content_sandbox = ContentSandbox::PathBased).await;
    for headers in [
        "{'Content-Type': 'text/html'}",
        "{'content-type': 'application/pdf', 'Content-Type': 'text/html'}",
        "{'Content-Type': 'text/html', 'Content-Security-Policy': 'sandbox allow-same-origin allow-scripts'}",
    ] {
        let script = format!("() => ({{status: 200, headers: {headers}, body: ['<p>']}})");
        let response = run(&unit, &script).await;
        assert_eq!(response.status, 200, "{headers}");
        let lines = |name: &str| -> Vec<String> {
            let lines = response.headers.get_all(name).iter();
            lines
                .map(|line| line.to_str().unwrap().to_owned())
                .collect()
        };
        let types = lines("content-type");
        assert_eq!(types.len(), 1, "{headers}");
        let is_kept_apart = lines("content-security-policy")
            .iter()
            .any(|policy| policy.starts_with("sandbox ") && !policy.contains("allow-same-origin"));
        assert!(is_kept_apart || types == ["application/pdf"], "{headers}");
    }
}

#[tokio::test]
async fn text_is_encoded_by_the_character_set_of_its_type() {
    let unit = unit().await;
    for (charset, bytes) in [
        ("", "\u{65e5}".as_bytes()),
        ("; charset=MS932", b"\x93\xfa"),
        (";charset=\"euc-jp\";", b"\xc6\xfc"),
    ] {
        let script = format!(
            "() => ({{status: 200, headers: {{'content-type': 'text/plain{charset}'}}, body: ['\u{65e5}']}})"
        );
        let response = run(&unit, &script).await;
        assert_eq!(response.status, 200, "{charset}: {}", response.text());
        assert_eq!(response.body, bytes, "{charset}");
    }
}

#[tokio::test]
async fn response_of_another_shape_is_refused() {
    let unit = unit().await;
    for (value, text) in [
        ("undefined", "not NativeObject"),
        ("null", "not NativeObject"),
        ("[]", "not NativeObject"),
        ("'text'", "not NativeObject"),
        ("{}", "response status illegal type."),
        ("{status: '200'}", "response status illegal type."),
        ("{status: 100}", "response status illegal type. status: 100"),
        ("{status: 199}", "response status illegal type. status: 199"),
        (
            "{status: 1000}",
            "response status illegal type. status: 1000",
        ),
        (
            "{status: 200.5}",
            "response status illegal type. status: 200.5",
        ),
        ("{status: NaN}", "response status illegal type. status: NaN"),
        ("{status: 200}", "not headers"),
        ("{status: 200, headers: ['a']}", "not headers"),
        (
            "{status: 200, headers: {1: 'a'}}",
            "header key format error",
        ),
        (
            "{status: 200, headers: {'a b': 'a'}}",
            "header key format error",
        ),
        (
            "{status: 200, headers: {a: 1}}",
            "header value format error",
        ),
        (
            "{status: 200, headers: {'Content-Type': 'text'}}",
            "Response header parsing media type.",
        ),
        (
            "{status: 200, headers: {'Content-Type': 'a/b; charset=none'}}",
            "response charset illegal type.",
        ),
        (
            "{status: 200, headers: {}}",
            "response body undefined forEach.",
        ),
        (
            "{status: 200, headers: {}, body: 'text'}",
            "response body undefined forEach.",
        ),
        (
            "{status: 200, headers: {}, body: [1]}",
            "response body illegal type.",
        ),
        (
            "{status: 200, headers: {}, body: ['a', null]}",
            "response body illegal type.",
        ),
        (
            "{status: 200, headers: {}, body: [{}]}",
            "response body illegal type.",
        ),
        (
            "{status: 200, headers: {}, body: {forEach: (f) => f(7)}}",
            "response body illegal type.",
        ),
    ] {
        let text_sent = failure_of(&unit, &format!("function(r) {{ return {value}; }}")).await;
        assert_eq!(text_sent, format!("Server Error : {text}"), "{value}");
    }
}

/// Each status that the original's own test accepts or refuses.
#[tokio::test]
async fn status_has_three_digits_and_is_at_least_200() {
    let unit = unit().await;
    for (status, expected) in [
        ("201.0", 201),
        ("301", 301),
        ("404", 404),
        ("999", 999),
        ("1", 500),
        ("99", 500),
        ("105.0", 500),
    ] {
        let script =
            format!("function(r) {{ return {{status: {status}, headers: {{}}, body: []}}; }}");
        assert_eq!(run(&unit, &script).await.status, expected, "{status}");
    }
}

#[tokio::test]
async fn uncaught_errors_are_answered_with_their_text_and_line() {
    let unit = unit().await;
    for (script, text) in [
        (
            "function(r) { throw new Error('boom'); }",
            "Error: boom (unnamed script#1)",
        ),
        (
            "// a comment\nfunction(r) {\n  throw new Error('boom'); }",
            "Error: boom (unnamed script#3)",
        ),
        ("function(r) { throw 'str'; }", "str (unnamed script#1)"),
        (
            "function(r) {\n\n  throw {a: 1}; }",
            "[object Object] (unnamed script#3)",
        ),
        (
            "function(r) {\n var e = new Error('x');\n\n throw e; }",
            "Error: x (unnamed script#4)",
        ),
        (
            "function(r) {\n throw new Error('a'\n + 'b'); }",
            "Error: ab (unnamed script#2)",
        ),
        (
            "function(r) {\n try { null.x; } catch (e) {}\n if (r.none) throw 1;\n nothing(); }",
            "ReferenceError: \"nothing\" is not defined. (unnamed script#4)",
        ),
        (
            "function(r) {\n if (r.none) throw 1;\n throw 'x'; }",
            "x (unnamed script)",
        ),
        (
            "function(r) { throw {a: 1}; }",
            "[object Object] (unnamed script#1)",
        ),
        (
            "function(r) { throw Object.create(null); }",
            "unknown error (unnamed script#1)",
        ),
        (
            "function(r) {\n  return nothing; }",
            "ReferenceError: \"nothing\" is not defined. (unnamed script#2)",
        ),
        (
            "async function(r) {\n await null;\n throw new Error('later'); }",
            "Error: later (unnamed script#3)",
        ),
        (
            "function(r) { throw new Error('<b>&'); }",
            "Error: &lt;b&gt;&amp; (unnamed script#1)",
        ),
    ] {
        assert_eq!(
            failure_of(&unit, script).await,
            format!("Server Error : {text}"),
            "{script}"
        );
    }
    for script in [
        "function(r) {\n\n  return (; }",
        "var f = function(r) {}",
        "exports.init = function(r) {}",
    ] {
        let text = failure_of(&unit, script).await;
        assert!(text.starts_with("Server Error : "), "{script}: {text}");
    }
    for script in ["42", "'x'", "({a: 1})", "null"] {
        let text = failure_of(&unit, script).await;
        assert_eq!(text, "Server Error : Server Error", "{script}");
    }
    let syntax = failure_of(&unit, "function(r) {\n\n  return (; }").await;
    assert_eq!(syntax, "Server Error : syntax error (unnamed script#3)");
}

#[tokio::test]
async fn stack_of_an_error_is_not_sent() {
    let unit = unit().await;
    put(
        &unit,
        "secret_module.js",
        "exports.f = function secretName() { throw new Error('inner'); };",
    )
    .await;
    let text = failure_of(&unit, "function(r) { require('secret_module').f(); }").await;
    assert!(
        !text.contains("secretName") && !text.contains("runtime"),
        "{text}"
    );
}

#[tokio::test]
async fn modules_are_executed_at_each_require() {
    let unit = unit().await;
    put(&unit, "counter.js", "count = (typeof count === 'undefined' ? 0 : count) + 1; exports.own = count; // no line break").await;
    put(&unit, "a-b.c.js", "exports.own = 'any name';").await;
    let seen = value_of(
        &unit,
        "[require('counter').own, require('counter').own, count, typeof require('counter'), require('a-b.c').own]",
    )
    .await;
    assert_eq!(seen.to_string(), r#"[1,2,2,"function","any name"]"#);
    let message = "(() => { try { require('NAME'); } catch (e) { return e.message; } })()";
    for (name, expected) in [
        (
            "none",
            "io.personium.engine.PersoniumEngineException: 404 Not Found",
        ),
        (
            "../t",
            "io.personium.engine.PersoniumEngineException: 404 Not Found",
        ),
        (
            "..",
            "io.personium.engine.PersoniumEngineException: 404 Not Found",
        ),
        ("bad", "syntax error (bad#3)"),
    ] {
        put(&unit, "bad.js", "var a = 1;\n\nvar b = ;").await;
        let seen = value_of(&unit, &message.replace("NAME", name)).await;
        assert_eq!(seen, expected, "{name}");
    }
}

#[tokio::test]
async fn ready_made_response_is_accepted() {
    let unit = unit().await;
    let script = "function(r) { const a = new JSGIResponse(); a.setResponseData(DATA); return a; }";
    for (data, expected) in [("{a: [1, 'x']}", r#"{"a":[1,"x"]}"#), ("null", "")] {
        let response = run(&unit, &script.replace("DATA", data)).await;
        assert_eq!(
            (response.status.as_u16(), response.text().as_str()),
            (200, expected)
        );
        assert_eq!(
            response.header("content-type"),
            Some("application/json;charset=utf-8")
        );
    }
}

#[tokio::test]
async fn status_and_headers_that_a_script_chooses_are_sent() {
    let unit = unit().await;
    let script = "function(request) {
      var query = _p.util.queryParse(request.queryString);
      if (query.status === '302') return {status: 302, headers: {Location: 'http://other.example/'}, body: []};
      if (query.status === '204') return {status: '204', headers: {}, body: []};
      return {status: Number(query.status), headers: {'Content-Type': 'text/html; charset=UTF-8;'}, body: [query.text]};
    }";
    put(&unit, "t.js", script).await;
    let call = async |query: &str| {
        let path = format!("c/b/svc/t?{query}");
        unit.admin_request("GET", &path).send().await
    };
    for (query, status, text) in [
        ("status=400&text=", 400, ""),
        ("status=401&text=no", 401, "no"),
        ("status=999&text=odd", 999, "odd"),
        (
            "status=105&text=x",
            500,
            "Server Error : response status illegal type. status: 105",
        ),
        (
            "status=2000&text=x",
            500,
            "Server Error : response status illegal type. status: 2000",
        ),
        (
            "status=204",
            500,
            "Server Error : response status illegal type.",
        ),
    ] {
        let response = call(query).await;
        assert_eq!(
            (response.status.as_u16(), response.text().as_str()),
            (status, text),
            "{query}"
        );
    }
    let moved = call("status=302").await;
    assert_eq!(
        (moved.status.as_u16(), moved.header("location")),
        (302, Some("http://other.example/"))
    );
}
