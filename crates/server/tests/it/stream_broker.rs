//! Queues and topics on an ActiveMQ broker, as the built program serves them.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use personium_testkit::{ActiveMq, TestClient, wait_until};
use serde_json::{Value, json};

use crate::event_feed::{Feed, Received};
use crate::program::expect_refused_start;
use crate::storage_unit::StorageUnit;
use crate::streams::prepare;

const QUEUE: &str = "c/b/s/queue/q";
/// The number of messages of each sender.
const MESSAGES: usize = 60;

fn unit_on(broker: &ActiveMq) -> StorageUnit {
    let password = broker.certificate().with_file_name("password");
    fs::write(&password, "word\n").unwrap();
    let unit = crate::unit()
        .setting("io.personium.core.stream.mq", "activemq")
        .setting("io.personium.core.stream.broker", broker.url())
        .setting(
            "io.personium.core.stream.broker.caFile",
            broker.certificate().display(),
        )
        .setting("io.personium.core.stream.broker.timeoutInSec", 2)
        .setting("io.personium.core.stream.username", "unit")
        .setting("io.personium.core.stream.passwordFile", password.display());
    StorageUnit::start(unit)
}

/// Checks that streams are refused with the code of the broker, and that everything else goes on.
async fn check_without_broker(unit: &StorageUnit) {
    let admin = unit.admin();
    let sent = admin.admin_request("POST", QUEUE).body("1").send().await;
    sent.expect_error(503, "ST-0002");
    let received = admin.admin_request("GET", QUEUE).send().await;
    received.expect_error(503, "ST-0002");
    let path = "c/b/s/topic/t";
    let request = admin.admin_request("GET", path);
    let subscribed = request.header("accept", "text/event-stream").send().await;
    subscribed.expect_error(503, "ST-0002");
    admin.put_file("c/b/f", "x").await;
    let read = admin.admin_request("GET", "c/b/f").send().await;
    assert_eq!(read.expect(200).text(), "x");
    assert_eq!(unit.metric("personium_stream_broker_failing").await, 1);
    assert!(unit.metric("personium_stream_broker_errors_total").await >= 3);
}

/// Receives a message; `None` if there is none, or the broker is not there.
async fn receive(admin: &TestClient, query: &str) -> Option<(Value, Option<String>)> {
    let request = admin.admin_request("GET", &format!("{QUEUE}?{query}"));
    let answer = request.send().await;
    if answer.status != 200 {
        answer.expect_error(503, "ST-0002");
        return None;
    }
    let receipt = answer.headers.get("x-personium-receipt");
    let receipt = receipt.map(|it| it.to_str().unwrap().to_owned());
    let message = answer.json().as_array()?.first()?.clone();
    Some((message, receipt))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_messages_survive_kills_of_the_broker_and_the_rest_of_the_unit_goes_on() {
    let mut broker = ActiveMq::start_secured("unit", "word");
    broker.kill();
    // The start does not wait for it.
    let mut unit = unit_on(&broker);
    prepare(&unit.admin()).await;
    check_without_broker(&unit).await;
    let (status, ready) = unit.wait_until_ready_says("message broker").await;
    assert_eq!(status, 200, "{ready}");
    broker.start_again();
    let admin = unit.admin();
    let mut topic = Feed::open_path("localhost", unit.port(), "c/__topic/b/s.topic.t").await;
    topic
        .send(json!({"AccessToken": admin.token()}).to_string())
        .await;
    assert_eq!(topic.next_json().await["Result"], "Success");
    admin.post("c/b/s/topic/t", r#"{"n":1}"#).await.expect(200);
    let from = unit.cell_url("c");
    let message = topic.next_json().await;
    assert_eq!(message, json!({"From": from, "Body": {"n": 1}}));
    assert_eq!(unit.metric("personium_stream_broker_failing").await, 0);

    let count = AtomicUsize::new(0);
    let senders = (0..4_usize).map(|sender| {
        let (admin, count) = (&admin, &count);
        async move {
            let mut acknowledged = Vec::new();
            for number in 0..MESSAGES {
                let body = json!([sender, number]).to_string();
                let answer = admin.admin_request("POST", QUEUE).body(body).send().await;
                match answer.status.as_u16() {
                    200 => {
                        acknowledged.push((sender, number));
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => drop(answer.expect_error(503, "ST-0002")),
                }
            }
            acknowledged
        }
    });
    let killing = async {
        wait_until("a message can be held", async || {
            receive(&admin, "wait=0&ack=explicit").await.is_some()
        })
        .await;
        wait_until("some messages are acknowledged", async || {
            count.load(Ordering::Relaxed) >= 4
        })
        .await;
        tokio::task::block_in_place(|| broker.kill());
        tokio::time::sleep(Duration::from_millis(100)).await;
        tokio::task::block_in_place(|| broker.start_again());
    };
    let (acknowledged, ()) = tokio::join!(join_all(senders), killing);
    let sent: BTreeSet<(usize, usize)> = acknowledged.into_iter().flatten().collect();
    let closed = Received::Closed(1008, "messages were missed".to_owned());
    assert_eq!(topic.next().await, closed);

    // One that is in the hands of a client when the unit dies.
    let (held, receipt) = loop {
        if let Some(found) = receive(&admin, "wait=5&ack=explicit").await {
            break found;
        }
    };
    unit.kill();
    unit.restart();
    let admin = unit.admin();
    let path = format!("{QUEUE}({})", receipt.unwrap());
    let late = admin.admin_request("DELETE", &path).send().await;
    late.expect_error(404, "ST-0001");
    let mut received: Vec<(usize, usize)> = Vec::new();
    while let Some((message, receipt)) = receive(&admin, "wait=2&ack=explicit").await {
        let number = |at: usize| usize::try_from(message[at].as_u64().unwrap()).unwrap();
        received.push((number(0), number(1)));
        let path = format!("{QUEUE}({})", receipt.unwrap());
        admin
            .admin_request("DELETE", &path)
            .send()
            .await
            .expect(204);
    }
    let all: BTreeSet<_> = received.iter().copied().collect();
    assert!(
        !sent.is_empty() && sent.is_subset(&all),
        "{} of {}",
        all.len(),
        sent.len()
    );
    let number = |at: usize| usize::try_from(held[at].as_u64().unwrap()).unwrap();
    assert!(received.contains(&(number(0), number(1))));
    for sender in 0..4 {
        let of_sender = received.iter().filter(|(by, _)| *by == sender);
        let numbers: Vec<usize> = of_sender.map(|(_, number)| *number).collect();
        assert!(numbers.is_sorted(), "{sender}: {numbers:?}");
    }

    broker.pause();
    check_without_broker(&unit).await;
    broker.resume();
    wait_until("the broker is used again", async || {
        let sent = admin.admin_request("POST", QUEUE).body("1").send().await;
        sent.status == 200
    })
    .await;
}

#[tokio::test]
async fn settings_of_a_broker_that_cannot_be_used_end_the_start_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing").display().to_string();
    for (settings, reason) in [
        (vec!["stream.mq=kafka".to_owned()], "stream.mq"),
        (
            vec![
                "stream.mq=activemq".to_owned(),
                "stream.username=unit".to_owned(),
                format!("stream.passwordFile={missing}"),
            ],
            "stream.passwordFile",
        ),
        (
            vec![
                "stream.mq=activemq".to_owned(),
                "stream.broker=ssl://localhost:61612".to_owned(),
                format!("stream.broker.caFile={missing}"),
            ],
            "stream.broker.caFile",
        ),
    ] {
        expect_refused_start(&folder.path().join("data"), &settings, reason);
    }
}
