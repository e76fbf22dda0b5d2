//! Queues and topics of stream collections over HTTP.

use std::time::Duration;

use personium_testkit::{EventStream, TestResponse, TestUnit, wait_until};
use serde_json::{Value, json};

const QUEUE: &str = "c/b/s/queue/q";
const TOPIC: &str = "c/b/s/topic/t";

async fn new_unit() -> TestUnit {
    let unit = TestUnit::new().await;
    unit.create_stream_collection("c/b/s").await;
    unit
}

async fn send(unit: &TestUnit, path: &str, body: impl AsRef<[u8]>) {
    let sent = unit.admin_request("POST", path).body(body).send().await;
    assert_eq!(sent.expect(200).text(), "");
}

/// The messages of a response without waiting.
async fn receive(unit: &TestUnit, query: &str) -> (TestResponse, Value) {
    let path = format!("{QUEUE}?wait=0{query}");
    let response = unit.admin_request("GET", &path).send().await.expect(200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let messages = response.json();
    (response, messages)
}

async fn wait_until_empty(unit: &TestUnit) {
    wait_until("messages are removed", async || {
        unit.record_keys(b"SA").await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn queue_delivers_each_message_once_in_order_as_json() {
    let unit = new_unit().await;
    for (method, path) in [
        ("POST", QUEUE.to_owned()),
        ("PUT", QUEUE.to_owned()),
        ("PUT", format!("{QUEUE}('key')")),
    ] {
        let body = json!({"by": method}).to_string();
        let sent = unit.admin_request(method, &path).body(&body).send().await;
        sent.expect(200);
    }
    send(&unit, QUEUE, "no <JSON>").await;
    send(&unit, QUEUE, "").await;
    for expected in [
        json!([{"by": "POST"}]),
        json!([{"by": "PUT"}]),
        json!([{"by": "PUT"}]),
        json!([{"content": "no <JSON>"}]),
        json!([{"content": ""}]),
        json!([]),
    ] {
        let (response, messages) = receive(&unit, "").await;
        assert_eq!(messages, expected);
        assert_eq!(response.header("x-personium-receipt"), None);
    }
    wait_until_empty(&unit).await;
}

#[tokio::test]
async fn client_that_acknowledges_gets_a_message_again_until_then() {
    let unit = new_unit().await;
    send(&unit, QUEUE, "1").await;
    send(&unit, QUEUE, "2").await;
    let (response, messages) = receive(&unit, "&ack=explicit").await;
    assert_eq!(messages, json!([1]));
    let receipt = response.header("x-personium-receipt").unwrap().to_owned();
    assert_eq!(receive(&unit, "").await.1, json!([2]));
    assert_eq!(receive(&unit, "").await.1, json!([]));
    let restarted = unit.restart();
    let (again, messages) = receive(&restarted, "&ack=explicit").await;
    assert_eq!(messages, json!([1]));
    let of_before = format!("{QUEUE}({receipt})");
    let late = restarted.admin_request("DELETE", &of_before).send().await;
    late.expect_error(404, "ST-0001");
    let receipt = again.header("x-personium-receipt").unwrap();
    let path = format!("{QUEUE}({receipt})");
    let request = || restarted.admin_request("DELETE", &path).send();
    request().await.expect(204);
    request().await.expect_error(404, "ST-0001");
    wait_until_empty(&restarted).await;
}

#[tokio::test(start_paused = true)]
async fn message_that_its_client_does_not_acknowledge_within_a_minute_is_delivered_again() {
    let unit = new_unit().await;
    send(&unit, QUEUE, "1").await;
    let (response, messages) = receive(&unit, "&ack=explicit").await;
    assert_eq!(messages, json!([1]));
    let receipt = response.header("x-personium-receipt").unwrap();
    let of_before = format!("{QUEUE}({receipt})");
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(receive(&unit, "").await.1, json!([]));
    tokio::time::sleep(Duration::from_secs(11)).await;
    let (again, messages) = receive(&unit, "&ack=explicit").await;
    assert_eq!(messages, json!([1]));
    let late = unit.admin_request("DELETE", &of_before).send().await;
    late.expect_error(404, "ST-0001");
    let receipt = again.header("x-personium-receipt").unwrap();
    let path = format!("{QUEUE}({receipt})");
    let removal = unit.admin_request("DELETE", &path).send().await;
    removal.expect(204);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(receive(&unit, "").await.1, json!([]));
    wait_until_empty(&unit).await;
}

#[tokio::test]
async fn message_that_was_not_sent_to_the_client_is_delivered_again() {
    let unit = new_unit().await;
    send(&unit, QUEUE, "1").await;
    let head = unit.admin_request("HEAD", QUEUE).send().await;
    head.expect(200);
    let path = format!("{QUEUE}?wait=30");
    let broken_off = unit.admin_request("GET", &path).send_streaming().await;
    drop(broken_off.unwrap());
    let waiting = unit.admin_request("GET", &path).send().await;
    assert_eq!(waiting.json(), json!([1]));
    wait_until_empty(&unit).await;
}

#[tokio::test]
async fn names_that_no_request_could_use_are_refused() {
    let unit = new_unit().await;
    let set = |list: &str, name: &str| {
        let item = list.trim_end_matches('s');
        format!(
            "<D:set xmlns:D=\"DAV:\" xmlns:p=\"urn:x-personium:xmlns\"><D:prop>\
             <p:{list}><p:{item}>fine</p:{item}><p:{item}>{name}</p:{item}></p:{list}></D:prop></D:set>"
        )
    };
    let patch = |set: &str| format!("<D:propertyupdate xmlns:D=\"DAV:\">{set}</D:propertyupdate>");
    let new = |set: &str| {
        format!(
            "<D:mkcol xmlns:D=\"DAV:\" xmlns:p=\"urn:x-personium:xmlns\"><D:set><D:prop><D:resourcetype>\
             <D:collection/><p:stream/></D:resourcetype></D:prop></D:set>{set}</D:mkcol>"
        )
    };
    let (longest, too_long) = ("n".repeat(128), "n".repeat(129));
    for list in ["queues", "topics"] {
        for name in ["", " ", &too_long, "a(b", "a/b"] {
            let body = patch(&set(list, name));
            let patched = unit.admin_request("PROPPATCH", "c/b/s").body(body);
            patched.send().await.expect_error(400, "CM-0002");
            let body = new(&set(list, name));
            let made = unit.admin_request("MKCOL", "c/b/new").body(body);
            made.send().await.expect_error(400, "CM-0002");
        }
        let body = patch(&set(list, &longest));
        let patched = unit.admin_request("PROPPATCH", "c/b/s").body(body);
        patched.send().await.expect(207);
    }
    send(&unit, &format!("c/b/s/queue/{longest}"), "1").await;
    let body = new(&set("queues", "mine"));
    let made = unit.admin_request("MKCOL", "c/b/new").body(body);
    made.send().await.expect(201);
    send(&unit, "c/b/new/queue/mine", "1").await;
}

#[tokio::test]
async fn head_takes_no_message() {
    let unit = new_unit().await;
    send(&unit, QUEUE, "1").await;
    let (_, first) = receive(&unit, "").await;
    assert_eq!(first, json!([1]));
    send(&unit, QUEUE, "2").await;
    for query in ["", "?ack=explicit", "?wait=30"] {
        let path = format!("{QUEUE}{query}");
        let head = unit.admin_request("HEAD", &path).send().await.expect(200);
        assert_eq!(head.header("content-type"), Some("application/json"));
        assert_eq!(head.header("x-personium-receipt"), None);
        assert_eq!(head.text(), "");
    }
    assert_eq!(receive(&unit, "").await.1, json!([2]));
    let stranger = unit.request("HEAD", QUEUE).send().await;
    assert_eq!(stranger.status, 401);
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let unit = new_unit().await;
    let request = |method, path: &str| unit.admin_request(method, path);
    for (path, status, code) in [
        ("c/b/s/queue/other", 404, "DV-0001"),
        ("c/b/s/topic/q", 404, "DV-0001"),
        ("c/b/s/queue", 404, "MC-0001"),
        ("c/b/s/queue/q/x", 404, "MC-0001"),
        (TOPIC, 405, "MC-0001"),
        (&format!("{QUEUE}?wait=31"), 400, "OD-0006"),
        (&format!("{QUEUE}?wait=-1"), 400, "OD-0006"),
        (&format!("{QUEUE}?ack=later"), 400, "OD-0006"),
    ] {
        request("GET", path).send().await.expect_error(status, code);
    }
    let not_text = request("POST", QUEUE).body(b"\xff").send().await;
    not_text.expect_error(400, "ST-0001");
    let large = vec![b'x'; (256 << 10) + 1];
    for path in [QUEUE, TOPIC] {
        let too_large = request("POST", path).body(&large).send().await;
        too_large.expect_error(413, "MC-0001");
    }
    let encoded = request("POST", QUEUE).header("content-encoding", "gzip");
    encoded.body("x").send().await.expect(415);
    request("DELETE", TOPIC)
        .send()
        .await
        .expect_error(405, "MC-0001");
    assert!(unit.record_keys(b"SAWZ").await.is_empty());
}

#[tokio::test]
async fn full_queue_takes_messages_again_after_one_was_received() {
    let unit = TestUnit::with_settings(|settings| settings.streams.queue_messages_max = 2).await;
    unit.create_stream_collection("c/b/s").await;
    send(&unit, QUEUE, "1").await;
    send(&unit, QUEUE, "2").await;
    let full = unit.admin_request("POST", QUEUE).body("3").send().await;
    full.expect_error(503, "ST-0001");
    receive(&unit, "").await;
    wait_until("a message is removed", async || {
        unit.record_keys(b"S").await.len() == 1
    })
    .await;
    send(&unit, QUEUE, "3").await;
}

#[tokio::test]
async fn messages_go_with_their_collection() {
    let unit = new_unit().await;
    send(&unit, QUEUE, "1").await;
    send(&unit, TOPIC, "1").await;
    assert_eq!(unit.record_keys(b"SAW").await.len(), 3);
    let moved = unit.admin_request("MOVE", "c/b/s");
    let target = format!("{}b/moved", unit.cell_url("c"));
    let moved = moved.header("destination", &target).send().await;
    moved.expect(201);
    let path = "c/b/moved/queue/q?wait=0&ack=explicit";
    let received = unit.admin_request("GET", path).send().await;
    assert_eq!(received.expect(200).json(), json!([1]));
    let deleted = unit.admin_request("DELETE", "c/b/moved").send().await;
    deleted.expect(204);
    wait_until("messages are removed", async || {
        unit.record_keys(b"SAWZ").await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn topic_reaches_every_listener_who_can_resume() {
    let unit = new_unit().await;
    send(&unit, TOPIC, "before").await;
    let open = async |id: Option<&str>| EventStream::open_at(&unit.admin(), TOPIC, id).await;
    let mut streams = [open(None).await, open(None).await];
    send(&unit, TOPIC, "{\"line\":\n1}").await;
    send(&unit, TOPIC, "text").await;
    let from = unit.cell_url("c");
    for stream in &mut streams {
        let (_, message) = stream.next_of_cell().await;
        assert_eq!(message, json!({"From": from, "Body": {"line": 1}}));
        let (_, message) = stream.next_of_cell().await;
        assert_eq!(message["Body"], "text");
    }
    let id = streams[0].last_id().to_owned();
    drop(streams);
    send(&unit, TOPIC, "3").await;
    let mut again = open(Some(&id)).await;
    assert_eq!(again.next_of_cell().await.1["Body"], 3);
    for unknown in ["", "x", "1-0-0", "18446744073709551615-0-0"] {
        let mut stream = open(Some(unknown)).await;
        assert_eq!(stream.next().await.unwrap().kind, "gap", "{unknown}");
        send(&unit, TOPIC, "4").await;
        assert_eq!(stream.next_of_cell().await.1["Body"], 4);
    }
}

#[tokio::test]
async fn listener_of_a_topic_loses_it_with_the_privilege() {
    let unit = new_unit().await;
    unit.create_account("c", r#"{"Name":"reader"}"#).await;
    unit.create_role("c", "reader").await;
    unit.link("c", "Account('reader')", "_Role", "Role('reader')")
        .await;
    let login = unit.login_as("c", "reader", &[("scope", "root")]).await;
    let reader = unit.with_token(login["access_token"].as_str().unwrap());
    let read = || {
        let request = reader.request("GET", TOPIC).bearer(reader.token());
        request.header("accept", "text/event-stream").send()
    };
    read().await.expect(403);
    // Receiving alone does not show the collection.
    unit.grant_to_role("c/b/s", "reader", &["p:stream-receive"])
        .await;
    read().await.expect(403);
    let all = ["p:stream-receive", "D:read"];
    unit.grant_to_role("c/b/s", "reader", &all).await;
    let mut stream = EventStream::open_at(&reader, TOPIC, None).await;
    send(&unit, TOPIC, "1").await;
    let (_, message) = stream.next_of_cell().await;
    assert_eq!(message["Body"], 1);
    let sent = reader.request("POST", TOPIC).bearer(reader.token());
    sent.body("2").send().await.expect(403);
    unit.grant_to_role("c/b/s", "reader", &["D:read"]).await;
    send(&unit, TOPIC, "3").await;
    assert_eq!(stream.next().await, None);
}

/// The response to a reader who waits at the queue for a message that is sent after a change. Another one gets the message in its place.
async fn response_after_change(unit: &TestUnit, change: impl AsyncFnOnce()) -> TestResponse {
    let seconds = [("scope", "root"), ("expires_in", "10")];
    let login = unit.login_as("c", "reader", &seconds).await;
    let reader = unit.with_token(login["access_token"].as_str().unwrap());
    let path = format!("{QUEUE}?wait=30");
    let waiting = reader.request("GET", &path).bearer(reader.token()).send();
    let sent = async {
        wait_until("somebody waits", async || {
            unit.model.message_news().waiting() > 0
        })
        .await;
        change().await;
        send(unit, QUEUE, "1").await;
    };
    let (response, ()) = tokio::join!(waiting, sent);
    wait_until("somebody else gets the message", async || {
        receive(unit, "").await.1 == json!([1])
    })
    .await;
    response
}

#[tokio::test]
async fn who_waits_at_a_queue_gets_nothing_after_losing_the_right() {
    let unit = new_unit().await;
    unit.create_account("c", r#"{"Name":"reader"}"#).await;
    let all = ["p:stream-receive", "D:read"];
    unit.grant_by_new_role("c/b/s", ("reader", "reader"), &all)
        .await;
    let revoked = response_after_change(&unit, async || {
        unit.grant_to_role("c/b/s", "reader", &["D:read"]).await;
    });
    revoked.await.expect_error(403, "AU-0002");
    unit.grant_to_role("c/b/s", "reader", &all).await;
    let expired = response_after_change(&unit, async || unit.advance_clock(11_000));
    expired.await.expect_error(401, "AU-0002");
}
