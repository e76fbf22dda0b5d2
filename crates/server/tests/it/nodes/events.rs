//! Events, rules and timers in a unit of three nodes.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use personium_testkit::{EventStream, PostgresCluster, TestClient, text_member, wait_until};
use serde_json::json;

use super::{NODES, Nodes, PREFIX, database_settings};

/// The path of the event log of the cell.
const LOG: &str = "c/__log/current/default.log";
const EVENTS: usize = 60;
const TIMERS: usize = 4;

async fn log_lines(client: &TestClient) -> Vec<String> {
    let log = client.admin_request("GET", LOG).send().await;
    log.expect(200).text().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_one_node_reach_the_listeners_of_every_other() {
    let cluster = PostgresCluster::shared();
    let unit = Nodes::start_over(&cluster);
    unit.prepare().await;
    let mut streams = Vec::new();
    for node in &unit.nodes {
        let mut stream = EventStream::open(&node.admin(), "c", None).await;
        stream.wait_for_id().await;
        streams.push(stream);
    }
    for round in 0..2 * NODES {
        let name = format!("c/box/e{round}");
        unit.nodes[round % NODES].put_file(&name, "1").await;
        for stream in &mut streams {
            let (_, event) = stream.next_of_cell().await;
            assert_eq!(event["Type"], "davfile.create");
            assert!(event["Object"].as_str().unwrap().ends_with(&name));
        }
    }
    let posts = (0..EVENTS).map(|n| {
        let node = &unit.nodes[n % NODES];
        let event = json!({"Type": "t", "Object": "o", "Info": n.to_string()});
        async move { node.post("c/__event", &event.to_string()).await.expect(200) }
    });
    futures_util::future::join_all(posts).await;
    let mut received = Vec::new();
    for stream in &mut streams {
        let mut events = Vec::new();
        for _ in 0..EVENTS {
            let (id, event) = stream.next_of_cell().await;
            events.push((id, text_member(&event, "Info")));
        }
        received.push(events);
    }
    let infos: BTreeSet<&String> = received[0].iter().map(|(_, info)| info).collect();
    assert_eq!(infos.len(), EVENTS);
    assert!(received.iter().all(|events| *events == received[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_whose_node_dies_misses_nothing_at_another_one() {
    let cluster = PostgresCluster::shared();
    let mut unit = Nodes::start_over(&cluster);
    unit.prepare().await;
    let mut stream = EventStream::open(&unit.nodes[0].admin(), "c", None).await;
    unit.nodes[1].put_file("c/box/e0", "1").await;
    let (id, _) = stream.next_of_cell().await;
    unit.nodes[0].kill();
    while stream.next().await.is_some() {}
    for round in 1..=5 {
        let node = &unit.nodes[1 + round % 2];
        node.put_file(&format!("c/box/e{round}"), "1").await;
    }
    let mut stream = EventStream::open(&unit.nodes[2].admin(), "c", Some(&id)).await;
    unit.nodes[1].put_file("c/box/e6", "1").await;
    for round in 1..=6 {
        let (_, event) = stream.next_of_cell().await;
        let name = format!("c/box/e{round}");
        assert!(event["Object"].as_str().unwrap().ends_with(&name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listener_loses_the_feed_when_another_node_takes_the_right() {
    let cluster = PostgresCluster::shared();
    let unit = Nodes::start_over(&cluster);
    let owner = unit.nodes[0].create_cell_with_owner("c").await;
    let [one, two, three] = &unit.nodes[..] else {
        panic!("three nodes");
    };
    one.create_role("c", "reader").await;
    one.create_account("c", r#"{"Name":"reader"}"#).await;
    one.link("c", "Account('reader')", "_Role", "Role('reader')")
        .await;
    one.grant_to_role("c", "reader", &["p:event-read"]).await;
    let login = one.login_as("c", "reader", &[("scope", "root")]).await;
    let reader = one.with_token(&text_member(&login, "access_token"));
    let mut stream = EventStream::open(&reader, "c", None).await;
    two.put_file("c/box/e", "1").await;
    stream.next_of_cell().await;
    let link = "c/__ctl/Account('reader')/$links/_Role('reader')";
    two.admin_request("DELETE", link).send().await.expect(204);
    let ended = async { while stream.next().await.is_some() {} };
    let writing = async {
        for n in 0.. {
            three.put_file(&format!("c/box/e{n}"), "1").await;
        }
    };
    tokio::select! {
        () = ended => {}
        () = writing => {}
    }
    drop(owner);
    let again = reader
        .request("GET", "c/__event?type=*&object=*")
        .header("accept", "text/event-stream")
        .bearer(reader.token());
    assert_eq!(again.send().await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_made_through_one_node_fires_at_once_on_every_other() {
    let cluster = PostgresCluster::shared();
    let unit = Nodes::start_over(&cluster);
    unit.prepare().await;
    for round in 0..NODES {
        let maker = &unit.nodes[round];
        let kind = format!("t{round}");
        let rule = json!({
            "Name": kind, "EventExternal": true, "EventType": kind, "Action": "log",
        });
        maker.create("c/__ctl/Rule", &rule.to_string()).await;
        for (number, node) in unit.nodes.iter().enumerate() {
            let event = json!({"Type": kind, "Object": "o", "Info": "i"});
            node.post("c/__event", &event.to_string()).await.expect(200);
            let lines = log_lines(&unit.nodes[(number + 1) % NODES]).await;
            assert_eq!(lines.len(), round * NODES + number + 1, "{lines:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timer_fires_once_in_a_unit_of_three_nodes() {
    let cluster = PostgresCluster::shared();
    // One node fires none.
    let without = format!("{PREFIX}rule.timerEvent.thread.num");
    let lines = database_settings(&cluster);
    let unit = Nodes::start_with(&lines, |number, node| match number {
        0 => node.setting(&without, 0),
        _ => node,
    });
    let client = unit.prepare().await;
    let fired = async || match client.admin_request("GET", LOG).send().await {
        log if log.status == 200 => log.text().lines().count(),
        _ => 0,
    };
    for n in 0..TIMERS {
        // The minute may end meanwhile.
        wait_until("a timer of this minute is made", async || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let rule = json!({
                "Name": format!("t{n}"), "EventType": "timer.oneshot", "EventInfo": n.to_string(),
                "EventObject": now.as_millis().to_string(), "Action": "log",
            });
            let rule = rule.to_string();
            let made = unit.nodes[n % NODES].post("c/__ctl/Rule", &rule).await;
            made.status == 201
        })
        .await;
    }
    wait_until("the timers fire", async || fired().await >= TIMERS).await;
    for (number, node) in unit.nodes.iter().enumerate() {
        let shown = node.admin_request("GET", "c/__rule").send().await.json();
        let timers = (number > 0).then(|| json!([]));
        assert_eq!(shown.get("timers"), timers.as_ref(), "{number}");
    }
    assert_eq!(fired().await, TIMERS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_of_every_node_get_the_event_of_an_import_through_one_of_them() {
    let cluster = PostgresCluster::shared();
    let unit = Nodes::start_over(&cluster);
    let client = unit.prepare().await;
    let mut streams = Vec::new();
    for node in &unit.nodes {
        let mut stream = EventStream::open(&node.admin(), "c", None).await;
        stream.wait_for_id().await;
        streams.push(stream);
    }
    for resource in ["c/__export", "c/__import"] {
        let begun = client.admin_request("POST", resource);
        begun.body(r#"{"Name":"s"}"#).send().await.expect(202);
        wait_until("the transfer has ended", async || {
            let state = client.admin_request("GET", resource);
            let state = state.header("accept", "application/json").send().await;
            state.status == 200 && state.json()["status"] == "ready"
        })
        .await;
    }
    for stream in &mut streams {
        while stream.next_of_cell().await.1["Type"] != "cell.import" {}
    }
    unit.nodes[1].put_file("c/box/after", "1").await;
    for stream in &mut streams {
        let (_, event) = stream.next_of_cell().await;
        assert_eq!(event["Type"], "davfile.create", "{event}");
    }
}
