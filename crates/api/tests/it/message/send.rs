//! `__message/send`.

use serde_json::{Value, json};

use crate::auth::{cell_url, text, world};
use crate::harness::{World, done, refused};

const SEND: &str = "c/__message/send";

fn results(sent: &Value) -> Vec<(String, String)> {
    let all = sent["d"]["results"]["Result"].as_array().unwrap();
    let pair = |r: &Value| (text(r, "To"), text(r, "Code"));
    all.iter().map(pair).collect()
}

async fn relate(world: &World, relation: &str, cells: &[&str]) {
    for cell in cells {
        let url = cell_url(cell);
        let ext = json!({"Url": url}).to_string();
        let _known_already = world.post("c/__ctl/ExtCell", &ext).await;
        let key: String = url::form_urlencoded::byte_serialize(url.as_bytes()).collect();
        let uri = format!("{}__ctl/ExtCell('{key}')", cell_url("c"));
        let path = format!("c/__ctl/Relation('{relation}')/$links/_ExtCell");
        let reply = world.post(&path, &json!({"uri": uri}).to_string()).await;
        assert_eq!(reply.status, 204, "{}", reply.text());
    }
}

#[tokio::test]
async fn sending_needs_the_privilege_of_messages() {
    let world = world(|_| {}).await;
    let body = json!({"To": cell_url("d"), "Title": "t"}).to_string();
    let token = world.access("c").await;
    for privilege in ["p:message-read", "p:social", "D:write"] {
        world.grant_cell(&[privilege]).await;
        let reply = world.post_as(&token, SEND, &body).await;
        assert_eq!(reply.outcome(), refused(403, "AU-0002"), "{privilege}");
    }
    let nobody = world.anybody("POST", SEND).text(&body).send().await;
    assert_eq!(nobody.outcome(), refused(401, "AU-0001"));
    assert!(world.entities("d/__ctl/ReceivedMessage").await.is_empty());
    world.grant_cell(&["p:message"]).await;
    let reply = world.post_as(&token, SEND, &body).await;
    assert_eq!(reply.outcome(), done(201));
    assert_eq!(world.entities("d/__ctl/ReceivedMessage").await.len(), 1);
}

