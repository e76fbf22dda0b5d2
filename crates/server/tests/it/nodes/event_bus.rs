//! The events of several nodes at a broker.

use std::collections::{BTreeMap, BTreeSet};

use personium_testkit::{ActiveMq, PostgresCluster};
use serde_json::json;

use super::{NODES, Nodes, PREFIX, database_settings};
use crate::event_bus::{Consumer, TOPIC};

/// The number of events of each cell.
const EVENTS: u64 = 60;
/// The events before which a node is killed, and started again.
const KILL: u64 = 25;
const RESTART: u64 = 45;
/// The times that a publisher may begin again before what it has published. Two publishers at a time would do that with nearly each
/// event.
const REPETITIONS_MAX: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_all_nodes_are_published_in_the_order_of_their_cell_although_the_publisher_is_killed()
 {
    let _load = crate::machine_load().read().await;
    let broker = ActiveMq::start();
    let mut consumer = Consumer::connect(&broker).await;
    let cluster = PostgresCluster::shared();
    let mut lines = database_settings(&cluster);
    for (key, value) in [
        ("mq", "activemq"),
        ("broker", broker.url().as_str()),
        ("topic.all", TOPIC),
    ] {
        lines.push_str(&format!("{PREFIX}eventbus.{key}={value}\n"));
    }
    let mut unit = Nodes::start_with(&lines, |_, node| node);
    let client = unit.nginx.client().admin();
    for cell in ["c", "d"] {
        client.create_cell(cell).await;
    }
    for number in 0..EVENTS {
        // The node of the first event publishes those of all nodes.
        if number == KILL {
            unit.nodes[0].kill();
        }
        if number == RESTART {
            unit.nodes[0].restart();
        }
        let from = if (KILL..RESTART).contains(&number) {
            1
        } else {
            0
        };
        let nodes = &unit.nodes[from..NODES];
        let node = &nodes[usize::try_from(number).unwrap() % nodes.len()];
        for cell in ["c", "d"] {
            let event = json!({"Type": "app.did", "Object": "o", "Info": number.to_string()});
            let posted = node.admin_request("POST", &format!("{cell}/__event"));
            posted.body(event.to_string()).send().await.expect(200);
        }
    }
    let mut published: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    let mut different = BTreeSet::new();
    while different.len() < 2 * usize::try_from(EVENTS).unwrap() {
        let (event, _) = consumer.next().await;
        if event["Type"] != "app.did" {
            continue;
        }
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        let number = text("Info").parse().unwrap();
        different.insert((text("Cell"), number));
        let of_cell = published.entry(text("Cell")).or_default();
        of_cell.push((text("Id"), number));
    }
    for (cell, events) in published {
        // An event that came twice has the same id, and ids are in the order of the events.
        let by_id: BTreeMap<&String, u64> = events.iter().map(|(id, n)| (id, *n)).collect();
        let numbers: Vec<u64> = by_id.into_values().collect();
        assert_eq!(numbers, (0..EVENTS).collect::<Vec<u64>>(), "{cell}");
        let mut newest: Option<u64> = None;
        for (_, number) in &events {
            assert!(
                newest.is_none_or(|newest| *number <= newest + 1),
                "{events:?}"
            );
            newest = newest.max(Some(*number));
        }
        let steps = events.windows(2);
        let repetitions = steps.filter(|step| step[1].1 <= step[0].1).count();
        assert!(repetitions <= REPETITIONS_MAX, "{cell}: {events:?}");
    }
}
