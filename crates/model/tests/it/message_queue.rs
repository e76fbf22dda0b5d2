//! Queues and topics in the records of a cell.

use std::sync::Arc;
use std::time::Duration;

use personium_model::message_queue::{RecordMessageQueue, remove_due};
use personium_model::server_node;
use personium_store::{
    Channel, ChannelKind, Direction, KeyRange, Limit, Message, MessageQueue, RecordStore, Space,
    SubscriptionEnd, contract,
};
use personium_testkit::ModelUnit;
use personium_types::{Code, NodeId};

const MINUTE_MS: i64 = 60_000;

async fn channel(unit: &ModelUnit, kind: ChannelKind, name: &str) -> Channel {
    Channel {
        cell: unit.context().await.cell().id,
        collection: NodeId::from_bytes([5; 16]),
        kind,
        name: name.to_owned(),
        address: String::new(),
    }
}

fn message(unit: &ModelUnit, body: &str, kept_ms: i64) -> Message {
    let now = unit.model.now_ms();
    Message {
        from: "c".to_owned(),
        body: body.to_owned().into(),
        sent_ms: now,
        expires_ms: now + kept_ms,
    }
}

fn queue_of(unit: &ModelUnit) -> Arc<dyn MessageQueue> {
    Arc::new(RecordMessageQueue::new(&unit.model))
}

/// The keys of a space that begin with one of these tags.
async fn keys(unit: &ModelUnit, space: &Space, tags: &[u8]) -> usize {
    let (all, up) = (KeyRange::all(), Direction::Up);
    let found = unit.records.scan(space, &all, up, Limit::records(10_000));
    let found = found.await.unwrap().value;
    let tagged = found.iter().filter(|(key, _)| tags.contains(&key[0]));
    tagged.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_keep_the_contract_for_two_server_nodes() {
    let unit = ModelUnit::new().await;
    let (one, other) = (unit.server_node(0), unit.server_node(5_000));
    let cell = one.context().await.cell().id;
    let maintaining = [&one, &other].map(|node| {
        let model = Arc::clone(&node.model);
        tokio::spawn(async move { server_node::maintain(&model).await })
    });
    let channel = |kind, name: &str| Channel {
        cell,
        collection: NodeId::from_bytes([5; 16]),
        kind,
        name: name.to_owned(),
        address: String::new(),
    };
    let now_ms = || one.model.now_ms();
    let ports = [queue_of(&one), queue_of(&other)];
    contract::message_queue(ports, channel, now_ms).await;
    // One of them dies: the other one finds that out.
    let crash = async |_: Arc<dyn MessageQueue>| {
        one.records.suspend_process();
        queue_of(&other)
    };
    contract::message_queue_after_crash(queue_of(&one), channel, now_ms, crash).await;
    maintaining.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn message_that_a_dead_process_had_delivered_is_delivered_again() {
    let unit = ModelUnit::new().await;
    let queue = channel(&unit, ChannelKind::Queue, "q").await;
    let port = queue_of(&unit);
    port.send(&queue, message(&unit, "1", MINUTE_MS))
        .await
        .unwrap();
    let delivery = port.receive(&queue, Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(port.receive(&queue, Duration::ZERO).await.unwrap(), None);
    let restarted = unit.restart();
    let port = queue_of(&restarted);
    let again = port.receive(&queue, Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(again.message, delivery.message);
    assert!(!port.acknowledge(&queue, &delivery.receipt).await.unwrap());
    assert!(port.acknowledge(&queue, &again.receipt).await.unwrap());
}

#[tokio::test]
async fn queue_refuses_more_than_its_limit_and_topic_loses_its_oldest_messages() {
    let unit = ModelUnit::new().await;
    let mut settings = unit.model.settings().clone();
    settings.streams.queue_messages_max = 3;
    let model = Arc::new(unit.model.with_settings(settings));
    let unit = ModelUnit { model, ..unit };
    let port = queue_of(&unit);
    let queue = channel(&unit, ChannelKind::Queue, "c").await;
    for _ in 0..3 {
        let sent = message(&unit, "1", MINUTE_MS);
        port.send(&queue, sent).await.unwrap();
    }
    let full = port.send(&queue, message(&unit, "4", MINUTE_MS)).await;
    assert_eq!(full.unwrap_err().code(), Code::QueueFull);
    let delivery = port.receive(&queue, Duration::ZERO).await.unwrap().unwrap();
    assert!(port.acknowledge(&queue, &delivery.receipt).await.unwrap());
    port.send(&queue, message(&unit, "4", 1)).await.unwrap();
    // The last one has expired.
    let sent = message(&unit, "5", MINUTE_MS);
    port.send(&queue, sent).await.unwrap();
    let full = port.send(&queue, message(&unit, "6", MINUTE_MS)).await;
    assert_eq!(full.unwrap_err().code(), Code::QueueFull);

    let topic = channel(&unit, ChannelKind::Topic, "c").await;
    let mut slow = port.subscribe(&topic, None).await.unwrap();
    let first = message(&unit, "0", MINUTE_MS);
    port.send(&topic, first).await.unwrap();
    let position = slow.next().await.unwrap().position;
    for body in ["1", "2", "3"] {
        let sent = message(&unit, body, MINUTE_MS);
        port.send(&topic, sent).await.unwrap();
    }
    let mut again = port.subscribe(&topic, None).await.unwrap();
    let gone = port.subscribe(&topic, Some(&position)).await;
    assert_eq!(gone.err().map(|it| it.code()), Some(Code::MessagesMissed));
    // What was dropped it had received.
    assert_eq!(&slow.next().await.unwrap().message.body[..], b"1");
    let position = slow.position();
    for body in ["4", "5", "6", "7"] {
        let sent = message(&unit, body, MINUTE_MS);
        port.send(&topic, sent).await.unwrap();
    }
    assert_eq!(again.next().await.unwrap_err(), SubscriptionEnd::Missed);
    let gone = port.subscribe(&topic, Some(&position)).await;
    assert_eq!(gone.err().map(|it| it.code()), Some(Code::MessagesMissed));
    assert_eq!(keys(&unit, &unit.space().await, b"W").await, 3);
}

#[tokio::test]
async fn expired_messages_are_removed_without_anybody_who_receives() {
    let unit = ModelUnit::new().await;
    let port = queue_of(&unit);
    let space = unit.space().await;
    // The clock of another server node is ten minutes ahead.
    let later = unit.server_node(10 * MINUTE_MS);
    for kind in [ChannelKind::Queue, ChannelKind::Topic] {
        let short = channel(&unit, kind, "short").await;
        let mixed = channel(&unit, kind, "mixed").await;
        for _ in 0..250 {
            let sent = message(&unit, "x", MINUTE_MS);
            port.send(&short, sent).await.unwrap();
        }
        for kept_ms in [MINUTE_MS, 60 * MINUTE_MS] {
            let sent = message(&unit, "x", kept_ms);
            port.send(&mixed, sent).await.unwrap();
        }
    }
    assert!(!remove_due(&unit.model).await.unwrap());
    assert_eq!(keys(&unit, &space, b"SW").await, 2 * 252);
    remove_due(&later.model).await.unwrap();
    assert_eq!(keys(&unit, &space, b"SW").await, 2);
    assert_eq!(keys(&unit, &space, b"A").await, 1);
    // The entries of what is left.
    assert_eq!(keys(&unit, &space, b"O").await, 2);
    let counted = channel(&unit, ChannelKind::Queue, "mixed").await;
    let left = port.receive(&counted, Duration::ZERO).await.unwrap();
    assert!(left.is_some());
}
