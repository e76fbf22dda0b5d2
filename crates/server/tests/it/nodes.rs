//! Three nodes of one unit over one PostgreSQL, behind the web layer.

mod clocks;
mod event_bus;
mod events;
mod failover;
mod full_disks;
mod jobs;
mod layers;
mod messages;
mod partition;
mod quotas;
mod streams;
mod suspended_work;
mod suspension;
mod writers;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use personium_testkit::{
    Nginx, PostgresCluster, ProcessUnit, ProcessUnitBuilder, TestClient, WEB_HOST,
    create_unit_database, free_port, make_unit_key, wait_until,
};
use tempfile::TempDir;

use self::writers::Writers;
use crate::rolling_restart::{DELAY_SECS, read_and_write};

const NODES: usize = 3;

/// The number of clients that load a unit at the same time.
const CLIENTS: usize = 6;

const PREFIX: &str = "io.personium.core.";

/// A unit of several nodes behind the web layer. Dropping it ends all of them.
pub(crate) struct Nodes {
    pub(crate) nodes: Vec<ProcessUnit>,
    nginx: Nginx,
    _folder: TempDir,
    _cluster: Option<Arc<PostgresCluster>>,
}

/// Returns the settings of units over a new database, as lines.
fn database_settings(cluster: &PostgresCluster) -> String {
    let settings = create_unit_database(cluster, Path::new(env!("CARGO_BIN_EXE_personium")));
    let lines = settings
        .iter()
        .map(|(key, value)| format!("{PREFIX}{key}={value}\n"));
    lines.collect()
}

impl Nodes {
    /// Starts nodes over a database server, with file bodies in a folder.
    fn start_over(cluster: &PostgresCluster) -> Self {
        Self::start_with(&database_settings(cluster), |_, node| node)
    }

    /// As [`Self::start_over`]; requests of rules may go to private addresses.
    pub(crate) fn start_with_private_networks(cluster: &PostgresCluster) -> Self {
        let lines = database_settings(cluster);
        let lines = format!("{lines}{PREFIX}outgoing.privateNetworks.enabled=true\n");
        Self::start_with(&lines, |_, node| node)
    }

    /// Starts nodes with these lines of settings, and what `add` adds to each. If the lines name no place of file bodies, they
    /// are in a folder.
    fn start_with(
        lines: &str,
        add: impl Fn(usize, ProcessUnitBuilder) -> ProcessUnitBuilder,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut settings = make_unit_key(folder.path(), WEB_HOST) + lines;
        if !lines.contains("blobStore.") {
            let bodies = folder.path().join("bodies");
            settings.push_str(&format!("{PREFIX}blobStore.root={}\n", bodies.display()));
        }
        settings.push_str(&format!(
            "{PREFIX}server.shutdown.delayInSec={DELAY_SECS}\n{PREFIX}dav.childresource.maxnum=1000000\n"
        ));
        let start = |number| {
            let unit = crate::unit().host(WEB_HOST).behind_proxy(port);
            add(number, unit.settings(&settings)).start()
        };
        let nodes: Vec<ProcessUnit> = (0..NODES).map(start).collect();
        let nginx = nodes
            .iter()
            .fold(Nginx::builder(port), |nginx, unit| nginx.node(unit.port()));
        Self {
            nginx: nginx.start(),
            nodes,
            _folder: folder,
            _cluster: None,
        }
    }

    /// Keeps the shared database server running as long as the nodes.
    fn keeping(self, cluster: Arc<PostgresCluster>) -> Self {
        let _cluster = Some(cluster);
        Self { _cluster, ..self }
    }

