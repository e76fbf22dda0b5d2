//! Nodes of one unit with different settings or versions, side by side over one PostgreSQL: refused, or said in the log.

use std::path::Path;
use std::sync::Arc;

use personium_testkit::{
    PostgresCluster, ProcessUnit, create_unit_database, free_port, make_unit_key, wait_until,
};
use tempfile::TempDir;

const PREFIX: &str = "io.personium.core.";

/// The layers and settings that the nodes of a unit share.
struct Shared {
    cluster: Arc<PostgresCluster>,
    database: String,
    settings: String,
    port: u16,
    folder: TempDir,
}

impl Shared {
    fn new() -> Self {
        let cluster = PostgresCluster::shared();
        let folder = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_personium"));
        let database = create_unit_database(&cluster, program);
        let mut settings = make_unit_key(folder.path(), "localhost");
        for (key, value) in &database {
            settings.push_str(&format!("{PREFIX}{key}={value}\n"));
        }
        let bodies = folder.path().join("bodies");
        settings.push_str(&format!("{PREFIX}blobStore.root={}\n", bodies.display()));
        let name = database.iter().find(|(key, _)| key.ends_with("database"));
        Self {
            cluster,
            database: name.unwrap().1.clone(),
            settings,
            port: free_port(),
            folder,
        }
    }

    fn start(&self) -> ProcessUnit {
        let node = crate::unit().behind_proxy(self.port);
        node.settings(&self.settings).start()
    }
}

/// Waits until a node has logged a line with all of these texts.
async fn wait_for_line(node: &ProcessUnit, texts: &[&str]) {
    let has_line = async || {
        let log = node.log();
        log.lines()
            .any(|line| texts.iter().all(|text| line.contains(text)))
    };
    wait_until(&texts.join(", "), has_line).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_differs_in_what_all_must_have_in_common_is_refused_with_its_name() {
    let shared = Shared::new();
    let first = shared.start();
    first.create_cell("c").await;
    let other_key = tempfile::tempdir().unwrap();
    let _ = make_unit_key(other_key.path(), "localhost");
    let of = |folder: &Path| folder.join("unit").display().to_string();
    let (key, other_key) = (of(shared.folder.path()), of(other_key.path()));
    let (port, other_port) = (shared.port.to_string(), free_port().to_string());
    let changes = [
        (
            port.as_str(),
            other_port.as_str(),
            "unit URL = https://localhost:",
        ),
        (
            "Url.enabled=true",
            "Url.enabled=false",
            "pathBasedCellUrl.enabled = true, and this one has false",
        ),
        (key.as_str(), other_key.as_str(), "digest of x509.key = "),
    ];
    let mut nodes: Vec<ProcessUnit> = changes.iter().map(|_| shared.start()).collect();
    std::thread::scope(|scope| {
        for (node, (from, to, expected)) in nodes.iter_mut().zip(changes) {
            scope.spawn(move || {
                node.kill();
                node.replace_in_settings(from, to);
                let refused = node.expect_refused_restart();
                assert!(refused.contains(expected), "{expected}: {refused}");
                assert!(
                    refused.contains("all nodes of a unit need the same"),
                    "{refused}"
                );
                node.replace_in_settings(to, from);
            });
        }
    });
    // The one that runs is undisturbed, and the others can come back.
    first.create_cell("d").await;
    for node in &mut nodes {
        node.restart();
        node.create_box("d", &format!("b{}", node.port())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn url_of_a_unit_can_be_changed_when_its_nodes_have_ended_or_died() {
    let shared = Shared::new();
    let mut node = shared.start();
    node.create_cell("c").await;
    let mut from = shared.port.to_string();
    for is_killed in [false, true] {
        if is_killed {
            node.kill();
        } else {
            node.terminate();
            assert!(node.wait());
        }
        let to = free_port().to_string();
        node.replace_in_settings(&from, &to);
        node.restart();
        let url = format!("https://localhost:{to}/");
        wait_for_line(&node, &["unit started", &url]).await;
        from = to;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_other_settings_are_named_in_the_logs_of_both() {
    let shared = Shared::new();
    let first = shared.start();
    let mut second = shared.start();
    second.kill();
    second.replace_in_settings(
        "pathBasedCellUrl.enabled=true",
        "pathBasedCellUrl.enabled=true\nio.personium.core.odata.dialect=standard\n\
         io.personium.core.introspect.username=hidden-name\nio.personium.core.introspect.password=hidden-word",
    );
    second.restart();
    for node in [&first, &second] {
        let settings = [
            "another server node has other settings",
            "io.personium.core.introspect.password, io.personium.core.introspect.username, io.personium.core.odata.dialect",
        ];
        wait_for_line(node, &settings).await;
        assert!(!node.log().contains("hidden-word"));
    }
    let records =
        "SELECT count(*) FROM personium.records WHERE position('hidden-word'::bytea IN value) > 0";
    assert_eq!(shared.cluster.sql(&shared.database, records), "0");
    // Both serve.
    first.create_cell("c").await;
    second.create_box("c", "b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_program_is_refused_by_tables_of_a_newer_one_while_nodes_that_run_go_on() {
    let shared = Shared::new();
    let first = shared.start();
    let mut second = shared.start();
    second.kill();
    let newer = "UPDATE personium.format SET version = version + 1";
    shared.cluster.sql(&shared.database, newer);
    let refused = second.expect_refused_restart();
    assert!(
        refused.contains("use the newer program that made them"),
        "{refused}"
    );
    first.create_cell("c").await;
}
