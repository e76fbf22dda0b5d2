//! `cargo xtask bench`: builds server and bench program as they are shipped, and runs the scenarios.

use std::process::Command;

use crate::{Outcome, process, workspace};

/// Builds both in the release profile and hands the arguments on.
///
/// # Errors
/// When something does not build or a scenario could not be run.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    process::run(workspace::cargo().args([
        "build",
        "--release",
        "--package",
        "personium-server",
        "--package",
        "personium-bench",
    ]))?;
    let built = workspace::target_folder()?.join("release");
    process::run(
        Command::new(built.join("personium-bench"))
            .arg("report")
            .arg("--server")
            .arg(built.join("personium"))
            .args(["--report", "bench/report.md"])
            .args(arguments),
    )
}
