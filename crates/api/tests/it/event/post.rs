//! `POST __event`.

use personium_model::event::outbox;
use personium_testkit::{StubServer, TestUnit, cell_url, refused, success};
use serde_json::json;

use super::{after_level, hits, longest_text};
use crate::auth::unit_with_accounts;
use crate::event::{create_rule, log_lines, post_event, start_rule_sender};
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
async fn event_endpoint_allows_post_options_and_reading_of_the_feed_only() {
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
    let options = unit.admin_request("OPTIONS", "c/__event").send().await;
    assert_eq!(options.header("allow"), Some("OPTIONS, GET, POST"));
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

/// Headers about the chain of rules that anybody can make up.
const FORGED: [[(&str, &str); 2]; 5] = [
    [(CHAIN, "9"), (PROOF, "9")],
    [(CHAIN, "3"), (PROOF, "3,3.19675.x")],
    [(CHAIN, "x"), (PROOF, "x")],
    [(CHAIN, "-5"), (PROOF, "-5")],
    [
        (CHAIN, "99999999999999999999"),
        (PROOF, "99999999999999999999"),
    ],
];
const CHAIN: &str = "x-personium-rulechain";
const PROOF: &str = "x-personium-rulechainproof";

#[tokio::test]
async fn nobody_can_end_the_chain_of_rules_of_his_event() {
    let unit = unit_with_accounts(|_| {}).await;
    grant_cell(&unit, &["p:event"]).await;
    create_rule(&unit, "log", json!({"Action": "log"})).await;
    let relay = json!({"Action": "relay", "TargetUrl": "http://far.example/"});
    create_rule(&unit, "relay", relay).await;
    let resident = unit.access_token("c").await;
    let other_cell = unit.assertion(|_| {});
    let app = unit.assertion(|token| token.schema = Some(cell_url("appcell")));
    let visitor = delivery_token(&unit);
    let mut posted = 0;
    for token in [&resident, &other_cell, &app, &visitor] {
        for headers in FORGED {
            let mut request = unit.request("POST", "c/__event").bearer(token);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let request = request.header("x-personium-eventid", "mine");
            let request = request.header("x-personium-via", "http://victim.example/c/");
            let response = request.body(r#"{"Type":"t"}"#).send().await;
            assert_eq!(response.outcome(), success(200), "{token} {headers:?}");
            posted += 1;
            for rule in ["log", "relay"] {
                assert_eq!(hits(&unit, rule).await, posted, "{token} {headers:?}");
            }
        }
    }
    assert_eq!(log_lines(&unit, "c").await.len(), posted);
    // No event passes for another one, or for one of another cell.
    let context = unit.model.find_cell("c").await.unwrap().unwrap();
    let rules = outbox::list_rules(context.records()).await.unwrap();
    let sent = outbox::list_next(context.records(), &rules[0], 100).await;
    let sent = sent.unwrap();
    assert_eq!(sent.len(), posted);
    for (_, entry) in sent {
        assert_eq!(entry.event.id.unwrap().len(), 22);
        let known = [None, Some(cell_url("d"))];
        assert!(known.contains(&entry.event.via), "{:?}", entry.event.via);
    }
}

#[tokio::test]
async fn chain_that_comes_back_from_another_server_ends_at_the_limit() {
    let unit = unit_with_accounts(|settings| settings.allow_private_networks = true).await;
    grant_cell(&unit, &["p:event"]).await;
    let far = StubServer::start().await;
    let relay = json!({"Action": "relay", "TargetUrl": far.url()});
    create_rule(&unit, "relay", relay.clone()).await;
    create_rule(&unit, "log", json!({"Action": "log"})).await;
    let in_d =
        json!({"Name": "relay", "EventExternal": true, "Action": "relay", "TargetUrl": far.url()});
    unit.create("d/__ctl/Rule", &in_d.to_string()).await;
    start_rule_sender(&unit);
    let resident = unit.access_token("c").await;
    let other_cell = unit.assertion(|_| {});
    for token in [&resident, &other_cell] {
        let before = hits(&unit, "relay").await;
        let mut carried: Vec<(&str, String)> = Vec::new();
        for number in 1..=4 {
            let mut request = unit.request("POST", "c/__event").bearer(token);
            for (name, value) in &carried {
                request = request.header(name, value);
            }
            request.body("{}").send().await.expect(200);
            if number == 4 {
                break;
            }
            let received = far.receive("200 OK", "").await;
            assert_eq!(received.header(CHAIN), Some(number.to_string().as_str()));
            let header = |name| (name, received.header(name).unwrap().to_owned());
            carried = vec![header(CHAIN), header(PROOF)];
        }
        assert_eq!(hits(&unit, "relay").await - before, 3);
        // The proofs of a cell end no chain in another one.
        let mut request = unit.admin_request("POST", "d/__event");
        for (name, value) in &carried {
            request = request.header(name, value);
        }
        request.body("{}").send().await.expect(200);
        let received = far.receive("200 OK", "").await;
        assert_eq!(received.header(CHAIN), Some("4"));
    }
    assert_eq!(hits(&unit, "log").await, 8);
}

#[tokio::test]
async fn without_hops_no_rule_is_applied() {
    let silent = TestUnit::with_settings(|settings| settings.events.hops_max = 0).await;
    create_rule(&silent, "all", json!({"Action": "log"})).await;
    assert_eq!(post_event(&silent, json!({})).await.status, 200);
    assert!(log_lines(&silent, "c").await.is_empty());
}
