//! Queues and topics of stream collections, as the built program serves them.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use personium_testkit::{ProcessUnit, TestClient, text_member};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::frame::coding::Data;

use crate::event_feed::{Feed, Received};

const QUEUE: &str = "c/b/s/queue/q";
const TOPIC: &str = "c/b/s/topic/t";
/// The path of the WebSocket of the topic.
const SOCKET: &str = "c/__topic/b/s.topic.t";
/// The number of messages before the process is killed, and after its restart.
const MESSAGES: usize = 40;
/// The time for which messages are kept where that is tried.
const KEPT: Duration = Duration::from_secs(3);

pub(crate) async fn prepare(admin: &TestClient) {
    admin.create_cell("c").await;
    admin.create_box("c", "b").await;
    admin.create_stream_collection("c/b/s").await;
}

async fn open(unit: &ProcessUnit, path: &str) -> Feed {
    Feed::open_path("localhost", unit.port(), path).await
}

async fn token(unit: &ProcessUnit, name: &str, privileges: &[&str]) -> String {
    let admin = unit.admin();
    let account = json!({"Name": name}).to_string();
    admin.create_account("c", &account).await;
    admin.create_role("c", name).await;
    let (account, role) = (format!("Account('{name}')"), format!("Role('{name}')"));
    admin.link("c", &account, "_Role", &role).await;
    admin.grant_to_role("c/b/s", name, privileges).await;
    let client = TestClient::for_port(unit.port());
    let login = client.login_as("c", name, &[("scope", "root")]).await;
    text_member(&login, "access_token")
}

fn closed() -> Received {
    Received::Closed(1000, String::new())
}

