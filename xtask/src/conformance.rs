//! `cargo xtask conformance`: starts a unit with the settings of the recorded exchanges and replays them.

mod background;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) use self::background::BackgroundReplay;
use crate::child_process::{ChildProcess, TempFolder, is_port_free};
use crate::{TaskResult, child_process, workspace};

/// The folder of the recordings.
const RECORDINGS: &str = "../shared/conformance";
/// The program that runs a unit of several nodes.
const EXAMPLE: &str = "several_nodes";
/// Tests that pass only without a web layer: their requests have an empty request key, and the web layer makes one, which an
/// event log then has.
const WITHOUT_WEB_LAYER: [&str; 3] = [
    "cell.AclTest#CellレベルACL設定アクセス制御確認",
    "cell.EventActionTest#event_exec",
    "cell.LogTest#ログファイルに対するGETで200が返却されること",
];
/// The list of tests that pass.
const PASSING: &str = "conformance/passing.txt";
/// The port of the recordings. It occurs in encoded URLs, so that no other port can be used.
const RECORDED_PORT: u16 = 9998;
/// The time to wait for that port.
const PORT_TIMEOUT: Duration = Duration::from_secs(60);
/// The time that a whole replay may take.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(3600);
/// The pause between two attempts.
const PORT_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The number of seconds that the replayer waits for background work (rules, box installations) where a test waited for it.
const SETTLE_SECS: &str = "0.5";

/// The change to the list of tests that pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListUpdate {
    /// Nothing.
    None,
    /// Tests that pass now are added.
    AddPassing,
}

/// The unit that the exchanges are replayed against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnitShape {
    /// One process with everything in it.
    OneProcess,
    /// Three nodes over PostgreSQL, memcached and an object store, reached through Nginx in turn.
    SeveralNodes,
}

/// Whether the recordings exist next to the project.
pub(crate) fn recordings_exist() -> bool {
    Path::new(RECORDINGS).join("replay").is_file()
}

/// Replays the test classes that begin with one of the prefixes; all if there is none.
///
/// The unit is built in the dev profile: `cargo test` has just built it, it checks arithmetic overflow, and a replay waits for
/// single responses, so that optimization would not make it faster.
///
/// # Errors
/// A message if the unit does not start or a test on the list does not pass.
pub(crate) fn run(class_prefixes: &[String], update: ListUpdate, shape: UnitShape) -> TaskResult {
    if !recordings_exist() {
        return Err(format!("no recordings in {RECORDINGS}"));
    }
    child_process::run(workspace::cargo().args([
        "build",
        "--quiet",
        "--package",
        "personium-server",
    ]))?;
    if shape == UnitShape::SeveralNodes {
        // With the features of the workspace, so that what the tests use is not built anew.
        let arguments = ["build", "--quiet", "--workspace", "--example", EXAMPLE];
        child_process::run(workspace::cargo().args(arguments))?;
    }
    let recordings = std::fs::canonicalize(RECORDINGS)
        .map_err(|error| format!("cannot find {RECORDINGS}: {error}"))?;
    let temp_folder = TempFolder::new("conformance")?;
    wait_for_recorded_port()?;
    let settings = recordings.join("unit.properties");
    let unit = start_unit(shape, &settings, temp_folder.path())?;
    let results = temp_folder.path().join("results.json");
    let mut replay = Command::new("python3");
    replay
        .arg(recordings.join("replay"))
        .args(["--settle", SETTLE_SECS, "--failures", "2"])
        .args(["--target", &format!("http://localhost:{RECORDED_PORT}/")])
        .arg("--json")
        .arg(&results)
        .args(class_prefixes);
    println!("\n$ replay on port {RECORDED_PORT}");
    // Its status says whether all tests passed, but only tests on the list have to pass.
    let ended = ChildProcess::start(&mut replay)?.wait_at_most(REPLAY_TIMEOUT);
    drop(unit);
    if ended.is_none() {
        return Err(format!("the replay did not end within {REPLAY_TIMEOUT:?}"));
    }
    let mut results = read_results(&results)?;
    if shape == UnitShape::SeveralNodes {
        for test in WITHOUT_WEB_LAYER {
            results.insert(test.to_owned(), Value::Null);
        }
    }
    check_results(&results, class_prefixes, update)
}

