//! `cargo xtask test`: all checks and tests of the project.

use crate::conformance::{self, BackgroundReplay, ListUpdate, UnitShape};
use crate::{
    TaskResult, child_process, client_packages, external_programs, go_programs, tidy, workspace,
};

/// The consequence of a skipped step, if an external program or the recordings are missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfIncomplete {
    /// The end of the output lists what was skipped.
    Report,
    /// The task fails.
    Fail,
}

/// The classes of recorded exchanges that are also replayed through three nodes. All of them take much longer:
/// `cargo xtask conformance --nodes`. Chosen are those whose state several nodes share in most ways: logins and tokens,
/// accounts, messages, change sets, archives, and collections that are moved, changed and removed.
const CLASSES_OF_SEVERAL_NODES: [&str; 6] = [
    "cell.auth.",
    "cell.ctl.Account",
    "cell.Message",
    "box.odatacol.batch.",
    "bar.",
    "box.dav.col.",
];

/// Runs all steps, also after one failed, and prints a summary.
///
/// # Errors
/// A message if any step failed.
pub(crate) fn run(if_incomplete: IfIncomplete) -> TaskResult {
    let mut skipped = external_programs::install_missing();
    let mut steps = Steps::default();
    steps.run("format", || {
        child_process::run(workspace::cargo().args(["fmt", "--all", "--check"]))
    });
    steps.run("lints", || {
        child_process::run(workspace::cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    });
    println!("\n$ cargo xtask tidy");
    steps.run("tidy", tidy::run);
    steps.run("clients", client_packages::install);
    steps.run("object stores", go_programs::install);
    steps.run("tests", || {
        child_process::run(workspace::cargo().args(["test", "--workspace", "--no-fail-fast"]))
    });
    if !conformance::recordings_exist() {
        skipped.push("recorded exchanges: there are none next to the project".to_owned());
    } else if external_programs::is_installed("python3") {
        replay_recordings(&mut steps);
    }

    println!();
    for line in &skipped {
        println!("SKIPPED {line}");
    }
    let mut failed = steps.failed;
    if !skipped.is_empty() && if_incomplete == IfIncomplete::Fail {
        failed.push("a step was skipped".to_owned());
    }
    if failed.is_empty() {
        println!("xtask test: all steps passed, {} skipped", skipped.len());
        return Ok(());
    }
    Err(format!(
        "{} steps failed:\n  {}",
        failed.len(),
        failed.join("\n  ")
    ))
}

/// Replays all recorded exchanges against one process, and at the same time some of them through three nodes.
fn replay_recordings(steps: &mut Steps) {
    let started = BackgroundReplay::start(&CLASSES_OF_SEVERAL_NODES);
    steps.run("recorded exchanges", || {
        conformance::run(&[], ListUpdate::None, UnitShape::OneProcess)
    });
    steps.run("recorded exchanges through three nodes", || {
        if let Some(replay) = started? {
            return replay.end();
        }
        let classes = CLASSES_OF_SEVERAL_NODES.map(str::to_owned);
        conformance::run(&classes, ListUpdate::None, UnitShape::SeveralNodes)
    });
}

/// Runs the tests of playbooks and images that are not part of [`run`].
///
/// # Errors
/// A message if one fails.
pub(crate) fn run_deployments() -> TaskResult {
    external_programs::install_missing();
    let missing = external_programs::install_missing_for_images();
    if !missing.is_empty() {
        return Err(format!("programs are missing: {}", missing.join(", ")));
    }
    client_packages::install()?;
    go_programs::install()?;
    // The same build as that of `run`, with the program that the packages of the tests have. Other crates have no such tests.
    child_process::run(
        workspace::cargo()
            .args(["test", "--workspace", "--test", "it", "--"])
            .args(["--ignored", "ansible_scenarios", "image::", "--nocapture"]),
    )
}

/// Runs steps and collects the failures.
#[derive(Default)]
struct Steps {
    failed: Vec<String>,
}

impl Steps {
    fn run(&mut self, name: &str, step: impl FnOnce() -> TaskResult) {
        if let Err(error) = step() {
            eprintln!("FAILED {name}: {error}");
            self.failed.push(format!("{name}: {error}"));
        }
    }
}
