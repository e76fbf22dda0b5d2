//! Servers that tests start and that are built from their Go source: object stores, an authority with the protocol ACME, a collector of
//! OpenTelemetry.
//!
//! They are kept in the user's cache folder, because building them takes minutes. The module proxy verifies the source.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{TaskResult, child_process};

/// The programs, each with its module and version.
const PROGRAMS: &[(&str, &str)] = &[
    (
        "gofakes3",
        "github.com/johannesboyne/gofakes3/cmd/gofakes3@v1.2.0",
    ),
    (
        "minio",
        "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
    ),
    (
        "pebble",
        "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.3",
    ),
    (
        "pebble-challtestsrv",
        "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv@v2.10.3",
    ),
];

/// The program that is made of modules by a main function of ours: the OpenTelemetry Collector with the parts that tests need. Its own
/// distribution has dozens of others.
const COLLECTOR: &str = "otelcol";

/// The folder of that main function, and the files that say what it is made of.
const COLLECTOR_FOLDER: &str = "xtask/go/otelcol";
const COLLECTOR_FILES: [&str; 2] = ["go.mod", "main.go"];

/// Builds the programs that are missing or were built from another version.
///
/// # Errors
/// A message if Go is missing or a program cannot be built.
pub(crate) fn install() -> TaskResult {
    let home = std::env::var_os("HOME").ok_or("the variable HOME is not set")?;
    let folder = PathBuf::from(home).join(".cache/personium-tests/bin");
    std::fs::create_dir_all(&folder)
        .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    for (program, module) in PROGRAMS {
        let built_from = folder.join(format!("{program}.version"));
        let is_built = std::fs::read_to_string(&built_from).is_ok_and(|found| found == *module);
        if is_built && folder.join(program).exists() {
            continue;
        }
        child_process::run(
            Command::new("go")
                .args(["install", module])
                .env("GOBIN", &folder),
        )?;
        std::fs::write(&built_from, module)
            .map_err(|error| format!("cannot write {}: {error}", built_from.display()))?;
    }
    install_collector(&folder)
}

/// Builds the collector unless it was built from the same files.
fn install_collector(folder: &Path) -> TaskResult {
    let mut files = String::new();
    for name in COLLECTOR_FILES {
        let path = Path::new(COLLECTOR_FOLDER).join(name);
        files += &std::fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    }
    let (program, built_from) = (
        folder.join(COLLECTOR),
        folder.join(format!("{COLLECTOR}.version")),
    );
    let is_built = std::fs::read_to_string(&built_from).is_ok_and(|found| found == files);
    if is_built && program.exists() {
        return Ok(());
    }
    child_process::run(
        Command::new("go")
            .args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(COLLECTOR_FOLDER),
    )?;
    std::fs::write(&built_from, files)
        .map_err(|error| format!("cannot write {}: {error}", built_from.display()))
}
