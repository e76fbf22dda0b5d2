//! `POST __event`.

use personium_testkit::{TestUnit, cell_url, refused, success};
use serde_json::json;

use super::{after_level, longest_text};
use crate::auth::unit_with_accounts;
use crate::event::{create_rule, log_lines, post_event};
use crate::message::{delivery_token, grant_cell};

#[tokio::test]
async fn event_without_matching_rule_leaves_no_records() {
    let unit = TestUnit::new().await;
    create_rule(
        &unit,
        "other",
        json!({"Action": "log", "EventType": "other"}),
    )
    .await;
    for body in [
        r#"{"Type":"a","Object":"b","Info":"c"}"#,
        r#"{"Type":null}"#,
        r#"{}"#,
        r#"{"Level":"INFO","More":[1,{"a":2}]}"#,
    ] {
        let response = unit.post("c/__event", body).await;
        assert_eq!(
            (response.status.as_u16(), response.text()),
            (200, String::new()),
            "{body}"
        );
    }
    assert!(unit.record_keys(b"GHQ").await.is_empty());
}

#[tokio::test]
async fn invalid_events_are_refused() {
    let unit = TestUnit::new().await;
    create_rule(&unit, "all", json!({"Action": "log"})).await;
    let long = |text: String| json!({"Info": text}).to_string();
    let pairs = "😀".repeat(25_600);
    for (body, outcome) in [
        (r#"{"Type":1}"#.to_owned(), refused(400, "EV-0004")),
        (r#"{"Object":true}"#.to_owned(), refused(400, "EV-0004")),
        (r#"{"Info":{}}"#.to_owned(), refused(400, "EV-0004")),
        (long(longest_text() + "x"), refused(400, "EV-0004")),
        (long(format!("{pairs}x")), refused(400, "EV-0004")),
        ("{".to_owned(), refused(400, "CM-0004")),
        ("[]".to_owned(), refused(400, "CM-0004")),
        (String::new(), refused(400, "CM-0004")),
        (long("x".repeat(2 << 20)), refused(413, "MC-0001")),
    ] {
        let response = unit.post("c/__event", &body).await;
        let begin = body.get(..30).unwrap_or(&body);
        assert_eq!(response.outcome(), outcome, "{begin}");
    }
    assert!(log_lines(&unit, "c").await.is_empty());
    for body in [long(longest_text()), long(pairs)] {
        assert_eq!(unit.post("c/__event", &body).await.outcome(), success(200));
    }
    assert_eq!(log_lines(&unit, "c").await.len(), 2);
}

#[tokio::test]
async fn event_endpoint_allows_post_and_options_only() {
    let unit = TestUnit::new().await;
    for (method, outcome) in [
        ("GET", refused(405, "MC-0001")),
        ("PUT", refused(405, "MC-0001")),
        ("DELETE", refused(405, "MC-0001")),
        ("PROPFIND", refused(501, "MC-0001")),
        ("PROPPATCH", refused(501, "MC-0001")),
        ("OPTIONS", success(200)),
    ] {
        assert_eq!(
            unit.admin_outcome(method, "c/__event").await,
            outcome,
            "{method}"
        );
    }
    assert_eq!(
        unit.admin_outcome("POST", "c/__event/x").await,
        refused(404, "MC-0001")
    );
}

#[tokio::test]
async fn event_log_names_subject_schema_and_request_key() {
    let unit = unit_with_accounts(|_| {}).await;
    create_rule(&unit, "all", json!({"Action": "log"})).await;
    grant_cell(&unit, &["p:event"]).await;
    let event = r#"{"Type":"t","Object":"personium-localcell:/b/f","Info":"i \"q\""}"#;
    let rest = format!(r#""t","{}b/f","i ""q""""#, cell_url("c"));

    let master = unit
        .admin_request("POST", "c/__event")
        .header("x-personium-requestkey", "key-1_");
    assert_eq!(master.body(event).send().await.status, 200);
    let resident = unit.access_token("c").await;
    unit.post_as(&resident, "c/__event", event).await;
    let app = unit.assertion(|token| token.schema = Some(cell_url("appcell")));
    let visitor = delivery_token(&unit);
    for token in [&app, &visitor] {
        unit.post_as(token, "c/__event", event).await;
    }
    let lines = log_lines(&unit, "c").await;
    assert_eq!(
        after_level(&lines[0]),
        format!(r#""key-1_","true",null,null,{rest}"#)
    );
    let ends = |line: &str, middle: &str| {
        let end = format!(r#","true",{middle},{rest}"#);
        assert!(line.ends_with(&end), "{line}\n{end}");
    };
    ends(&lines[1], &format!(r#""","{}#me""#, cell_url("c")));
    let (app, other) = (cell_url("appcell"), cell_url("d"));
    ends(&lines[2], &format!(r#""{app}","{other}#me""#));
    ends(&lines[3], &format!(r#""","{other}""#));
    assert_eq!(lines.len(), 4, "{lines:#?}");
}

#[tokio::test]
async fn event_over_the_hop_limit_is_not_processed() {
    let unit = TestUnit::new().await;
    create_rule(&unit, "all", json!({"Action": "log"})).await;
    for (chain, logged) in [("2", true), ("3", false), ("x", false), ("-5", true)] {
        let before = log_lines(&unit, "c").await.len();
        let request = unit
            .admin_request("POST", "c/__event")
            .header("x-personium-rulechain", chain);
        assert_eq!(request.body("{}").send().await.outcome(), success(200));
        assert_eq!(
            log_lines(&unit, "c").await.len() - before,
            usize::from(logged),
            "{chain}"
        );
    }
    let silent = TestUnit::with_settings(|settings| settings.events.hops_max = 0).await;
    create_rule(&silent, "all", json!({"Action": "log"})).await;
    assert_eq!(post_event(&silent, json!({})).await.status, 200);
    assert!(log_lines(&silent, "c").await.is_empty());
}
