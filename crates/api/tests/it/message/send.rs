//! Sending of messages: `__message/send`.

use personium_testkit::{TestUnit, cell_url, escape, refused, success, text_member};
use serde_json::{Value, json};

use crate::auth::unit_with_accounts;
use crate::message::grant_cell;

const SEND: &str = "c/__message/send";

fn results(sent: &Value) -> Vec<(String, String)> {
    let all = sent["d"]["results"]["Result"].as_array().unwrap();
    let pair = |r: &Value| (text_member(r, "To"), text_member(r, "Code"));
    all.iter().map(pair).collect()
}

async fn link_cells(unit: &TestUnit, relation: &str, cells: &[&str]) {
    for cell in cells {
        let url = cell_url(cell);
        let ext = json!({"Url": url}).to_string();
        let _known_already = unit.post("c/__ctl/ExtCell", &ext).await;
        let key = escape(&url);
        let uri = format!("{}__ctl/ExtCell('{key}')", cell_url("c"));
        let path = format!("c/__ctl/Relation('{relation}')/$links/_ExtCell");
        let response = unit.post(&path, &json!({"uri": uri}).to_string()).await;
        assert_eq!(response.status, 204, "{}", response.text());
    }
}

#[tokio::test]
async fn sending_needs_the_message_privilege() {
    let unit = unit_with_accounts(|_| {}).await;
    let body = json!({"To": cell_url("d"), "Title": "t"}).to_string();
    let token = unit.access_token("c").await;
    for privilege in ["p:message-read", "p:social", "D:write"] {
        grant_cell(&unit, &[privilege]).await;
        let response = unit.post_as(&token, SEND, &body).await;
        assert_eq!(response.outcome(), refused(403, "AU-0002"), "{privilege}");
    }
    let nobody = unit.request("POST", SEND).body(&body).send().await;
    assert_eq!(nobody.outcome(), refused(401, "AU-0001"));
    assert!(
        unit.list_entities("d/__ctl/ReceivedMessage")
            .await
            .is_empty()
    );
    grant_cell(&unit, &["p:message"]).await;
    let response = unit.post_as(&token, SEND, &body).await;
    assert_eq!(response.outcome(), success(201));
    assert_eq!(unit.list_entities("d/__ctl/ReceivedMessage").await.len(), 1);
}

#[tokio::test]
async fn sent_message_is_stored_by_sender_and_recipients() {
    let unit = unit_with_accounts(|_| {}).await;
    let body = json!({
        "To": format!("{},{}", cell_url("d"), cell_url("appcell")), "Title": "t", "Body": "\u{1}b",
        "InReplyTo": super::ID, "Priority": 5,
    });
    let sent = unit.post(SEND, &body.to_string()).await;
    assert_eq!(sent.outcome(), success(201));
    let kept = &sent.json()["d"]["results"];
    let id = text_member(kept, "__id");
    let location = format!("{}__ctl/SentMessage('{id}')", cell_url("c"));
    assert_eq!(sent.header("location"), Some(location.as_str()));
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    let of = |to: &str| (cell_url(to), "201".to_owned());
    assert_eq!(results(&sent.json()), [of("d"), of("appcell")]);
    assert_eq!(unit.list_entities("c/__ctl/SentMessage").await.len(), 1);
    for (to, other) in [("d", "appcell"), ("appcell", "d")] {
        let path = format!("{to}/__ctl/ReceivedMessage('{id}')");
        let request = unit
            .admin_request("GET", &path)
            .header("accept", "application/json");
        let got = &request.send().await.json()["d"]["results"];
        for member in ["Title", "Body", "InReplyTo", "Priority", "Type"] {
            assert_eq!(got[member], kept[member], "{member}");
        }
        assert_eq!(got["From"], cell_url("c"));
        assert_eq!(got["MulticastTo"], cell_url(other));
        assert_eq!(got["Status"], "unread");
        assert_eq!(got["_Box.Name"], Value::Null);
    }
}

#[tokio::test]
async fn message_members_have_defaults_and_limits() {
    let unit = unit_with_accounts(|_| {}).await;
    let to = cell_url("d");
    for (members, outcome) in [
        (json!({}), success(201)),
        (json!({"Title": "t".repeat(256)}), success(201)),
        (json!({"Title": "t".repeat(257)}), refused(400, "OD-0006")),
        (json!({"Title": "a\nb"}), refused(400, "OD-0006")),
        (json!({"Body": "b".repeat(65_536)}), success(201)),
        (json!({"Body": "b".repeat(65_537)}), refused(400, "OD-0006")),
        (
            json!({"Body": "\u{e9}".repeat(32_769)}),
            refused(400, "OD-0006"),
        ),
        (json!({"Priority": 1}), success(201)),
        (json!({"Priority": 0}), refused(400, "OD-0006")),
        (json!({"Priority": 6}), refused(400, "OD-0006")),
        (json!({"InReplyTo": "x"}), refused(400, "OD-0006")),
        (json!({"Type": "req"}), refused(400, "OD-0006")),
        (json!({"Type": "request"}), refused(400, "OD-0006")),
        (json!({"To": null}), refused(400, "OD-0006")),
        (json!({"To": ""}), refused(400, "OD-0006")),
        (
            json!({"To": format!("{to},ftp://h/c/")}),
            refused(400, "OD-0006"),
        ),
        (json!({"__id": super::ID}), refused(400, "OD-0007")),
        (json!({"Result": []}), refused(400, "OD-0007")),
        (json!({"BoxBound": "x"}), refused(400, "OD-0006")),
        (json!({"BoxBound": true}), refused(400, "SM-0004")),
    ] {
        let mut body = json!({"To": to});
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        let response = unit.post(SEND, &body.to_string()).await;
        assert_eq!(response.outcome(), outcome, "{members:.60}");
    }
    assert_eq!(unit.post(SEND, "{").await.outcome().0, 400);
    let sent = unit.list_entities("c/__ctl/SentMessage").await;
    assert_eq!(sent.len(), 4);
    let plain = sent.iter().find(|m| m["Title"] == "" && m["Body"] == "");
    assert_eq!(plain.unwrap()["Priority"], 3);
}

