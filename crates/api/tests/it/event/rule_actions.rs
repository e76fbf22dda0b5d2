//! Requests that rules send: relay, relay.event, relay.data and exec.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use personium_model::auth::token_issuer::TokenIssuer;
use personium_model::event::{Event, outbox, pending};
use personium_testkit::{PASSWORD, StubServer, TestUnit, cell_url, refused, success};
use personium_token::local::LocalKind;
use personium_types::Code;
use serde_json::json;

use super::{after_level, wait_until};
use crate::auth::unit_with_accounts;
use crate::event::{create_rule, log_lines, post_event, start_rule_sender, wait_for_log_lines};
use crate::message::grant_cell;

#[tokio::test]
async fn relay_sends_the_event_with_a_token_for_the_target() {
    let unit = unit_with_accounts(|settings| settings.allow_private_networks = true).await;
    grant_cell(&unit, &["p:event"]).await;
    let server = StubServer::start().await;
    let target = format!("{}far/x", server.url());
    create_rule(
        &unit,
        "r",
        json!({"Action": "relay", "TargetUrl": target, "EventType": "t"}),
    )
    .await;
    start_rule_sender(&unit);
    let token = unit.access_token("c").await;
    let post = unit
        .request("POST", "c/__event")
        .bearer(&token)
        .header("x-personium-requestkey", "key1")
        .header("x-personium-via", "http://unit.example/d/")
        .body(r#"{"Type":"t","Object":"personium-localcell:/b/f"}"#);
    assert_eq!(post.send().await.status, 200);
    let received = server.receive("202 Accepted", "").await;
    let head = &received.head;
    assert!(head.starts_with("POST /far/x HTTP/1.1"), "{head}");
    let expected = json!({
        "External": true, "Schema": "", "Subject": format!("{}#me", cell_url("c")),
        "Type": "t", "Object": format!("{}b/f", cell_url("c")),
    });
    assert_eq!(received.body, expected);
    assert_eq!(received.header("x-personium-requestkey"), Some("key1"));
    assert_eq!(received.header("x-personium-rulechain"), Some("1"));
    // A user begins a new chain, whatever cells he names.
    assert_eq!(received.header("x-personium-via"), None);
    assert_eq!(
        received.header("x-personium-eventid").map(str::len),
        Some(22)
    );
    let token = received
        .header("authorization")
        .unwrap()
        .strip_prefix("Bearer ")
        .unwrap();
    assert!(token.len() > 1000, "a signed assertion: {token}");
    let other = unit.post_as(token, "d/__event", "{}").await;
    assert_eq!(other.status, 401, "a token for another cell is none for d");

    let lines = wait_for_log_lines(&unit, "c", 2).await;
    assert!(
        after_level(&lines[0]).contains(r#""t","http://unit.example/c/b/f",null"#),
        "{lines:#?}"
    );
    assert!(
        after_level(&lines[1]).ends_with(&format!(r#""relay","{target}","202""#)),
        "{lines:#?}"
    );
    assert!(unit.record_keys(b"Q").await.is_empty());
}

#[tokio::test]
async fn undeliverable_relay_is_logged_and_removed() {
    let unit = unit_with_accounts(|_| {}).await;
    let free = StubServer::start().await.url();
    let target = format!("{free}far/");
    create_rule(&unit, "r", json!({"Action": "relay", "TargetUrl": target})).await;
    start_rule_sender(&unit);
    post_event(&unit, json!({})).await;
    let lines = wait_for_log_lines(&unit, "c", 2).await;
    assert!(
        after_level(&lines[1]).ends_with(&format!(r#""relay","{target}","404""#)),
        "{lines:#?}"
    );
    assert!(unit.record_keys(b"Q").await.is_empty());
}

#[tokio::test]
async fn relay_event_posts_to_another_cell_as_the_subject() {
    let unit = unit_with_accounts(|_| {}).await;
    grant_cell(&unit, &["p:event"]).await;
    create_rule(
        &unit,
        "r",
        json!({"Action": "relay.event", "TargetUrl": "personium-localunit:d:/"}),
    )
    .await;
    let there = json!({"Name": "l", "EventExternal": true, "Action": "log"});
    unit.create("d/__ctl/Rule", &there.to_string()).await;
    start_rule_sender(&unit);
    let token = unit.access_token("c").await;
    let post = r#"{"Type":"t","Object":"o","Info":"i"}"#;

    unit.post_as(&token, "c/__event", post).await;
    let lines = wait_for_log_lines(&unit, "c", 2).await;
    let refusal = format!(r#""relay.event","{}","403""#, cell_url("d"));
    assert!(
        after_level(&lines[1]).ends_with(&refusal),
        "nothing was granted there: {lines:#?}"
    );
    assert!(log_lines(&unit, "d").await.is_empty());

    unit.grant_to_everybody("d", &["p:event"]).await;
    unit.post_as(&token, "c/__event", post).await;
    let lines = wait_for_log_lines(&unit, "d", 1).await;
    let expected = format!(r#","true","","{}#me","relay.ext.t","o","i""#, cell_url("c"));
    assert!(lines[0].ends_with(&expected), "{lines:#?}");
}

#[tokio::test]
async fn relay_loop_stops_after_the_maximum_of_hops() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.grant_to_everybody("c", &["p:event"]).await;
    create_rule(
        &unit,
        "r",
        json!({"Action": "relay.event", "TargetUrl": "personium-localcell:/"}),
    )
    .await;
    start_rule_sender(&unit);
    let token = unit.access_token("c").await;
    unit.post_as(&token, "c/__event", r#"{"Type":"t"}"#).await;
    let lines = wait_for_log_lines(&unit, "c", 6).await;
    for line in lines.iter().filter(|line| line.contains("\"relay.event\"")) {
        assert!(
            line.ends_with(&format!(r#""{}","200""#, cell_url("c"))),
            "{line}"
        );
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let shown = unit.admin_request("GET", "c/__rule").send().await.json();
    assert_eq!(shown["rules"][0]["HitCount"], 3, "{shown}");
    assert!(unit.record_keys(b"Q").await.is_empty());
}

#[tokio::test]
async fn exec_calls_the_service_as_the_subject() {
    let unit = unit_with_accounts(|_| {}).await;
    grant_cell(&unit, &["p:event"]).await;
    unit.create_collection("c/b/s", "service").await;
    create_rule(
        &unit,
        "r",
        json!({"Action": "exec", "TargetUrl": "personium-localcell:/b/s/x"}),
    )
    .await;
    start_rule_sender(&unit);
    let token = unit.access_token("c").await;
    unit.post_as(&token, "c/__event", "{}").await;
    let lines = wait_for_log_lines(&unit, "c", 2).await;
    let url = format!("{}b/s/x", cell_url("c"));
    assert!(
        after_level(&lines[1]).ends_with(&format!(r#""exec","{url}","403""#)),
        "{lines:#?}"
    );

    unit.grant_to_everybody("c/b", &["p:exec"]).await;
    unit.post_as(&token, "c/__event", "{}").await;
    let status = unit.post_as(&token, "c/b/s/x", "{}").await.status.as_u16();
    assert_ne!(status, 403);
    let lines = wait_for_log_lines(&unit, "c", 4).await;
    assert!(
        after_level(&lines[3]).ends_with(&format!(r#""exec","{url}","{status}""#)),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn relay_token_has_no_cell_level_scope() {
    let unit = unit_with_accounts(|settings| settings.allow_private_networks = true).await;
    // The subject has every privilege in d; the token of the rule may only post events there.
    unit.grant_to_everybody("d", &["p:root"]).await;
    grant_cell(&unit, &["p:event"]).await;
    let server = StubServer::start().await;
    let target = format!("{}far/", server.url());
    create_rule(
        &unit,
        "r",
        json!({"Action": "relay.event", "TargetUrl": target}),
    )
    .await;
    let target = "personium-localunit:/d/__ctl/Role";
    create_rule(&unit, "s", json!({"Action": "relay", "TargetUrl": target})).await;
    start_rule_sender(&unit);
    let token = unit.access_token("c").await;
    unit.post_as(&token, "c/__event", r#"{"Type":"t"}"#).await;
    let head = server.receive("200 OK", "").await.head;
    assert!(head.starts_with("POST /far/__event "), "{head}");
    let lines = wait_for_log_lines(&unit, "c", 4).await;
    let url = format!("{}__ctl/Role", cell_url("d"));
    let refused = format!(r#""relay","{url}","403""#);
    assert!(
        lines.iter().any(|line| line.ends_with(&refused)),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn relay_for_a_deleted_account_is_refused() {
    let unit = unit_with_accounts(|_| {}).await;
    grant_cell(&unit, &["p:event"]).await;
    unit.grant_to_everybody("d", &["p:event"]).await;
    create_rule(
        &unit,
        "r",
        json!({"Action": "relay.event", "TargetUrl": "personium-localunit:d:/"}),
    )
    .await;
    let token = unit.access_token("c").await;
    assert_eq!(
        unit.post_as(&token, "c/__event", "{}").await.outcome(),
        success(200)
    );
    assert_eq!(
        unit.admin_outcome("DELETE", "c/__ctl/Account('me')").await,
        success(204)
    );
    start_rule_sender(&unit);
    let lines = wait_for_log_lines(&unit, "c", 2).await;
    assert!(after_level(&lines[1]).ends_with("\"401\""), "{lines:#?}");
}

#[tokio::test]
async fn relay_data_copies_created_and_updated_entities() {
    let unit = unit_with_accounts(|_| {}).await;
    grant_cell(&unit, &["p:event"]).await;
    unit.create("d/__ctl/Box", r#"{"Name":"b"}"#).await;
    for cell in ["c", "d"] {
        unit.create_collection(&format!("{cell}/b/od"), "odata")
            .await;
        unit.create(
            &format!("{cell}/b/od/$metadata/EntityType"),
            r#"{"Name":"E"}"#,
        )
        .await;
    }
    unit.create("c/b/od/E", r#"{"__id":"o'1 é","n":1}"#).await;
    unit.grant_to_everybody("c/b", &["D:read"]).await;
    unit.grant_to_everybody("d/b", &["D:write"]).await;
    let target = format!("{}b/od/E", cell_url("d"));
    for (name, kind) in [("create", "odata.create"), ("update", "odata.update")] {
        let target = "personium-localunit:d:/b/od/E";
        create_rule(
            &unit,
            name,
            json!({"Action": "relay.data", "TargetUrl": target, "EventType": kind}),
        )
        .await;
    }
    start_rule_sender(&unit);
    let token = unit.access_token("c").await;
    let event = |kind: &str| {
        json!({"Type": kind, "Object": "personium-localcell:/b/od/E('o''1 é')"}).to_string()
    };
    unit.post_as(&token, "c/__event", &event("odata.create"))
        .await;
    let lines = wait_for_log_lines(&unit, "c", 2).await;
    assert!(
        after_level(&lines[1]).ends_with(&format!(r#""relay.data","{target}","201""#)),
        "{lines:#?}"
    );
    let copy = "d/b/od/E('o''1%20%C3%A9')?$format=json";
    assert_eq!(
        unit.admin_request("GET", copy).send().await.json()["d"]["results"]["n"],
        1
    );

    let put = unit
        .admin_request("PUT", "c/b/od/E('o''1%20%C3%A9')")
        .header("if-match", "*");
    assert_eq!(
        put.body(r#"{"__id":"o'1 é","n":9007199254740993}"#)
            .send()
            .await
            .outcome(),
        success(204)
    );
    unit.post_as(&token, "c/__event", &event("odata.update"))
        .await;
    let lines = wait_for_log_lines(&unit, "c", 4).await;
    assert!(
        after_level(&lines[3]).ends_with(&format!(r#""relay.data","{target}","204""#)),
        "{lines:#?}"
    );
    assert_eq!(
        unit.admin_request("GET", copy).send().await.json()["d"]["results"]["n"],
        9_007_199_254_740_993_u64
    );
}

#[tokio::test]
async fn queued_rule_requests_are_sent_in_order_after_restart() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.grant_to_everybody("d", &["p:event"]).await;
    create_rule(
        &unit,
        "r",
        json!({"Action": "relay.event", "TargetUrl": "personium-localunit:d:/"}),
    )
    .await;
    let there = json!({"Name": "l", "EventExternal": true, "Action": "log"});
    unit.create("d/__ctl/Rule", &there.to_string()).await;
    grant_cell(&unit, &["p:event"]).await;
    let token = unit.access_token("c").await;
    for number in 0..3 {
        let event = json!({"Type": format!("t{number}")}).to_string();
        unit.post_as(&token, "c/__event", &event).await;
    }
    assert_eq!(unit.record_keys(b"Q").await.len(), 3);
    let unit = unit.restart();
    start_rule_sender(&unit);
    let lines = wait_for_log_lines(&unit, "d", 3).await;
    for (number, line) in lines.iter().enumerate() {
        assert!(
            line.contains(&format!("\"relay.ext.t{number}\"")),
            "in order: {lines:#?}"
        );
    }
    wait_for_log_lines(&unit, "c", 6).await;
    assert!(unit.record_keys(b"Q").await.is_empty());
    // The pending marker of the cell is removed by a start that finds no queued request.
    let unit = unit.restart();
    for (cell, claim) in pending::list_claims(&unit.model).await.unwrap() {
        pending::resume(&unit.model, cell, &claim).await.unwrap();
    }
    let markers = personium_model::keys::outbox_markers().range;
    assert!(unit.model.records().is_empty(&markers).await.unwrap());
}

#[tokio::test]
async fn full_outbox_refuses_further_events() {
    let unit = TestUnit::new().await;
    for number in 0..100 {
        let target = "https://far.example/";
        create_rule(
            &unit,
            &format!("r{number}"),
            json!({"Action": "relay", "TargetUrl": target}),
        )
        .await;
    }
    for _ in 0..100 {
        assert_eq!(post_event(&unit, json!({})).await.outcome(), success(200));
    }
    let response = post_event(&unit, json!({})).await;
    assert_eq!(response.status, 503, "{}", response.text());
    assert_eq!(
        unit.record_keys(b"Q").await.len(),
        10_000,
        "nothing of it is kept"
    );
}

#[tokio::test]
async fn removed_cell_sends_no_rule_requests() {
    let unit = unit_with_accounts(|_| {}).await;
    create_rule(
        &unit,
        "r",
        json!({"Action": "relay.event", "TargetUrl": "personium-localunit:d:/"}),
    )
    .await;
    post_event(&unit, json!({})).await;
    let remove = unit
        .admin_request("DELETE", "c")
        .header("x-personium-recursive", "true");
    assert_eq!(remove.send().await.outcome(), success(204));
    assert_eq!(
        unit.admin_outcome("GET", "c/__rule").await,
        refused(404, "DV-0003")
    );
    let markers = personium_model::keys::outbox_markers().range;
    wait_until("no marker of a pending outbox", async || {
        unit.model.records().is_empty(&markers).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn subject_name_alone_does_not_act_as_the_account() {
    let unit = unit_with_accounts(|_| {}).await;
    grant_cell(&unit, &["p:event"]).await;
    create_rule(
        &unit,
        "r",
        json!({"Action": "relay.event", "TargetUrl": "personium-localunit:d:/"}),
    )
    .await;
    let context = unit.model.find_cell("c").await.unwrap().unwrap();
    let me = context.find_account("me").await.unwrap().unwrap();
    let subject = cell_url("c") + "#me";
    let basic = STANDARD.encode(format!("me:{PASSWORD}"));
    let named = unit.assertion(|t| t.subject.clone_from(&subject));
    for (authorization, account, kind) in [
        (
            format!("Bearer {}", unit.access_token("c").await),
            Some(me.id.clone()),
            LocalKind::ResidentAccess,
        ),
        (
            format!("Basic {basic}"),
            Some(me.id.clone()),
            LocalKind::ResidentAccess,
        ),
        (format!("Bearer {named}"), None, LocalKind::VisitorAccess),
    ] {
        let post = unit
            .request("POST", "c/__event")
            .header("authorization", &authorization);
        assert_eq!(post.body("{}").send().await.status, 200);
        let rule = outbox::list_rules(context.records())
            .await
            .unwrap()
            .remove(0);
        let (key, waiting) = outbox::list_next(context.records(), &rule, 1)
            .await
            .unwrap()
            .remove(0);
        let event = &waiting.event;
        assert_eq!(event.subject.as_ref(), Some(&subject));
        assert_eq!(event.account, account);
        let made = async |event: &Event| {
            TokenIssuer::new(&unit.model, &context)
                .action_token(event, Vec::new(), None, 1_000)
                .await
        };
        let token = made(event).await.unwrap().unwrap();
        assert_eq!(LocalKind::of(&token), Some(kind));
        if account.is_some() {
            let earlier = Event {
                account: Some("an account that is gone".to_owned()),
                ..event.clone()
            };
            let refusal = made(&earlier).await.unwrap_err();
            assert_eq!(refusal.code(), Code::AuthnFailed);
        }
        let own = unit.model.node_id().unwrap();
        let outcome = outbox::RequestOutcome {
            text: "200".to_owned(),
            kind: outbox::OutcomeKind::Success,
        };
        let sent = outbox::SentRequest {
            key,
            entry: waiting,
            outcome,
        };
        let sent = [sent];
        let completed = outbox::complete(&unit.model, &context, &sent, &own).await;
        assert!(completed.unwrap());
    }
}
