//! Messages that cannot be delivered at once: they are tried again, given up, or known to the recipient already.

use personium_testkit::{
    StubServer, TestUnit, cell_url, refused, success, text_member, wait_until,
};
use serde_json::{Value, json};

use super::{ID, message_body};
use crate::auth::unit_with_accounts;
use crate::event::{log_lines, start_rule_sender};

const SEND: &str = "c/__message/send";
const PORT: &str = "d/__message/port";
const ATTEMPT: &str = "x-personium-delivery-attempt";
const HOUR_MS: i64 = 3_600_000;

/// A unit whose cells may send messages to servers of this machine, with this time for deliveries.
async fn unit_with_delivery_secs(secs: u64) -> TestUnit {
    unit_with_accounts(|settings| {
        settings.allow_private_networks = true;
        settings.events.delivery_secs = secs;
    })
    .await
}

/// A server that does not listen yet: its port, and the URL of a cell of it.
async fn stopped_server() -> (u16, String) {
    let server = StubServer::start().await;
    (server.port(), format!("{}far/", server.url()))
}

async fn send(unit: &TestUnit, to: &[&str]) -> Value {
    let body = json!({"To": to.join(","), "Title": "t"}).to_string();
    let sent = unit.post(SEND, &body).await;
    assert_eq!(sent.outcome(), success(201), "{}", sent.text());
    sent.json()["d"]["results"].clone()
}

/// The codes and reasons of a sent message, in the order of its recipients.
fn results(sent: &Value) -> Vec<(String, String)> {
    let all = sent["Result"].as_array().unwrap();
    let pair = |result: &Value| (text_member(result, "Code"), text_member(result, "Reason"));
    all.iter().map(pair).collect()
}

async fn sent_messages(unit: &TestUnit) -> Vec<Value> {
    unit.list_entities("c/__ctl/SentMessage").await
}

/// Waits until the only sent message has final results; returns them.
async fn final_results(unit: &TestUnit) -> Vec<(String, String)> {
    wait_until("final results", async || {
        let sent = sent_messages(unit).await;
        results(&sent[0]).iter().all(|(code, _)| code != "202")
    })
    .await;
    results(&sent_messages(unit).await[0])
}

/// Waits until an attempt to deliver the only sent message has failed.
async fn wait_for_attempt(unit: &TestUnit, number: &str) {
    let begin = format!("Attempt {number} failed");
    wait_until(&begin, async || {
        let sent = sent_messages(unit).await;
        results(&sent[0])[0].1.starts_with(&begin)
    })
    .await;
}

/// The number of deliveries that wait.
async fn waiting(unit: &TestUnit) -> usize {
    unit.record_keys(b"Q").await.len()
}

#[tokio::test]
async fn message_to_a_stopped_unit_arrives_when_it_runs() {
    let unit = unit_with_delivery_secs(600).await;
    let (port, far) = stopped_server().await;
    let sent = send(&unit, &[&far, &cell_url("d")]).await;
    let [(code, reason), near] = &results(&sent)[..] else {
        panic!("{sent}");
    };
    assert_eq!((code.as_str(), waiting(&unit).await), ("202", 1));
    assert!(reason.starts_with("Attempt 1 failed"), "{reason}");
    assert!(
        reason.ends_with("No connection was established."),
        "{reason}"
    );
    assert_eq!(near.0, "201");

    start_rule_sender(&unit);
    let server = StubServer::start_on(port).await;
    unit.advance_clock(HOUR_MS / 60);
    let received = server.receive("201 Created", "{}").await;
    assert_eq!(received.header(ATTEMPT), Some("2"));
    assert_eq!(received.body["__id"], sent["__id"]);
    assert_eq!(received.body["From"], cell_url("c"));
    assert_eq!(received.body["MulticastTo"], cell_url("d"));
    let created = ("201".to_owned(), "Created.".to_owned());
    assert_eq!(final_results(&unit).await, [created.clone(), created]);
    assert_eq!(waiting(&unit).await, 0);
    assert_eq!(unit.list_entities("d/__ctl/ReceivedMessage").await.len(), 1);
    unit.advance_clock(HOUR_MS);
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert!(!server.is_called().await, "it is delivered once");
}

