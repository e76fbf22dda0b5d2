//! The feed of events over a WebSocket, as the built program serves it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use personium_testkit::{ProcessUnit, TestClient, ace, text_member, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::storage_unit::StorageUnit;

/// The unit of the recorded sessions.
const RECORDED_UNIT: &str = "http://localhost:9998/";
/// The time within which an expected message must arrive.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Feed(WebSocketStream<TcpStream>);

/// A message of the server, without pings.
#[derive(Debug, PartialEq)]
pub(crate) enum Received {
    Json(Value),
    Closed(u16, String),
    Pong(Bytes),
}

impl Feed {
    async fn open(unit: &ProcessUnit, cell: &str) -> Self {
        Self::open_at("localhost", unit.port(), cell).await
    }

    /// A connection to this port for a unit with this host.
    pub(crate) async fn open_at(host: &str, port: u16, cell: &str) -> Self {
        Self::open_path(host, port, &format!("{cell}/__event")).await
    }

    /// A connection to a path.
    pub(crate) async fn open_path(host: &str, port: u16, path: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let url = format!("ws://{host}:{port}/{path}");
        let (socket, response) = client_async(url, stream).await.unwrap();
        assert_eq!(response.status(), 101);
        Self(socket)
    }

    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).await.unwrap();
    }

    /// The next message; pings are left out.
    pub(crate) async fn next(&mut self) -> Received {
        loop {
            let next = timeout(LIMIT, self.0.next()).await;
            match next.expect("no message").expect("no close").unwrap() {
                Message::Ping(content) => assert!([&[1, 2, 3][..], &[]].contains(&&content[..])),
                Message::Text(text) => return Received::Json(serde_json::from_str(&text).unwrap()),
                Message::Pong(content) => return Received::Pong(content),
                Message::Close(frame) => {
                    let frame = frame.unwrap();
                    return Received::Closed(frame.code.into(), frame.reason.to_string());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn next_json(&mut self) -> Value {
        match self.next().await {
            Received::Json(value) => value,
            other => panic!("{other:?}"),
        }
    }

    /// Begins the end of the connection with a close frame. Returns the answer.
    pub(crate) async fn close(&mut self, code: u16, reason: &'static str) -> Received {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        self.0.send(Message::Close(Some(frame))).await.unwrap();
        self.next().await
    }

    /// Sends a frame with this opcode and content, whatever the protocol says.
    pub(crate) async fn send_frame(&mut self, opcode: Data, content: Vec<u8>) {
        let frame = Frame::message(content, OpCode::Data(opcode), true);
        self.0.send(Message::Frame(frame)).await.unwrap();
    }

    /// The code of the close frame that the server sends now.
    pub(crate) async fn close_code(&mut self) -> u16 {
        match self.next().await {
            Received::Closed(code, _) => code,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for this number of pings, which the client answers.
    pub(crate) async fn wait_for_pings(&mut self, count: usize) {
        for _ in 0..count {
            let next = timeout(LIMIT, self.0.next()).await;
            let next = next.expect("no ping").expect("no close").unwrap();
            assert!(matches!(next, Message::Ping(_)), "{next:?}");
        }
    }

    /// Authenticates and subscribes to everything.
    pub(crate) async fn subscribe(&mut self, token: &str) {
        self.send(json!({"AccessToken": token}).to_string()).await;
        assert_eq!(self.next_json().await["Result"], "Success");
        self.send(r#"{"Subscribe":{"Type":"*","Object":"*"}}"#)
            .await;
        assert_eq!(self.next_json().await["Result"], "Success");
    }
}

/// The cell of the recorded sessions.
async fn create_cell(admin: &TestClient) {
    admin.create_cell("wscell").await;
    admin.create_box("wscell", "b").await;
    let mut aces = String::new();
    for (name, privileges) in [
        ("full", &["p:event", "p:rule"][..]),
        ("readonly", &["p:event-read"]),
        ("none", &[]),
    ] {
        admin
            .create_account("wscell", &json!({"Name": name}).to_string())
            .await;
        admin.create_role("wscell", name).await;
        let (account, role) = (format!("Account('{name}')"), format!("Role('{name}')"));
        admin.link("wscell", &account, "_Role", &role).await;
        if !privileges.is_empty() {
            let url = format!("{}__role/__/{name}", admin.cell_url("wscell"));
            aces += &ace(&url, privileges);
        }
    }
    admin.set_acl("wscell", &aces).await;
}

async fn token(unit: &ProcessUnit, account: &str) -> String {
    let client = TestClient::for_port(unit.port());
    let scope = [("scope", "root")];
    text_member(
        &client.login_as("wscell", account, &scope).await,
        "access_token",
    )
}

/// A message without what differs from run to run.
fn comparable(text: &str, unit_url: &str) -> Value {
    // Slashes may be escaped.
    let value: Value = serde_json::from_str(text).unwrap();
    let text = value.to_string().replace(RECORDED_UNIT, unit_url);
    let mut value: Value = serde_json::from_str(&text).unwrap();
    for name in ["Timestamp", "RequestKey", "ExpiresIn"] {
        if let Some(member) = value.get_mut(name) {
            *member = member.is_null().into();
        }
    }
    value
}

/// The data of the reference, if it is beside the project.
fn artifacts() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/artifacts"
    ));
    folder.join("websocket.jsonl").exists().then_some(folder)
}

#[tokio::test]
async fn close_frames_are_answered_and_violations_of_the_protocol_have_codes() {
    let unit = crate::unit().start();
    create_cell(&unit.admin()).await;
    let mut feed = Feed::open(&unit, "wscell").await;
    let bye = Received::Closed(1001, "bye".to_owned());
    assert_eq!(feed.close(1001, "bye").await, bye);
    // A code that must not be sent.
    let mut feed = Feed::open(&unit, "wscell").await;
    feed.subscribe(&token(&unit, "full").await).await;
    let Received::Closed(1002, _) = feed.close(999, "").await else {
        panic!("another answer")
    };
    for (opcode, content, code) in [
        (Data::Text, vec![0xff, 0xfe], 1007),
        (Data::Reserved(3), vec![b'x'], 1002),
        (Data::Continue, vec![b'x'], 1002),
        (Data::Binary, vec![0; 4 << 20], 1009),
    ] {
        let mut feed = Feed::open(&unit, "wscell").await;
        feed.subscribe(&token(&unit, "full").await).await;
        feed.send_frame(opcode, content).await;
        assert_eq!(feed.close_code().await, code, "{opcode:?}");
    }
    let mut stream = TcpStream::connect(("127.0.0.1", unit.port()))
        .await
        .unwrap();
    let port = unit.port();
    let request = format!(
        "GET /wscell/__event HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    // A text without a mask.
    stream.write_all(b"\x81\x02{}").await.unwrap();
    let mut received = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut received))
        .await
        .unwrap()
        .unwrap();
    let close = [&[0x88, 16][..], &1002_u16.to_be_bytes(), b"protocol error"].concat();
    assert!(received.ends_with(&close), "{received:?}");
}

/// Sessions that are replayed, each up to the step with this title, if there is one. Of the others the connection to a cell that
/// does not exist is refused at once, and the first relayed event reaches its target here.
const REPLAYED: [(u64, &str); 8] = [
    (1, ""),
    (2, ""),
    (3, ""),
    (6, ""),
    (7, ""),
    (9, ""),
    (10, ""),
    (13, "rule create: relay.event to itself"),
];

#[tokio::test]
async fn recorded_sessions_are_answered_as_by_the_reference() {
    let Some(folder) = artifacts() else {
        return;
    };
    let unit = crate::unit().start();
    create_cell(&unit.admin()).await;
    let steps = fs::read_to_string(folder.join("websocket.jsonl")).unwrap();
    let steps: Vec<Value> = steps
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (session, until) in REPLAYED {
        let steps = steps.iter().filter(|step| step["session"] == session);
        let steps = steps.take_while(|step| until.is_empty() || step["title"] != until);
        let mut feed = Feed::open(&unit, "wscell").await;
        for step in steps {
            replay(&unit, &mut feed, step).await;
        }
    }
}

async fn replay(unit: &ProcessUnit, feed: &mut Feed, step: &Value) {
    let admin = unit.admin();
    let text = step["text"].as_str().unwrap_or_default();
    match (step["dir"].as_str().unwrap(), step["kind"].as_str()) {
        ("client", Some("binary")) => {
            let binary = Message::binary(vec![0, 0xff]);
            feed.0.send(binary).await.unwrap();
        }
        ("client", Some("ping")) => {
            let ping = Message::Ping(Bytes::from_static(&[0xaa]));
            feed.0.send(ping).await.unwrap();
        }
        ("client", _) => {
            let text = match text {
                _ if text.contains("<token of account full") => {
                    json!({"AccessToken": token(unit, "full").await}).to_string()
                }
                _ if text.contains("<token of account none") => {
                    json!({"AccessToken": token(unit, "none").await}).to_string()
                }
                _ if text.contains("<token of account readonly") => {
                    json!({"AccessToken": token(unit, "readonly").await}).to_string()
                }
                _ if text.contains("<unit master token>") => {
                    json!({"AccessToken": admin.token()}).to_string()
                }
                _ => text.replace(RECORDED_UNIT, admin.url()),
            };
            // After the close the reference drops what is sent.
            let _ = feed.0.send(Message::text(text)).await;
        }
        ("server", Some("text")) => {
            let expected = comparable(text, admin.url());
            let found = comparable(&feed.next_json().await.to_string(), admin.url());
            assert_eq!(found, expected, "{step}");
        }
        ("server", Some("close")) => {
            assert_eq!(
                feed.next().await,
                Received::Closed(1000, String::new()),
                "{step}"
            );
        }
        ("server", None) => {
            let pong = Received::Pong(Bytes::from_static(&[0xaa]));
            assert_eq!(feed.next().await, pong, "{step}");
        }
        ("http", _) => {
            let path = step["path"].as_str().unwrap().trim_start_matches('/');
            let method = step["method"].as_str().unwrap();
            let body = match &step["body"] {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            let request = match path.ends_with("__event") {
                true => admin
                    .request(method, path)
                    .bearer(&token(unit, "full").await),
                false => admin.request(method, path),
            };
            let response = request.body(body).send().await;
            assert_eq!(json!(response.status.as_u16()), step["status"], "{step}");
        }
        // What does not arrive would be found instead of the next message.
        _ => {}
    }
}

#[tokio::test]
async fn listener_loses_the_feed_with_the_right() {
    let unit = crate::unit().start();
    let admin = unit.admin();
    create_cell(&admin).await;
    let mut feed = Feed::open(&unit, "wscell").await;
    feed.subscribe(&token(&unit, "readonly").await).await;
    admin.put_file("wscell/b/f", "1").await;
    assert_eq!(feed.next_json().await["Type"], "davfile.create");
    let link = "wscell/__ctl/Account('readonly')/$links/_Role('readonly')";
    assert_eq!(admin.admin_request("DELETE", link).send().await.status, 204);
    admin.put_file("wscell/b/g", "1").await;
    assert_eq!(feed.next().await, Received::Closed(1000, String::new()));
    // Another one who may still read is not disturbed.
    let mut other = Feed::open(&unit, "wscell").await;
    other.subscribe(&token(&unit, "full").await).await;
    admin.put_file("wscell/b/h", "1").await;
    assert_eq!(other.next_json().await["Type"], "davfile.create");
    // Nobody outside of the cell hears of it, and of an unknown cell nobody.
    let outside = admin.request("GET", "none/__event");
    assert_eq!(outside.send().await.status, 404);
    let plain = admin.request("GET", "wscell/__event");
    assert_eq!(plain.send().await.status, 405);
}

#[tokio::test]
async fn feed_ends_with_its_token() {
    let unit = crate::unit().start();
    let admin = unit.admin();
    create_cell(&admin).await;
    let client = TestClient::for_port(unit.port());
    let mut secs = 2;
    let (mut feed, token) = loop {
        let lifetime = secs.to_string();
        let form = [("scope", "root"), ("expires_in", &*lifetime)];
        let login = client.login_as("wscell", "readonly", &form).await;
        let token = text_member(&login, "access_token");
        let mut feed = Feed::open(&unit, "wscell").await;
        feed.send(json!({"AccessToken": token}).to_string()).await;
        if feed.next_json().await["Result"] == "Success" {
            feed.send(r#"{"Subscribe":{"Type":"*","Object":"*"}}"#)
                .await;
            if let Received::Json(answer) = feed.next().await
                && answer["Result"] == "Success"
            {
                break (feed, token);
            }
        }
        // The machine was too slow.
        secs *= 2;
    };
    wait_until("the token has expired", async || {
        let read = client.request("GET", "wscell/__ctl/Box").bearer(&token);
        read.send().await.status == 401
    })
    .await;
    // It is checked again at least every second.
    let mut received = 0;
    loop {
        admin.put_file("wscell/b/f", "1").await;
        match feed.next().await {
            Received::Closed(code, _) => break assert_eq!(code, 1000),
            _ => received += 1,
        }
        assert!(received < 1_000, "still open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn reader_that_stops_reading_is_dropped_and_writes_go_on() {
    let unit = crate::unit().start();
    let admin = unit.admin();
    create_cell(&admin).await;
    let mut slow = Feed::open(&unit, "wscell").await;
    slow.subscribe(&token(&unit, "full").await).await;
    let info = "x".repeat(50_000);
    let event = json!({"Type": "t", "Object": "o", "Info": info}).to_string();
    let token = token(&unit, "full").await;
    // More than the buffers of the connection hold.
    for _ in 0..400 {
        let post = admin.post_as(&token, "wscell/__event", &event).await;
        assert_eq!(post.status, 200);
    }
    let mut received = 0;
    let end = loop {
        match timeout(LIMIT, slow.0.next()).await.expect("still open") {
            Some(Ok(Message::Text(_))) => received += 1,
            Some(Ok(Message::Close(frame))) => break frame.map(|frame| u16::from(frame.code)),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break None,
        }
    };
    assert!(received < 400, "{received}");
    assert!(matches!(end, None | Some(1008)), "{end:?}");
}

async fn listeners(unit: &StorageUnit) -> String {
    let (_, text) = unit.admin_text("metrics").await;
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix("personium_event_listeners "));
    line.expect("no such metric").to_owned()
}

#[tokio::test]
async fn websocket_without_a_subscription_is_no_listener() {
    let unit = StorageUnit::start(crate::unit());
    create_cell(&unit.admin()).await;
    let mut feed = Feed::open(&unit, "wscell").await;
    feed.send(r#"{"State":"All"}"#).await;
    assert_eq!(feed.next_json().await["Reason"], "Unauthorized");
    assert_eq!(listeners(&unit).await, "0");
    feed.subscribe(&token(&unit, "readonly").await).await;
    assert_eq!(listeners(&unit).await, "1");
    feed.send(r#"{"Unsubscribe":{"Type":"*","Object":"*"}}"#)
        .await;
    assert_eq!(feed.next_json().await["Result"], "Success");
    assert_eq!(listeners(&unit).await, "0");
}

#[tokio::test]
async fn hostile_clients_of_the_feed_are_closed_or_ignored() {
    let unit = crate::unit().start();
    let admin = unit.admin();
    create_cell(&admin).await;
    // Strangers may send less than those who are authenticated.
    for length in [(1 << 20) + 1, 70_000] {
        let mut feed = Feed::open(&unit, "wscell").await;
        // The connection may be closed before all was sent.
        let _ = feed.0.send(Message::text("x".repeat(length))).await;
        let end = timeout(LIMIT, async {
            while let Some(Ok(message)) = feed.0.next().await {
                assert!(
                    matches!(message, Message::Ping(_) | Message::Close(_)),
                    "{message:?}"
                );
            }
        });
        end.await.expect("still open");
    }
    let mut feed = Feed::open(&unit, "wscell").await;
    feed.subscribe(&token(&unit, "readonly").await).await;
    feed.send("x".repeat(200_000)).await;
    feed.send(r#"{"State":"All"}"#).await;
    assert_eq!(feed.next_json().await["Response"], "State");
    for (name, value) in [("sec-websocket-version", "8"), ("sec-websocket-key", "")] {
        let mut request = admin
            .request("GET", "wscell/__event")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket");
        if name == "sec-websocket-version" {
            request = request.header("sec-websocket-key", "x").header(name, value);
        }
        let refused = request.send().await;
        assert_eq!(refused.status, 400, "{name}");
        // Neither request names the version that there is.
        assert_eq!(refused.header("sec-websocket-version"), Some("13"));
    }
    let nested = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let mut other = Feed::open(&unit, "wscell").await;
    other.send(nested).await;
    other.send(r#"{"State":"All"}"#).await;
    assert_eq!(other.next_json().await["Reason"], "Unauthorized");
}

/// The length of a message that a stranger begins and does not end.
const BEGUN_BYTES: u16 = 60 << 10;

#[tokio::test]
async fn strangers_may_not_send_much_together_and_a_token_is_accepted_meanwhile() {
    let unit = crate::unit().start();
    create_cell(&unit.admin()).await;
    let token = token(&unit, "readonly").await;
    // 56 KiB of each count, and 8 MiB are there for all.
    let ended = Arc::<AtomicUsize>::default();
    let mut strangers = JoinSet::new();
    for _ in 0..150 {
        let mut feed = Feed::open(&unit, "wscell").await;
        let ended = Arc::clone(&ended);
        let [high, low] = (BEGUN_BYTES + 1).to_be_bytes();
        let mut begun = vec![0x81, 0xfe, high, low, 0, 0, 0, 0];
        begun.resize(usize::from(BEGUN_BYTES), b'x');
        strangers.spawn(async move {
            if feed.0.get_mut().write_all(&begun).await.is_ok() {
                while let Some(Ok(_)) = feed.0.next().await {}
            }
            ended.fetch_add(1, Ordering::Relaxed);
        });
    }
    wait_until("four strangers are refused", async || {
        ended.load(Ordering::Relaxed) >= 4
    })
    .await;
    let mut feed = Feed::open(&unit, "wscell").await;
    feed.subscribe(&token).await;
    strangers.shutdown().await;
    wait_until("there is room again", async || {
        let mut feed = Feed::open(&unit, "wscell").await;
        let text = Message::text("x".repeat(usize::from(BEGUN_BYTES)));
        let sent =
            feed.0.send(text).await.is_ok() && feed.0.send(Message::text("{}")).await.is_ok();
        sent && loop {
            match feed.0.next().await {
                Some(Ok(Message::Text(text))) => break text.contains("Unauthorized"),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break false,
            }
        }
    })
    .await;
}

#[tokio::test]
async fn server_sent_events_bring_the_same_feed() {
    let unit = crate::unit().start();
    let admin = unit.admin();
    create_cell(&admin).await;
    let read = admin
        .request("GET", "wscell/__event?type=davfile.&object=*")
        .header("accept", "text/event-stream")
        .bearer(&token(&unit, "readonly").await);
    let response = read.send_streaming().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    admin.put_file("wscell/b/f", "1").await;
    let mut text = String::new();
    // Comments come in between.
    while !(text.contains("data: ") && text.ends_with("\n\n")) {
        let frame = timeout(LIMIT, body.frame()).await.expect("no event");
        let data = frame.unwrap().unwrap().into_data().unwrap();
        text += std::str::from_utf8(&data).unwrap();
    }
    let data = text.lines().find_map(|line| line.strip_prefix("data: "));
    let event: Value = serde_json::from_str(data.unwrap()).unwrap();
    assert_eq!(event["Type"], "davfile.create");
    assert_eq!(event["Object"], format!("{}b/f", admin.cell_url("wscell")));
}

/// Exports the cell, or imports what was exported, and waits for the end.
async fn transfer(admin: &TestClient, resource: &str) {
    let path = format!("wscell/{resource}");
    let begun = admin.admin_request("POST", &path).body(r#"{"Name":"s"}"#);
    begun.send().await.expect(202);
    wait_until("the transfer has ended", async || {
        let state = admin.admin_request("GET", &path);
        let state = state.header("accept", "application/json").send().await;
        state.expect(200).json()["status"] == "ready"
    })
    .await;
}

#[tokio::test]
async fn subscribers_get_the_event_of_an_import_and_unit_users_what_follows() {
    let unit = crate::unit().start();
    let admin = unit.admin();
    create_cell(&admin).await;
    transfer(&admin, "__export").await;
    let mut account = Feed::open(&unit, "wscell").await;
    account.subscribe(&token(&unit, "readonly").await).await;
    let mut user = Feed::open(&unit, "wscell").await;
    user.subscribe(admin.token()).await;
    let mut elsewhere = Feed::open(&unit, "wscell").await;
    let read = token(&unit, "readonly").await;
    elsewhere
        .send(json!({"AccessToken": read}).to_string())
        .await;
    assert_eq!(elsewhere.next_json().await["Result"], "Success");
    let subscribe = json!({"Subscribe": {"Type": "davfile.", "Object": "*"}});
    elsewhere.send(subscribe.to_string()).await;
    assert_eq!(elsewhere.next_json().await["Result"], "Success");
    transfer(&admin, "__import").await;
    while user.next_json().await["Type"] != "cell.import" {}
    admin.put_file("wscell/b/f", "1").await;
    assert_eq!(user.next_json().await["Type"], "davfile.create");
    user.send(r#"{"State":"All"}"#).await;
    assert_eq!(user.next_json().await["Cell"], "wscell");
    // The logins of the cell have ended.
    let mut kinds = Vec::new();
    let closed = loop {
        match account.next().await {
            Received::Json(event) => kinds.push(text_member(&event, "Type")),
            closed => break closed,
        }
    };
    assert_eq!(closed, Received::Closed(1000, String::new()));
    assert_eq!(kinds.last().map(String::as_str), Some("cell.import"));
    // Whoever has not subscribed to it does not get it.
    assert_eq!(
        elsewhere.next().await,
        Received::Closed(1000, String::new())
    );
}
