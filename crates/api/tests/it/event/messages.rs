//! Events about messages.

use personium_testkit::{cell_url, refused, success};
use serde_json::json;

use super::internal::{event, log_internal, logged, send};
use super::log_lines;
use crate::auth::unit_with_accounts;
use crate::message::{ID, deliver, message_body, request_message, send_command};

#[tokio::test]
async fn messages_post_their_events_and_those_of_what_they_change() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.create("c/__ctl/Relation", r#"{"Name":"r"}"#).await;
    log_internal(&unit).await;
    let of = |id: &str| format!("c/__ctl/ReceivedMessage('{id}')");
    deliver(&unit, &message_body(json!({}))).await;
    let mut expected = event("message.receive", &of(ID), "201");
    assert_eq!(logged(&unit).await, expected);
    for (command, kind) in [
        ("read", "message.read"),
        ("unread", "message.unread"),
        // A refused command posts nothing.
        ("approved", ""),
    ] {
        let sent = send_command(&unit, command).await;
        match kind {
            "" => assert_eq!(sent, refused(400, "OD-0006")),
            _ => {
                assert_eq!(sent, success(204));
                expected.extend(event(kind, &of(ID), "204"));
            }
        }
        assert_eq!(logged(&unit).await, expected);
    }
    send(&unit, "DELETE", &of(ID), "").await;
    expected.extend(event("cellctl.ReceivedMessage.delete", &of(ID), "204"));
    for (command, kind) in [
        ("rejected", "message.reject"),
        ("approved", "message.approve"),
    ] {
        let objects = json!([
            {"RequestType": "relation.add", "Name": "r", "TargetUrl": "http://far.example/x/"},
        ]);
        deliver(&unit, &request_message(objects)).await;
        expected.extend(event("message.receive", &of(ID), "201"));
        assert_eq!(send_command(&unit, command).await, success(204));
        let posted = logged(&unit).await.split_off(expected.len());
        if command == "approved" {
            let by_message = format!("approved for message {ID}");
            let changes = posted.iter().filter(|(_, _, info)| *info == by_message);
            assert!(changes.count() >= 1, "{posted:?}");
        }
        let status = event(kind, &of(ID), "204").remove(0);
        assert!(posted.contains(&status), "{posted:?}");
        expected.extend(posted);
        send(&unit, "DELETE", &of(ID), "").await;
        expected.extend(event("cellctl.ReceivedMessage.delete", &of(ID), "204"));
        assert_eq!(logged(&unit).await, expected);
    }
}

#[tokio::test]
async fn sent_message_posts_its_event_in_its_cell_and_a_received_one_in_the_other() {
    let unit = unit_with_accounts(|_| {}).await;
    for cell in ["c", "d"] {
        let rule = json!({
            "Name": "messages", "EventExternal": false, "EventType": "message.", "Action": "log",
        });
        unit.create(&format!("{cell}/__ctl/Rule"), &rule.to_string())
            .await;
    }
    let body = json!({"To": cell_url("d"), "Type": "message", "Title": "t", "Body": "b"});
    let sent = unit.post("c/__message/send", &body.to_string()).await;
    let id = sent.expect(201).results()["__id"]
        .as_str()
        .unwrap()
        .to_owned();
    for (cell, kind, set) in [
        ("c", "message.send", "SentMessage"),
        ("d", "message.receive", "ReceivedMessage"),
    ] {
        let lines = log_lines(&unit, cell).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        let object = format!("{}__ctl/{set}('{id}')", cell_url(cell));
        let end = format!(r#""{kind}","{object}","201""#);
        assert!(lines[0].ends_with(&end), "{lines:?}");
    }
    // A message that is refused has not happened.
    let refused = json!({"To": "nothing", "Type": "message", "Title": "t", "Body": "b"});
    let sent = unit.post("c/__message/send", &refused.to_string()).await;
    assert_eq!(sent.status, 400);
    assert_eq!(log_lines(&unit, "c").await.len(), 1);
}
