//! `$batch`: framing, order, independence of its operations, errors, privileges.

use personium_testkit::{TestResponse, TestUnit, refused};
use serde_json::{Value, json};

use super::{create_all, get_json, ids, odata_unit, token_with, unit_with_entities};

/// A part with a GET request.
pub(super) fn get(target: &str) -> String {
    format!(
        "--b\nContent-Type: application/http\n\nGET {target} HTTP/1.1\nHost: unit.example\n\n\n"
    )
}

/// A change set with one request.
pub(super) fn change(method: &str, target: &str, headers: &str, body: &str) -> String {
    format!(
        "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: application/http\n\
         Content-Transfer-Encoding: binary\n\n{method} {target} HTTP/1.1\n{headers}Content-Length: {}\n\n{body}\n--c--\n",
        body.len()
    )
}

/// Sends parts as a batch with a token.
pub(super) async fn send(unit: &TestUnit, token: &str, parts: &[String]) -> TestResponse {
    send_body(unit, token, &format!("{}--b--", parts.concat())).await
}

pub(super) async fn send_body(unit: &TestUnit, token: &str, body: &str) -> TestResponse {
    let request = unit.request("POST", "c/b/od/$batch").bearer(token);
    let request = request.header("content-type", "multipart/mixed; boundary=b");
    request.body(body).send().await
}

