//! Units whose records are in a PostgreSQL database.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use personium_testkit::{
    PostgresCluster, ProcessUnit, ProcessUnitBuilder, free_port, make_unit_key,
};

/// A database for one unit.
struct UnitDatabase {
    cluster: Arc<PostgresCluster>,
    name: String,
}

impl UnitDatabase {
    /// A database without tables.
    fn empty() -> Self {
        let cluster = PostgresCluster::shared();
        let name = cluster.create_database();
        Self { cluster, name }
    }

    /// A database with the tables that the program prints for administrators.
    fn with_tables() -> Self {
        let database = Self::empty();
        let sql = database.run(Path::new("/nonexistent"), &["init", "--print-sql"]);
        assert!(sql.status.success(), "{sql:?}");
        let sql = String::from_utf8(sql.stdout).unwrap();
        let tables = sql.lines().skip_while(|line| *line != "BEGIN;");
        let tables: Vec<&str> = tables.filter(|line| !line.starts_with("GRANT")).collect();
        database.cluster.sql(&database.name, &tables.join("\n"));
        database
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("store.type", "postgres".to_owned()),
            (
                "store.postgres.hosts",
                format!("127.0.0.1:{}", self.cluster.port()),
            ),
            ("store.postgres.database", self.name.clone()),
            ("store.postgres.user", self.cluster.user().to_owned()),
            ("store.postgres.password", "hidden-word".to_owned()),
            ("store.postgres.tls", "off".to_owned()),
            ("server.start.waitInSec", "60".to_owned()),
        ]
    }

    fn unit(&self) -> ProcessUnitBuilder {
        let mut lines = String::new();
        for (key, value) in self.settings() {
            let _ = writeln!(lines, "io.personium.core.{key}={value}");
        }
        crate::unit().settings(&lines)
    }

    /// Runs a command of the program on a data folder.
    fn run(&self, data: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_personium"));
        command.args(arguments).arg("--data").arg(data);
        for (key, value) in self.settings() {
            command.args(["-c", &format!("{key}={value}")]);
        }
        command.args(["-c", "unitScheme=http", "-c", "listen=127.0.0.1:0"]);
        command.output().unwrap()
    }
}

fn text(output: &Output) -> String {
    let bytes = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8(bytes).unwrap()
}

