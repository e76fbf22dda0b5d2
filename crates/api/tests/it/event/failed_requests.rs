//! Requests of rules that fail: they are tried again, given up, kept, sent again and removed; and the test of a rule.

use personium_model::Settings;
use personium_testkit::{StubServer, TestUnit, refused, success, text_member, wait_until};
use serde_json::{Value, json};

use crate::auth::unit_with_accounts;
use crate::event::{create_rule, log_lines, post_event, start_rule_sender, wait_for_log_lines};
use crate::message::grant_cell;

const FAILED: &str = "c/__rule/failed";
const STATE: &str = "c/__rule/state";
const MINUTE_MS: i64 = 60_000;

/// A unit with a rule that relays events to the path `/x` of a server that does not listen yet, and its port.
async fn unit_with_relay(change: impl FnOnce(&mut Settings)) -> (TestUnit, u16) {
    let unit = unit_with_accounts(|settings| {
        settings.allow_private_networks = true;
        change(settings);
    })
    .await;
    let server = StubServer::start().await;
    let target = format!("{}x", server.url());
    let rule = json!({"Action": "relay", "TargetUrl": target, "EventType": "t"});
    create_rule(&unit, "r", rule).await;
    (unit, server.port())
}

async fn get(unit: &TestUnit, path: &str) -> Value {
    let response = unit.admin_request("GET", path).send().await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

async fn failed(unit: &TestUnit) -> Vec<Value> {
    get(unit, FAILED).await["requests"]
        .as_array()
        .unwrap()
        .clone()
}

async fn last_request(unit: &TestUnit) -> Value {
    get(unit, STATE).await["rules"][0]["LastRequest"].clone()
}

async fn post(unit: &TestUnit, info: &str) {
    let event = json!({"Type": "t", "Object": "o", "Info": info});
    assert_eq!(post_event(unit, event).await.status, 200);
}

fn infos(requests: &[Value]) -> Vec<String> {
    let info = |request: &Value| text_member(&request["Event"], "Info");
    requests.iter().map(info).collect()
}

#[tokio::test]
async fn request_that_failed_is_kept_and_can_be_sent_again_or_removed() {
    let (unit, port) = unit_with_relay(|_| {}).await;
    assert_eq!(last_request(&unit).await, Value::Null);
    start_rule_sender(&unit);
    post(&unit, "one").await;
    post(&unit, "two").await;
    wait_for_log_lines(&unit, "c", 4).await;
    let kept = failed(&unit).await;
    assert_eq!(infos(&kept), ["one", "two"]);
    assert_eq!(
        (&kept[0]["Rule"], &kept[0]["Status"]),
        (&json!("r"), &json!("404"))
    );
    assert_eq!(kept[0]["Attempts"], 1);
    let state = get(&unit, STATE).await;
    assert_eq!(
        (&state["Failed"], &state["Waiting"]),
        (&json!(2), &json!(0))
    );
    let last = last_request(&unit).await;
    assert_eq!(
        (&last["Success"], &last["NextAttempt"]),
        (&json!(false), &Value::Null)
    );

    let path = |n: usize| format!("{FAILED}/{}", text_member(&kept[n], "Id"));
    assert_eq!(get(&unit, &path(1)).await, kept[1]);
    let server = StubServer::start_on(port).await;
    let again = unit.post(&path(0), "").await;
    assert_eq!(again.outcome(), success(204));
    let received = server.receive("200 OK", "").await;
    assert_eq!(received.body["Info"], "one");
    let id = text_member(&kept[0]["Event"], "EventId");
    assert_eq!(received.header("x-personium-eventid"), Some(id.as_str()));
    wait_until("success is shown", async || {
        last_request(&unit).await["Success"] == true
    })
    .await;
    assert_eq!(infos(&failed(&unit).await), ["two"]);

    assert_eq!(
        unit.admin_request("DELETE", &path(1)).send().await.status,
        204
    );
    assert!(failed(&unit).await.is_empty());
    assert_eq!(get(&unit, STATE).await["Failed"], 0);
    for (path, methods) in [
        (path(1).as_str(), "OPTIONS, GET, HEAD, POST, DELETE"),
        (FAILED, "OPTIONS, GET, HEAD"),
        (STATE, "OPTIONS, GET, HEAD"),
        ("c/__rule/test", "OPTIONS, POST"),
    ] {
        let refusal = unit.admin_request("PUT", path).send().await;
        assert_eq!(refusal.status, 405, "{path}");
        assert_eq!(refusal.header("allow"), Some(methods), "{path}");
    }
    for method in ["GET", "POST", "DELETE"] {
        let gone = unit.admin_request(method, &path(1)).send().await;
        assert_eq!(gone.outcome(), refused(404, "OD-0002"), "{method}");
        let bad = unit
            .admin_request(method, &format!("{FAILED}/x"))
            .send()
            .await;
        assert_eq!(bad.outcome(), refused(404, "OD-0002"), "{method}");
    }
    let after = format!("{FAILED}?after=x");
    assert_eq!(
        unit.admin_outcome("GET", &after).await,
        refused(400, "OD-0006")
    );
    // The rule is removed with what is known of it.
    let rule = unit
        .admin_request("DELETE", "c/__ctl/Rule('r')")
        .send()
        .await;
    assert_eq!(rule.status, 204);
    assert!(unit.record_keys(b"rHU").await.is_empty());
}

#[tokio::test]
async fn redirect_of_a_target_is_a_failure_and_nobody_follows_it() {
    let (unit, port) = unit_with_relay(|_| {}).await;
    let elsewhere = StubServer::start().await;
    let server = StubServer::start_on(port).await;
    start_rule_sender(&unit);
    post(&unit, "one").await;
    let redirect = format!("307 Temporary Redirect\r\nlocation: {}", elsewhere.url());
    server.receive(&redirect, "").await;
    wait_until("failure is shown", async || {
        last_request(&unit).await["Success"] == false
    })
    .await;
    assert_eq!(failed(&unit).await[0]["Status"], "307");
    assert!(!elsewhere.is_called().await);
}

#[tokio::test]
async fn kept_requests_are_limited_and_listed_in_pages() {
    let (unit, _) = unit_with_relay(|settings| settings.events.dead_letters_max = 102).await;
    start_rule_sender(&unit);
    for number in 0..104 {
        post(&unit, &number.to_string()).await;
    }
    wait_for_log_lines(&unit, "c", 208).await;
    let first = get(&unit, FAILED).await;
    let requests = first["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 100);
    assert_eq!(requests[0]["Event"]["Info"], "2", "the oldest are removed");
    let rest = format!("{FAILED}?after={}", text_member(&first, "next"));
    let rest = get(&unit, &rest).await;
    let infos = infos(rest["requests"].as_array().unwrap());
    assert_eq!(
        (infos, &rest["next"]),
        (vec!["102".to_owned(), "103".to_owned()], &Value::Null)
    );
    assert_eq!(get(&unit, STATE).await["Failed"], 102);
}

#[tokio::test]
async fn temporary_failures_are_tried_again_in_order_for_the_time_of_the_setting() {
    let (unit, port) = unit_with_relay(|settings| settings.events.request_secs = 600).await;
    start_rule_sender(&unit);
    post(&unit, "one").await;
    post(&unit, "two").await;
    wait_until("the next attempt is shown", async || {
        last_request(&unit).await["NextAttempt"].is_string()
    })
    .await;
    assert_eq!(get(&unit, STATE).await["Waiting"], 2);
    assert!(log_lines(&unit, "c").await.is_empty());
    let server = StubServer::start_on(port).await;
    unit.advance_clock(MINUTE_MS);
    let received = server.receive("503 Service Unavailable", "").await;
    assert_eq!(received.body["Info"], "one");
    wait_until("the second attempt is shown", async || {
        last_request(&unit).await["Attempts"] == 2
    })
    .await;
    unit.advance_clock(MINUTE_MS);
    for info in ["one", "two"] {
        assert_eq!(server.receive("200 OK", "").await.body["Info"], info);
    }
    wait_for_log_lines(&unit, "c", 4).await;
    assert!(failed(&unit).await.is_empty());

    // A refusal is final.
    post(&unit, "three").await;
    server.receive("403 Forbidden", "").await;
    wait_for_log_lines(&unit, "c", 6).await;
    assert_eq!(infos(&failed(&unit).await), ["three"]);
    assert_eq!(failed(&unit).await[0]["Status"], "403");

    // Given up after the time.
    drop(server);
    post(&unit, "four").await;
    wait_until("a temporary failure", async || {
        last_request(&unit).await["NextAttempt"].is_string()
    })
    .await;
    unit.advance_clock(10 * MINUTE_MS);
    wait_for_log_lines(&unit, "c", 8).await;
    assert_eq!(infos(&failed(&unit).await), ["three", "four"]);
    assert_eq!(failed(&unit).await[1]["Attempts"], 2);
}

#[tokio::test]
async fn test_of_a_rule_sends_its_request_and_keeps_nothing() {
    let (unit, port) = unit_with_relay(|_| {}).await;
    create_rule(&unit, "l", json!({"Action": "log"})).await;
    let server = StubServer::start_on(port).await;
    let test = json!({"Name": "r", "Type": "tried", "Info": "i"}).to_string();
    let (received, tested) = tokio::join!(
        server.receive("418 I'm a teapot", ""),
        unit.post("c/__rule/test", &test)
    );
    assert_eq!(received.body["Type"], "tried");
    assert!(received.header("signature").is_some());
    let answer = tested.json();
    assert_eq!(
        (&answer["Status"], &answer["Success"]),
        (&json!("418"), &json!(false))
    );
    assert!(failed(&unit).await.is_empty());
    assert!(log_lines(&unit, "c").await.is_empty());
    let shown = get(&unit, STATE).await;
    assert!(
        shown["rules"]
            .as_array()
            .unwrap()
            .iter()
            .all(|rule| rule["HitCount"] == 0)
    );
    for (body, outcome) in [
        (json!({"Name": "none"}), refused(404, "OD-0002")),
        (
            json!({"Name": "r", "_Box.Name": "b"}),
            refused(404, "OD-0002"),
        ),
        (json!({"Name": "l"}), refused(400, "OD-0006")),
        (json!({}), refused(400, "OD-0006")),
        (json!({"Name": 1}), refused(400, "OD-0006")),
        (json!({"Name": "r", "Type": 1}), refused(400, "EV-0004")),
    ] {
        let response = unit.post("c/__rule/test", &body.to_string()).await;
        assert_eq!(response.outcome(), outcome, "{body}");
    }
}

#[tokio::test]
async fn failed_requests_and_tests_need_the_privilege_to_change_rules() {
    let (unit, _) = unit_with_relay(|_| {}).await;
    start_rule_sender(&unit);
    post(&unit, "one").await;
    wait_for_log_lines(&unit, "c", 2).await;
    let path = format!("{FAILED}/{}", text_member(&failed(&unit).await[0], "Id"));
    let test = r#"{"Name":"r"}"#;
    let requests = [
        ("GET", FAILED, ""),
        ("GET", &path, ""),
        ("POST", "c/__rule/test", test),
        ("POST", &path, ""),
        ("DELETE", &path, ""),
    ];
    let token = unit.access_token("c").await;
    let call = async |token: Option<&str>, (method, path, body): (&str, &str, &str)| {
        let request = unit.request(method, path).body(body);
        let request = match token {
            Some(token) => request.bearer(token),
            None => request,
        };
        request.send().await.outcome()
    };
    for privilege in ["p:rule-read", "p:event", "p:log-read"] {
        grant_cell(&unit, &[privilege]).await;
        for request in requests {
            assert_eq!(
                call(Some(&token), request).await,
                refused(403, "AU-0002"),
                "{request:?}"
            );
        }
    }
    for request in requests {
        assert_eq!(
            call(None, request).await,
            refused(401, "AU-0001"),
            "{request:?}"
        );
    }
    let state = ("GET", STATE, "");
    assert_eq!(call(Some(&token), state).await, refused(403, "AU-0002"));
    grant_cell(&unit, &["p:rule-read"]).await;
    assert_eq!(call(Some(&token), state).await, success(200));
    grant_cell(&unit, &["p:rule"]).await;
    for (number, request) in requests.into_iter().enumerate() {
        let expected = if number < 3 { 200 } else { 204 };
        if number == 4 {
            // It was sent again, and failed again.
            wait_for_log_lines(&unit, "c", 4).await;
            let id = text_member(&failed(&unit).await[0], "Id");
            let path = format!("{FAILED}/{id}");
            assert_eq!(
                call(Some(&token), ("DELETE", &path, "")).await,
                success(204)
            );
        } else {
            assert_eq!(
                call(Some(&token), request).await,
                success(expected),
                "{request:?}"
            );
        }
    }
    // A token of another cell.
    let other = unit.trans_cell_token("d", "c").await;
    grant_cell(&unit, &[]).await;
    assert_eq!(
        call(Some(&other), ("GET", FAILED, "")).await,
        refused(403, "AU-0002")
    );
}
