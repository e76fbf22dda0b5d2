//! Queues and topics in a unit of three nodes.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use personium_testkit::{EventStream, PostgresCluster, ProcessUnit};
use serde_json::{Value, json};

use super::{NODES, Nodes};
use crate::streams::prepare;

const QUEUE: &str = "c/b/s/queue/q";
const TOPIC: &str = "c/b/s/topic/t";
const MESSAGES: usize = 60;

async fn receive(node: &ProcessUnit, query: &str) -> Value {
    let path = format!("{QUEUE}?{query}");
    let answer = node.admin_request("GET", &path).send().await;
    answer.expect(200).json()[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_sent_to_one_node_is_received_once_through_another() {
    let cluster = PostgresCluster::shared();
    let unit = Nodes::start_over(&cluster);
    prepare(&unit.nodes[0].admin()).await;
    let [one, two, three] = &unit.nodes[..] else {
        panic!("three nodes");
    };
    // Who waits at another node is woken.
    let (received, ()) = tokio::join!(receive(two, "wait=30"), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        one.post(QUEUE, "\"first\"").await.expect(200);
    });
    assert_eq!(received, "first");
    for number in 0..MESSAGES {
        let node = &unit.nodes[number % NODES];
        node.post(QUEUE, &number.to_string()).await.expect(200);
    }
    assert_eq!(receive(three, "wait=0").await, 0);
    assert_eq!(receive(one, "wait=0").await, 1);
    let receivers = (0..2 * NODES).map(|number| {
        let node = &unit.nodes[number % NODES];
        async move {
            let mut numbers = Vec::new();
            while let Some(number) = receive(node, "wait=1").await.as_u64() {
                numbers.push(number);
            }
            numbers
        }
    });
    let received = join_all(receivers).await;
    let all: Vec<u64> = received.iter().flatten().copied().collect();
    let different: BTreeSet<u64> = all.iter().copied().collect();
    assert_eq!((all.len(), different.len()), (MESSAGES - 2, MESSAGES - 2));
    assert!(received.iter().all(|numbers| numbers.is_sorted()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_in_the_hands_of_a_killed_node_is_delivered_by_another() {
    let cluster = PostgresCluster::shared();
    let mut unit = Nodes::start_over(&cluster);
    prepare(&unit.nodes[0].admin()).await;
    for body in ["1", "2"] {
        unit.nodes[0].post(QUEUE, body).await.expect(200);
    }
    let held = receive(&unit.nodes[0], "wait=0&ack=explicit").await;
    assert_eq!(held, 1);
    unit.nodes[0].kill();
    let node = &unit.nodes[1];
    assert_eq!(receive(node, "wait=0").await, 2);
    // When the others have found that it is dead.
    let again = loop {
        let next = receive(node, "wait=30").await;
        if !next.is_null() {
            break next;
        }
    };
    assert_eq!(again, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_subscriber_of_a_topic_gets_the_messages_of_all_nodes() {
    let cluster = PostgresCluster::shared();
    let mut unit = Nodes::start_over(&cluster);
    prepare(&unit.nodes[0].admin()).await;
    let mut streams = Vec::new();
    for node in &unit.nodes {
        streams.push(EventStream::open_at(&node.admin(), TOPIC, None).await);
    }
    let sends = (0..MESSAGES).map(|number| {
        let node = &unit.nodes[number % NODES];
        async move { node.post(TOPIC, &number.to_string()).await.expect(200) }
    });
    join_all(sends).await;
    let mut orders = Vec::new();
    for stream in &mut streams {
        let mut numbers = Vec::new();
        for _ in 0..MESSAGES {
            let (_, message) = stream.next_of_cell().await;
            numbers.push(message["Body"].as_u64().unwrap());
        }
        orders.push(numbers);
    }
    let different: BTreeSet<u64> = orders[0].iter().copied().collect();
    assert_eq!(different.len(), MESSAGES);
    assert!(orders.iter().all(|numbers| *numbers == orders[0]));
    // A subscriber whose node dies goes on at another one.
    let id = streams[0].last_id().to_owned();
    unit.nodes[0].kill();
    while streams[0].next().await.is_some() {}
    unit.nodes[1].post(TOPIC, "\"missed\"").await.expect(200);
    let mut again = EventStream::open_at(&unit.nodes[2].admin(), TOPIC, Some(&id)).await;
    assert_eq!(again.next_of_cell().await.1["Body"], json!("missed"));
    assert_eq!(streams[1].next_of_cell().await.1["Body"], json!("missed"));
}
