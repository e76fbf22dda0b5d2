//! The request as a script sees it, and how often a script runs.

use personium_testkit::{MASTER_TOKEN, UNIT_URL};
use serde_json::json;

use super::{put, unit, value_of};

/// A script that returns everything it knows about its request.
const ECHO: &str = "function(request) {
  const headers = {};
  for (const name in request.headers) headers[name] = request.headers[name];
  return {status: 200, headers: {'Content-Type': 'application/json'}, body: [JSON.stringify({
    method: request.method, scheme: request.scheme, host: request.host, port: request.port, scriptName: request.scriptName,
    pathInfo: request.pathInfo, queryString: request.queryString, env: request.env, jsgi: request.jsgi, headers: headers,
    body: request.input.readAll(), end: request.input.readLine() })]};
}";

#[tokio::test]
async fn script_sees_method_address_headers_and_body() {
    let unit = unit().await;
    put(&unit, "t.js", ECHO).await;
    for method in ["GET", "POST", "PUT", "DELETE"] {
        let request = unit.admin_request(method, "c/b/svc/t?a=b%20c&d?e");
        let request = request
            .header("x-custom", "Two")
            .header("x-custom", "One")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("x-baseurl", "http://evil.example/");
        let sent = "a body with \u{65e5}";
        // The engine gets no body of the others.
        let has_body = matches!(method, "POST" | "PUT");
        let body = if has_body { sent } else { "" };
        let response = request.body(sent).send().await;
        assert_eq!(response.status, 200, "{}", response.text());
        let seen = response.json();
        for (member, expected) in [
            ("method", json!(method)),
            ("scheme", json!("http")),
            ("host", json!("unit.example")),
            ("port", json!("80")),
            ("scriptName", json!("http://unit.example/c/b/svc/t")),
            ("pathInfo", json!("/c/b/service/t")),
            ("queryString", json!("a=b%20c&d?e")),
            ("body", json!(body)),
            ("end", json!(null)),
            (
                "env",
                json!({"requestUri": "http://unit.example/c/b/svc/t?a=b%20c&d?e"}),
            ),
        ] {
            assert_eq!(seen[member], expected, "{method} {member}");
        }
        let headers = &seen["headers"];
        assert_eq!(headers["x-custom"], "One", "the last one counts");
        assert_eq!(headers["cookie"], "a=1; b=2");
        assert_eq!(
            headers["transfer-encoding"].is_string(),
            has_body,
            "{method}"
        );
        assert_eq!(headers["host"], "unit.example");
        assert_eq!(headers["x-baseurl"], UNIT_URL, "a client cannot forge it");
        assert_eq!(headers["authorization"], format!("Bearer {MASTER_TOKEN}"));
        assert!(headers["x-personium-requestkey"].is_string());
    }
}

#[tokio::test]
async fn body_is_read_in_lines_and_character_sets() {
    let unit = unit().await;
    put(
        &unit,
        "t.js",
        "function(request) { const i = request.input; return {status: 200, headers: {}, \
         body: [JSON.stringify([i.readLine('MS932'), i.readLine(), i.readAll()])]}; }",
    )
    .await;
    let request = unit.admin_request("POST", "c/b/svc/t");
    let response = request.body(b"\x93\xfa\r\nb\n\x96\x7b\nend").send().await;
    assert_eq!(response.text(), "[\"\u{65e5}\",\"b\",\"\u{672c}\\nend\"]");
}

#[tokio::test]
async fn large_bodies_pass_through_a_script_unchanged() {
    let unit = unit().await;
    let script = "function(request) { return {status: 200, headers: {}, body: ['<', request.input.stream(), '>']}; }";
    put(&unit, "t.js", script).await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let response = unit
        .admin_request("POST", "c/b/svc/t")
        .body(&bytes)
        .send()
        .await;
    assert_eq!(response.status, 200);
    let expected = [&b"<"[..], &bytes, b">"].concat();
    assert!(response.body == expected, "{} bytes", response.body.len());
}

#[tokio::test]
async fn head_runs_the_script_and_discards_the_body() {
    let unit = unit().await;
    put(
        &unit,
        "t.js",
        "function(r) { return {status: 203, headers: {'X-Method': r.method}, body: ['abc']}; }",
    )
    .await;
    let response = unit.admin_request("HEAD", "c/b/svc/t").send().await;
    assert_eq!(response.status, 203);
    assert_eq!(response.header("x-method"), Some("GET"));
    assert_eq!(response.text(), "");
}

#[tokio::test]
async fn nothing_of_a_request_is_seen_by_the_next_one() {
    let unit = unit().await;
    let spoiled = value_of(
        &unit,
        "(() => { leak = 1; Array.prototype.evil = 1; Object.prototype.polluted = 1; JSON.parse = null; \
         globalThis.require.x = 1; JSGIResponse.prototype.status = 500; return true; })()",
    )
    .await;
    assert_eq!(spoiled, true);
    // Contexts are made by threads in advance, so that more than one request must look.
    for _ in 0..4 {
        let seen = "[typeof leak, [].evil, ({}).polluted, typeof JSON.parse, require.x, new JSGIResponse().status]";
        let seen = value_of(&unit, seen).await;
        assert_eq!(
            seen,
            json!(["undefined", null, null, "function", null, 200])
        );
    }
}

/// A change of the structure by another node makes the first attempt to answer a request stale. It must be seen before the script
/// starts, with the body that the client sent.
#[tokio::test]
async fn script_runs_once_whatever_another_node_has_changed() {
    let unit = unit().await;
    let node = unit.another_node();
    put(&unit, "t.js", ECHO).await;
    for (n, method) in ["GET", "POST", "PUT", "DELETE", "GET"]
        .into_iter()
        .enumerate()
    {
        // So that the node has a structure, which becomes stale.
        node.admin_request("GET", "c/b/svc/t")
            .send()
            .await
            .expect(200);
        unit.create_role("c", &format!("role{n}")).await;
        let before = node.service.scripts_started();
        let body = if method == "GET" {
            String::new()
        } else {
            "x".repeat(70_000)
        };
        let response = node
            .admin_request(method, "c/b/svc/t")
            .body(&body)
            .send()
            .await;
        assert_eq!(response.status, 200, "{method}: {}", response.text());
        let seen = if method == "DELETE" {
            ""
        } else {
            body.as_str()
        };
        assert_eq!(response.json()["body"], seen, "{method}");
        assert_eq!(node.service.scripts_started(), before + 1, "{method}");
    }
    // The change comes while the script runs: what it answers is sent.
    for n in 0..40 {
        let before = node.service.scripts_started();
        let other = unit.clone();
        node.store.interrupt_read(n, async move {
            other.create_role("c", &format!("during{n}")).await;
        });
        let response = node
            .admin_request("POST", "c/b/svc/t")
            .body("y")
            .send()
            .await;
        assert_eq!(response.status, 200, "{n}: {}", response.text());
        assert_eq!(node.service.scripts_started(), before + 1, "{n}");
    }
}
