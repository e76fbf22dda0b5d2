//! The scenarios auth, script, archives, backup and many-rules run to their end with the built server and report all measurements. Their values are not checked.

#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the programs of the workspace, most of which `cargo test` has built. Returns their folder.
fn build_programs() -> PathBuf {
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
fn scenarios_report_all_measurements() {
    let folder = build_programs();
    let out = Command::new(env!("CARGO_BIN_EXE_personium-bench"))
        .args(["report", "--quick", "--cells", "100"])
        .args(["--rules", "500", "--timers", "1000"])
        .args(["auth", "script", "archives", "backup", "many-rules"])
        .arg("--server")
        .arg(folder.join("personium"))
        .arg("--token-checks")
        .arg(folder.join("examples").join("token_checks"))
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&out.stdout);
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{report}\n{stderr}");
    assert!(!report.contains("could not be measured"), "{report}");
    for subject in [
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
            .find(|line| line.starts_with(&format!("| auth | {subject} |")))
            .unwrap_or_else(|| panic!("no row for {subject}: {report}"));
        let rate = row.split('|').nth(3).unwrap().trim();
        assert!(rate.parse::<f64>().unwrap() > 0.0, "{row}");
    }
    for requirement in [
        "local token: verification over bare decryption",
        "trans-cell token: verification over bare RSA",
        "logins over scrypt alone",
    ] {
        assert!(report.contains(requirement), "{requirement}: {report}");
    }
    for subject in [
        "empty service",
        "GET of a file of 2 bytes",
        "baseline: bare context, same script",
        "service with five OData reads",
        "one such read by a request",
        "baseline: bare context, entities at hand",
    ] {
        let row = format!("| script | {subject} |");
        assert!(report.contains(&row), "{row}: {report}");
    }
    for row in [
        "| archives | export of a box |",
        "| archives | installation of that archive |",
        "| archives | import of that snapshot |",
        "| archives | reads beside exports of the cell: 99th percentile over that alone |",
        "| backup | back-up of 20 cells of 20 objects |",
        "| backup | verify over reading all files from the disk |",
        "| backup | minutes of a whole back-up and a restore |",
        "| many-rules | W1 of a small cell, no rules |",
        "| many-rules | the same, these and 200 timers that wait |",
        "| many-rules | these and 200 timers that wait: reads of another cell over those without |",
    ] {
        assert!(report.contains(row), "{row}: {report}");
    }
    assert!(report.contains("first run of a new script: ms"), "{report}");
    // What needs a component is measured by `cargo xtask bench` only.
    assert!(report.contains("no --password-plugin"), "{report}");
    // Keycloak is optional.
    assert!(report.contains("not compared with Keycloak"), "{report}");
}