#[tokio::test]
async fn message_is_sent_once_to_each_recipient() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.create("c/__ctl/Relation", r#"{"Name":"r"}"#).await;
    let send = async |body: Value| unit.post(SEND, &body.to_string()).await;
    let missing = send(json!({"ToRelation": "none"})).await;
    assert_eq!(missing.outcome(), refused(400, "SM-0001"));
    let empty = send(json!({"ToRelation": "r"})).await;
    assert_eq!(empty.outcome(), refused(400, "SM-0002"));
    link_cells(&unit, "r", &["d", "appcell"]).await;
    let to = format!("{0},personium-localunit:d:/,{0}", cell_url("d"));
    let sent = send(json!({"ToRelation": "r", "To": to})).await;
    assert_eq!(sent.outcome(), success(201));
    let of = |to: &str| (cell_url(to), "201".to_owned());
    assert_eq!(results(&sent.json()), [of("d"), of("appcell")]);
    assert_eq!(unit.list_entities("d/__ctl/ReceivedMessage").await.len(), 1);
}

#[tokio::test]
async fn message_to_more_than_a_thousand_cells_is_refused() {
    let unit = unit_with_accounts(|_| {}).await;
    let list = |count: usize| {
        let urls: Vec<String> = (0..count).map(|n| cell_url(&format!("x{n}"))).collect();
        json!({"To": urls.join(",")}).to_string()
    };
    let response = unit.post(SEND, &list(1001)).await;
    assert_eq!(response.outcome(), refused(400, "SM-0003"));
    let response = unit.post(SEND, &list(1000)).await;
    assert_eq!(results(&response.json()).len(), 1000);
    let many = vec![cell_url("d"); 1001].join(",");
    let response = unit.post(SEND, &json!({"To": many}).to_string()).await;
    assert_eq!(results(&response.json()).len(), 1);
}

#[tokio::test]
async fn refusal_of_a_recipient_is_reported_in_the_result() {
    let unit = unit_with_accounts(|_| {}).await;
    let body = json!({"To": format!("{},{}", cell_url("nobody"), cell_url("d"))});
    let sent = unit.post(SEND, &body.to_string()).await.json();
    let of = |to: &str, code: &str| (cell_url(to), code.to_owned());
    assert_eq!(results(&sent), [of("nobody", "403"), of("d", "201")]);
    let reason = &sent["d"]["results"]["Result"][0]["Reason"];
    assert!(!reason.as_str().unwrap().is_empty());
}

#[tokio::test]
async fn message_of_an_app_is_sent_from_its_box_to_its_box() {
    let unit = unit_with_accounts(|_| {}).await;
    grant_cell(&unit, &["p:root"]).await;
    let app = cell_url("appcell");
    let secret = unit.trans_cell_token("appcell", "c").await;
    let fields = [
        ("client_id", app.as_str()),
        ("client_secret", secret.as_str()),
    ];
    let token = text_member(&unit.login("c", &fields).await, "access_token");
    let body = json!({"To": cell_url("d"), "BoxBound": true}).to_string();
    let sent = unit.post_as(&token, SEND, &body).await.json();
    assert_eq!(results(&sent), [(cell_url("d"), "400".to_owned())]);
    let own_box = json!({"Name": "box", "Schema": app}).to_string();
    unit.create("d/__ctl/Box", &own_box).await;
    let sent = unit.post_as(&token, SEND, &body).await.json();
    assert_eq!(results(&sent), [(cell_url("d"), "201".to_owned())]);
    assert_eq!(sent["d"]["results"]["_Box.Name"], "app");
    let unbound = json!({"To": cell_url("d")}).to_string();
    let sent = unit.post_as(&token, SEND, &unbound).await.json();
    assert_eq!(sent["d"]["results"]["_Box.Name"], "app");
    let got = unit.list_entities("d/__ctl/ReceivedMessage").await;
    let boxes: Vec<&Value> = got.iter().map(|m| &m["_Box.Name"]).collect();
    assert_eq!(boxes.len(), 2);
    assert!(boxes.contains(&&json!("box")) && boxes.contains(&&Value::Null));
}

#[tokio::test]
async fn requested_rule_without_name_gets_the_message_id() {
    let unit = unit_with_accounts(|_| {}).await;
    let body = json!({
        "To": cell_url("d"), "Type": "request",
        "RequestObjects": [{"RequestType": "rule.add", "Action": "log"}],
    });
    let sent = unit.post(SEND, &body.to_string()).await.json();
    let id = text_member(&sent["d"]["results"], "__id");
    let named = &sent["d"]["results"]["RequestObjects"][0]["Name"];
    assert!(named.is_null(), "{named}");
    let got = &unit.list_entities("d/__ctl/ReceivedMessage").await[0];
    let object = got["RequestObjects"][0].as_object().unwrap();
    assert_eq!(object["Name"], id.as_str());
    assert_eq!(object.len(), 9);
    assert_eq!(got["Status"], "none");
}