#[tokio::test]
async fn temporary_errors_are_tried_again_and_others_are_not() {
    let unit = unit_with_delivery_secs(600).await;
    start_rule_sender(&unit);
    let server = StubServer::start().await;
    let far = format!("{}far/", server.url());
    let to = [far.as_str()];
    let (_, sent) = tokio::join!(
        server.receive("503 Service Unavailable", "{}"),
        send(&unit, &to)
    );
    assert_eq!(results(&sent)[0].0, "202");
    for (attempt, status) in [
        ("2", "429 Too Many Requests"),
        ("3", "500 Internal Server Error"),
    ] {
        unit.advance_clock(HOUR_MS / 60);
        let received = server.receive(status, "{}").await;
        assert_eq!(received.header(ATTEMPT), Some(attempt));
        wait_for_attempt(&unit, attempt).await;
    }
    unit.advance_clock(HOUR_MS / 60);
    let refusal = r#"{"code":"PR403-AU-0002","message":{"lang":"en","value":"no thanks"}}"#;
    server.receive("403 Forbidden", refusal).await;
    let refused = ("403".to_owned(), "no thanks".to_owned());
    assert_eq!(final_results(&unit).await, [refused]);
    assert_eq!(waiting(&unit).await, 0);
}

#[tokio::test]
async fn message_is_given_up_after_the_time_of_the_setting() {
    let unit = unit_with_delivery_secs(60).await;
    let (_, far) = stopped_server().await;
    send(&unit, &[&far]).await;
    start_rule_sender(&unit);
    unit.advance_clock(50_000);
    wait_for_attempt(&unit, "2").await;
    unit.advance_clock(10_000);
    let given_up = "Given up after 3 attempts: No connection was established.";
    let expected = ("500".to_owned(), given_up.to_owned());
    assert_eq!(final_results(&unit).await, [expected]);
    assert_eq!(waiting(&unit).await, 0);
}

#[tokio::test]
async fn without_retries_a_message_needs_one_recipient_that_is_reached() {
    let unit = unit_with_delivery_secs(0).await;
    let (_, far) = stopped_server().await;
    let body = json!({"To": far}).to_string();
    let response = unit.post(SEND, &body).await;
    assert_eq!(response.outcome(), refused(500, "SM-0001"));
    assert!(sent_messages(&unit).await.is_empty());
    let sent = send(&unit, &[&far, &cell_url("d")]).await;
    let codes: Vec<String> = results(&sent).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, ["500", "201"]);
    assert_eq!(waiting(&unit).await, 0);
}

#[tokio::test]
async fn recipient_that_never_answers_delays_no_other_one() {
    let unit = unit_with_delivery_secs(600).await;
    let (silent_port, silent) = stopped_server().await;
    let (port, far) = stopped_server().await;
    let sent = send(&unit, &[&silent, &far]).await;
    send(&unit, &[&silent]).await;
    let silent = StubServer::start_on(silent_port).await;
    let server = StubServer::start_on(port).await;
    start_rule_sender(&unit);
    unit.advance_clock(HOUR_MS / 60);
    let (_open, received) = tokio::join!(
        silent.accept_silently(),
        server.receive("201 Created", "{}")
    );
    assert_eq!(received.body["__id"], sent["__id"]);
    // One attempt for all that wait for it.
    assert!(!silent.is_called().await);
}

#[tokio::test]
async fn deletion_of_a_sent_message_ends_its_deliveries() {
    let unit = unit_with_delivery_secs(600).await;
    let (port, far) = stopped_server().await;
    let sent = send(&unit, &[&far]).await;
    let path = format!("c/__ctl/SentMessage('{}')", text_member(&sent, "__id"));
    assert_eq!(unit.admin_request("DELETE", &path).send().await.status, 204);
    let server = StubServer::start_on(port).await;
    start_rule_sender(&unit);
    unit.advance_clock(HOUR_MS / 60);
    wait_until("nothing waits", async || waiting(&unit).await == 0).await;
    assert!(!server.is_called().await);
}