#[tokio::test]
async fn subscribers_of_a_topic_authenticate_and_get_its_messages() {
    let unit = crate::unit().start();
    let admin = unit.admin();
    prepare(&admin).await;
    let reader = token(&unit, "reader", &["D:read", "p:stream-receive"]).await;
    let mut socket = open(&unit, SOCKET).await;
    socket
        .send(json!({"AccessToken": reader}).to_string())
        .await;
    let accepted = socket.next_json().await;
    assert_eq!(accepted["Response"], "AccessToken");
    assert_eq!(accepted["Result"], "Success");
    let left = accepted["ExpiresIn"].as_u64().unwrap();
    assert!((3_000..=3_600).contains(&left), "{accepted}");
    assert!(accepted["Timestamp"].as_i64().unwrap() > 1_600_000_000_000);
    admin.post(TOPIC, r#"{"n":1}"#).await.expect(200);
    let from = unit.cell_url("c");
    let message = socket.next_json().await;
    assert_eq!(message, json!({"From": from, "Body": {"n": 1}}));
    // A second token replaces the first, and nothing is lost or repeated.
    let again = json!({"AccessToken": admin.token()}).to_string();
    socket.send(again).await;
    assert_eq!(socket.next_json().await["Result"], "Success");
    admin.post(TOPIC, "2").await.expect(200);
    assert_eq!(socket.next_json().await["Body"], 2);
    socket.send(r#"{"AccessToken":"none"}"#).await;
    assert_eq!(socket.next_json().await["Reason"], "Token inactive");
    assert_eq!(socket.next().await, closed());

    for (first, response, reason) in [
        ("x", "Unknown", "Invalid message"),
        (r#"{"AccessToken":5}"#, "Unknown", "Invalid message"),
        (r#"{"Subscribe":{}}"#, "Unknown", "Invalid message"),
        (r#"{"AccessToken":""}"#, "AccessToken", "Token inactive"),
    ] {
        let mut socket = open(&unit, SOCKET).await;
        socket.send(first).await;
        let answer = socket.next_json().await;
        let expected = (json!(response), json!("Error"), json!(reason));
        let found = (
            answer["Response"].clone(),
            answer["Result"].clone(),
            answer["Reason"].clone(),
        );
        assert_eq!(found, expected);
        assert_eq!(socket.next().await, closed());
    }
    let mut socket = open(&unit, SOCKET).await;
    let bye = Received::Closed(1001, "bye".to_owned());
    assert_eq!(socket.close(1001, "bye").await, bye);
    let mut socket = open(&unit, SOCKET).await;
    socket.send_frame(Data::Text, vec![0xff]).await;
    assert_eq!(socket.close_code().await, 1007);
}

#[tokio::test]
async fn who_may_not_receive_is_no_subscriber() {
    let unit = crate::unit().start();
    let admin = unit.admin();
    prepare(&admin).await;
    let sender = token(&unit, "sender", &["D:read", "p:stream-send"]).await;
    let blind = token(&unit, "blind", &["p:stream-receive"]).await;
    let all = admin.token().to_owned();
    for (path, token) in [
        (SOCKET, &sender),
        (SOCKET, &blind),
        ("c/__topic/b/s.topic.other", &all),
        ("c/__topic/b/none.topic.t", &all),
        ("c/__topic/none/s.topic.t", &all),
    ] {
        let mut socket = open(&unit, path).await;
        socket.send(json!({"AccessToken": token}).to_string()).await;
        assert_eq!(socket.next_json().await["Reason"], "Token inactive");
        assert_eq!(socket.next().await, closed());
    }
    let mut socket = open(&unit, SOCKET).await;
    socket.send(json!({"AccessToken": all}).to_string()).await;
    assert_eq!(socket.next_json().await["Result"], "Success");
    let deleted = admin.admin_request("DELETE", "c/b/s").send().await;
    deleted.expect(204);
    admin.create_stream_collection("c/b/s").await;
    // Messages of another collection with the same name are not for it.
    let posting = async {
        loop {
            admin.post(TOPIC, "1").await.expect(200);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        next = socket.next() => assert_eq!(next, closed()),
        () = posting => {}
    }
    for path in [
        "c/__topic",
        "c/__topic/b",
        "c/__topic/b/s",
        "c/__topic/b/s.topic.",
    ] {
        let refused = admin.request("GET", path).send().await;
        refused.expect_error(404, "MC-0001");
    }
    let plain = admin.request("GET", SOCKET).send().await;
    plain.expect(400);
}

#[tokio::test]
async fn messages_are_kept_as_long_as_the_setting_says() {
    let setting = "io.personium.core.stream.expiresIn";
    let unit = crate::unit().setting(setting, KEPT.as_secs()).start();
    let admin = unit.admin();
    prepare(&admin).await;
    let receive = async |wait: u8| {
        let path = format!("{QUEUE}?wait={wait}");
        let received = admin.admin_request("GET", &path).send().await;
        received.expect(200).json()
    };
    admin.post(QUEUE, "1").await.expect(200);
    tokio::time::sleep(KEPT + Duration::from_millis(100)).await;
    assert_eq!(receive(0).await, json!([]));
    let (received, ()) = tokio::join!(receive(30), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        admin.post(QUEUE, "2").await.expect(200);
    });
    assert_eq!(received, json!([2]));
}

#[tokio::test]
async fn acknowledged_messages_survive_kills_and_come_at_least_once_in_order() {
    let mut unit = crate::unit().start();
    prepare(&unit.admin()).await;
    let mut sent = BTreeSet::new();
    for round in 0..3_usize {
        let admin = unit.admin();
        let senders = (0..4_usize).map(|sender| {
            let admin = &admin;
            async move {
                let mut acknowledged = Vec::new();
                for number in 0..MESSAGES {
                    let name = (round * 4 + sender, number);
                    let body = json!([name.0, name.1]).to_string();
                    let request = admin.admin_request("POST", QUEUE).body(body);
                    match request.try_send().await {
                        Ok(answer) if answer.status == 200 => acknowledged.push(name),
                        _ => break,
                    }
                }
                acknowledged
            }
        });
        let killing = async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let path = format!("{QUEUE}?wait=0&ack=explicit");
                // One that is never acknowledged.
                let held = admin.admin_request("GET", &path).send().await;
                if held.json() != json!([]) {
                    break;
                }
            }
            unit.kill();
        };
        let (acknowledged, ()) = tokio::join!(join_all(senders), killing);
        sent.extend(acknowledged.into_iter().flatten());
        unit.restart();
    }
    let admin = unit.admin();
    let mut received: Vec<(usize, usize)> = Vec::new();
    loop {
        let path = format!("{QUEUE}?wait=0");
        let answer = admin.admin_request("GET", &path).send().await.expect(200);
        let Value::Array(messages) = answer.json() else {
            panic!("{}", answer.text());
        };
        let Some(message) = messages.first() else {
            break;
        };
        let number = |at: usize| usize::try_from(message[at].as_u64().unwrap()).unwrap();
        received.push((number(0), number(1)));
    }
    let all: BTreeSet<_> = received.iter().copied().collect();
    assert!(sent.is_subset(&all), "{} of {}", all.len(), sent.len());
    for sender in 0..12 {
        let of_sender = received.iter().filter(|(by, _)| *by == sender);
        let numbers: Vec<usize> = of_sender.map(|(_, number)| *number).collect();
        assert!(numbers.is_sorted(), "{sender}: {numbers:?}");
    }
}
