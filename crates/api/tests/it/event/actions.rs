//! What rules send.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use personium_model::auth::issue;
use personium_model::event::{Event, outbox};
use personium_token::local::LocalKind;
use personium_types::Code;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{told, until};
use crate::auth::{PASSWORD, cell_url, world};
use crate::harness::{World, done, refused};

/// Takes one request and answers it; its head in lower case, and its body.
async fn answer_one(listener: &TcpListener, status: &str) -> (String, Value) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut read = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        read.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            return (head.to_owned(), body);
        }
        assert!(count > 0, "{text}");
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

#[tokio::test]
async fn a_relayed_event_reaches_another_server_with_a_token_for_it() {
    let world = world(|settings| settings.private_networks = true).await;
    world.grant_cell(&["p:event"]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}/far/x", listener.local_addr().unwrap());
    world
        .rule(
            "r",
            json!({"Action": "relay", "TargetUrl": target, "EventType": "t"}),
        )
        .await;
    world.send_for_rules();
    let token = world.access("c").await;
    let post = world
        .anybody("POST", "c/__event")
        .with("authorization", &format!("Bearer {token}"))
        .with("x-personium-requestkey", "key1")
        .with("x-personium-via", "http://unit.example/d/")
        .text(r#"{"Type":"t","Object":"personium-localcell:/b/f"}"#);
    assert_eq!(post.send().await.status, 200);
    let (head, body) = answer_one(&listener, "202 Accepted").await;
    assert!(head.starts_with("POST /far/x HTTP/1.1"), "{head}");
    let expected = json!({
        "External": true, "Schema": "", "Subject": format!("{}#me", cell_url("c")),
        "Type": "t", "Object": format!("{}b/f", cell_url("c")),
    });
    assert_eq!(body, expected);
    assert_eq!(header(&head, "x-personium-requestkey"), Some("key1"));
    assert_eq!(header(&head, "x-personium-rulechain"), Some("1"));
    assert_eq!(
        header(&head, "x-personium-via"),
        Some("http://unit.example/d/")
    );
    assert_eq!(header(&head, "x-personium-eventid").map(str::len), Some(22));
    let token = header(&head, "authorization")
        .unwrap()
        .strip_prefix("Bearer ")
        .unwrap();
    assert!(token.len() > 1000, "a signed assertion: {token}");
    let other = world.post_as(token, "d/__event", "{}").await;
    assert_eq!(other.status, 401, "a token for another cell is none for d");

    let lines = world.wait_for_lines("c", 2).await;
    assert!(
        told(&lines[0]).contains(r#""t","http://unit.example/c/b/f",null"#),
        "{lines:#?}"
    );
    assert!(
        told(&lines[1]).ends_with(&format!(r#""relay","{target}","202""#)),
        "{lines:#?}"
    );
    assert!(world.keys(b"Q").await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_sent_is_logged_and_forgotten() {
    let world = world(|_| {}).await;
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let target = format!("http://{free}/far/");
    world
        .rule("r", json!({"Action": "relay", "TargetUrl": target}))
        .await;
    world.send_for_rules();
    world.tell(json!({})).await;
    let lines = world.wait_for_lines("c", 2).await;
    assert!(
        told(&lines[1]).ends_with(&format!(r#""relay","{target}","404""#)),
        "{lines:#?}"
    );
    assert!(world.keys(b"Q").await.is_empty());
}

#[tokio::test]
async fn an_event_is_relayed_to_another_cell_as_whoever_caused_it() {
    let world = world(|_| {}).await;
    world.grant_cell(&["p:event"]).await;
    world
        .rule(
            "r",
            json!({"Action": "relay.event", "TargetUrl": "personium-localunit:d:/"}),
        )
        .await;
    let there = json!({"Name": "l", "EventExternal": true, "Action": "log"});
    world.make("d/__ctl/Rule", &there.to_string()).await;
    world.send_for_rules();
    let token = world.access("c").await;
    let post = r#"{"Type":"t","Object":"o","Info":"i"}"#;

    world.post_as(&token, "c/__event", post).await;
    let lines = world.wait_for_lines("c", 2).await;
    let refusal = format!(r#""relay.event","{}","403""#, cell_url("d"));
    assert!(
        told(&lines[1]).ends_with(&refusal),
        "nothing was granted there: {lines:#?}"
    );
    assert!(world.lines("d").await.is_empty());

    world.grant_all("d", &["p:event"]).await;
    world.post_as(&token, "c/__event", post).await;
    let lines = world.wait_for_lines("d", 1).await;
    let expected = format!(r#","true","","{}#me","relay.ext.t","o","i""#, cell_url("c"));
    assert!(lines[0].ends_with(&expected), "{lines:#?}");
}

#[tokio::test]
async fn an_event_that_comes_back_is_heard_three_times() {
    let world = world(|_| {}).await;
    world.grant_all("c", &["p:event"]).await;
    world
        .rule(
            "r",
            json!({"Action": "relay.event", "TargetUrl": "personium-localcell:/"}),
        )
        .await;
    world.send_for_rules();
    let token = world.access("c").await;
    world.post_as(&token, "c/__event", r#"{"Type":"t"}"#).await;
    let lines = world.wait_for_lines("c", 6).await;
    for line in lines.iter().filter(|line| line.contains("\"relay.event\"")) {
        assert!(
            line.ends_with(&format!(r#""{}","200""#, cell_url("c"))),
            "{line}"
        );
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let shown = world.ask("GET", "c/__rule").send().await.json();
    assert_eq!(shown["rules"][0]["HitCount"], 3, "{shown}");
    assert!(world.keys(b"Q").await.is_empty());
}

#[tokio::test]
async fn a_service_is_called_as_whoever_caused_the_event() {
    let world = world(|_| {}).await;
    world.grant_cell(&["p:event"]).await;
    world.mkcol("c/b/s", "service").await;
    world
        .rule(
            "r",
            json!({"Action": "exec", "TargetUrl": "personium-localcell:/b/s/x"}),
        )
        .await;
    world.send_for_rules();
    let token = world.access("c").await;
    world.post_as(&token, "c/__event", "{}").await;
    let lines = world.wait_for_lines("c", 2).await;
    let url = format!("{}b/s/x", cell_url("c"));
    assert!(
        told(&lines[1]).ends_with(&format!(r#""exec","{url}","403""#)),
        "{lines:#?}"
    );

    world.grant_all("c/b", &["p:exec"]).await;
    world.post_as(&token, "c/__event", "{}").await;
    let status = world.post_as(&token, "c/b/s/x", "{}").await.status.as_u16();
    assert_ne!(status, 403);
    let lines = world.wait_for_lines("c", 4).await;
    assert!(
        told(&lines[3]).ends_with(&format!(r#""exec","{url}","{status}""#)),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn a_token_of_a_rule_does_nothing_at_cell_level() {
    let world = world(|settings| settings.private_networks = true).await;
    // Whoever causes the event may do everything in d; the rule may tell d of events only.
    world.grant_all("d", &["p:root"]).await;
    world.grant_cell(&["p:event"]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}/far/", listener.local_addr().unwrap());
    world
        .rule("r", json!({"Action": "relay.event", "TargetUrl": target}))
        .await;
    let target = "personium-localunit:/d/__ctl/Role";
    world
        .rule("s", json!({"Action": "relay", "TargetUrl": target}))
        .await;
    world.send_for_rules();
    let token = world.access("c").await;
    world.post_as(&token, "c/__event", r#"{"Type":"t"}"#).await;
    let (head, _) = answer_one(&listener, "200 OK").await;
    assert!(head.starts_with("POST /far/__event "), "{head}");
    let lines = world.wait_for_lines("c", 4).await;
    let url = format!("{}__ctl/Role", cell_url("d"));
    let refused = format!(r#""relay","{url}","403""#);
    assert!(
        lines.iter().any(|line| line.ends_with(&refused)),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn an_account_that_is_gone_causes_nothing_any_more() {
    let world = world(|_| {}).await;
    world.grant_cell(&["p:event"]).await;
    world.grant_all("d", &["p:event"]).await;
    world
        .rule(
            "r",
            json!({"Action": "relay.event", "TargetUrl": "personium-localunit:d:/"}),
        )
        .await;
    let token = world.access("c").await;
    assert_eq!(
        world.post_as(&token, "c/__event", "{}").await.outcome(),
        done(200)
    );
    assert_eq!(
        world.code("DELETE", "c/__ctl/Account('me')").await,
        done(204)
    );
    world.send_for_rules();
    let lines = world.wait_for_lines("c", 2).await;
    assert!(told(&lines[1]).ends_with("\"401\""), "{lines:#?}");
}

#[tokio::test]
async fn an_entity_is_copied_to_another_cell_and_kept_alike() {
    let world = world(|_| {}).await;
    world.grant_cell(&["p:event"]).await;
    world.make("d/__ctl/Box", r#"{"Name":"b"}"#).await;
    for cell in ["c", "d"] {
        world.mkcol(&format!("{cell}/b/od"), "odata").await;
        world
            .make(
                &format!("{cell}/b/od/$metadata/EntityType"),
                r#"{"Name":"E"}"#,
            )
            .await;
    }
    world.make("c/b/od/E", r#"{"__id":"o'1","n":1}"#).await;
    world.grant_all("c/b", &["D:read"]).await;
    world.grant_all("d/b", &["D:write"]).await;
    let target = format!("{}b/od/E", cell_url("d"));
    for (name, kind) in [("create", "odata.create"), ("update", "odata.update")] {
        let target = "personium-localunit:d:/b/od/E";
        world
            .rule(
                name,
                json!({"Action": "relay.data", "TargetUrl": target, "EventType": kind}),
            )
            .await;
    }
    world.send_for_rules();
    let token = world.access("c").await;
    let event = |kind: &str| {
        json!({"Type": kind, "Object": "personium-localcell:/b/od/E('o''1')"}).to_string()
    };
    world
        .post_as(&token, "c/__event", &event("odata.create"))
        .await;
    let lines = world.wait_for_lines("c", 2).await;
    assert!(
        told(&lines[1]).ends_with(&format!(r#""relay.data","{target}","201""#)),
        "{lines:#?}"
    );
    let copy = "d/b/od/E('o''1')?$format=json";
    assert_eq!(
        world.ask("GET", copy).send().await.json()["d"]["results"]["n"],
        1
    );

    let put = world.ask("PUT", "c/b/od/E('o''1')").with("if-match", "*");
    assert_eq!(
        put.text(r#"{"__id":"o'1","n":2}"#).send().await.outcome(),
        done(204)
    );
    world
        .post_as(&token, "c/__event", &event("odata.update"))
        .await;
    let lines = world.wait_for_lines("c", 4).await;
    assert!(
        told(&lines[3]).ends_with(&format!(r#""relay.data","{target}","204""#)),
        "{lines:#?}"
    );
    assert_eq!(
        world.ask("GET", copy).send().await.json()["d"]["results"]["n"],
        2
    );
}

#[tokio::test]
async fn what_was_acknowledged_is_sent_after_a_restart() {
    let world = world(|_| {}).await;
    world.grant_all("d", &["p:event"]).await;
    world
        .rule(
            "r",
            json!({"Action": "relay.event", "TargetUrl": "personium-localunit:d:/"}),
        )
        .await;
    let there = json!({"Name": "l", "EventExternal": true, "Action": "log"});
    world.make("d/__ctl/Rule", &there.to_string()).await;
    world.grant_cell(&["p:event"]).await;
    let token = world.access("c").await;
    for number in 0..3 {
        let event = json!({"Type": format!("t{number}")}).to_string();
        world.post_as(&token, "c/__event", &event).await;
    }
    assert_eq!(world.keys(b"Q").await.len(), 3);
    let world = world.again();
    world.send_for_rules();
    let lines = world.wait_for_lines("d", 3).await;
    for (number, line) in lines.iter().enumerate() {
        assert!(
            line.contains(&format!("\"relay.ext.t{number}\"")),
            "in order: {lines:#?}"
        );
    }
    world.wait_for_lines("c", 6).await;
    assert!(world.keys(b"Q").await.is_empty());
    // The announcement of the cell goes with the start that finds nothing to do.
    let world = world.again();
    let outbox = world.unit.outbox();
    for cell in outbox.announced(&world.unit).await.unwrap() {
        outbox.ring_for(&world.unit, cell).await.unwrap();
    }
    let key = personium_model::keys::singles("event/cell/");
    assert!(world.unit.records().is_empty(&key).await.unwrap());
}

#[tokio::test]
async fn who_sends_too_much_has_to_wait() {
    let world = World::new().await;
    for number in 0..100 {
        let target = "https://far.example/";
        world
            .rule(
                &format!("r{number}"),
                json!({"Action": "relay", "TargetUrl": target}),
            )
            .await;
    }
    for _ in 0..100 {
        assert_eq!(world.tell(json!({})).await.outcome(), done(200));
    }
    let reply = world.tell(json!({})).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(
        world.keys(b"Q").await.len(),
        10_000,
        "nothing of it is kept"
    );
}

#[tokio::test]
async fn a_removed_cell_sends_nothing() {
    let world = world(|_| {}).await;
    world
        .rule(
            "r",
            json!({"Action": "relay.event", "TargetUrl": "personium-localunit:d:/"}),
        )
        .await;
    world.tell(json!({})).await;
    let remove = world
        .ask("DELETE", "c")
        .with("x-personium-recursive", "true");
    assert_eq!(remove.send().await.outcome(), done(204));
    assert_eq!(world.code("GET", "c/__rule").await, refused(404, "DV-0003"));
    let key = personium_model::keys::singles("event/cell/");
    until("no announcement", async || {
        world.unit.records().is_empty(&key).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn who_is_named_as_the_subject_does_not_make_an_account_act() {
    let world = world(|_| {}).await;
    world.grant_cell(&["p:event"]).await;
    world
        .rule(
            "r",
            json!({"Action": "relay.event", "TargetUrl": "personium-localunit:d:/"}),
        )
        .await;
    let context = world.unit.find_cell("c").await.unwrap().unwrap();
    let me = context.find_account("me").await.unwrap().unwrap();
    let subject = cell_url("c") + "#me";
    let basic = STANDARD.encode(format!("me:{PASSWORD}"));
    let named = world.signed(|t| t.subject.clone_from(&subject));
    for (authorization, account, kind) in [
        (
            format!("Bearer {}", world.access("c").await),
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
        let post = world
            .anybody("POST", "c/__event")
            .with("authorization", &authorization);
        assert_eq!(post.text("{}").send().await.status, 200);
        let rule = outbox::list_rules(context.records())
            .await
            .unwrap()
            .remove(0);
        let (key, waiting) = outbox::find_next(context.records(), &rule)
            .await
            .unwrap()
            .unwrap();
        let event = &waiting.event;
        assert_eq!(event.subject.as_ref(), Some(&subject));
        assert_eq!(event.account, account);
        let made = async |event: &Event| {
            issue::action_token(&world.unit, &context, event, None, Vec::new(), 1_000).await
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
        outbox::finish(&world.unit, &context, &key, &waiting, "200")
            .await
            .unwrap();
    }
}
