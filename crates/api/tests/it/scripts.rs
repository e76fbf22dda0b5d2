//! Scripts of services.

mod checklist;
mod hostile;
mod jobs;
mod language;
mod limits;
mod log;
mod requests;
mod responses;
mod rights;
mod routes;
mod subject;
mod waiting;

use personium_model::Settings;
use personium_testkit::{TestResponse, TestUnit, wait_until};

/// Registers what is inside of the property `service` of the collection `c/b/svc`.
async fn register(unit: &TestUnit, attributes: &str, routes: &[(&str, &str)]) {
    let routes: String = routes
        .iter()
        .map(|(name, file)| format!("<p:path name='{name}' src='{file}'/>"))
        .collect();
    let body = format!(
        "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
         <p:service language='JavaScript' {attributes}>{routes}</p:service></D:prop></D:set></D:propertyupdate>"
    );
    let changed = unit.admin().call("PROPPATCH", "c/b/svc", &body).await;
    assert_eq!(changed.status, 207, "{}", changed.text());
}

/// A unit with the service `c/b/svc`, which has the route `t` to the file `t.js`.
async fn unit_with(change: impl FnOnce(&mut Settings)) -> TestUnit {
    let unit = TestUnit::with_settings(change).await;
    unit.create_collection("c/b/svc", "service").await;
    register(&unit, "", &[("t", "t.js")]).await;
    unit
}

async fn unit() -> TestUnit {
    unit_with(|_| {}).await
}

/// Stores a source of the service.
async fn put(unit: &TestUnit, file: &str, source: &str) {
    unit.put_file(&format!("c/b/svc/__src/{file}"), source)
        .await;
}

/// Runs a script that gets a GET.
async fn run(unit: &TestUnit, source: &str) -> TestResponse {
    put(unit, "t.js", source).await;
    unit.admin_request("GET", "c/b/svc/t").send().await
}

/// Waits until a script ends. On a busy machine, a short limit of time may be too short even for one that only answers.
async fn wait_for_a_script_that_ends(unit: &TestUnit) {
    let ends = "function(r) { return {status: 200, headers: {}, body: []}; }";
    wait_until("a script that ends", async || {
        run(unit, ends).await.status == 200
    })
    .await;
}

/// The JSON that an expression of a script has as its value.
async fn value_of(unit: &TestUnit, expression: &str) -> serde_json::Value {
    let source = format!(
        "function(request) {{ return {{status: 200, headers: {{'Content-Type': 'application/json'}}, \
         body: [JSON.stringify({expression})]}}; }}"
    );
    let response = run(unit, &source).await;
    assert_eq!(response.status, 200, "{expression}: {}", response.text());
    response.json()
}

/// The text that a script which is an expression fails with.
async fn failure_of(unit: &TestUnit, source: &str) -> String {
    let response = run(unit, source).await;
    assert_eq!(response.status, 500, "{source}");
    assert_eq!(
        response.header("content-type"),
        Some("text/html"),
        "{source}"
    );
    response.text()
}
