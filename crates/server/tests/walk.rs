//! The walk of the README, run as it stands there, with the real curl against the built program.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with the first surprise"
)]

#[path = "real_unit/process.rs"]
mod process;

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use process::{Unit, installed};

/// Every block that is marked as shell, one after the other.
fn shell_blocks(text: &str) -> String {
    text.split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

/// The password that the first start tells, as soon as it does.
fn told_password(unit: &Unit) -> String {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let told = unit.log();
        if let Some(password) = told
            .lines()
            .find_map(|line| line.trim().strip_prefix("password "))
        {
            return password.trim().to_owned();
        }
        assert!(Instant::now() < until, "no password is told: {told}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn every_line_of_the_readme_works() {
    if !installed("curl") {
        return;
    }
    let unit = Unit::start_new("walk");
    let password = told_password(&unit);
    let readme = std::fs::read_to_string("../../README.md").unwrap();
    let mut script = String::new();
    for line in shell_blocks(&readme).lines() {
        // The only two lines that depend on where the unit is and what it told.
        match line.split_once('=') {
            Some(("UNIT", _)) => writeln!(script, "UNIT={}", unit.url()).unwrap(),
            Some(("PASSWORD", _)) => writeln!(script, "PASSWORD={password}").unwrap(),
            _ => writeln!(script, "{line}").unwrap(),
        }
    }
    assert!(
        script.contains("PASSWORD=") && script.contains("UNIT="),
        "the README has lost its walk"
    );
    let out = Command::new("sh")
        .args(["-e", "-u", "-c", &script])
        .current_dir(unit.scratch.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success(),
        "{}\n{said}\n{}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    assert_eq!(
        said.matches("Hello from my own cell").count(),
        2,
        "both people read the file:\n{said}"
    );
    // Once when made, once by key, once in the list, once read from another cell.
    assert_eq!(said.matches("Tea at four").count(), 4, "{said}");
    assert_eq!(
        said.trim().lines().last(),
        Some("403"),
        "a friend only reads:\n{said}"
    );
}
