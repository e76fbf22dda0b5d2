//! The primary of the database dies, and Patroni makes the synchronous standby the primary.

use std::path::Path;
use std::time::Duration;

use personium_testkit::{PatroniCluster, wait_until};

use super::writers::Writers;
use super::{CLIENTS, Nodes};

/// The time within which the unit must serve again.
const BACK_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_are_kept_and_service_is_back_soon_when_the_primary_is_killed() {
    let _load = crate::machine_load().read().await;
    let mut cluster = PatroniCluster::start().await;
    let lines = cluster
        .unit_settings(Path::new(env!("CARGO_BIN_EXE_personium")))
        .await;
    let mut unit = Nodes::start_with(&lines, |_, node| node);
    let client = unit.prepare().await;
    let writers = Writers::start(&unit.nginx, CLIENTS);
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.kill_primary().await;
    let back = wait_until("the unit writes again", async || {
        let put = client.request("PUT", "c/box/again").body("again");
        put.send().await.status.is_success()
    })
    .await;
    assert!(back < BACK_WITHIN, "{back:?}");
    // On every node, none of which was restarted.
    for node in &mut unit.nodes {
        wait_until("a node writes again", async || {
            let put = node.admin_request("PUT", "c/box/again").body("node");
            put.send().await.status.is_success()
        })
        .await;
        assert!(node.is_running());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let written = writers.end().await;
    assert_eq!(written.count_other_than(&[503]), 0, "{written:?}");
    written.expect_kept(&client, 50).await;
}