#[tokio::test]
async fn both_sides_keep_what_was_sent() {
    let world = world(|_| {}).await;
    let body = json!({
        "To": format!("{},{}", cell_url("d"), cell_url("appcell")), "Title": "t", "Body": "\u{1}b",
        "InReplyTo": super::ID, "Priority": 5,
    });
    let sent = world.post(SEND, &body.to_string()).await;
    assert_eq!(sent.outcome(), done(201));
    let kept = &sent.json()["d"]["results"];
    let id = text(kept, "__id");
    let location = format!("{}__ctl/SentMessage('{id}')", cell_url("c"));
    assert_eq!(sent.header("location"), Some(location.as_str()));
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    let of = |to: &str| (cell_url(to), "201".to_owned());
    assert_eq!(results(&sent.json()), [of("d"), of("appcell")]);
    assert_eq!(world.entities("c/__ctl/SentMessage").await.len(), 1);
    for (to, other) in [("d", "appcell"), ("appcell", "d")] {
        let path = format!("{to}/__ctl/ReceivedMessage('{id}')");
        let ask = world.ask("GET", &path).with("accept", "application/json");
        let got = &ask.send().await.json()["d"]["results"];
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
async fn defaults_and_limits() {
    let world = world(|_| {}).await;
    let to = cell_url("d");
    for (members, outcome) in [
        (json!({}), done(201)),
        (json!({"Title": "t".repeat(256)}), done(201)),
        (json!({"Title": "t".repeat(257)}), refused(400, "OD-0006")),
        (json!({"Title": "a\nb"}), refused(400, "OD-0006")),
        (json!({"Body": "b".repeat(65_536)}), done(201)),
        (json!({"Body": "b".repeat(65_537)}), refused(400, "OD-0006")),
        (
            json!({"Body": "\u{e9}".repeat(32_769)}),
            refused(400, "OD-0006"),
        ),
        (json!({"Priority": 1}), done(201)),
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
        let reply = world.post(SEND, &body.to_string()).await;
        assert_eq!(reply.outcome(), outcome, "{members:.60}");
    }
    assert_eq!(world.post(SEND, "{").await.outcome().0, 400);
    let sent = world.entities("c/__ctl/SentMessage").await;
    assert_eq!(sent.len(), 4);
    let plain = sent.iter().find(|m| m["Title"] == "" && m["Body"] == "");
    assert_eq!(plain.unwrap()["Priority"], 3);
}

#[tokio::test]
async fn everybody_gets_it_once() {
    let world = world(|_| {}).await;
    world.make("c/__ctl/Relation", r#"{"Name":"r"}"#).await;
    let send = async |body: Value| world.post(SEND, &body.to_string()).await;
    let missing = send(json!({"ToRelation": "none"})).await;
    assert_eq!(missing.outcome(), refused(400, "SM-0001"));
    let empty = send(json!({"ToRelation": "r"})).await;
    assert_eq!(empty.outcome(), refused(400, "SM-0002"));
    relate(&world, "r", &["d", "appcell"]).await;
    let to = format!("{0},personium-localunit:d:/,{0}", cell_url("d"));
    let sent = send(json!({"ToRelation": "r", "To": to})).await;
    assert_eq!(sent.outcome(), done(201));
    let of = |to: &str| (cell_url(to), "201".to_owned());
    assert_eq!(results(&sent.json()), [of("d"), of("appcell")]);
    assert_eq!(world.entities("d/__ctl/ReceivedMessage").await.len(), 1);
}

#[tokio::test]
async fn a_message_goes_to_a_thousand_cells_at_most() {
    let world = world(|_| {}).await;
    let list = |count: usize| {
        let urls: Vec<String> = (0..count).map(|n| cell_url(&format!("x{n}"))).collect();
        json!({"To": urls.join(",")}).to_string()
    };
    let reply = world.post(SEND, &list(1001)).await;
    assert_eq!(reply.outcome(), refused(400, "SM-0003"));
    let reply = world.post(SEND, &list(1000)).await;
    assert_eq!(results(&reply.json()).len(), 1000);
    let many = vec![cell_url("d"); 1001].join(",");
    let reply = world.post(SEND, &json!({"To": many}).to_string()).await;
    assert_eq!(results(&reply.json()).len(), 1);
}

#[tokio::test]
async fn refusals_of_recipients_are_told() {
    let world = world(|_| {}).await;
    let body = json!({"To": format!("{},{}", cell_url("nobody"), cell_url("d"))});
    let sent = world.post(SEND, &body.to_string()).await.json();
    let of = |to: &str, code: &str| (cell_url(to), code.to_owned());
    assert_eq!(results(&sent), [of("nobody", "403"), of("d", "201")]);
    let reason = &sent["d"]["results"]["Result"][0]["Reason"];
    assert!(!reason.as_str().unwrap().is_empty());
}

#[tokio::test]
async fn applications_send_from_box_to_box() {
    let world = world(|_| {}).await;
    world.grant_cell(&["p:root"]).await;
    let app = cell_url("appcell");
    let secret = world.trans("appcell", "c").await;
    let fields = [
        ("client_id", app.as_str()),
        ("client_secret", secret.as_str()),
    ];
    let token = text(&world.login("c", &fields).await, "access_token");
    let body = json!({"To": cell_url("d"), "BoxBound": true}).to_string();
    let sent = world.post_as(&token, SEND, &body).await.json();
    assert_eq!(results(&sent), [(cell_url("d"), "400".to_owned())]);
    let own_box = json!({"Name": "box", "Schema": app}).to_string();
    world.make("d/__ctl/Box", &own_box).await;
    let sent = world.post_as(&token, SEND, &body).await.json();
    assert_eq!(results(&sent), [(cell_url("d"), "201".to_owned())]);
    assert_eq!(sent["d"]["results"]["_Box.Name"], "app");
    let unbound = json!({"To": cell_url("d")}).to_string();
    let sent = world.post_as(&token, SEND, &unbound).await.json();
    assert_eq!(sent["d"]["results"]["_Box.Name"], "app");
    let got = world.entities("d/__ctl/ReceivedMessage").await;
    let boxes: Vec<&Value> = got.iter().map(|m| &m["_Box.Name"]).collect();
    assert_eq!(boxes.len(), 2);
    assert!(boxes.contains(&&json!("box")) && boxes.contains(&&Value::Null));
}

#[tokio::test]
async fn a_requested_rule_without_a_name_gets_that_of_the_message() {
    let world = world(|_| {}).await;
    let body = json!({
        "To": cell_url("d"), "Type": "request",
        "RequestObjects": [{"RequestType": "rule.add", "Action": "log"}],
    });
    let sent = world.post(SEND, &body.to_string()).await.json();
    let id = text(&sent["d"]["results"], "__id");
    let got = &world.entities("d/__ctl/ReceivedMessage").await[0];
    let object = got["RequestObjects"][0].as_object().unwrap();
    assert_eq!(object["Name"], id.as_str());
    assert_eq!(object.len(), 9);
    assert_eq!(got["Status"], "none");
}
