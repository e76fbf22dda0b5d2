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

/// The findings of `personium check` about nodes, the database and its clock, with the settings of a node and a data folder of its own.
fn check_nodes(node: &ProcessUnit) -> Vec<(String, String)> {
    let data = tempfile::tempdir().unwrap();
    let settings = node.folder().join("unit.properties");
    let output = crate::program::run(&[
        "check",
        "--json",
        "--config",
        settings.to_str().unwrap(),
        "--data",
        data.path().to_str().unwrap(),
    ]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", crate::program::text(&output)));
    let text = |finding: &serde_json::Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let findings = report["checks"].as_array().unwrap().iter();
    let mut found: Vec<(String, String)> = findings
        .filter(|finding| {
            let shown = ["node", "layer", "database", "items"];
            let is_compared = finding["detail"]
                .as_str()
                .unwrap()
                .contains("of the database");
            shown.contains(&finding["check"].as_str().unwrap()) || is_compared
        })
        .map(|finding| (text(finding, "outcome"), text(finding, "detail")))
        .collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_status_and_metrics_show_which_nodes_run_and_what_differs() {
    let shared = Shared::new();
    let first = crate::storage_unit::StorageUnit::start(
        crate::unit()
            .behind_proxy(shared.port)
            .settings(&shared.settings),
    );
    let mut second = shared.start();
    second.kill();
    let path_based = "pathBasedCellUrl.enabled=true";
    let plugins = tempfile::tempdir().unwrap();
    let plugin = plugins.path().join("x.toml");
    std::fs::write(&plugin, "kind = 'nothing'").unwrap();
    let other = format!(
        "{path_based}\n{PREFIX}odata.dialect=standard\n{PREFIX}plugin.path={}",
        plugins.path().display()
    );
    second.replace_in_settings(path_based, &other);
    second.restart();
    // The record of the killed process is removed first.
    let status = async || first.admin_request("GET", "__status").send().await.json();
    wait_until("two nodes are shown", async || {
        status().await["nodes"].as_array().unwrap().len() == 2
    })
    .await;
    let shown = status().await;
    let nodes = shown["nodes"].as_array().unwrap();
    for node in nodes {
        let is_first = node["address"] == format!("127.0.0.1:{}", first.port());
        assert_eq!(node["isThis"], is_first, "{node}");
        assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
        assert!(
            node["startedAt"].as_str().unwrap().starts_with("20"),
            "{node}"
        );
        let expected = match is_first {
            true => serde_json::json!([]),
            false => serde_json::json!([format!("{PREFIX}odata.dialect"), "plugin.path/x.toml"]),
        };
        assert_eq!(node["otherSettings"], expected);
    }
    wait_until("both nodes are counted", async || {
        let metrics = first.admin_text("metrics").await.1;
        let version = env!("CARGO_PKG_VERSION");
        metrics.contains(&format!(
            "personium_server_nodes{{version=\"{version}\"}} 2\n"
        )) && metrics.contains("personium_server_nodes_with_other_settings 1\n")
    })
    .await;

    let found = check_nodes(&first);
    let has = |found: &[(String, String)], outcome: &str, texts: &[&str]| {
        let mut found = found.iter();
        found.any(|(of, detail)| of == outcome && texts.iter().all(|text| detail.contains(text)))
    };
    for node in [&*first, &second] {
        let address = format!("(127.0.0.1:{}, version", node.port());
        assert!(
            has(&found, "ok", &[&address, "started at 20", ", runs"]),
            "{found:?}"
        );
    }
    let address = format!("(127.0.0.1:{}, version", second.port());
    let differs = [
        &address,
        "other settings",
        "odata.dialect, plugin.path/x.toml",
    ];
    assert!(has(&found, "warning", &differs), "{found:?}");
    assert!(has(&found, "ok", &["answers: PostgreSQL 1"]), "{found:?}");
    let clock = ["that of the database is ", " of this machine"];
    assert!(has(&found, "ok", &clock), "{found:?}");
    assert!(
        has(&found, "ok", &["cells: 0; in them, boxes: 0"]),
        "{found:?}"
    );
    assert!(
        has(
            &found,
            "ok",
            &["the database can be used: PostgreSQL 1", " ms"]
        ),
        "{found:?}"
    );
    for node in [&*first, &second] {
        let texts = [
            "another server node has other plugins",
            "plugin.path/x.toml",
        ];
        wait_for_line(node, &texts).await;
    }
    // What is removed from a folder differs no more.
    std::fs::remove_file(plugin).unwrap();
    wait_until("plugins are the same", async || {
        let shown = status().await;
        let mut nodes = shown["nodes"].as_array().unwrap().iter();
        nodes.any(|node| {
            node["otherSettings"] == serde_json::json!([format!("{PREFIX}odata.dialect")])
        })
    })
    .await;
    // Nobody removes the records of nodes that are all stopped.
    first.pause();
    second.pause();
    let found = check_nodes(&first);
    for node in [&*first, &second] {
        let address = format!("(127.0.0.1:{}, version", node.port());
        assert!(
            has(&found, "warning", &[&address, "does not renew"]),
            "{found:?}"
        );
    }
    first.resume();
    second.resume();
}
