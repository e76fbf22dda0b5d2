//! `cargo xtask bench`: installs missing programs, builds the server and the bench program in the release profile, and
//! runs the scenarios.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{TaskResult, child_process, external_programs, workspace};

/// The compiler of Debian, which has the target of plugins. That of the project need not have it.
const RUSTC: &str = "/usr/bin/rustc";
/// The server with which the scenario auth is compared.
const KEYCLOAK: &str = "keycloak-26.0.0";
/// Its Maven artifact.
const KEYCLOAK_ARTIFACT: &str = "org.keycloak:keycloak-quarkus-dist:26.0.0:zip";
/// The scenario that needs it.
const KEYCLOAK_SCENARIO: &str = "auth";

/// Builds the programs and runs the scenarios.
///
/// # Errors
/// A message if a program does not build or the report cannot be made.
pub(crate) fn run(arguments: &[String]) -> TaskResult {
    for missing in external_programs::install_missing() {
        eprintln!("bench: missing {missing}");
    }
    child_process::run(workspace::cargo().args([
        "build",
        "--release",
        "--package",
        "personium-server",
        "--package",
        "personium-bench",
    ]))?;
    child_process::run(workspace::cargo().args([
        "build",
        "--release",
        "--package",
        "personium-token",
        "--example",
        "token_checks",
    ]))?;
    let programs = workspace::target_folder()?.join("release");
    let mut command = Command::new(programs.join("personium-bench"));
    command
        .arg("report")
        .arg("--server")
        .arg(programs.join("personium"))
        .arg("--token-checks")
        .arg(programs.join("examples").join("token_checks"))
        .args(["--report", report_file(arguments)]);
    if let Some(component) = password_plugin(&programs) {
        command.arg("--password-plugin").arg(component);
    }
    let has_names = arguments.iter().any(|argument| !argument.starts_with('-'));
    let needs_keycloak = !has_names
        || arguments
            .iter()
            .any(|argument| argument == KEYCLOAK_SCENARIO);
    if needs_keycloak && let Some(folder) = install_keycloak() {
        command.arg("--keycloak").arg(folder);
    }
    child_process::run(command.args(arguments))
}

/// Makes a component of the sample password plugin in Rust, as docs/plugins.md says. `None` if a tool for it is missing.
fn password_plugin(programs: &Path) -> Option<PathBuf> {
    let tools = programs
        .parent()?
        .join("clients/plugin-tools/bin/wasm-tools");
    let [module, embedded, component] =
        ["module", "embedded", "plugin"].map(|name| programs.join(format!("bench-{name}.wasm")));
    let run = |command: &mut Command| {
        let run = child_process::run(command);
        run.map_err(|error| eprintln!("bench: no password plugin: {error}"))
            .ok()
    };
    run(Command::new(RUSTC)
        .args(["--target", "wasm32-unknown-unknown", "--edition", "2021"])
        .args(["--crate-type", "cdylib", "-C", "opt-level=s"])
        .args(["-C", "panic=abort", "-C", "strip=symbols", "-o"])
        .arg(&module)
        .arg("plugins/rust/sample.rs"))?;
    run(Command::new(&tools)
        .args(["component", "embed", "plugins/wit", "--world", "plugin"])
        .arg(&module)
        .arg("--output")
        .arg(&embedded))?;
    run(Command::new(&tools)
        .args(["component", "new"])
        .arg(&embedded)
        .arg("--output")
        .arg(&component))?;
    Some(component)
}

/// The file of the report. Scenarios that are repeated more often than the others have one of their own, if they run alone.
fn report_file(arguments: &[String]) -> &'static str {
    let names = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'));
    match names.map(String::as_str).next() {
        Some("layers") => "bench/layers.md",
        Some("events") => "bench/events.md",
        Some("archives" | "backup") => "bench/backups.md",
        _ => "bench/report.md",
    }
}

/// Returns the folder of Keycloak in the user's cache; downloads it with Maven the first time. `None` if it cannot be
/// installed.
fn install_keycloak() -> Option<PathBuf> {
    let cache = PathBuf::from(std::env::var_os("HOME")?)
        .join(".cache")
        .join("personium-bench");
    let folder = cache.join(KEYCLOAK);
    if !folder.is_dir() && external_programs::is_installed("mvn") {
        let unpacked = child_process::run(
            Command::new("mvn")
                .args(["-q", "-B", "dependency:unpack"])
                .arg(format!("-Dartifact={KEYCLOAK_ARTIFACT}"))
                .arg(format!("-DoutputDirectory={}", cache.display()))
                .current_dir(std::env::temp_dir()),
        );
        if let Err(error) = unpacked {
            eprintln!("bench: cannot install {KEYCLOAK}: {error}");
        }
    }
    folder.is_dir().then_some(folder)
}
