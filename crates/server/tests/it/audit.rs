//! The audit log of the program: after `kill -9`, of commands, of several nodes, and when somebody has changed the store.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use personium_testkit::{
    MASTER_TOKEN, PostgresCluster, ProcessUnit, create_unit_database, make_unit_key,
};
use serde_json::Value;

use crate::administered_unit::AdministeredUnit;
use crate::program::{self, logged_after};

/// The status of a verification that found something.
const DAMAGED_STATUS: i32 = 3;

fn audit(data: &Path, settings: Option<PathBuf>, arguments: &[&str]) -> Output {
    let mut command = program::command(&["audit"]);
    command.args(arguments).arg("--data").arg(data);
    if let Some(settings) = settings {
        command.arg("--config").arg(settings);
    }
    command.output().unwrap()
}

fn of_unit(unit: &ProcessUnit, arguments: &[&str]) -> Output {
    let settings = unit.folder().join("unit.properties");
    audit(&unit.folder().join("data"), Some(settings), arguments)
}

fn entries(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", program::text(output));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Checks that a unit finds nothing wrong. Returns its last entry as `number:hash`.
fn expect_whole(output: &Output) -> String {
    let text = program::text(output);
    assert!(output.status.success(), "{text}");
    let last = text
        .lines()
        .find_map(|line| line.strip_prefix("Last entry: "));
    last.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_kill_9_has_its_entries() {
    let mut unit = crate::unit().start();
    let mut tasks = Vec::new();
    for task in 0..6 {
        let client = unit.admin();
        tasks.push(tokio::spawn(async move {
            let mut created = Vec::new();
            for number in 0.. {
                let name = format!("c{task}x{number}");
                let request = client.request("POST", "__ctl/Cell");
                let body = format!("{{\"Name\":\"{name}\"}}");
                match request.body(body).try_send().await {
                    Ok(response) if response.status == 201 => created.push(name),
                    _ => break,
                }
            }
            created
        }));
    }
    // Both commands read while it runs.
    personium_testkit::wait_until("entries", async || {
        entries(&of_unit(&unit, &["export"])).len() > 40
    })
    .await;
    let noted = expect_whole(&of_unit(&unit, &["verify"]));
    unit.kill();
    let mut created = Vec::new();
    for task in tasks {
        created.extend(task.await.unwrap());
    }
    assert!(created.len() > 10, "{created:?}");
    expect_whole(&of_unit(&unit, &["verify", "--contains", &noted]));
    let all = entries(&of_unit(&unit, &["export"]));
    for name in created {
        let url = format!("Cell('{name}')");
        let mut ends = all.iter().filter(|entry| entry["event"] == "end");
        let is_there = ends.any(|end| end["created"].as_str().unwrap_or_default().contains(&url));
        assert!(is_there, "{name} was acknowledged and has no entry");
    }
    // The chain goes on after the restart.
    unit.restart();
    unit.create_cell("later").await;
    expect_whole(&of_unit(&unit, &["verify", "--contains", &noted]));
    assert!(entries(&of_unit(&unit, &["export"])).len() > all.len());
}

#[tokio::test]
async fn change_in_the_database_file_is_found_and_reported_by_the_status() {
    let mut unit = crate::unit().start();
    for name in ["a", "b", "c", "d"] {
        unit.create_cell(name).await;
    }
    let noted = expect_whole(&of_unit(&unit, &["verify"]));
    unit.terminate();
    unit.wait();
    let file = unit.folder().join("data/records/unit.db");
    let script = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as c:\n assert c.execute(sys.argv[2]).rowcount == 1";
    for (statement, expected) in [
        (
            "UPDATE record SET value = CAST(value || x'20' AS BLOB) WHERE key = x'550000000000000003'",
            "entry 3 cannot be read",
        ),
        (
            "DELETE FROM record WHERE key = x'550000000000000003'",
            "entry 3 is missing",
        ),
    ] {
        let changed = Command::new("python3")
            .args(["-c", script])
            .arg(&file)
            .arg(statement)
            .output()
            .unwrap();
        assert!(changed.status.success(), "{}", program::text(&changed));
        for arguments in [&["verify"][..], &["verify", "--json"]] {
            let found = of_unit(&unit, arguments);
            let text = program::text(&found);
            assert_eq!(found.status.code(), Some(DAMAGED_STATUS), "{text}");
            assert!(text.contains(expected), "{text}");
        }
    }
    let other = format!("{}0", &noted[..noted.len() - 1]);
    let other = match other == noted {
        true => format!("{}1", &noted[..noted.len() - 1]),
        false => other,
    };
    let found = of_unit(&unit, &["verify", "--contains", &other]);
    assert!(program::text(&found).contains("is another one than was noted"));
}

#[tokio::test]
async fn commands_of_administrators_have_entries_without_passwords() {
    let unit = AdministeredUnit::local();
    let data = unit.data();
    let text = unit.expect_admin(&["create", "--cell", "second", "--account", "ann"]);
    let password = crate::administered_unit::printed_password(&text);
    let new = unit.expect_admin(&["password", "--cell", "second", "--account", "ann"]);
    let new = crate::administered_unit::printed_password(&new);
    unit.expect_admin(&[
        "rename",
        "--cell",
        "second",
        "--account",
        "ann",
        "--new-account",
        "bea",
    ]);
    unit.expect_admin(&["mode", "read-delete"]);
    unit.expect_admin(&["mode", "normal"]);
    unit.expect_admin(&["list"]);
    let (refused, _) = unit.admin(&["grant", "--cell", "second", "--account", "none"]);
    assert!(!refused);
    let all = entries(&audit(&data, None, &["export"]));
    let found: Vec<(&str, &str, &str)> = all
        .iter()
        .filter(|entry| entry["event"] != "begin")
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default();
            (text("operation"), text("target"), text("outcome"))
        })
        .collect();
    assert_eq!(
        found,
        [
            (
                "admin.create",
                "unitadmin#unitadmin, at the first start",
                ""
            ),
            ("admin.create", "second#ann", "done"),
            ("admin.password", "second#ann", "done"),
            ("admin.renameAccount", "second#ann, to bea", "done"),
            ("admin.readDeleteMode", "on", "done"),
            ("admin.readDeleteMode", "off", "done"),
            ("admin.grant", "second#none", "failed"),
        ]
    );
    for entry in &all {
        assert_eq!(entry["actor"]["kind"], "command", "{entry}");
        assert!(entry["actor"]["subject"].is_string() && entry["from"].is_string());
        let text = entry.to_string();
        let is_secret = |secret: &String| text.contains(secret.as_str());
        assert!(![&password, &new, &unit.password].into_iter().any(is_secret));
    }
    expect_whole(&audit(&data, None, &["verify"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_over_postgresql_append_to_one_chain() {
    let cluster = PostgresCluster::shared();
    let settings = create_unit_database(&cluster, Path::new(env!("CARGO_BIN_EXE_personium")));
    let folder = tempfile::tempdir().unwrap();
    let lines: String = settings
        .iter()
        .map(|(key, value)| format!("io.personium.core.{key}={value}\n"))
        .chain([format!(
            "io.personium.core.blobStore.root={}\n",
            folder.path().join("files").display()
        )])
        .collect();
    let certificate = make_unit_key(folder.path(), "localhost");
    let nodes: Vec<Arc<ProcessUnit>> = (0..2)
        .map(|_| {
            let node = crate::unit().behind_proxy(8_443);
            let node = node.settings(&lines).settings(&certificate);
            Arc::new(node.start())
        })
        .collect();
    let tasks = (0..8).map(|task| {
        let node = Arc::clone(&nodes[task % 2]);
        tokio::spawn(async move {
            for number in 0..5 {
                node.create_cell(&format!("c{task}x{number}")).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let all = entries(&of_unit(&nodes[0], &["export"]));
    let ends = all.iter().filter(|entry| entry["event"] == "end");
    assert_eq!(ends.filter(|entry| entry["status"] == 201).count(), 40);
    expect_whole(&of_unit(&nodes[1], &["verify"]));
}

#[tokio::test]
async fn logs_of_access_logins_and_administration_have_the_key_of_the_request() {
    let unit = crate::unit()
        .setting("io.personium.core.log.format", "json")
        .start();
    unit.create_cell_with_owner("c").await;
    let before = unit.log().len();
    let failed = unit
        .request("POST", "c/__token")
        .header("x-personium-requestkey", "login-key")
        .form(&[
            ("grant_type", "password"),
            ("username", "me"),
            ("password", "wrong-one"),
        ]);
    failed.send().await.expect(400);
    let administrated = unit.admin_request("POST", "c/__ctl/Role");
    let administrated = administrated.header("x-personium-requestkey", "role-key");
    administrated
        .body("{\"Name\":\"r\"}")
        .send()
        .await
        .expect(201);
    logged_after(&unit, before, "c/__ctl/Role").await;
    let log = unit.log();
    let line_with = |message: &str, key: &str| {
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut found = lines.filter(|line| line["message"] == message);
        found.any(|line| line["request.key"] == key)
    };
    assert!(line_with("login failed", "login-key"), "{log}");
    assert!(line_with("access", "login-key"), "{log}");
    assert!(line_with("access", "role-key"), "{log}");
    let all = entries(&of_unit(&unit, &["export"]));
    let with_key = all.iter().filter(|entry| entry["requestKey"] == "role-key");
    assert_eq!(with_key.count(), 2);
}

#[tokio::test]
async fn what_was_changed_while_the_unit_was_stopped_has_entries_after_the_next_start() {
    let plugins = tempfile::tempdir().unwrap();
    fs::set_permissions(plugins.path(), Permissions::from_mode(0o700)).unwrap();
    let write = |name: &str, text: &str| {
        let path = plugins.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    };
    write("one.toml", "kind = \"none\"");
    let key = "io.personium.core.plugin.path";
    let mut unit = crate::unit().setting(key, plugins.path().display()).start();
    let settings = unit.folder().join("unit.properties");
    let of = |unit: &ProcessUnit, operation: &str| -> Vec<String> {
        let all = entries(&of_unit(unit, &["export"])).into_iter();
        let own = all.filter(|entry| entry["operation"] == operation);
        own.map(|entry| entry["target"].as_str().unwrap().to_owned())
            .collect()
    };
    // The first start notes what there is, and another one with the same changes nothing.
    for _ in 0..2 {
        unit.terminate();
        assert!(unit.wait());
        unit.restart();
    }
    unit.terminate();
    assert!(unit.wait());
    let none: [String; 0] = [];
    for operation in ["settings.change", "plugin.change"] {
        assert_eq!(of(&unit, operation), none);
    }
    let text = fs::read_to_string(&settings).unwrap();
    let token = |value: &str| format!("masterToken={value}\n");
    assert!(text.contains(&token(MASTER_TOKEN)), "{text}");
    fs::write(
        &settings,
        text.replace(&token(MASTER_TOKEN), &token("quite-another-token")),
    )
    .unwrap();
    let done = program::run(&[
        "plugin",
        "disable",
        "one",
        "--config",
        settings.to_str().unwrap(),
    ]);
    assert!(done.status.success(), "{}", program::text(&done));
    unit.restart();
    personium_testkit::wait_until("the entries", async || {
        !of(&unit, "settings.change").is_empty() && !of(&unit, "plugin.change").is_empty()
    })
    .await;
    let of_settings = of(&unit, "settings.change");
    assert_eq!(of_settings, ["changed io.personium.core.masterToken"]);
    let of_plugins = of(&unit, "plugin.change");
    assert_eq!(of_plugins, ["added one (disabled), removed one.toml"]);
    // A unit that runs notes it too.
    let done = program::run(&[
        "plugin",
        "enable",
        "one",
        "--config",
        settings.to_str().unwrap(),
    ]);
    assert!(done.status.success(), "{}", program::text(&done));
    personium_testkit::wait_until("the entry", async || of(&unit, "plugin.change").len() == 2)
        .await;
    let of_plugins = of(&unit, "plugin.change");
    assert_eq!(of_plugins[1], "removed one (disabled), added one.toml");
    let exported = program::text(&of_unit(&unit, &["export"]));
    assert!(!exported.contains("quite-another-token"), "{exported}");
    expect_whole(&of_unit(&unit, &["verify"]));
}
