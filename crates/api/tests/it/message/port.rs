//! `__message/port` and `__message/received`: who may deliver what, and who may mark it.

use serde_json::json;

use super::{ID, letter, request};
use crate::auth::{cell_url, world};
use crate::harness::{done, refused};

const PORT: &str = "c/__message/port";

#[tokio::test]
async fn only_a_cell_itself_delivers() {
    let world = world(|_| {}).await;
    world.grant_cell(&["p:root"]).await;
    let body = letter(json!({}));
    let anonymous = world.anybody("POST", PORT).text(&body).send().await;
    assert_eq!(anonymous.outcome(), refused(401, "AU-0001"));
    for (token, outcome) in [
        ("master".to_owned(), refused(403, "AU-0002")),
        (world.access("c").await, refused(403, "AU-0002")),
        (world.trans("d", "c").await, refused(403, "AU-0002")),
        ("nonsense".to_owned(), refused(401, "AU-0006")),
        (
            world.signed(|t| t.subject = cell_url("appcell")),
            refused(403, "AU-0002"),
        ),
        (
            world.signed(|t| {
                t.subject.clone_from(&t.issuer);
                t.target = cell_url("appcell");
            }),
            refused(401, "AU-0006"),
        ),
    ] {
        let reply = world.post_as(&token, PORT, &body).await;
        assert_eq!(reply.outcome(), outcome);
    }
    assert!(world.entities("c/__ctl/ReceivedMessage").await.is_empty());
    let reply = world.post_as(&world.delivering(), PORT, &body).await;
    assert_eq!(reply.outcome(), done(201));
    let location = format!("{}__ctl/ReceivedMessage('{ID}')", cell_url("c"));
    assert_eq!(reply.header("location"), Some(location.as_str()));
    assert!(reply.header("etag").unwrap().starts_with("W/\"1-"));
    let stored = &world.entities("c/__ctl/ReceivedMessage").await[0];
    assert_eq!(stored["From"], cell_url("d"));
    assert_eq!(stored["Status"], "unread");
}

#[tokio::test]
async fn a_cell_cannot_speak_for_another() {
    let world = world(|_| {}).await;
    let body = letter(json!({"From": cell_url("appcell")}));
    let reply = world.post_as(&world.delivering(), PORT, &body).await;
    assert_eq!(reply.outcome(), refused(400, "OD-0006"));
    assert!(reply.text().contains("[From]"), "{}", reply.text());
    let body = letter(json!({"From": "personium-localunit:d:/"}));
    let reply = world.post_as(&world.delivering(), PORT, &body).await;
    assert_eq!(reply.outcome(), done(201));
}

#[tokio::test]
async fn a_message_is_received_once() {
    let world = world(|_| {}).await;
    world.deliver(&letter(json!({}))).await;
    let again = world
        .post_as(&world.delivering(), PORT, &letter(json!({"Title": "u"})))
        .await;
    assert_eq!(again.outcome(), refused(409, "OD-0003"));
    assert_eq!(world.entities("c/__ctl/ReceivedMessage").await.len(), 1);
}

#[tokio::test]
async fn faulty_letters_are_refused() {
    let world = world(|_| {}).await;
    let add = json!({"RequestType": "relation.add", "Name": "r", "TargetUrl": cell_url("d")});
    for (members, outcome) in [
        (json!({"__id": null}), refused(400, "OD-0009")),
        (json!({"__id": "short"}), refused(400, "OD-0006")),
        (json!({"From": null}), refused(400, "OD-0009")),
        (json!({"From": "http://h/c"}), refused(400, "OD-0049")),
        (json!({"Type": null}), refused(400, "OD-0009")),
        (json!({"Type": "other"}), refused(400, "OD-0006")),
        (json!({"Status": null}), refused(400, "OD-0009")),
        (json!({"Status": "read"}), refused(400, "OD-0006")),
        (json!({"Status": "none"}), refused(400, "OD-0006")),
        (
            json!({"Type": "request", "Status": "none"}),
            refused(400, "OD-0006"),
        ),
        (
            json!({"Type": "request", "Status": "approved", "RequestObjects": [add.clone()]}),
            refused(400, "OD-0006"),
        ),
        (json!({"MulticastTo": "x"}), refused(400, "OD-0006")),
        (json!({"_Box.Name": "b"}), refused(400, "OD-0007")),
        (
            json!({"Schema": cell_url("nowhere")}),
            refused(400, "RM-0002"),
        ),
        (json!({"Body": "b".repeat(65_537)}), refused(400, "OD-0006")),
    ] {
        let reply = world
            .post_as(&world.delivering(), PORT, &letter(members.clone()))
            .await;
        assert_eq!(reply.outcome(), outcome, "{members}");
    }
    for objects in [
        json!([]),
        json!([{"RequestType": "other", "Name": "r"}]),
        json!([{"RequestType": "rule.add", "Action": "log"}]),
        json!([{"RequestType": "rule.add", "Name": "r"}]),
        json!([add.clone(), {"RequestType": "role.add", "Name": "r"}]),
    ] {
        let reply = world
            .post_as(&world.delivering(), PORT, &request(objects.clone()))
            .await;
        assert_eq!(reply.outcome(), refused(400, "OD-0006"), "{objects}");
    }
    assert!(world.entities("c/__ctl/ReceivedMessage").await.is_empty());
    let body = letter(json!({"Body": "b".repeat(65_536), "MulticastTo": cell_url("appcell")}));
    world.deliver(&body).await;
}

