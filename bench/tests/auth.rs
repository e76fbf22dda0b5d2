//! The scenario of tokens runs to its end against the built server and says what it found; how fast is not judged here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends with the first surprise"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the programs of the whole workspace, which `cargo test` has mostly done; gives their folder.
fn built() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo)
        .args(["build", "--quiet", "--workspace", "--bins", "--examples"])
        .status()
        .unwrap();
    assert!(done.success(), "the workspace does not build");
    Path::new(env!("CARGO_BIN_EXE_personium-bench"))
        .parent()
        .unwrap()
        .to_owned()
}

#[test]
fn tokens_are_measured_beside_their_floors() {
    let folder = built();
    let out = Command::new(env!("CARGO_BIN_EXE_personium-bench"))
        .args(["report", "--quick", "auth"])
        .arg("--server")
        .arg(folder.join("personium"))
        .arg("--token-checks")
        .arg(folder.join("examples").join("token_checks"))
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&out.stdout);
    let complaints = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{report}\n{complaints}");
    assert!(!report.contains("could not be measured"), "{report}");
    for side in [
        "GET of a cell, no token",
        "GET of a cell, local token",
        "GET of a cell, trans-cell token",
        "refresh",
        "introspect",
        "trans-cell issue, RSA-2048",
        "trans-cell accept, each assertion once",
        "logins, 8 at a time",
    ] {
        let row = report
            .lines()
            .find(|line| line.starts_with(&format!("| auth | {side} |")))
            .unwrap_or_else(|| panic!("no row for {side}: {report}"));
        let rate = row.split('|').nth(3).unwrap().trim();
        assert!(rate.parse::<f64>().unwrap() > 0.0, "{row}");
    }
    for demand in [
        "local token: check over bare opening",
        "trans-cell token: check over bare RSA verification",
        "logins over bare scrypt",
    ] {
        assert!(report.contains(demand), "{demand}: {report}");
    }
    // Without the other server, the rest is measured all the same.
    assert!(report.contains("not measured beside Keycloak"), "{report}");
}
