//! An installation and a garbage collection of a node whose process is stopped for longer than its lease, and goes on.

use std::time::Duration;

use personium_testkit::{PostgresCluster, TestClient, wait_until_within};

use super::suspension::wait_until_found_dead;
use super::{Nodes, database_settings};
use crate::interrupted_installation::{archive, count, status};

/// The node that is stopped.
const STOPPED: usize = 0;

/// The entities of the archive.
const ENTITIES: usize = 1_000;

/// The time that an installation may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(300);

/// How often a node is stopped until that is in the middle of its work.
const ATTEMPTS: usize = 10;

/// The records of the only cell, more or less, that do not belong to what is installed or removed.
const MARGIN: usize = 200;

async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) {
    wait_until_within(LIMIT, what, condition).await;
}

/// Three nodes, and their database.
struct Unit {
    nodes: Nodes,
    cluster: std::sync::Arc<PostgresCluster>,
    database: String,
    client: TestClient,
}

impl Unit {
    async fn start() -> Self {
        let cluster = PostgresCluster::shared();
        let lines = database_settings(&cluster);
        let mut lines_of = lines.lines();
        let database = lines_of.find_map(|line| line.split_once("postgres.database="));
        let database = database.unwrap().1.to_owned();
        let nodes = Nodes::start_with(&lines, |_, node| node);
        let client = nodes.prepare().await;
        Self {
            nodes,
            cluster,
            database,
            client,
        }
    }

    /// A client of a node that is not stopped.
    fn other(&self) -> TestClient {
        self.nodes.nodes[1].admin()
    }

    /// The number of records of cells.
    fn count_records(&self) -> usize {
        let text = self.cluster.sql(
            &self.database,
            "SELECT count(*) FROM personium.records WHERE space <> \
             (SELECT space FROM personium.spaces ORDER BY length(space) LIMIT 1)",
        );
        text.trim().parse().unwrap()
    }

    async fn install(&self, client: &TestClient) {
        let request = client.request("MKCOL", "c/new");
        let request = request.header("content-type", "application/zip");
        request.body(archive(ENTITIES)).send().await.expect(202);
    }

    async fn wait_for_status(&self, wanted: &str) {
        let other = self.other();
        wait_until(wanted, async || status(&other).await.1 == wanted).await;
    }

    async fn remove_box(&self, client: &TestClient) {
        let delete = client.request("DELETE", "c/new");
        let delete = delete.header("x-personium-recursive", "true");
        delete.send().await.expect(204);
    }

    /// Lets the stopped node go on, and waits until it knows that others found it dead.
    async fn resume(&self) {
        let node = &self.nodes.nodes[STOPPED];
        node.resume();
        wait_until("the woken node gives up its work", async || {
            node.log().contains("found this one dead")
        })
        .await;
    }

    /// Waits until the content that was installed is removed. `before` is the number of records without it.
    async fn wait_until_removed(&self, what: &str, before: usize) {
        wait_until(what, async || self.count_records() < before + MARGIN).await;
    }

    /// The file that was neither installed nor removed is there.
    async fn expect_others_kept(&self) {
        let kept = self.client.request("GET", "c/box/f").send().await;
        assert_eq!(kept.expect(200).text(), "content");
    }

    /// The content of the archive is there once, on every node.
    async fn expect_installed_once(&self) {
        for node in &self.nodes.nodes {
            let client = node.reconnect().admin();
            assert_eq!(status(&client).await, (200, "ready".to_owned()));
            let path = "c/new/o/E?$top=1&$inlinecount=allpages&$format=json";
            let listed = client.request("GET", path).send().await.expect(200).json();
            assert_eq!(listed["d"]["__count"], ENTITIES.to_string());
            for (set, expected) in [
                ("Box", "2"),
                ("Role", "1"),
                ("Relation", "1"),
                ("Rule", "1"),
            ] {
                assert_eq!(count(&client, set).await, expected, "{set}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn installation_of_a_stopped_node_is_removed_and_a_second_one_is_not_disturbed_by_it() {
    let _load = crate::machine_load().read().await;
    let unit = Unit::start().await;
    let node = &unit.nodes.nodes[STOPPED];
    let before = unit.count_records();
    for attempt in 0.. {
        assert!(
            attempt < ATTEMPTS,
            "the node was never stopped in the middle"
        );
        unit.install(&node.admin()).await;
        wait_until("a part is installed", async || {
            unit.count_records() > before + MARGIN
        })
        .await;
        node.pause();
        if status(&unit.other()).await.1 == "installation in progress" {
            break;
        }
        node.resume();
        unit.wait_for_status("ready").await;
        unit.remove_box(&unit.client).await;
        unit.wait_until_removed("the content is removed", before)
            .await;
    }
    wait_until_found_dead(&unit.nodes).await;
    unit.wait_for_status("installation failed").await;
    let other = unit.other();
    for (set, expected) in [
        ("Box", "1"),
        ("Role", "0"),
        ("Relation", "0"),
        ("Rule", "0"),
    ] {
        wait_until(set, async || count(&other, set).await == expected).await;
    }
    unit.wait_until_removed("what was installed is removed", before)
        .await;
    // The name is free, while the stopped node would still fill the first box.
    unit.install(&other).await;
    unit.resume().await;
    unit.wait_for_status("ready").await;
    unit.expect_installed_once().await;
    let installed = unit.count_records();
    unit.remove_box(&node.reconnect().admin()).await;
    unit.wait_until_removed("nothing is left of either", before)
        .await;
    assert!(installed > before + ENTITIES);
    unit.expect_others_kept().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_collection_of_a_stopped_node_is_ended_by_another_and_nothing_else_is_removed() {
    let _load = crate::machine_load().read().await;
    let unit = Unit::start().await;
    let node = &unit.nodes.nodes[STOPPED];
    let before = unit.count_records();
    for attempt in 0.. {
        assert!(
            attempt < ATTEMPTS,
            "the node was never stopped in the middle"
        );
        unit.install(&unit.client).await;
        unit.wait_for_status("ready").await;
        unit.remove_box(&node.admin()).await;
        node.pause();
        if unit.count_records() > before + MARGIN {
            break;
        }
        node.resume();
    }
    wait_until_found_dead(&unit.nodes).await;
    unit.wait_until_removed("another node removes the content", before)
        .await;
    // A box of the same name, which the stopped node must not take for the one that it removes.
    unit.install(&unit.other()).await;
    unit.wait_for_status("ready").await;
    unit.resume().await;
    unit.expect_installed_once().await;
    unit.expect_others_kept().await;
}
