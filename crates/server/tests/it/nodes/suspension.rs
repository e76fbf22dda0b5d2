//! A node whose process is stopped for longer than its lease, and goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use personium_testkit::{PostgresCluster, ProcessUnit, StubServer, TestClient, wait_until};

use super::writers::Writers;
use super::{NODES, Nodes, PREFIX, database_settings};

/// The node that is stopped.
const STOPPED: usize = 0;

/// How often each event was received, by its type.
type Deliveries = Arc<Mutex<BTreeMap<String, usize>>>;

/// Starts a server that counts the events that a rule sends to it. Returns its URL.
async fn start_receiver() -> (String, Deliveries) {
    let server = StubServer::start().await;
    let url = server.url();
    let deliveries = Deliveries::default();
    let ledger = Arc::clone(&deliveries);
    tokio::spawn(async move {
        loop {
            let received = server.receive("200 OK", "").await;
            let kind = received.body["Type"].as_str().unwrap().to_owned();
            *ledger.lock().unwrap().entry(kind).or_default() += 1;
        }
    });
    (url, deliveries)
}

/// Posts events through a node. Returns their types.
async fn post_events(node: &ProcessUnit, from: &str, count: usize) -> Vec<String> {
    let mut kinds = Vec::new();
    for number in 0..count {
        let kind = format!("{from}-{number}");
        let event = format!(r#"{{"Type":"{kind}","Object":"o","Info":"i"}}"#);
        let posted = node.admin_request("POST", "c/__event").body(event);
        posted.send().await.expect(200);
        kinds.push(kind);
    }
    kinds
}

async fn wait_for_deliveries(deliveries: &Deliveries, kinds: &[String]) {
    wait_until("all events are delivered", async || {
        let received = deliveries.lock().unwrap();
        kinds.iter().all(|kind| received.contains_key(kind))
    })
    .await;
}

pub(super) async fn wait_until_found_dead(unit: &Nodes) {
    wait_until("the stopped node is found dead", async || {
        let others = unit.nodes.iter().skip(1);
        others
            .map(ProcessUnit::log)
            .any(|log| log.contains("server node is dead, its work is taken over"))
    })
    .await;
}

fn start_nodes() -> Nodes {
    let cluster = PostgresCluster::shared();
    let lines = format!(
        "{}{PREFIX}outgoing.privateNetworks.enabled=true\n",
        database_settings(&cluster)
    );
    Nodes::start_with(&lines, |_, node| node).keeping(cluster)
}

async fn prepare(unit: &Nodes, receiver: &str) -> (TestClient, String) {
    let owner = unit.nginx.client().create_cell_with_owner("c").await;
    owner.call("PUT", "c/box/f", "content").await;
    let client = unit.nginx.client().admin();
    let rule =
        format!(r#"{{"Name":"r","EventExternal":true,"Action":"relay","TargetUrl":"{receiver}"}}"#);
    client.create("c/__ctl/Rule", &rule).await;
    (client, owner.token().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_was_stopped_for_longer_than_its_lease_does_nothing_twice_and_is_right() {
    let _load = crate::machine_load().read().await;
    let (receiver, deliveries) = start_receiver().await;
    let unit = start_nodes();
    let (client, token) = prepare(&unit, &receiver).await;
    let mut kinds = post_events(&unit.nodes[STOPPED], "before", 5).await;
    wait_for_deliveries(&deliveries, &kinds).await;
    let writers = Writers::start(&unit.nginx, NODES);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // The stopped node would begin the late change as soon as it goes on.
    unit.nodes[STOPPED].pause();
    let late = unit.nodes[STOPPED].reconnect().admin();
    let late = tokio::spawn(async move {
        let put = late.request("PUT", "c/box/late").body("late");
        put.send().await.status.as_u16()
    });
    kinds.extend(post_events(&unit.nodes[1], "during", 10).await);
    wait_until_found_dead(&unit).await;
    kinds.extend(post_events(&unit.nodes[2], "after", 10).await);
    wait_for_deliveries(&deliveries, &kinds).await;
    let role = "c/__ctl/Account('me')/$links/_Role('owner')";
    let delete = unit.nodes[1].admin_request("DELETE", role);
    delete.send().await.expect(204);

    unit.nodes[STOPPED].resume();
    // The first request after the stop honours what was changed meanwhile.
    let read = unit.nodes[STOPPED].with_token(&token);
    read.request("GET", "c/box/f").send().await.expect(403);
    assert_eq!(late.await.unwrap(), 201);
    for node in &unit.nodes {
        let read = node.admin_request("GET", "c/box/late").send().await;
        assert_eq!(read.expect(200).text(), "late");
    }
    kinds.extend(post_events(&unit.nodes[STOPPED], "woken", 10).await);
    wait_for_deliveries(&deliveries, &kinds).await;
    wait_until("the woken node gives up its work", async || {
        unit.nodes[STOPPED].log().contains("found this one dead")
    })
    .await;
    let written = writers.end().await;
    // Nginx waits for the node that it has sent a change to.
    assert_eq!(written.count_other_than(&[502, 504]), 0, "{written:?}");
    written.expect_kept(&client, 10).await;
    let received = deliveries.lock().unwrap().clone();
    assert_eq!(received.len(), kinds.len());
    assert!(received.values().all(|count| *count == 1), "{received:?}");
}