#[tokio::test]
async fn a_message_of_an_application_belongs_to_its_box() {
    let world = world(|_| {}).await;
    let body = letter(json!({"Schema": "personium-localunit:appcell:/"}));
    world.deliver(&body).await;
    let stored = &world.entities("c/__ctl/ReceivedMessage").await[0];
    assert_eq!(stored["_Box.Name"], "app");
}

#[tokio::test]
async fn marking_needs_the_privilege_of_messages() {
    let world = world(|_| {}).await;
    world.deliver(&letter(json!({}))).await;
    let token = world.access("c").await;
    let path = format!("c/__message/received/{ID}");
    let body = r#"{"Command":"read"}"#;
    for privilege in ["p:message-read", "p:social", "p:rule", "D:write"] {
        world.grant_cell(&[privilege]).await;
        let reply = world.post_as(&token, &path, body).await;
        assert_eq!(reply.outcome(), refused(403, "AU-0002"), "{privilege}");
    }
    world.grant_cell(&["p:message"]).await;
    let nobody = world.anybody("POST", &path).text(body).send().await;
    assert_eq!(nobody.outcome(), refused(403, "AU-0007"));
    let reply = world.post_as(&token, &path, body).await;
    assert_eq!(reply.outcome(), done(204));
    assert!(reply.header("etag").unwrap().starts_with("W/\"2-"));
}

#[tokio::test]
async fn lists_need_the_privilege_to_read_messages_and_cannot_be_written() {
    let world = world(|_| {}).await;
    world.deliver(&letter(json!({}))).await;
    let token = world.access("c").await;
    let one = format!("c/__ctl/ReceivedMessage('{ID}')");
    let paths = [
        "c/__ctl/SentMessage",
        "c/__ctl/ReceivedMessage",
        one.as_str(),
    ];
    for path in paths {
        world.grant_cell(&["p:message-read"]).await;
        assert_eq!(world.with_token("GET", path, &token).await, done(200));
        world.grant_cell(&["p:social", "p:rule"]).await;
        let lacking = refused(403, "AU-0002");
        assert_eq!(world.with_token("GET", path, &token).await, lacking);
        for method in ["POST", "PUT", "MERGE"] {
            let outcome = world.code(method, path).await;
            assert_eq!(outcome, refused(405, "MC-0001"), "{method} {path}");
        }
    }
    world.grant_cell(&["p:message-read"]).await;
    let lacking = refused(403, "AU-0002");
    assert_eq!(world.with_token("DELETE", &one, &token).await, lacking);
    world.grant_cell(&["p:message"]).await;
    assert_eq!(world.with_token("DELETE", &one, &token).await, done(204));
}

#[tokio::test]
async fn commands_fit_the_kind_of_message() {
    let world = world(|_| {}).await;
    assert_eq!(world.command("read").await, refused(404, "OD-0002"));
    world.deliver(&letter(json!({}))).await;
    for command in ["approved", "rejected", "none", "", "Read"] {
        let outcome = world.command(command).await;
        assert_eq!(outcome, refused(400, "OD-0006"), "{command}");
    }
    for command in ["read", "unread", "unread", "read"] {
        assert_eq!(world.command(command).await, done(204));
        let stored = &world.entities("c/__ctl/ReceivedMessage").await[0];
        assert_eq!(stored["Status"], command);
    }
    let path = format!("c/__message/received/{ID}");
    for (body, code) in [
        ("{", "CM-0004"),
        ("[]", "CM-0004"),
        ("{}", "OD-0006"),
        (r#"{"Command":1}"#, "OD-0006"),
    ] {
        let reply = world.post(&path, body).await;
        assert_eq!(reply.outcome(), refused(400, code), "{body}");
    }
    for path in ["c/__message", "c/__message/received", "c/__message/send/x"] {
        assert_eq!(world.code("POST", path).await, refused(404, "MC-0001"));
    }
    assert_eq!(
        world.code("GET", "c/__message/send").await,
        refused(405, "MC-0001")
    );
}
