//! Delivery and marking of messages: `__message/port` and `__message/received`.

use personium_testkit::{cell_url, refused, success};
use serde_json::json;

use super::{ID, message_body, request_message, send_command};
use crate::auth::unit_with_accounts;
use crate::message::{deliver, delivery_token, grant_cell};

const PORT: &str = "c/__message/port";

#[tokio::test]
async fn message_delivery_needs_a_token_of_the_sending_cell() {
    let unit = unit_with_accounts(|_| {}).await;
    grant_cell(&unit, &["p:root"]).await;
    let body = message_body(json!({}));
    let anonymous = unit.request("POST", PORT).body(&body).send().await;
    assert_eq!(anonymous.outcome(), refused(401, "AU-0001"));
    for (token, outcome) in [
        ("master".to_owned(), refused(403, "AU-0002")),
        (unit.access_token("c").await, refused(403, "AU-0002")),
        (
            unit.trans_cell_token("d", "c").await,
            refused(403, "AU-0002"),
        ),
        ("nonsense".to_owned(), refused(401, "AU-0006")),
        (
            unit.assertion(|t| t.subject = cell_url("appcell")),
            refused(403, "AU-0002"),
        ),
        (
            unit.assertion(|t| {
                t.subject.clone_from(&t.issuer);
                t.target = cell_url("appcell");
            }),
            refused(401, "AU-0006"),
        ),
    ] {
        let response = unit.post_as(&token, PORT, &body).await;
        assert_eq!(response.outcome(), outcome);
    }
    assert!(
        unit.list_entities("c/__ctl/ReceivedMessage")
            .await
            .is_empty()
    );
    let response = unit.post_as(&delivery_token(&unit), PORT, &body).await;
    assert_eq!(response.outcome(), success(201));
    let location = format!("{}__ctl/ReceivedMessage('{ID}')", cell_url("c"));
    assert_eq!(response.header("location"), Some(location.as_str()));
    assert!(response.header("etag").unwrap().starts_with("W/\"1-"));
    let stored = &unit.list_entities("c/__ctl/ReceivedMessage").await[0];
    assert_eq!(stored["From"], cell_url("d"));
    assert_eq!(stored["Status"], "unread");
}

#[tokio::test]
async fn message_from_another_cell_than_the_token_is_refused() {
    let unit = unit_with_accounts(|_| {}).await;
    let body = message_body(json!({"From": cell_url("appcell")}));
    let response = unit.post_as(&delivery_token(&unit), PORT, &body).await;
    assert_eq!(response.outcome(), refused(400, "OD-0006"));
    assert!(response.text().contains("[From]"), "{}", response.text());
    let body = message_body(json!({"From": "personium-localunit:d:/"}));
    let response = unit.post_as(&delivery_token(&unit), PORT, &body).await;
    assert_eq!(response.outcome(), success(201));
}

#[tokio::test]
async fn message_with_a_known_id_is_refused() {
    let unit = unit_with_accounts(|_| {}).await;
    deliver(&unit, &message_body(json!({}))).await;
    let again = unit
        .post_as(
            &delivery_token(&unit),
            PORT,
            &message_body(json!({"Title": "u"})),
        )
        .await;
    assert_eq!(again.outcome(), refused(409, "OD-0003"));
    assert_eq!(unit.list_entities("c/__ctl/ReceivedMessage").await.len(), 1);
}

#[tokio::test]
async fn invalid_messages_are_refused() {
    let unit = unit_with_accounts(|_| {}).await;
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
        let response = unit
            .post_as(&delivery_token(&unit), PORT, &message_body(members.clone()))
            .await;
        assert_eq!(response.outcome(), outcome, "{members}");
    }
    for objects in [
        json!([]),
        json!([{"RequestType": "other", "Name": "r"}]),
        json!([{"RequestType": "rule.add", "Action": "log"}]),
        json!([{"RequestType": "rule.add", "Name": "r"}]),
        json!([add.clone(), {"RequestType": "role.add", "Name": "r"}]),
    ] {
        let response = unit
            .post_as(
                &delivery_token(&unit),
                PORT,
                &request_message(objects.clone()),
            )
            .await;
        assert_eq!(response.outcome(), refused(400, "OD-0006"), "{objects}");
    }
    assert!(
        unit.list_entities("c/__ctl/ReceivedMessage")
            .await
            .is_empty()
    );
    let body =
        message_body(json!({"Body": "b".repeat(65_536), "MulticastTo": cell_url("appcell")}));
    deliver(&unit, &body).await;
}