#[tokio::test]
async fn message_that_waits_and_its_event_are_stored_together() {
    let unit = unit_with_delivery_secs(600).await;
    let (_, far) = stopped_server().await;
    let (_, target) = stopped_server().await;
    for (action, target) in [("log", None), ("relay", Some(target))] {
        let rule = json!({"Name": action, "Action": action, "EventType": "message.send", "TargetUrl": target});
        unit.create("c/__ctl/Rule", &rule.to_string()).await;
    }
    send(&unit, &[&far]).await;
    assert_eq!(waiting(&unit).await, 2);
    assert_eq!(log_lines(&unit, "c").await.len(), 1);
    start_rule_sender(&unit);
    wait_until("the rule has sent its request", async || {
        log_lines(&unit, "c").await.len() == 3
    })
    .await;
    assert_eq!(waiting(&unit).await, 1);
}

#[tokio::test]
async fn message_that_is_delivered_again_is_stored_once() {
    let unit = unit_with_accounts(|_| {}).await;
    let token = unit.assertion(|token| {
        token.issuer = cell_url("c");
        token.subject = cell_url("c");
        token.target = cell_url("d");
    });
    let body = message_body(json!({"From": cell_url("c")}));
    let deliver = async |token: &str, body: &str, attempt: Option<&str>| {
        let mut request = unit.request("POST", PORT).bearer(token).body(body);
        if let Some(attempt) = attempt {
            request = request.header(ATTEMPT, attempt);
        }
        request.send().await.outcome()
    };
    assert_eq!(deliver(&token, &body, None).await, success(201));
    assert_eq!(deliver(&token, &body, None).await, refused(409, "OD-0003"));
    assert_eq!(deliver(&token, &body, Some("2")).await, success(200));
    assert_eq!(unit.list_entities("d/__ctl/ReceivedMessage").await.len(), 1);
    // It has read and deleted the message since, or the attempt comes much later.
    let path = format!("d/__ctl/ReceivedMessage('{ID}')");
    unit.admin_request("DELETE", &path).send().await;
    unit.advance_clock(14 * 24 * HOUR_MS);
    let token = unit.assertion(|token| {
        token.issuer = cell_url("c");
        token.subject = cell_url("c");
        token.target = cell_url("d");
    });
    assert_eq!(deliver(&token, &body, Some("9")).await, success(200));
    assert!(
        unit.list_entities("d/__ctl/ReceivedMessage")
            .await
            .is_empty()
    );
    // The id of a message of another cell proves nothing.
    let other = unit.assertion(|token| {
        token.issuer = cell_url("appcell");
        token.subject = cell_url("appcell");
        token.target = cell_url("d");
    });
    let of_other = message_body(json!({"From": cell_url("appcell")}));
    assert_eq!(deliver(&other, &of_other, Some("2")).await, success(201));
    let new = body.replace(ID, &"f".repeat(32));
    assert_eq!(
        deliver(&other, &of_other.replace(ID, &"f".repeat(32)), None).await,
        success(201)
    );
    assert_eq!(
        deliver(&token, &new, Some("2")).await,
        refused(409, "RM-0006")
    );
}

#[tokio::test]
async fn attempt_without_an_answer_is_repeated_with_its_number() {
    let unit = unit_with_delivery_secs(600).await;
    start_rule_sender(&unit);
    let server = StubServer::start().await;
    let far = format!("{}far/", server.url());
    let to = [far.as_str()];
    let (_, sent) = tokio::join!(server.accept(), send(&unit, &to));
    assert_eq!(results(&sent)[0].0, "202");
    unit.advance_clock(HOUR_MS / 60);
    // A recipient that does not know the header answers that it has the message.
    let exists = r#"{"code":"PR409-OD-0003","message":{"lang":"en","value":"exists"}}"#;
    let received = server.receive("409 Conflict", exists).await;
    assert_eq!(received.header(ATTEMPT), Some("2"));
    assert_eq!(final_results(&unit).await[0].0, "201");
}