fn start_unit(shape: UnitShape, settings: &Path, temp_folder: &Path) -> TaskResult<ChildProcess> {
    let log_path = temp_folder.join("unit.log");
    let failed = |error: std::io::Error| format!("cannot create a log: {error}");
    let log = std::fs::File::create(&log_path).map_err(failed)?;
    let stderr = log.try_clone().map_err(failed)?;
    let programs = workspace::target_folder()?.join("debug");
    let port = RECORDED_PORT.to_string();
    let mut command = match shape {
        UnitShape::OneProcess => {
            let mut command = Command::new(programs.join("personium"));
            command.arg("serve").arg("--config").arg(settings);
            command.arg("--data").arg(temp_folder.join("data"));
            command.args(["--port", &port]);
            command
        }
        UnitShape::SeveralNodes => {
            let mut command = Command::new(programs.join("examples").join(EXAMPLE));
            command.arg(programs.join("personium")).arg(settings);
            command.arg(&port);
            command
        }
    };
    let mut unit = ChildProcess::start(command.stdout(log).stderr(stderr))?;
    unit.wait_for_port(RECORDED_PORT).map_err(|error| {
        let log = std::fs::read_to_string(&log_path).unwrap_or_default();
        format!("{error}\n{log}")
    })?;
    Ok(unit)
}

/// Waits until the port of the recordings is free.
fn wait_for_recorded_port() -> TaskResult {
    let deadline = Instant::now() + PORT_TIMEOUT;
    while !is_port_free(RECORDED_PORT) {
        if Instant::now() > deadline {
            return Err(format!(
                "port {RECORDED_PORT} must be free for the recorded exchanges"
            ));
        }
        std::thread::sleep(PORT_POLL_INTERVAL);
    }
    Ok(())
}

/// The difference that made a test fail, by name of the test; null if the test passed.
type Results = BTreeMap<String, Value>;

fn read_results(path: &Path) -> TaskResult<Results> {
    let text =
        std::fs::read(path).map_err(|error| format!("the replayer wrote no results: {error}"))?;
    let results: Value = serde_json::from_slice(&text)
        .map_err(|error| format!("the results are not JSON: {error}"))?;
    let tests = results
        .get("tests")
        .and_then(Value::as_object)
        .ok_or("the results contain no tests")?;
    Ok(tests
        .iter()
        .map(|(name, difference)| (name.clone(), difference.clone()))
        .collect())
}

/// Compares the results with the list of tests that pass.
fn check_results(results: &Results, class_prefixes: &[String], update: ListUpdate) -> TaskResult {
    let passed: BTreeSet<&str> = results
        .iter()
        .filter(|(_, difference)| difference.is_null())
        .map(|(name, _)| name.as_str())
        .collect();
    let list = std::fs::read_to_string(PASSING).unwrap_or_default();
    let listed: BTreeSet<&str> = list
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let unlisted = passed.difference(&listed).count();
    println!(
        "recorded exchanges: {} of {} tests pass, {} on the list, {unlisted} not yet on it",
        passed.len(),
        results.len(),
        listed.len()
    );
    if update == ListUpdate::AddPassing && unlisted > 0 {
        let all: Vec<&str> = listed.union(&passed).copied().collect();
        std::fs::write(PASSING, all.join("\n") + "\n")
            .map_err(|error| format!("cannot write {PASSING}: {error}"))?;
    }
    let is_replayed = |name: &str| {
        class_prefixes.is_empty()
            || class_prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix.as_str()))
    };
    let failed: Vec<&str> = listed
        .difference(&passed)
        .copied()
        .filter(|name| is_replayed(name))
        .collect();
    for name in &failed {
        let difference = results
            .get(*name)
            .map_or_else(|| "not replayed".to_owned(), Value::to_string);
        println!("  no longer passes: {name}: {difference}");
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("{} tests of {PASSING} do not pass", failed.len()))
    }
}
