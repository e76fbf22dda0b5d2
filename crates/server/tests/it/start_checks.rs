//! `personium check` finds exactly what keeps `personium serve` from working.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use personium_testkit::{OnDrop, Process, ProcessUnit, free_port};
use serde_json::Value;

use crate::administered_unit::AdministeredUnit;
use crate::program;

/// The time that a start may take.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A set-up: its name, the settings, and a change of the folder before the check.
struct Setup {
    name: &'static str,
    options: Vec<String>,
    prepare: fn(&Path),
    works: bool,
}

fn setup(name: &'static str, works: bool, options: &[&str]) -> Setup {
    let options = options.iter().map(|option| (*option).to_owned()).collect();
    Setup {
        name,
        options,
        prepare: |_| {},
        works,
    }
}

/// Whether a unit serves with these arguments.
fn serves(arguments: &[&str], port: u16) -> (bool, String) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = program::command(arguments);
    command.stdout(Stdio::null()).stderr(log.reopen().unwrap());
    let mut process = Process::spawn(&mut command, OnDrop::Terminate);
    let until = Instant::now() + START_TIMEOUT;
    let text = || std::fs::read_to_string(log.path()).unwrap();
    loop {
        if process.ended().is_some() {
            return (false, text());
        }
        if text().contains("unit started") && TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return (true, text());
        }
        assert!(
            Instant::now() < until,
            "neither started nor ended: {}",
            text()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs the check and the start with the same settings, and compares them.
fn compare(setup: &Setup, data: &Path) {
    let port = free_port();
    let mut arguments = vec!["--data".to_owned(), data.display().to_string()];
    if !setup
        .options
        .iter()
        .any(|option| option.starts_with("listen="))
    {
        arguments.extend(["-c".to_owned(), format!("listen=127.0.0.1:{port}")]);
    }
    for option in &setup.options {
        arguments.extend(["-c".to_owned(), option.clone()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let before = data.exists();
    let checked = program::run(&[&["check", "--json"][..], &arguments].concat());
    let text = program::text(&checked);
    let report: Value = serde_json::from_slice(&checked.stdout)
        .unwrap_or_else(|e| panic!("{}: no JSON ({e}): {text}", setup.name));
    assert_eq!(report["ok"], checked.status.success(), "{}", setup.name);
    assert_eq!(
        data.exists(),
        before,
        "{}: the check creates nothing",
        setup.name
    );
    let (starts, log) = serves(&[&["serve"][..], &arguments].concat(), port);
    assert_eq!(starts, setup.works, "{}: {log}", setup.name);
    assert_eq!(
        checked.status.success(),
        starts,
        "{}: {text}\n{log}",
        setup.name
    );
}

#[test]
fn check_and_start_agree_on_new_units() {
    let other = AdministeredUnit::local();
    let certificate = |host: &str| {
        vec![
            format!("x509.key={}", other.data().join("unit.key").display()),
            format!("x509.crt={}", other.data().join("unit.crt").display()),
            format!("unitFqdn={host}"),
        ]
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("listen={}", taken.local_addr().unwrap());
    let peer = AdministeredUnit::local();
    drop(peer.serve("peer.example", &["unitFqdn=peer.example"]));
    let root = format!("x509.root={}", peer.data().join("unit.crt").display());
    let mut setups = vec![
        setup("defaults", true, &[]),
        setup("host name", true, &["unitFqdn=unit.example"]),
        setup(
            "filter",
            true,
            &["log.filter=warn,personium_server=info,personium_api=debug"],
        ),
        setup("roots", true, &[&root]),
        setup("encryption", true, &["security.dav.encrypt.enabled=true"]),
        setup(
            "master token",
            true,
            &["masterToken=some-long-master-token"],
        ),
        setup(
            "issuers",
            true,
            &["unitUser.issuers=personium-localunit:none:/"],
        ),
        setup("malformed filter", false, &["log.filter=info,=,[["]),
        setup("words as filter", false, &["log.filter=x y z"]),
        setup("body folder", false, &["blobStore.root=/proc/x"]),
        setup("archive folder", false, &["bar.tmp.dir=/proc/x/y"]),
        setup("access log", false, &["log.access.file=/proc/x/access.log"]),
        setup("port in use", false, &[&taken]),
        setup("no such root", false, &["x509.root=/no/such/root.crt"]),
        setup("short secret", false, &["security.secret16=short"]),
        setup("lock without time", false, &["authn.account.lockCount=5"]),
        setup(
            "impossible passwords",
            false,
            &["security.auth.password.regex=^[A-Z]+$"],
        ),
        setup(
            "unknown scope",
            false,
            &["security.token.defaultScope.ropc=rooot"],
        ),
    ];
    let own_key = Setup {
        options: certificate("localhost"),
        ..setup("own key", true, &[])
    };
    let foreign_key = Setup {
        options: certificate("unit.example"),
        ..setup("key for another host", false, &[])
    };
    setups.extend([own_key, foreign_key]);
    for setup in &setups {
        let folder = tempfile::tempdir().unwrap();
        compare(setup, &folder.path().join("data"));
    }
    // A data folder that cannot be made.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for data in [Path::new("/proc/x/data"), &file.join("data"), &file] {
        compare(&setup("data folder", false, &[]), data);
    }
}

#[test]
fn check_and_start_agree_on_existing_units() {
    let setups = [
        setup("unchanged", true, &[]),
        setup("new host name", true, &["unitFqdn=unit.example"]),
        Setup {
            prepare: |data| std::fs::remove_file(data.join("unit.crt")).unwrap(),
            ..setup("lost certificate", true, &[])
        },
        Setup {
            prepare: |data| std::fs::remove_file(data.join("unit.key")).unwrap(),
            ..setup("lost key", false, &[])
        },
        Setup {
            prepare: |data| std::fs::write(data.join("unit.key"), "damaged").unwrap(),
            ..setup("damaged key", false, &[])
        },
        Setup {
            prepare: |data| std::fs::write(data.join("unit.secret"), "x").unwrap(),
            ..setup("damaged secret", false, &[])
        },
    ];
    for setup in &setups {
        let unit = AdministeredUnit::local();
        (setup.prepare)(&unit.data());
        compare(setup, &unit.data());
    }
}

#[test]
fn check_prints_json_whatever_is_wrong() {
    for arguments in [
        &["-c", "unitPort=x"][..],
        &["--port", "1", "-c", "unitPort=x"],
        &["--config", "/no/such/file"],
        &["--config", "/no/such/file", "--port", "1"],
        &["-c", "novalue"],
        &["--port", "70000"],
        &["--no-such-option"],
    ] {
        let output = program::run(&[&["check", "--json"][..], arguments].concat());
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", program::text(&output)));
        assert_eq!(report["ok"], false, "{arguments:?}");
        assert!(!output.status.success(), "{arguments:?}");
    }
    let help = program::run(&["check", "--json", "--help"]);
    assert!(help.status.success());
}

/// The outcomes and details of a check of a unit with these options.
fn findings(unit: &AdministeredUnit, check: &str, options: &[&str]) -> Vec<(String, String)> {
    let data = unit.data();
    let mut arguments = vec!["check", "--json", "--data", data.to_str().unwrap()];
    for option in [&["listen=127.0.0.1:0"], options].concat() {
        arguments.extend(["-c", option]);
    }
    let output = program::run(&arguments);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .filter(|finding| finding["check"] == check)
        .map(|finding| (text(finding, "outcome"), text(finding, "detail")))
        .collect()
}

#[test]
fn issuers_without_a_cell_and_names_that_are_guessed_are_warnings() {
    let unit = AdministeredUnit::local();
    let issuers = |value: &str| {
        let option = format!("unitUser.issuers={value}");
        let found = findings(&unit, "unit user issuers", &[&option]);
        let missing = found.iter().filter(|(outcome, _)| outcome == "warning");
        missing
            .map(|(_, detail)| detail.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(issuers("personium-localunit:unitadmin:/"), [""; 0]);
    assert_eq!(issuers("https://other.example/unitadmin/"), [""; 0]);
    let missing = issuers("personium-localunit:unitadmin:/ personium-localunit:nobody:/");
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].starts_with("the cell nobody does not exist"));

    let administrator = |options: &[&str]| {
        let found = findings(&unit, "administrator", options);
        found.iter().any(|(outcome, _)| outcome == "warning")
    };
    assert!(!administrator(&[]));
    assert!(administrator(&["unitFqdn=unit.example"]));
    unit.expect_admin(&["rename", "--new-cell", "office"]);
    assert!(!administrator(&["unitFqdn=unit.example"]));
}

#[test]
fn port_in_use_is_an_error_with_what_to_do() {
    let unit = AdministeredUnit::local();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let option = format!("listen={}", taken.local_addr().unwrap());
    let found = findings(&unit, "listen", &[&option]);
    assert_eq!(found.len(), 1);
    let (outcome, detail) = &found[0];
    assert_eq!(outcome, "error");
    assert!(
        detail.contains("in use") && detail.contains("ss -ltnp"),
        "{detail}"
    );
}

#[test]
fn owner_of_a_path_is_named() {
    let unit = AdministeredUnit::local();
    let paths = findings(&unit, "path", &[]);
    let key = paths
        .iter()
        .find(|(_, detail)| detail.contains("unit.key:"));
    let (outcome, detail) = key.unwrap();
    assert_eq!(outcome, "ok");
    let own = shown_user();
    assert!(
        detail.contains(&format!("mode 0600, user {own}")),
        "{detail}"
    );
}

/// The user of this process as the check shows it.
fn shown_user() -> String {
    let of = |option: &str| {
        let output = std::process::Command::new("id").arg(option).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.trim().to_owned()
    };
    format!("{} ({})", of("-un"), of("-u"))
}

/// The findings of a check on a new data folder, with programs that are these shell scripts.
fn check_with_programs(programs: &[(&str, &str)]) -> Vec<Value> {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    for (name, script) in programs {
        let program = folder.path().join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let mut command = program::command(&[
        "check",
        "--json",
        "--data",
        data.to_str().unwrap(),
        "-c",
        "listen=127.0.0.1:0",
    ]);
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", folder.path().display());
    let output = command.env("PATH", path).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["checks"].as_array().unwrap().clone()
}

#[test]
fn check_tells_whether_the_clock_is_synchronized_and_what_the_disk_has_left() {
    for (script, outcome, text) in [
        ("echo yes", "ok", "synchronized; how exactly is not known"),
        ("echo no", "warning", "not synchronized"),
        ("echo perhaps", "ok", "not known"),
        ("exit 1", "ok", "not known"),
        ("exec sleep 1000", "ok", "not known"),
    ] {
        let findings = check_with_programs(&[("timedatectl", script), ("chronyc", "exit 1")]);
        let of = |check: &str| findings.iter().find(|finding| finding["check"] == check);
        let clock = of("clock").unwrap();
        assert_eq!(clock["outcome"], outcome, "{script}: {clock}");
        let detail = clock["detail"].as_str().unwrap();
        assert!(detail.contains(text), "{script}: {detail}");
        assert!(clock["values"]["aheadMs"].is_null(), "{clock}");
        let space = of("free space").unwrap()["detail"].as_str().unwrap();
        assert!(
            space.contains(" MiB at ") && space.contains("file system "),
            "{space}"
        );
    }
}

#[test]
fn check_tells_the_offset_of_the_clock_and_the_limits_of_the_process() {
    let tracking = "echo 'A29FC87B,192.0.2.1,4,1700000000.5,0.000250000,-0.1,0.1,-9,0,0,0.004,0.001,64,Normal'";
    let status = r"[ $1 = show ] && echo yes || printf 'Root distance: 12.878ms (max: 5s)\nOffset: +1.066ms\n'";
    for (programs, ahead_ms, error_ms, text) in [
        (
            [("chronyc", tracking), ("timedatectl", "echo no")],
            -0.25,
            3.0,
            "0.250 ms behind the time of the network, ± 3.000 ms, as chrony says",
        ),
        (
            [("chronyc", "exit 1"), ("timedatectl", status)],
            -1.066,
            12.878,
            "1.066 ms behind the time of the network, ± 12.878 ms, as systemd-timesyncd says",
        ),
    ] {
        let findings = check_with_programs(&programs);
        let of = |check: &str| findings.iter().find(|finding| finding["check"] == check);
        let clock = of("clock").unwrap();
        assert_eq!(clock["outcome"], "ok", "{clock}");
        assert!(clock["detail"].as_str().unwrap().contains(text), "{clock}");
        assert_eq!(clock["values"]["synchronized"], true);
        assert_eq!(clock["values"]["aheadMs"], ahead_ms);
        assert_eq!(clock["values"]["errorMs"], error_ms);
        let limits = of("limits").unwrap()["detail"].as_str().unwrap();
        assert!(limits.starts_with("of this command"), "{limits}");
        for check in [
            "threads",
            "memory",
            "address space",
            "size of a file",
            "core dumps",
        ] {
            assert!(of(check).unwrap()["values"].is_object(), "{check}");
        }
        assert!(of("memory").unwrap()["values"]["ofMachineBytes"].is_u64());
    }
}

#[test]
fn check_warns_of_limits_that_are_too_low() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let check = ["check", "--json", "-c", "listen=127.0.0.1:0", "--data"];
    let check = program::command(&[&check[..], &[data.to_str().unwrap()]].concat());
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "ulimit -f 2048; ulimit -c 0; exec \"$0\" \"$@\""])
        .arg(check.get_program())
        .args(check.get_args());
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", program::text(&output)));
    let checks = report["checks"].as_array().unwrap();
    let of = |check: &str| checks.iter().find(|finding| finding["check"] == check);
    let file = of("size of a file").unwrap();
    assert_eq!(file["outcome"], "warning", "{file}");
    // The shell counts in blocks of 512 bytes.
    assert_eq!(file["values"]["maxBytes"], 1 << 20, "{file}");
    let dumps = of("core dumps").unwrap();
    assert_eq!(
        (&dumps["outcome"], &dumps["detail"]),
        (&"ok".into(), &"off".into())
    );
}

/// The findings of a check with the settings of a unit.
fn checked(unit: &ProcessUnit) -> (bool, Vec<Value>) {
    let [settings, data] = ["unit.properties", "data"].map(|name| unit.folder().join(name));
    let output = program::run(&[
        "check",
        "--json",
        "--config",
        settings.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
    ]);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", program::text(&output)));
    let checks = report["checks"].as_array().unwrap().clone();
    (output.status.success(), checks)
}

#[tokio::test]
async fn check_counts_the_items_of_a_unit_that_runs_or_stands_and_goes_on_at_a_damaged_cell() {
    let mut unit = crate::unit().start();
    for (cell, accounts) in [("one", 2), ("two", 1)] {
        unit.create_cell(cell).await;
        unit.create_box(cell, "box").await;
        for number in 0..accounts {
            let account = format!(r#"{{"Name":"a{number}"}}"#);
            unit.create_account(cell, &account).await;
        }
    }
    unit.put_file("one/box/small", "small").await;
    unit.put_file("one/box/large", &"large".repeat(100_000))
        .await;
    let items = |checks: &[Value], outcome: &str| -> Vec<Value> {
        let mut found = checks.to_owned();
        found.retain(|finding| finding["check"] == "items" && finding["outcome"] == outcome);
        found
    };
    let expected = "cells: 2; in them, boxes: 2, accounts: 3, file bodies: 2";
    let (_, running) = checked(&unit);
    assert_eq!(items(&running, "ok")[0]["detail"], expected);
    let limits = running.iter().find(|finding| finding["check"] == "limits");
    let limits = limits.unwrap()["detail"].as_str().unwrap();
    // Some file systems show a locked file as another one.
    let of_unit = format!("of process {}, the unit that runs", unit.process_id());
    assert!(
        limits == of_unit || limits.starts_with("of this command"),
        "{limits}"
    );
    unit.kill();
    let (succeeded, stopped) = checked(&unit);
    assert!(succeeded, "{stopped:?}");
    assert_eq!(items(&stopped, "ok")[0]["detail"], expected);

    let cell = find_cell_file(&unit.folder().join("data/records"));
    std::fs::write(cell, [7; 8192]).unwrap();
    let (_, damaged) = checked(&unit);
    assert_eq!(items(&damaged, "ok")[0]["values"]["cellsRead"], 1);
    let problems = items(&damaged, "warning");
    assert_eq!(problems.len(), 1, "{damaged:?}");
}

/// The file of the records of a cell.
fn find_cell_file(folder: &Path) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            match path.is_dir() {
                true => folders.push(path),
                false if name.ends_with(".db") && name != "unit.db" => return path,
                false => {}
            }
        }
    }
    panic!("no cell in {}", folder.display());
}
