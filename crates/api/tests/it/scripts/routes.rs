//! Which script answers a path.

use super::{put, register, run, unit};

/// A script that returns a text and the variables of the path.
fn says(text: &str) -> String {
    format!(
        "function(request) {{ return {{status: 200, headers: {{}}, body: ['{text} ' + JSON.stringify(request.pathParameters)]}}; }}"
    )
}

#[tokio::test]
async fn first_route_that_matches_the_whole_path_answers() {
    let unit = unit().await;
    let routes = [
        ("one", "one.js"),
        ("relay/{id: [0-9]+}/test", "number.js"),
        ("relay/{id}/test", "other.js"),
        ("gone", "gone.js"),
    ];
    register(&unit, "", &routes).await;
    for (file, _) in [("one", 1), ("number", 2), ("other", 3)] {
        put(&unit, &format!("{file}.js"), &says(file)).await;
    }
    for (path, expected) in [
        ("one", "one {}"),
        ("relay/12/test", r#"number {"id":"12"}"#),
        ("relay/1x/test", r#"other {"id":"1x"}"#),
        ("relay/a%20b/test", r#"other {"id":"a b"}"#),
    ] {
        let response = unit
            .admin_request("GET", &format!("c/b/svc/{path}"))
            .send()
            .await;
        assert_eq!(
            (response.status.as_u16(), response.text().as_str()),
            (200, expected),
            "{path}"
        );
    }
    for path in [
        "none",
        "one/two",
        "one/",
        "relay/12/test/",
        "relay/12",
        "gone",
    ] {
        let response = unit
            .admin_request("GET", &format!("c/b/svc/{path}"))
            .send()
            .await;
        assert_eq!(response.status, 404, "{path}");
        assert_eq!(response.text(), "404 Not Found", "{path}");
        assert_eq!(response.header("content-type"), Some("text/html"), "{path}");
    }
}

#[tokio::test]
async fn broken_registration_fails_for_its_service_only() {
    let unit = unit().await;
    unit.create_collection("c/b/other", "service").await;
    let response = unit.admin_request("GET", "c/b/other/t").send().await;
    assert_eq!(response.status, 404);
    assert_eq!(response.text(), "404 Not Found (Service property invalid) ");
    let response = unit.admin_request("DELETE", "c/b/other/t").send().await;
    response.expect_error(500, "SC-0001");
    put(&unit, "t.js", &says("fine")).await;
    register(&unit, "", &[("t", "t.js"), ("{id/bbb", "src.js")]).await;
    let response = unit.admin_request("GET", "c/b/svc/t").send().await;
    assert_eq!(response.status, 503);
    assert_eq!(
        response.text(),
        "Route registration failed. (name={id/bbb, src=src.js)"
    );
    register(&unit, "", &[("t", "t.js")]).await;
    let response = unit.admin_request("GET", "c/b/svc/t").send().await;
    assert_eq!(response.text(), "fine {}");
}

#[tokio::test]
async fn script_that_is_not_utf8_runs_with_replacements_and_an_empty_one_is_refused() {
    let unit = unit().await;
    for (file, text) in [
        (
            "t.js",
            b"function(r) { /* \x93\xfa */ return {status: 200, headers: {}, body: ['\xff', require('m').a]}; }".as_slice(),
        ),
        ("m.js", b"exports.a = '\x96\x7b'; // \xff"),
    ] {
        let request = unit.admin_request("PUT", &format!("c/b/svc/__src/{file}"));
        request.body(text).send().await.expect_success();
    }
    let response = unit.admin_request("GET", "c/b/svc/t").send().await;
    assert_eq!(
        (response.status.as_u16(), response.text().as_str()),
        (200, "\u{fffd}\u{fffd}{")
    );
    let empty = run(&unit, "").await;
    assert_eq!(empty.status, 500);
    assert!(
        empty.text().starts_with("Server Error : "),
        "{}",
        empty.text()
    );
}

#[tokio::test]
async fn new_version_of_a_script_answers_the_next_request_to_every_node() {
    let unit = unit().await;
    let node = unit.another_node();
    for version in ["first", "second", "third"] {
        let own = run(&unit, &says(version)).await;
        let others = node.admin_request("GET", "c/b/svc/t").send().await;
        for response in [own, others] {
            assert_eq!(response.text(), format!("{version} {{}}"));
        }
    }
}