    /// A client of the web layer with the master token, after it has made the box `box` in the cell `c`, with the file `f`.
    async fn prepare(&self) -> TestClient {
        let client = self.nginx.client().admin();
        client.create_cell("c").await;
        client.create_box("c", "box").await;
        client.put_file("c/box/f", "content").await;
        client
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_creates_every_other_reads_at_once() {
    let cluster = PostgresCluster::shared();
    let unit = Nodes::start_over(&cluster);
    for (number, node) in unit.nodes.iter().enumerate() {
        let cell = format!("c{number}");
        let owner = node.create_cell_with_owner(&cell).await;
        node.create_odata_collection(&format!("{cell}/box/data"), "Row")
            .await;
        let large = "x".repeat(300_000);
        owner.call("PUT", &format!("{cell}/box/f"), &large).await;
        let row = format!("{cell}/box/data/Row");
        owner
            .request("POST", &row)
            .body(r#"{"__id":"one","n":1}"#)
            .send()
            .await
            .expect(201);
        for other in &unit.nodes {
            // The token of one node is one of the unit.
            let other = other.with_token(owner.token());
            let file = other.call("GET", &format!("{cell}/box/f"), "").await;
            assert_eq!(file.body.len(), large.len());
            assert_eq!(
                other
                    .call("GET", &format!("{row}('one')"), "")
                    .await
                    .results()["n"],
                1
            );
            other.call("PUT", &format!("{cell}/box/f"), &large).await;
        }
    }
    let cells = unit.nginx.client().list_entities("__ctl/Cell").await;
    assert_eq!(cells.len(), NODES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn role_that_one_node_takes_away_is_refused_by_the_next_request_on_every_other() {
    let cluster = PostgresCluster::shared();
    let unit = Nodes::start_over(&cluster);
    let owner = unit.nginx.client().create_cell_with_owner("c").await;
    owner.call("PUT", "c/box/f", "content").await;
    let link = "c/__ctl/Account('me')/$links/_Role('owner')";
    let all_answer = async |status: u16, what: String| {
        for (number, node) in unit.nodes.iter().enumerate() {
            let node = node.with_token(owner.token());
            let read = node.request("GET", "c/box/f").send().await;
            assert_eq!(read.status, status, "{what}, read through node {number}");
        }
    };
    for round in 0..2 * NODES {
        let changing = &unit.nodes[round % NODES];
        all_answer(200, format!("round {round}")).await;
        changing
            .admin_request("DELETE", link)
            .send()
            .await
            .expect(204);
        all_answer(403, format!("round {round}, role taken away")).await;
        changing
            .link("c", "Account('me')", "_Role", "Role('owner')")
            .await;
        all_answer(200, format!("round {round}, role given back")).await;
        changing.grant_to_everybody("c/box", &[]).await;
        all_answer(403, format!("round {round}, list without the role")).await;
        changing.grant_to_role("c/box", "owner", &["D:all"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_are_there_after_a_node_was_killed_under_load() {
    let _load = crate::machine_load().read().await;
    let cluster = PostgresCluster::shared();
    let mut unit = Nodes::start_over(&cluster);
    let client = unit.prepare().await;
    let writers = Writers::start(&unit.nginx, CLIENTS);
    for node in &mut unit.nodes {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        node.kill();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        node.restart();
    }
    let written = writers.end().await;
    // Each kill breaks off what the node had in hand, and nothing else fails.
    assert!(written.count_refused(502) <= NODES * CLIENTS, "{written:?}");
    assert_eq!(written.count_other_than(&[502]), 0, "{written:?}");
    written.expect_kept(&client, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_are_there_after_the_database_was_killed_under_load() {
    let _load = crate::machine_load().read().await;
    let cluster = PostgresCluster::start();
    let unit = Nodes::start_over(&cluster);
    let client = unit.prepare().await;
    let writers = Writers::start(&unit.nginx, CLIENTS);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        cluster.kill();
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.restart();
        for node in &unit.nodes {
            wait_until("a node writes again", async || {
                let put = node.admin_request("PUT", "c/box/again").body("again");
                put.send().await.status.is_success()
            })
            .await;
        }
    }
    let written = writers.end().await;
    assert_eq!(written.count_other_than(&[503]), 0, "{written:?}");
    written.expect_kept(&client, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_three_nodes_are_restarted_in_turn() {
    let _load = crate::machine_load().read().await;
    let cluster = PostgresCluster::shared();
    let mut unit = Nodes::start_over(&cluster);
    let client = unit.prepare().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..CLIENTS)
        .map(|writer| {
            let client = unit.nginx.client().admin();
            tokio::spawn(read_and_write(client, writer, Arc::clone(&is_over)))
        })
        .collect();
    for node in &mut unit.nodes {
        tokio::time::sleep(Duration::from_secs(1)).await;
        node.terminate();
        assert!(node.wait());
        node.restart();
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let mut names = Vec::new();
    for client in load {
        names.extend(client.await.unwrap());
    }
    assert!(names.len() > 50, "only {} writes", names.len());
    writers::expect_files(&client, &names).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_refuse_without_their_database_and_go_on_when_it_is_back() {
    let cluster = PostgresCluster::start();
    let unit = Nodes::start_over(&cluster);
    let client = unit.prepare().await;
    cluster.kill();
    for _ in 0..2 * NODES {
        let read = client.request("GET", "c/box/f").send().await;
        read.expect_error(503, "SV-0006");
        let put = client.request("PUT", "c/box/f").body("new").send().await;
        put.expect_error(503, "SV-0006");
    }
    cluster.restart();
    for node in &unit.nodes {
        let read = node
            .admin_request("GET", "c/box/f")
            .send()
            .await
            .expect(200);
        assert_eq!(read.text(), "content");
    }
    client.put_file("c/box/f", "new").await;
}
