//! `personium usage`, `personium admin quota` and `personium verify --repair`: counters are exact after kills, and quotas hold.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use personium_model::{cell_usage, keys};
use personium_sqlite::{SpaceCreation, SqliteSettings, SqliteStore};
use personium_store::{Batch, Key, RecordStore, Space};
use personium_testkit::{PostgresCluster, create_unit_database};
use serde_json::Value;

use crate::copied_unit::stage::{Side, Stage};
use crate::program;
use crate::verified_unit::{expect_whole, verify};

/// The number of tasks that write at the same time.
const WRITERS: usize = 6;

fn run(side: &Side, arguments: &[&str]) -> (bool, String) {
    let arguments = [arguments, &["--config", side.settings()]].concat();
    let output = program::run(&arguments);
    (output.status.success(), program::text(&output))
}

fn usage(side: &Side) -> Value {
    let (done, text) = run(side, &["usage", "--json"]);
    assert!(done, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn used(usage: &Value, cell: &str) -> u64 {
    let cells = usage["cells"].as_array().unwrap();
    let found = cells.iter().find(|found| found["cell"] == cell).unwrap();
    found["usedBytes"].as_u64().unwrap()
}

fn database(cluster: &PostgresCluster) -> String {
    let settings = create_unit_database(cluster, Path::new(env!("CARGO_BIN_EXE_personium")));
    let line = |(key, value): &(&str, String)| format!("io.personium.core.{key}={value}\n");
    settings.iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_are_exact_after_kills_under_concurrent_writes_to_one_cell() {
    let cluster = PostgresCluster::shared();
    for stores in [String::new(), database(&cluster)] {
        let mut stage = Stage::start(&stores).await;
        stage.unit.restart();
        let written = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for writer in 0..WRITERS {
            let (unit, written) = (stage.unit.with_token("none"), Arc::clone(&written));
            tasks.push(tokio::spawn(async move {
                for n in 0.. {
                    let path = format!("two/box/w{writer}-{}", n % 3);
                    let put = unit
                        .admin_request("PUT", &path)
                        .body("w".repeat(1_000 * (n % 40)));
                    let row = format!(r#"{{"__id":"w{writer}-{n}","text":"{n}"}}"#);
                    let create = unit.admin_request("POST", "two/box/data/Row").body(row);
                    if put.try_send().await.is_err() || create.try_send().await.is_err() {
                        return;
                    }
                    written.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        let wanted = || written.load(Ordering::Relaxed) > 10 * WRITERS;
        personium_testkit::wait_until("some writes", async || wanted()).await;
        stage.unit.kill();
        for task in tasks {
            task.await.unwrap();
        }
        let (status, text) = verify(&stage.source, &[]);
        assert!(status == Some(0) && text.contains(": 0 damaged"), "{text}");
        // The same numbers with and without a unit that serves.
        let stopped = usage(&stage.source);
        stage.unit.restart();
        assert_eq!(usage(&stage.source)["cells"], stopped["cells"]);
        let whole = run(&stage.source, &["usage"]).1;
        for part in ["Cell", "two", "Owner", "all"] {
            assert!(whole.contains(part), "{whole}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_are_set_by_command_and_hold_in_the_unit() {
    let mut stage = Stage::start("").await;
    let set = |stage: &Stage, arguments: &[&str]| {
        let all = [&["admin", "quota"], arguments].concat();
        let (done, text) = run(&stage.source, &all);
        assert!(done, "{text}");
        text
    };
    let limit = used(&usage(&stage.source), "one") + 1_500;
    let text = set(&stage, &[&limit.to_string(), "--cell", "one"]);
    assert!(
        text.contains(&format!("The cell one: {limit} bytes")),
        "{text}"
    );
    stage.unit.restart();
    for (path, bytes, status) in [
        ("one/box/a", 900, 201),
        ("one/box/b", 900, 507),
        ("two/box/b", 900, 201),
    ] {
        let put = stage
            .unit
            .admin_request("PUT", path)
            .body("x".repeat(bytes));
        assert_eq!(put.send().await.status, status, "{path}");
    }
    let shown = usage(&stage.source);
    assert_eq!(shown["cells"][1]["cell"], "one", "{shown}");
    assert_eq!(shown["cells"][1]["quota"], limit);
    let (done, text) = run(&stage.source, &["admin", "quota", "1", "--cell", "one"]);
    assert!(
        !done && text.contains("need the unit to be stopped"),
        "{text}"
    );
    stage.unit.terminate();
    assert!(stage.unit.wait());
    let text = set(&stage, &["default", "--cell", "one"]);
    assert!(!text.contains("The cell one"), "{text}");
    for (arguments, reason) in [
        (&["admin", "quota", "1"][..], "--cell or --owner"),
        (
            &["admin", "quota", "-1", "--cell", "one"],
            "unexpected argument",
        ),
        (&["admin", "quota", "1GB", "--cell", "one"], "is no quota"),
        (&["admin", "quota", "1", "--cell", "none"], "no cell none"),
        (&["admin", "quota", "1", "--owner", "me"], "is no owner"),
        (&["usage", "--cell", "none"], "no cell none"),
    ] {
        let (done, text) = run(&stage.source, arguments);
        assert!(!done && text.contains(reason), "{arguments:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_counters_are_found_and_repaired_and_lost_ones_counted_by_the_next_start() {
    let mut stage = Stage::start("").await;
    expect_whole(&stage.source);
    let before = usage(&stage.source);
    let id = before["cells"][3]["id"].as_str().unwrap().parse().unwrap();
    let name = before["cells"][3]["cell"].as_str().unwrap().to_owned();
    change(&stage, Space::Cell(id), |batch| {
        batch.add(keys::bytes_of_files(), 5);
        batch.add(keys::bytes_of_entities(), -7);
        batch.add(keys::bytes_of_links(), 20);
        batch.add(keys::bytes_of_index_entries(), 10);
    })
    .await;
    let (status, text) = verify(&stage.source, &[]);
    assert_eq!(status, Some(3), "{text}");
    assert!(
        text.contains("the bytes of all files") && text.contains("4 damaged"),
        "{text}"
    );
    let (status, text) = verify(&stage.source, &["--repair", "--cell", &name]);
    assert!(
        status == Some(0) && text.contains("wrong by 42 bytes"),
        "{text}"
    );
    expect_whole(&stage.source);
    assert_eq!(usage(&stage.source), before);

    // As an earlier version has left it, which counted no links, index entries, names and access control lists.
    let earlier = Key::table(b'M').text("bytes/counted").build();
    change(&stage, Space::Cell(id), |batch| {
        batch.delete(keys::bytes_of_links());
        batch.delete(keys::bytes_of_index_entries());
        batch.add(keys::bytes_of_properties(), -500);
        batch.delete(keys::bytes_counted());
        batch.put(earlier.clone(), "");
    })
    .await;
    change(&stage, Space::Unit, |batch| {
        batch.delete(keys::bytes_counted());
        batch.put(earlier.clone(), "");
    })
    .await;
    assert_eq!(usage(&stage.source), before, "counted for this look");
    // As one before that, which counted nothing.
    change(&stage, Space::Cell(id), |batch| {
        for key in cell_usage::counter_keys() {
            batch.delete(key);
        }
        batch.delete(earlier.clone());
    })
    .await;
    assert_eq!(usage(&stage.source), before, "counted for this look");
    stage.unit.restart();
    personium_testkit::wait_until("the end of the count", async || {
        let (status, _) = verify(&stage.source, &[]);
        status == Some(0) && usage(&stage.source) == before
    })
    .await;
    stage.unit.terminate();
    assert!(stage.unit.wait());
    expect_whole(&stage.source);
    assert_eq!(usage(&stage.source), before);
}

/// Changes records of a stopped unit on files.
async fn change(stage: &Stage, space: Space, change: impl FnOnce(&mut Batch)) {
    let store = SqliteStore::open(SqliteSettings {
        spaces: SpaceCreation::Explicit,
        ..SqliteSettings::new(stage.source.data.join("records"))
    });
    let store = store.unwrap();
    let mut batch = Batch::new();
    change(&mut batch);
    store.commit(&space, batch).await.unwrap();
    store.close().await.unwrap();
}