#[tokio::test]
async fn message_with_a_schema_belongs_to_the_box_of_the_app() {
    let unit = unit_with_accounts(|_| {}).await;
    let body = message_body(json!({"Schema": "personium-localunit:appcell:/"}));
    deliver(&unit, &body).await;
    let stored = &unit.list_entities("c/__ctl/ReceivedMessage").await[0];
    assert_eq!(stored["_Box.Name"], "app");
}

#[tokio::test]
async fn marking_a_message_needs_the_message_privilege() {
    let unit = unit_with_accounts(|_| {}).await;
    deliver(&unit, &message_body(json!({}))).await;
    let token = unit.access_token("c").await;
    let path = format!("c/__message/received/{ID}");
    let body = r#"{"Command":"read"}"#;
    for privilege in ["p:message-read", "p:social", "p:rule", "D:write"] {
        grant_cell(&unit, &[privilege]).await;
        let response = unit.post_as(&token, &path, body).await;
        assert_eq!(response.outcome(), refused(403, "AU-0002"), "{privilege}");
    }
    grant_cell(&unit, &["p:message"]).await;
    let nobody = unit.request("POST", &path).body(body).send().await;
    assert_eq!(nobody.outcome(), refused(403, "AU-0007"));
    let response = unit.post_as(&token, &path, body).await;
    assert_eq!(response.outcome(), success(204));
    assert!(response.header("etag").unwrap().starts_with("W/\"2-"));
}

#[tokio::test]
async fn message_lists_need_message_read_and_are_read_only() {
    let unit = unit_with_accounts(|_| {}).await;
    deliver(&unit, &message_body(json!({}))).await;
    let token = unit.access_token("c").await;
    let one = format!("c/__ctl/ReceivedMessage('{ID}')");
    let paths = [
        "c/__ctl/SentMessage",
        "c/__ctl/ReceivedMessage",
        one.as_str(),
    ];
    for path in paths {
        grant_cell(&unit, &["p:message-read"]).await;
        assert_eq!(
            unit.outcome_with_token("GET", path, &token).await,
            success(200)
        );
        grant_cell(&unit, &["p:social", "p:rule"]).await;
        let lacking = refused(403, "AU-0002");
        assert_eq!(unit.outcome_with_token("GET", path, &token).await, lacking);
        for method in ["POST", "PUT", "MERGE"] {
            let outcome = unit.admin_outcome(method, path).await;
            assert_eq!(outcome, refused(405, "MC-0001"), "{method} {path}");
        }
    }
    grant_cell(&unit, &["p:message-read"]).await;
    let lacking = refused(403, "AU-0002");
    assert_eq!(
        unit.outcome_with_token("DELETE", &one, &token).await,
        lacking
    );
    grant_cell(&unit, &["p:message"]).await;
    assert_eq!(
        unit.outcome_with_token("DELETE", &one, &token).await,
        success(204)
    );
}

#[tokio::test]
async fn message_command_must_fit_the_message_type() {
    let unit = unit_with_accounts(|_| {}).await;
    assert_eq!(send_command(&unit, "read").await, refused(404, "OD-0002"));
    deliver(&unit, &message_body(json!({}))).await;
    for command in ["approved", "rejected", "none", "", "Read"] {
        let outcome = send_command(&unit, command).await;
        assert_eq!(outcome, refused(400, "OD-0006"), "{command}");
    }
    for command in ["read", "unread", "unread", "read"] {
        assert_eq!(send_command(&unit, command).await, success(204));
        let stored = &unit.list_entities("c/__ctl/ReceivedMessage").await[0];
        assert_eq!(stored["Status"], command);
    }
    let path = format!("c/__message/received/{ID}");
    for (body, code) in [
        ("{", "CM-0004"),
        ("[]", "CM-0004"),
        ("{}", "OD-0006"),
        (r#"{"Command":1}"#, "OD-0006"),
    ] {
        let response = unit.post(&path, body).await;
        assert_eq!(response.outcome(), refused(400, code), "{body}");
    }
    for path in ["c/__message", "c/__message/received", "c/__message/send/x"] {
        assert_eq!(
            unit.admin_outcome("POST", path).await,
            refused(404, "MC-0001")
        );
    }
    assert_eq!(
        unit.admin_outcome("GET", "c/__message/send").await,
        refused(405, "MC-0001")
    );
}