async fn fill(unit: &ProcessUnit, cell: &str) {
    unit.create_cell(cell).await;
    unit.create_box(cell, "b").await;
    unit.put_file(&format!("{cell}/b/small"), "small").await;
    unit.put_file(&format!("{cell}/b/large"), &"x".repeat(200_000))
        .await;
    let data = format!("{cell}/b/data");
    unit.create_odata_collection(&data, "Item").await;
    unit.create(&format!("{data}/Item"), r#"{"__id":"one","name":"first"}"#)
        .await;
}

async fn check_content(unit: &ProcessUnit, cell: &str) {
    for (file, length) in [("small", 5), ("large", 200_000)] {
        let path = format!("{cell}/b/{file}");
        let response = unit.admin_request("GET", &path).send().await;
        assert_eq!(response.expect(200).text().len(), length, "{path}");
    }
    let entities = unit.list_entities(&format!("{cell}/b/data/Item")).await;
    assert_eq!(entities.len(), 1);
    assert_eq!(entities[0]["name"], "first");
}

#[tokio::test]
async fn unit_over_a_database_keeps_its_data_through_restarts_and_kills() {
    let database = UnitDatabase::with_tables();
    let mut unit = database.unit().start();
    fill(&unit, "alice").await;
    check_content(&unit, "alice").await;
    for _ in 0..2 {
        unit.kill();
        unit.restart();
        check_content(&unit, "alice").await;
    }
    unit.create_cell("bob").await;
    unit.admin_request("DELETE", "__ctl/Cell('bob')")
        .send()
        .await
        .expect(204);
    assert!(
        !unit.folder().join("data/records").exists(),
        "no files of records"
    );
    let report = database.run(&unit.folder().join("data"), &["check"]);
    let report = text(&report);
    assert!(
        report.contains("has all its parts") && report.contains("answers"),
        "{report}"
    );
    assert!(!report.contains("hidden-word"), "{report}");
    assert!(!unit.log().contains("hidden-word"));
}

#[tokio::test]
async fn unit_goes_on_when_the_database_was_killed_and_started_again() {
    let cluster = tokio::task::spawn_blocking(PostgresCluster::start);
    let cluster = Arc::new(cluster.await.unwrap());
    let name = cluster.create_database();
    let database = UnitDatabase { cluster, name };
    let folder = tempfile::tempdir().unwrap();
    let made = database.run(folder.path(), &["init"]);
    assert!(made.status.success(), "{made:?}");
    assert!(text(&made).contains("password  "), "{}", text(&made));
    let again = database.run(folder.path(), &["init"]);
    assert!(!again.status.success() && text(&again).contains("already contains a unit"));

    let other = UnitDatabase {
        cluster: Arc::clone(&database.cluster),
        name: database.cluster.create_database(),
    };
    let tables = tempfile::tempdir().unwrap();
    assert!(other.run(tables.path(), &["init"]).status.success());
    other
        .cluster
        .sql(&other.name, "TRUNCATE personium.records, personium.spaces");
    let unit = other.unit().start();
    fill(&unit, "alice").await;
    let killed = Arc::clone(&database.cluster);
    tokio::task::spawn_blocking(move || killed.kill())
        .await
        .unwrap();
    let response = unit.admin_request("GET", "alice/b/small").send().await;
    assert_eq!(response.status, 503, "{}", response.text());
    let started = Arc::clone(&database.cluster);
    tokio::task::spawn_blocking(move || started.restart())
        .await
        .unwrap();
    check_content(&unit, "alice").await;
    unit.put_file("alice/b/later", "later").await;
}

#[tokio::test]
async fn second_node_serves_the_same_unit_and_a_stranger_is_refused() {
    let database = UnitDatabase::with_tables();
    let bodies = tempfile::tempdir().unwrap();
    let root = "io.personium.core.blobStore.root";
    let settings = make_unit_key(bodies.path(), "localhost");
    let port = free_port();
    let bodies = bodies.path().join("bodies");
    let node = || {
        let node = database.unit().behind_proxy(port).settings(&settings);
        node.setting(root, bodies.display())
    };
    let first = node().start();
    fill(&first, "alice").await;
    let mut second = node().start();
    check_content(&second, "alice").await;
    second.put_file("alice/b/of_second", "second").await;
    let response = first.admin_request("GET", "alice/b/of_second").send().await;
    assert_eq!(response.expect(200).text(), "second");
    assert!(
        second.log().contains("this node joins the unit"),
        "{}",
        second.log()
    );

    second.kill();
    let (secret, other) = ("0123456789abcdef", "fedcba9876543210");
    second.replace_in_settings(secret, other);
    let refused = second.expect_refused_restart();
    assert!(refused.contains("all nodes need the same"), "{refused}");
    second.replace_in_settings(other, secret);
    let elsewhere = tempfile::tempdir().unwrap();
    second.replace_in_settings(
        &bodies.display().to_string(),
        &elsewhere.path().display().to_string(),
    );
    let refused = second.expect_refused_restart();
    assert!(
        refused.contains("is empty, not mounted, or another one"),
        "{refused}"
    );
    // The bodies of this unit with the database of none.
    let new = UnitDatabase::with_tables();
    second.replace_in_settings(
        &elsewhere.path().display().to_string(),
        &bodies.display().to_string(),
    );
    second.replace_in_settings(&database.name, &new.name);
    let refused = second.expect_refused_restart();
    assert!(
        refused.contains("the database is new or of another unit"),
        "{refused}"
    );
}

#[tokio::test]
async fn database_without_tables_and_an_absent_one_are_named() {
    let database = UnitDatabase::empty();
    let folder = tempfile::tempdir().unwrap();
    let output = database.run(folder.path(), &["serve"]);
    let refused = text(&output);
    assert!(
        refused.contains("personium init") && refused.contains(&database.name),
        "{refused}"
    );
    // Waiting does not make tables.
    assert_eq!(output.status.code(), Some(1), "{refused}");
    assert!(!refused.contains("waiting for a layer"), "{refused}");
    let report = database.run(folder.path(), &["check"]);
    assert!(!report.status.success() && text(&report).contains("personium init"));

    let mut absent = database.settings();
    absent.retain(|(key, _)| !["store.postgres.hosts", "server.start.waitInSec"].contains(key));
    let mut command = Command::new(env!("CARGO_BIN_EXE_personium"));
    command.arg("serve").arg("--data").arg(folder.path());
    for (key, value) in absent {
        command.args(["-c", &format!("{key}={value}")]);
    }
    let port = personium_testkit::free_port();
    command
        .args(["-c", &format!("store.postgres.hosts=127.0.0.1:{port}")])
        .args(["-c", "server.start.waitInSec=1", "-c", "listen=127.0.0.1:0"]);
    let output = command.output().unwrap();
    let refused = text(&output);
    // Whatever supervises the program may try again.
    assert_eq!(output.status.code(), Some(75), "{refused}");
    let reason = format!("database {} at 127.0.0.1:{port}", database.name);
    for part in [
        "waiting for a layer",
        &reason,
        "personium: the database cannot be used",
        "waited for 1 s, see server.start.waitInSec",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    assert!(!refused.contains("hidden-word"), "{refused}");
}

#[tokio::test]
async fn unit_that_is_started_before_its_database_waits_for_it() {
    let cluster = tokio::task::spawn_blocking(PostgresCluster::start);
    let cluster = Arc::new(cluster.await.unwrap());
    let name = cluster.create_database();
    let database = UnitDatabase { cluster, name };
    let folder = tempfile::tempdir().unwrap();
    assert!(database.run(folder.path(), &["init"]).status.success());
    database.cluster.sql(
        &database.name,
        "TRUNCATE personium.records, personium.spaces",
    );
    database.cluster.stop();
    let unit_folder = folder.path().join("unit");
    let unit = std::thread::scope(|scope| {
        let (cluster, log) = (&database.cluster, unit_folder.join("unit.log"));
        scope.spawn(move || {
            let until = Instant::now() + Duration::from_secs(60);
            let is_waiting = || {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                text.contains("waiting for a layer")
            };
            while !is_waiting() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
            cluster.restart();
        });
        // It listens only when the database is open.
        database.unit().folder(&unit_folder).start()
    });
    unit.create_cell("alice").await;
    let log = unit.log();
    for part in ["waiting for a layer", "database", "the layer is there"] {
        assert!(log.contains(part), "{part}: {log}");
    }
}