/// The statuses of the operations of a batch, each with the error code of a refusal.
pub(super) fn outcomes(response: &TestResponse) -> Vec<(u16, String)> {
    assert_eq!(response.status, 202, "{}", response.text());
    let text = response.text();
    let outcome = |part: &str| {
        let status = part[..3].parse().unwrap();
        let code = part.split(r#""code":"PR"#).nth(1);
        (
            status,
            code.map(|code| code[4..11].to_owned()).unwrap_or_default(),
        )
    };
    text.split("HTTP/1.1 ").skip(1).map(outcome).collect()
}

async fn admin_outcomes(unit: &TestUnit, parts: &[String]) -> Vec<(u16, String)> {
    outcomes(&send(unit, "master", parts).await)
}

pub(super) fn statuses(outcomes: &[(u16, String)]) -> Vec<u16> {
    outcomes.iter().map(|outcome| outcome.0).collect()
}

#[tokio::test]
async fn batch_executes_operations_in_order() {
    let unit = odata_unit(|_| {}).await;
    create_all(&unit, "B", json!([{"__id": "b"}])).await;
    let parts = [
        change("POST", "A", "", r#"{"__id":"1","n":1}"#),
        get("A('1')"),
        change("PUT", "A('1')", "", r#"{"n":2}"#),
        get("A?$filter=n%20eq%202&$inlinecount=allpages"),
        change("POST", "A('1')/$links/_B", "", r#"{"uri":"B('b')"}"#),
        change("POST", "A('1')/_B", "", r#"{"__id":"c"}"#),
        get("A('1')"),
        change("DELETE", "B('b')", "", ""),
        get("B('b')"),
    ];
    let response = send(&unit, "master", &parts).await;
    let content_type = response.header("content-type");
    assert_eq!(content_type, Some("multipart/mixed; boundary=b"));
    assert_eq!(response.header("dataserviceversion"), Some("2.0"));
    let found = outcomes(&response);
    assert_eq!(
        statuses(&found),
        [201, 200, 204, 200, 204, 201, 200, 204, 404]
    );
    let text = response.text();
    assert!(
        text.starts_with("--b\r\n") && text.ends_with("\r\n--b--\r\n"),
        "{text}"
    );
    assert_eq!(text.matches(r#""__count":"1""#).count(), 1, "{text}");
    assert_eq!(
        text.matches("Location: http://unit.example/c/b/od/A('1')")
            .count(),
        1
    );
    assert_eq!(ids(&unit, "A('1')/_B").await, ["c"]);
    let entity = get_json(&unit, "A('1')").await.results();
    assert_eq!(entity["n"], 2);
}

#[tokio::test]
async fn operations_of_a_batch_fail_with_the_codes_of_single_requests() {
    let unit = unit_with_entities(json!([{"__id": "1"}])).await;
    unit.create("c/b/od/A('1')/_B", r#"{"__id":"b"}"#).await;
    for (part, outcome) in [
        (get("None"), refused(404, "OD-0001")),
        (get("A('none')"), refused(404, "OD-0002")),
        (get("A?$top=x"), refused(400, "OD-0036")),
        (get("A?$filter=none%20eq%201"), refused(400, "OD-0045")),
        (get("A('1')/_None"), refused(404, "OD-0003")),
        (get("A('1')/_B('b')"), refused(400, "OD-0010")),
        (change("POST", "None", "", "{}"), refused(404, "OD-0001")),
        (change("POST", "A", "", "{"), refused(400, "OD-0001")),
        (
            change("POST", "A", "", r#"{"__metadata":{}}"#),
            refused(400, "OD-0007"),
        ),
        (
            change("POST", "A('none')/_B", "", "{}"),
            refused(404, "OD-0000"),
        ),
        (
            change("POST", "A('1')/_None", "", "{}"),
            refused(404, "OD-0003"),
        ),
        (
            change("POST", "A('1')/_B", "", r#"{"__id":"b"}"#),
            refused(409, "OD-0003"),
        ),
        (
            change("POST", "A('1')/$links/_B", "", r#"{"uri":"B('none')"}"#),
            refused(400, "OD-0006"),
        ),
        (
            change("PUT", "A('none')", "", "{}"),
            refused(404, "OD-0002"),
        ),
        (
            change("PUT", "A('1')", "If-Match: W/\"9-9\"\n", "{}"),
            refused(412, "OD-0002"),
        ),
        (
            change("DELETE", "A('1')", "If-Match: x\n", ""),
            refused(412, "OD-0002"),
        ),
        (change("DELETE", "A('1')", "", ""), refused(409, "OD-0001")),
    ] {
        let found = admin_outcomes(&unit, &[part.clone(), get("A('1')")]).await;
        assert_eq!(found[0], outcome, "{part}");
        assert_eq!(found[1].0, 200, "{part}");
    }
}

#[tokio::test]
async fn malformed_batch_is_refused_as_a_whole() {
    let unit = odata_unit(|_| {}).await;
    let create = change("POST", "A", "", "{}");
    let nested = "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\
                  Content-Type: multipart/mixed; boundary=d\n\n--d\n--d--\n--c--\n";
    for (body, code) in [
        (String::new(), "OD-0023"),
        ("nothing".to_owned(), "OD-0023"),
        ("--b--".to_owned(), "OD-0023"),
        (create.clone(), "OD-0023"),
        (format!("--x\n{create}--x--"), "OD-0023"),
        (format!("{create}--b\n\nGET A HTTP/1.1\n\n--b--"), "OD-0021"),
        (
            format!("{create}--b\nContent-Type: text/plain\n\nGET A HTTP/1.1\n\n--b--"),
            "OD-0021",
        ),
        (format!("{create}{nested}--b--"), "OD-0022"),
        (
            format!("{create}{}--b--", change("HEAD", "A('1')", "", "{}")),
            "OD-0035",
        ),
        (
            format!("{create}{}--b--", change("POT", "A", "", "{}")),
            "OD-0035",
        ),
        (
            format!("{create}{}--b--", change("POST", "A('1')", "", "{}")),
            "OD-0034",
        ),
        (
            format!("{create}{}--b--", change("DELETE", "A", "", "")),
            "OD-0034",
        ),
        (format!("{create}{}--b--", get("../../other")), "OD-0034"),
        (format!("{create}{}--b--", get("/c/b/other/A")), "OD-0034"),
        (
            format!("{create}{}{}--b--", get("A?$top=6000"), get("A?$top=6000")),
            "OD-0037",
        ),
        (
            format!("{create}{}--b--", get("A").repeat(1_000)),
            "OD-0030",
        ),
    ] {
        let response = send_body(&unit, "master", &body).await;
        let start: String = body.chars().take(300).collect();
        assert_eq!(response.outcome(), refused(400, code), "{start}");
    }
    assert_eq!(ids(&unit, "A").await, Vec::<String>::new());
}

#[tokio::test]
async fn batch_with_a_missing_or_other_boundary_is_refused() {
    let unit = odata_unit(|_| {}).await;
    let body = format!("{}--b--", get("A"));
    for content_type in [
        "",
        "application/json",
        "multipart/mixed",
        "multipart/mixed; boundary=x",
    ] {
        let request = unit.admin_request("POST", "c/b/od/$batch");
        let request = request.header("content-type", content_type).body(&body);
        let response = request.send().await;
        assert_eq!(response.status, 400, "{content_type}: {}", response.text());
    }
}

#[tokio::test]
async fn batch_accepts_both_line_ends_and_quoted_boundaries() {
    let unit = odata_unit(|_| {}).await;
    let body = format!("{}{}--b--", change("POST", "A", "", "{}"), get("A"));
    for (body, content_type) in [
        (body.clone(), "multipart/mixed;boundary=b"),
        (body.replace('\n', "\r\n"), "multipart/mixed; boundary=b"),
        (body, "multipart/mixed; boundary=\"b\""),
    ] {
        let request = unit.admin_request("POST", "c/b/od/$batch");
        let request = request.header("content-type", content_type).body(&body);
        let found = outcomes(&request.send().await);
        assert_eq!(statuses(&found), [201, 200], "{content_type}");
    }
}

#[tokio::test]
async fn created_entities_of_a_batch_have_deferred_links_and_the_data_is_stored() {
    let unit = unit_with_entities(json!([{"__id": "0", "n": 0}])).await;
    let parts = [change("POST", "A", "", r#"{"__id":"1","n":1,"text":"x"}"#)];
    let text = send(&unit, "master", &parts).await.text();
    let start = text.find(r#"{"d":"#).unwrap();
    let end = text[start..].find('\n').unwrap() + start;
    let created: Value = serde_json::from_str(&text[start..end]).unwrap();
    let deferred = &created["d"]["results"]["_B"]["__deferred"]["uri"];
    assert_eq!(deferred, "http://unit.example/c/b/od/A('1')/_B");
    let stored = get_json(&unit, "A('1')").await.results();
    assert_eq!((&stored["n"], &stored["text"]), (&json!(1), &json!("x")));
}

#[tokio::test]
async fn batch_checks_privileges_of_the_batch_and_of_each_operation() {
    let unit = unit_with_entities(json!([{"__id": "1"}])).await;
    let token = token_with(&unit, &[]).await;
    let parts = [
        get("A"),
        change("POST", "A", "", r#"{"__id":"2"}"#),
        get("A('1')"),
    ];
    let lacking = refused(403, "AU-0002");
    assert_eq!(send(&unit, &token, &parts).await.outcome(), lacking);
    let body = format!("{}--b--", parts.concat());
    let anonymous = unit.request("POST", "c/b/od/$batch").body(&body);
    assert_eq!(anonymous.send().await.outcome(), refused(401, "AU-0001"));
    for (privilege, expected) in [("D:read", [200, 403, 200]), ("D:write", [403, 201, 403])] {
        unit.grant_to_role("c/b/od", "r", &[privilege]).await;
        let found = outcomes(&send(&unit, &token, &parts).await);
        assert_eq!(statuses(&found), expected, "{privilege}");
        let refusals = found.iter().filter(|outcome| outcome.0 == 403);
        assert!(refusals.clone().all(|outcome| *outcome == lacking));
    }
}

#[tokio::test]
async fn batch_exists_on_collections_only() {
    let unit = odata_unit(|_| {}).await;
    for path in ["__ctl/$batch", "c/__ctl/$batch", "c/b/od/$metadata/$batch"] {
        let request = unit.admin_request("POST", path);
        let request = request.header("content-type", "multipart/mixed; boundary=b");
        let status = request
            .body(format!("{}--b--", get("Role")))
            .send()
            .await
            .status;
        assert!(status.is_client_error(), "{path}: {status}");
    }
    let get = unit.admin_outcome("GET", "c/b/od/$batch").await;
    assert_eq!(get, refused(405, "MC-0001"));
}

/// Over a shared store the key of a single creation is not read before the commit; its refusal is the same.
#[tokio::test]
async fn key_that_is_taken_through_a_navigation_property_is_refused_on_a_shared_store_too() {
    let unit = odata_unit(|_| {}).await;
    unit.create("c/b/od/A", r#"{"__id":"1"}"#).await;
    for (node, id) in [(&unit, "b"), (&unit.sharing_node(), "c")] {
        let post = change("POST", "A('1')/_B", "", &format!("{{\"__id\":\"{id}\"}}"));
        let parts = [post.clone(), get("A('1')"), post];
        let response = send(node, "master", &parts).await;
        assert_eq!(statuses(&outcomes(&response)), [201, 200, 409]);
        let text = response.text();
        assert!(text.contains("PR409-OD-0003"), "{text}");
    }
}
