//! The walkthrough of the README, run with curl.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use personium_testkit::ProcessUnit;

use crate::external_programs::is_installed;

/// Joins the blocks that are marked as shell.
fn shell_blocks(text: &str) -> String {
    text.split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

/// Waits for the password that the first start logs.
async fn logged_password(unit: &ProcessUnit) -> String {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let log = unit.log();
        let line = |line: &str| Some(line.trim().strip_prefix("password ")?.trim().to_owned());
        if let Some(password) = log.lines().find_map(line) {
            return password;
        }
        assert!(Instant::now() < until, "no password in the log: {log}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn every_shell_line_of_the_readme_works() {
    if !is_installed("curl") {
        return;
    }
    let unit = crate::unit().start_without_settings();
    let password = logged_password(&unit).await;
    let readme = std::fs::read_to_string("../../README.md").unwrap();
    let mut script = String::new();
    for line in shell_blocks(&readme).lines() {
        // The two lines that depend on the address and the password of the unit.
        match line.split_once('=') {
            Some(("UNIT", _)) => {
                writeln!(script, "UNIT={}", unit.url().trim_end_matches('/')).unwrap()
            }
            Some(("PASSWORD", _)) => writeln!(script, "PASSWORD={password}").unwrap(),
            _ => writeln!(script, "{line}").unwrap(),
        }
    }
    assert!(
        script.contains("PASSWORD=") && script.contains("UNIT="),
        "the README has no walkthrough"
    );
    let out = Command::new("sh")
        .args(["-e", "-u", "-c", &script])
        .current_dir(unit.folder())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success(),
        "{}\n{output}\n{}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    assert_eq!(
        output.matches("Hello from my own cell").count(),
        2,
        "both people read the file:\n{output}"
    );
    // Once when made, once by key, once in the list, once read from another cell.
    assert_eq!(output.matches("Tea at four").count(), 4, "{output}");
    assert_eq!(
        output.trim().lines().last(),
        Some("403"),
        "a friend only reads:\n{output}"
    );
}
