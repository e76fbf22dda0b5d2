//! Tests of queues and topics on real brokers, and on servers that answer nonsense.

#![expect(clippy::disallowed_methods, reason = "a test may use the real clock")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use personium_activemq::{
    ActiveMqPublisher, ActiveMqQueue, BrokerAddress, BrokerSettings, BrokerState,
};
use personium_operator_files::tls::client_config;
use personium_store::{
    Channel, ChannelKind, EventPublisher, Message, MessageQueue, OutgoingEvent, PublishError,
    SubscriptionEnd, contract,
};
use personium_testkit::{ActiveMq, OnFullStore, free_port, wait_until};
use personium_types::error::chain;
use personium_types::{CellId, Clock, Code, NodeId, Secret, SystemClock, SystemRandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const NONE: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(30);
/// The size of the store of a broker that becomes full, and of the messages that fill it.
const STORE_MIB: u32 = 4;
const LARGE_BYTES: usize = 100_000;

fn settings(address: &str) -> BrokerSettings {
    BrokerSettings {
        addresses: BrokerAddress::parse_list(address).unwrap(),
        credentials: None,
        tls: None,
        timeout: Duration::from_secs(5),
        message_max_bytes: 1_000,
    }
}

fn port_with(settings: BrokerSettings) -> Arc<ActiveMqQueue> {
    let clock = Arc::new(SystemClock::new());
    let random = Arc::new(SystemRandom::new());
    Arc::new(ActiveMqQueue::new(settings, clock, random))
}

fn port(address: &str) -> Arc<dyn MessageQueue> {
    port_with(settings(address))
}

fn channel(kind: ChannelKind, name: &str) -> Channel {
    Channel {
        cell: CellId::from_bytes([1; 16]),
        collection: NodeId::from_bytes([2; 16]),
        kind,
        name: name.to_owned(),
        address: format!("c.b.s.{}.{name}", kind.as_str()),
    }
}

fn now_ms() -> i64 {
    SystemClock::new().now_ms()
}

fn message(body: &str) -> Message {
    let now = now_ms();
    Message {
        from: "https://unit.example/c/".to_owned(),
        body: body.to_owned().into(),
        sent_ms: now,
        expires_ms: now + 600_000,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_keeps_the_contract_and_what_was_sent_survives_its_death() {
    let mut broker = ActiveMq::start();
    let address = broker.url();
    contract::message_queue([port(&address), port(&address)], channel, now_ms).await;
    let crash = async |port: Arc<dyn MessageQueue>| {
        broker.kill();
        broker.start_again();
        port
    };
    contract::message_queue_after_crash(port(&address), channel, now_ms, crash).await;

    let queue = channel(ChannelKind::Queue, "durable");
    let topic = channel(ChannelKind::Topic, "durable");
    let unit = port(&address);
    for body in ["1", "2", "3"] {
        unit.send(&queue, message(body)).await.unwrap();
    }
    let held = unit.receive(&queue, LONG).await.unwrap().unwrap();
    let mut subscription = unit.subscribe(&topic, None).await.unwrap();
    broker.kill();
    let ended = subscription.next().await;
    assert_eq!(ended.unwrap_err(), SubscriptionEnd::Missed);
    let refused = unit.send(&queue, message("4")).await.unwrap_err();
    assert_eq!(refused.code(), Code::BrokerDown);
    let refused = unit.receive(&queue, NONE).await.unwrap_err();
    assert_eq!(refused.code(), Code::BrokerDown);
    assert!(unit.subscribe(&topic, None).await.is_err());
    assert!(!unit.acknowledge(&queue, &held.receipt).await.unwrap());
    broker.start_again();
    let received = Mutex::new(Vec::new());
    wait_until("all messages are received", async || {
        if let Ok(Some(delivery)) = unit.receive(&queue, LONG).await {
            assert!(unit.acknowledge(&queue, &delivery.receipt).await.unwrap());
            received.lock().unwrap().push(delivery.message.body);
        }
        received.lock().unwrap().len() == 3
    })
    .await;
    assert_eq!(received.into_inner().unwrap(), ["1", "2", "3"]);
    // One that is stuck.
    broker.pause();
    let refused = unit.send(&queue, message("5")).await.unwrap_err();
    assert_eq!(refused.code(), Code::BrokerDown);
    broker.resume();
    unit.send(&queue, message("6")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secured_broker_is_used_by_those_who_trust_and_know_it_and_messages_of_others_are_set_aside()
 {
    let broker = ActiveMq::start_secured("unit", "pass:word");
    let right = BrokerSettings {
        credentials: Some(("unit".to_owned(), Secret::new("pass:word".to_owned()))),
        tls: Some(Arc::new(
            client_config(Some(&broker.certificate()), None).unwrap(),
        )),
        ..settings(&broker.url())
    };
    let queue = channel(ChannelKind::Queue, "q");
    let refusal = async |settings: BrokerSettings| {
        let error = port_with(settings)
            .send(&queue, message("no"))
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::BrokerDown);
        personium_types::error::chain(&error).to_string()
    };
    let with_password = |text: &str| Some(("unit".to_owned(), Secret::new(text.to_owned())));
    let wrong = BrokerSettings {
        credentials: with_password("word"),
        ..right.clone()
    };
    assert!(refusal(wrong).await.contains("password is invalid"));
    let unnamed = BrokerSettings {
        credentials: None,
        ..right.clone()
    };
    assert!(refusal(unnamed).await.contains("invalid"));
    let untrusting = BrokerSettings {
        tls: Some(Arc::new(client_config(None, None).unwrap())),
        ..right.clone()
    };
    assert!(refusal(untrusting).await.contains("certificate"));
    let other_name = broker.url().replace("127.0.0.1", "localhost");
    let other_name = BrokerSettings {
        addresses: BrokerAddress::parse_list(&other_name).unwrap(),
        ..right.clone()
    };
    assert!(refusal(other_name).await.contains("certificate"));
    // The first address of several does not answer.
    let behind_another = format!("ssl://127.0.0.1:{},{}", free_port(), broker.url());
    let unit = port_with(BrokerSettings {
        addresses: BrokerAddress::parse_list(&behind_another).unwrap(),
        ..right.clone()
    });
    assert!(unit.check().await.unwrap().contains("ActiveMQ"));
    // Texts of all kinds come as they were sent.
    for body in ["", "a\0b", "{\"é\": 1}\r\n", &"x".repeat(1_000)] {
        unit.send(&queue, message(body)).await.unwrap();
        let delivery = unit.receive(&queue, LONG).await.unwrap().unwrap();
        assert_eq!(&delivery.message.body[..], body.as_bytes());
        assert!(unit.acknowledge(&queue, &delivery.receipt).await.unwrap());
    }
    // A collection that was removed, and another one in its place.
    unit.send(&queue, message("secret")).await.unwrap();
    let another = Channel {
        collection: NodeId::from_bytes([3; 16]),
        ..queue.clone()
    };
    unit.send(&another, message("new")).await.unwrap();
    let delivery = unit.receive(&another, LONG).await.unwrap().unwrap();
    assert_eq!(&delivery.message.body[..], b"new");
    let acknowledged = unit.acknowledge(&another, &delivery.receipt).await;
    assert!(acknowledged.unwrap());
    // Messages that the unit cannot deliver, between others.
    let other_system = port_with(BrokerSettings {
        message_max_bytes: 1 << 20,
        ..right.clone()
    });
    let sent = [
        &b"1"[..],
        &[b'x'; 1_001],
        b"\xff",
        &[b'\xff'; 100_000],
        b"2",
    ];
    for body in sent {
        let message = Message {
            body: body.to_vec().into(),
            ..message("")
        };
        other_system.send(&queue, message).await.unwrap();
    }
    for body in [b"1", b"2"] {
        let delivery = unit.receive(&queue, LONG).await.unwrap().unwrap();
        assert_eq!(&delivery.message.body[..], body);
        assert!(unit.acknowledge(&queue, &delivery.receipt).await.unwrap());
    }
    assert_eq!(
        unit.state(),
        BrokerState {
            is_failing: false,
            errors: 0,
            set_aside: 3
        }
    );
    let dead_letters = Channel {
        address: "ActiveMQ.DLQ".to_owned(),
        ..queue.clone()
    };
    let dead = other_system
        .receive(&dead_letters, LONG)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(dead.message.body.len(), 1_001);
}

/// A message of which a few fill the store of a broker.
fn large(number: usize) -> Message {
    message(&format!("{number} {}", "x".repeat(LARGE_BYTES)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_broker_takes_no_messages_until_some_are_received_and_loses_none() {
    for on_full in [OnFullStore::Block, OnFullStore::Refuse] {
        let broker = ActiveMq::start_with_store_limit(STORE_MIB, on_full);
        let unit = port_with(BrokerSettings {
            timeout: Duration::from_secs(2),
            message_max_bytes: 2 * LARGE_BYTES,
            ..settings(&broker.url())
        });
        let queue = channel(ChannelKind::Queue, "full");
        let mut sent = 0;
        let error = loop {
            match unit.send(&queue, large(sent)).await {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
            assert!(sent < 1_000, "the broker does not become full");
        };
        assert_eq!(error.code(), Code::BrokerDown);
        let reason = chain(&error).to_string();
        let expected = match on_full {
            OnFullStore::Block => "does not answer",
            OnFullStore::Refuse => "store is Full",
        };
        assert!(reason.contains(expected), "{reason}");
        // What cannot be stored is no fault of the event.
        let topic = "VirtualTopic.full";
        let clock = Arc::new(SystemClock::new());
        let publisher = ActiveMqPublisher::new(settings(&broker.url()), topic, clock);
        let consumers = Channel {
            address: "Consumer.a.VirtualTopic.full".to_owned(),
            ..queue.clone()
        };
        assert_eq!(unit.receive(&consumers, NONE).await.unwrap(), None);
        let event = OutgoingEvent {
            id: "1".to_owned(),
            cell: "https://unit.example/c/".to_owned(),
            kind: "app.did".to_owned(),
            body: "{}".into(),
        };
        let published = publisher.publish(&[event]).await;
        assert!(
            matches!(published, Err(PublishError::Down(_))),
            "{published:?}"
        );

        for number in 0..sent {
            let delivery = unit.receive(&queue, LONG).await.unwrap().unwrap();
            assert_eq!(delivery.message.body, large(number).body);
            assert!(unit.acknowledge(&queue, &delivery.receipt).await.unwrap());
        }
        wait_until("the broker takes messages again", async || {
            unit.send(&queue, message("last")).await.is_ok()
        })
        .await;
        // The one without an acknowledgement may have been stored, when there was space again.
        loop {
            let delivery = unit.receive(&queue, LONG).await.unwrap().unwrap();
            assert!(unit.acknowledge(&queue, &delivery.receipt).await.unwrap());
            match &delivery.message.body[..] {
                b"last" => break,
                body => assert_eq!(body, &large(sent).body[..]),
            }
        }
    }
}

#[tokio::test]
async fn server_that_answers_nonsense_makes_calls_fail() {
    let connected = "CONNECTED\nversion:1.2\n\n\0";
    let after = |rest: &str| format!("{connected}{rest}");
    for answer in [
        String::new(),
        "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(),
        "ERROR\nmessage:no\n\n\0".to_owned(),
        after("MESSAGE\ncontent-length:99999999999\n\n"),
        after("ERROR\nmessage:no such user\n\n\0"),
        after("RECEIPT\nreceipt-id:77\n\n\0"),
        after(&"x".repeat(100_000)),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 512];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                // The connection is closed.
            }
        });
        let unit = port(&address);
        let queue = channel(ChannelKind::Queue, "q");
        let sent = unit.send(&queue, message("1")).await;
        assert_eq!(sent.unwrap_err().code(), Code::BrokerDown);
        let received = unit.receive(&queue, NONE).await;
        assert_eq!(received.unwrap_err().code(), Code::BrokerDown);
        serving.abort();
    }
}

#[tokio::test]
async fn messages_without_an_end_instead_of_an_answer_are_not_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 512];
        let _ = stream.read(&mut head).await;
        let _ = stream.write_all(b"CONNECTED\nversion:1.2\n\n\0").await;
        let body = "x".repeat(500);
        let text = format!("MESSAGE\nsubscription:1\ncontent-length:500\n\n{body}\0");
        let many = text.repeat(100);
        let mut sent = 0_u64;
        while stream.write_all(many.as_bytes()).await.is_ok() {
            sent += many.len() as u64;
        }
        sent
    });
    let unit = port_with(BrokerSettings {
        timeout: LONG,
        ..settings(&address)
    });
    let queue = channel(ChannelKind::Queue, "q");
    let error = unit.receive(&queue, NONE).await.unwrap_err();
    let text = chain(&error).to_string();
    assert!(text.contains("messages instead of an answer"), "{text}");
    // The connection was closed, whatever the server had still to say.
    assert!(serving.await.unwrap() > 0);
}
