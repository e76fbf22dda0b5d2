//! `cargo xtask bench`: installs what is missing, builds server and bench program as they are shipped, and runs the
//! scenarios.

use std::path::PathBuf;
use std::process::Command;

use crate::{Outcome, outside, process, workspace};

/// The server that the scenario of tokens is measured beside.
const KEYCLOAK: &str = "keycloak-26.0.0";
/// Where Maven has it.
const KEYCLOAK_ARTIFACT: &str = "org.keycloak:keycloak-quarkus-dist:26.0.0:zip";

/// Builds all in the release profile and hands the arguments on.
///
/// # Errors
/// When something does not build or a scenario could not be run.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    for missing in outside::provide() {
        eprintln!("bench: missing {missing}");
    }
    process::run(workspace::cargo().args([
        "build",
        "--release",
        "--package",
        "personium-server",
        "--package",
        "personium-bench",
    ]))?;
    process::run(workspace::cargo().args([
        "build",
        "--release",
        "--package",
        "personium-token",
        "--example",
        "token_checks",
    ]))?;
    let built = workspace::target_folder()?.join("release");
    let mut command = Command::new(built.join("personium-bench"));
    command
        .arg("report")
        .arg("--server")
        .arg(built.join("personium"))
        .arg("--token-checks")
        .arg(built.join("examples").join("token_checks"))
        .args(["--report", "bench/report.md"]);
    let named = arguments.iter().any(|a| !a.starts_with('-'));
    if (!named || arguments.iter().any(|a| a == "auth"))
        && let Some(folder) = keycloak()
    {
        command.arg("--keycloak").arg(folder);
    }
    process::run(command.args(arguments))
}

/// Keycloak, unpacked in the user's cache; had from Maven the first time. The report says when it is not there.
fn keycloak() -> Option<PathBuf> {
    let cache = PathBuf::from(std::env::var_os("HOME")?)
        .join(".cache")
        .join("personium-bench");
    let folder = cache.join(KEYCLOAK);
    if !folder.is_dir() && outside::present("mvn") {
        let unpacked = process::run(
            Command::new("mvn")
                .args(["-q", "-B", "dependency:unpack"])
                .arg(format!("-Dartifact={KEYCLOAK_ARTIFACT}"))
                .arg(format!("-DoutputDirectory={}", cache.display()))
                .current_dir(std::env::temp_dir()),
        );
        if let Err(reason) = unpacked {
            eprintln!("bench: no {KEYCLOAK}: {reason}");
        }
    }
    folder.is_dir().then_some(folder)
}
