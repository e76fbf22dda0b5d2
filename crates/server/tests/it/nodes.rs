//! Three nodes of one unit over one PostgreSQL, behind the web layer.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use personium_testkit::{
    Nginx, PostgresCluster, ProcessUnit, TestClient, WEB_HOST, create_unit_database, free_port,
};
use tempfile::TempDir;

use crate::rolling_restart::{DELAY_SECS, read_and_write};

const NODES: usize = 3;

/// A unit of several nodes. Dropping it ends all of its parts.
struct Nodes {
    nodes: Vec<ProcessUnit>,
    nginx: Nginx,
    cluster: Arc<PostgresCluster>,
    _folder: TempDir,
}

/// Makes a key and a certificate of the unit, which its nodes share.
fn make_unit_key(folder: &Path) -> String {
    let (key, certificate) = (folder.join("unit.key"), folder.join("unit.crt"));
    let out = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-subj", &format!("/CN={WEB_HOST}"), "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let (key, certificate) = (key.display(), certificate.display());
    format!("io.personium.core.x509.key={key}\nio.personium.core.x509.crt={certificate}\n")
}

impl Nodes {
    fn start() -> Self {
        Self::start_over(PostgresCluster::shared())
    }

    fn start_over(cluster: Arc<PostgresCluster>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut settings = make_unit_key(folder.path());
        let program = Path::new(env!("CARGO_BIN_EXE_personium"));
        let mut shared = create_unit_database(&cluster, program);
        shared.extend([
            (
                "blobStore.root",
                folder.path().join("bodies").display().to_string(),
            ),
            ("server.shutdown.delayInSec", DELAY_SECS.to_string()),
            ("dav.childresource.maxnum", "1000000".to_owned()),
        ]);
        for (key, value) in shared {
            settings.push_str(&format!("io.personium.core.{key}={value}\n"));
        }
        let start = |_| {
            let unit = crate::unit().host(WEB_HOST).behind_proxy(port);
            unit.settings(&settings).start()
        };
        let nodes: Vec<ProcessUnit> = (0..NODES).map(start).collect();
        let nginx = nodes
            .iter()
            .fold(Nginx::builder(port), |nginx, unit| nginx.node(unit.port()));
        Self {
            nginx: nginx.start(),
            nodes,
            cluster,
            _folder: folder,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_creates_every_other_reads_at_once() {
    let unit = Nodes::start();
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
    let unit = Nodes::start();
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

/// Writes new files until it is over. Returns the names of those that were acknowledged, and the number of requests without an
/// answer of a node.
async fn write_until_over(
    client: TestClient,
    writer: usize,
    is_over: Arc<AtomicBool>,
) -> (Vec<String>, usize) {
    let (mut acknowledged, mut unanswered) = (Vec::new(), 0);
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("c/box/w{writer}-{number}");
        let put = client.request("PUT", &name).body(&name).send().await;
        match put.status.as_u16() {
            201 => acknowledged.push(name),
            502 => unanswered += 1,
            other => panic!("{name}: {other} {}", put.text()),
        }
    }
    (acknowledged, unanswered)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_are_there_after_a_node_was_killed_under_load() {
    const CLIENTS: usize = 6;
    let _load = crate::machine_load().read().await;
    let mut unit = Nodes::start();
    let client = unit.nginx.client().admin();
    client.create_cell("c").await;
    client.create_box("c", "box").await;
    let is_over = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..CLIENTS)
        .map(|writer| {
            let client = unit.nginx.client().admin();
            tokio::spawn(write_until_over(client, writer, Arc::clone(&is_over)))
        })
        .collect();
    for node in &mut unit.nodes {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        node.kill();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        node.restart();
    }
    is_over.store(true, Ordering::Relaxed);
    let (mut names, mut unanswered) = (Vec::new(), 0);
    for writer in load {
        let (acknowledged, without) = writer.await.unwrap();
        names.extend(acknowledged);
        unanswered += without;
    }
    assert!(names.len() > 50, "only {} writes", names.len());
    // Each kill breaks off what the node had in hand, and nothing else fails.
    assert!(
        unanswered <= NODES * CLIENTS,
        "{unanswered} writes without an answer"
    );
    for name in &names {
        let read = client.request("GET", name).send().await.expect(200);
        assert_eq!(read.text(), *name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_three_nodes_are_restarted_in_turn() {
    const CLIENTS: usize = 6;
    let _load = crate::machine_load().read().await;
    let mut unit = Nodes::start();
    let client = unit.nginx.client().admin();
    client.create_cell("c").await;
    client.create_box("c", "box").await;
    client.put_file("c/box/f", "content").await;
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
    for name in &names {
        let read = client.request("GET", name).send().await.expect(200);
        assert_eq!(read.text(), *name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_refuse_without_their_database_and_go_on_when_it_is_back() {
    let unit = Nodes::start_over(Arc::new(PostgresCluster::start()));
    let client = unit.nginx.client().admin();
    client.create_cell("c").await;
    client.create_box("c", "box").await;
    client.put_file("c/box/f", "content").await;
    unit.cluster.kill();
    for _ in 0..2 * NODES {
        let read = client.request("GET", "c/box/f").send().await;
        read.expect_error(503, "SV-0006");
        let put = client.request("PUT", "c/box/f").body("new").send().await;
        put.expect_error(503, "SV-0006");
    }
    unit.cluster.restart();
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
