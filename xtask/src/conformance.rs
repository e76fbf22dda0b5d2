//! Recorded exchanges: a unit is started with their settings on an empty folder, and the replayer compares.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{Running, Scratch, free_port};
use crate::{Outcome, process, workspace};

const FOLDER: &str = "../shared/conformance";
const PASSING: &str = "conformance/passing.txt";
/// The port the recordings were made on. They hold it in encoded URLs too, so no other one will do.
const RECORDED_PORT: u16 = 9998;

/// Seconds that the replayer waits at most where a test waited for work in the background: rules, and installations of boxes.
const SETTLE: &str = "0.5";

/// What happens to the list of tests that pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// Stays as it is; every test on it must pass.
    Keep,
    /// Tests that pass now are added.
    Extend,
}

/// Whether the recordings lie beside the project.
pub(crate) fn recordings_present() -> bool {
    Path::new(FOLDER).join("replay").is_file()
}

/// Replays classes that begin with one of the names (all, if none is given).
///
/// The unit is the one of the dev profile: `cargo test` has just built it, its checks of arithmetic are on, and a replay waits for
/// single answers, so optimised code would not make it shorter.
///
/// # Errors
/// When the unit does not start or a test that is on the list does not pass.
pub(crate) fn run(classes: &[String], list: List) -> Outcome {
    if !recordings_present() {
        return Err(format!("no recordings in {FOLDER}"));
    }
    process::run(workspace::cargo().args(["build", "--quiet", "--package", "personium-server"]))?;
    let folder = std::fs::canonicalize(FOLDER).map_err(|e| format!("cannot find {FOLDER}: {e}"))?;
    let scratch = Scratch::new("conformance")?;
    let log = std::fs::File::create(scratch.path().join("unit.log"))
        .map_err(|e| format!("cannot make a log: {e}"))?;
    let second = log
        .try_clone()
        .map_err(|e| format!("cannot make a log: {e}"))?;
    let port = recorded_port()?;
    let mut unit = Running::start(
        Command::new(workspace::target_folder()?.join("debug").join("personium"))
            .arg("serve")
            .arg("--config")
            .arg(folder.join("unit.properties"))
            .arg("--data")
            .arg(scratch.path().join("data"))
            .args(["--port", &port.to_string()])
            .stdout(log)
            .stderr(second),
    )?;
    if let Err(reason) = unit.wait_for_port(port) {
        let said = std::fs::read_to_string(scratch.path().join("unit.log")).unwrap_or_default();
        return Err(format!("{reason}\n{said}"));
    }
    let verdicts = scratch.path().join("verdicts.json");
    let mut replay = Command::new("python3");
    replay.arg(folder.join("replay")).args([
        "--settle",
        SETTLE,
        "--failures",
        "2",
        "--target",
        &format!("http://localhost:{port}/"),
    ]);
    replay.arg("--json").arg(&verdicts).args(classes);
    println!("\n$ replay on port {port}");
    // Its own status says whether all tests passed; what counts here is the list.
    replay
        .status()
        .map_err(|e| format!("cannot run the replayer: {e}"))?;
    drop(unit);
    judge(&verdicts, classes, list)
}

/// The port of the recordings, after a minute's patience with others who use it.
fn recorded_port() -> Outcome<u16> {
    let until = Instant::now() + Duration::from_secs(60);
    while free_port(RECORDED_PORT)? != RECORDED_PORT {
        if Instant::now() > until {
            return Err(format!(
                "port {RECORDED_PORT} must be free for the recorded exchanges"
            ));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(RECORDED_PORT)
}

fn judge(verdicts: &Path, classes: &[String], list: List) -> Outcome {
    let text =
        std::fs::read(verdicts).map_err(|e| format!("the replayer wrote no verdicts: {e}"))?;
    let told: Value =
        serde_json::from_slice(&text).map_err(|e| format!("the verdicts are not JSON: {e}"))?;
    let tests = told
        .get("tests")
        .and_then(Value::as_object)
        .ok_or("the verdicts name no tests")?;
    let passed: BTreeSet<&str> = tests
        .iter()
        .filter(|(_, difference)| difference.is_null())
        .map(|(name, _)| name.as_str())
        .collect();
    let before = std::fs::read_to_string(PASSING).unwrap_or_default();
    let expected: BTreeSet<&str> = before
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let replayed =
        |name: &str| classes.is_empty() || classes.iter().any(|c| name.starts_with(c.as_str()));
    let lost: Vec<&str> = expected
        .difference(&passed)
        .copied()
        .filter(|name| replayed(name))
        .collect();
    let fresh = passed.difference(&expected).count();
    println!(
        "recorded exchanges: {} of {} tests pass, {} on the list, {fresh} not yet on it",
        passed.len(),
        tests.len(),
        expected.len()
    );
    if list == List::Extend && fresh > 0 {
        let all: Vec<&str> = expected.union(&passed).copied().collect();
        std::fs::write(PASSING, all.join("\n") + "\n")
            .map_err(|e| format!("cannot write {PASSING}: {e}"))?;
    }
    for name in &lost {
        println!(
            "  no longer passes: {name}: {}",
            tests
                .get(*name)
                .map_or_else(|| "not replayed".to_owned(), Value::to_string)
        );
    }
    if lost.is_empty() {
        Ok(())
    } else {
        Err(format!("{} tests of {PASSING} do not pass", lost.len()))
    }
}
