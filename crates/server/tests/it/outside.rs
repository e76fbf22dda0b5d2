//! `personium check --url` and `personium selftest`: a unit as its clients reach it, by TLS and names, and one that is not well.

use std::io::Write as _;
use std::process::{Output, Stdio};

use personium_testkit::{Nginx, ProcessUnit, free_port};
use serde_json::Value;

use crate::program;

const MASTER_TOKEN: &str = personium_testkit::MASTER_TOKEN;

/// A unit behind Nginx whose cells have hosts.
struct SecureUnit {
    unit: ProcessUnit,
    nginx: Nginx,
}

impl SecureUnit {
    fn start() -> Self {
        let port = free_port();
        let unit = crate::unit()
            .host("unit.example")
            .cells_have_hosts()
            .behind_proxy(port)
            .start();
        let nginx = Nginx::builder(port).node(unit.port()).start();
        Self { unit, nginx }
    }

    fn url(&self) -> String {
        format!("https://unit.example:{}/", self.nginx.port())
    }

    /// Options with which names lead to this machine and the certificate is trusted.
    fn options(&self) -> Vec<String> {
        ["--address", "127.0.0.1", "--ca"]
            .map(str::to_owned)
            .into_iter()
            .chain([self.nginx.certificate().display().to_string()])
            .collect()
    }
}

/// Runs a command with JSON output and this standard input.
fn run_json(arguments: &[&str], options: &[String], input: &str) -> (Option<i32>, Value) {
    let mut command = program::command(arguments);
    let mut child = command
        .arg("--json")
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may end before.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output: Output = child.wait_with_output().unwrap();
    let json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", program::text(&output)));
    (output.status.code(), json)
}

/// The worst outcome of a check and its details.
fn outcome(report: &Value, check: &str) -> (String, String) {
    let found: Vec<&Value> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["check"] == check)
        .collect();
    let details: Vec<&str> = found.iter().filter_map(|f| f["detail"].as_str()).collect();
    let worst = ["error", "warning", "ok"]
        .into_iter()
        .find(|word| found.iter().any(|finding| finding["outcome"] == *word));
    (worst.unwrap_or("none").to_owned(), details.join("\n"))
}

#[tokio::test]
async fn unit_behind_tls_is_found_well_from_outside() {
    let secure = SecureUnit::start();
    let (status, report) = run_json(&["check", "--url", &secure.url()], &secure.options(), "");
    assert_eq!(status, Some(0), "{report}");
    for check in [
        "unit URL",
        "cells",
        "settings page",
        "clock",
        "TLS",
        "open ports",
    ] {
        assert_eq!(outcome(&report, check).0, "ok", "{check}: {report}");
    }
    let (_, clock) = outcome(&report, "clock");
    let (behind, ahead) = ("that of the unit is at most ", " ahead of this machine");
    assert!(
        clock.starts_with(behind) && clock.ends_with(ahead),
        "{clock}"
    );
    let clock = report["checks"].as_array().unwrap().iter();
    let clock = clock.clone().find(|finding| finding["check"] == "clock");
    let values = &clock.unwrap()["values"];
    // A date has whole seconds, so it is known within a second and the time of the answer.
    let bound = |name: &str| values[name].as_i64().unwrap();
    assert!(
        bound("aheadMsMost") - bound("aheadMsLeast") >= 1_000,
        "{values}"
    );
    let (_, agreement) = outcome(&report, "TLS");
    assert!(agreement.starts_with("TLSv1_3, TLS13_"), "{agreement}");
    let (_, certificate) = outcome(&report, "server certificate");
    assert!(
        certificate.contains("unit.example") && certificate.contains("days"),
        "{certificate}"
    );
}

#[tokio::test]
async fn names_are_looked_up_unless_an_address_is_given() {
    let unit = crate::unit().start();
    let url = unit.url().to_owned();
    let (_, report) = run_json(&["check", "--url", &url], &[], "");
    let (word, names) = outcome(&report, "names");
    assert!(word == "ok" && names.contains("127.0.0.1"), "{report}");
    let address = ["--address", "127.0.0.1"].map(str::to_owned);
    let (_, report) = run_json(&["check", "--url", &url], &address, "");
    assert_eq!(outcome(&report, "names").0, "none", "{report}");
}

#[tokio::test]
async fn what_is_wrong_from_outside_is_an_error_with_its_reason() {
    let secure = SecureUnit::start();
    let url = secure.url();
    // A certificate that is not trusted is shown all the same.
    let untrusted = ["--address", "127.0.0.1"].map(str::to_owned);
    let (status, report) = run_json(&["check", "--url", &url], &untrusted, "");
    assert_eq!(status, Some(1), "{report}");
    let (word, detail) = outcome(&report, "server certificate");
    assert!(
        word == "error" && detail.contains("not trusted"),
        "{report}"
    );
    // The unit has another name.
    let other = format!("http://localhost:{}/", secure.unit.port());
    let (status, report) = run_json(&["check", "--url", &other], &[], "");
    assert_eq!(
        (status, outcome(&report, "unit URL").0.as_str()),
        (Some(1), "error"),
        "{report}"
    );
    // Nobody answers, somebody else answers, no URL.
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    let (status, report) = run_json(&["check", "--url", &nobody], &[], "");
    assert_eq!(
        (status, outcome(&report, "unit URL").0.as_str()),
        (Some(1), "error"),
        "{report}"
    );
    for url in ["unit.example", "https://unit.example/cell/"] {
        let output = program::run(&["check", "--url", url]);
        assert!(!output.status.success() && program::text(&output).contains(url));
    }
}

/// The outcome of each step by name.
fn steps(report: &Value) -> Vec<(String, String)> {
    let steps = report["steps"].as_array().unwrap().iter();
    steps
        .map(|step| ["step", "outcome"].map(|name| step[name].as_str().unwrap().to_owned()))
        .map(|[step, outcome]| (step, outcome))
        .collect()
}

/// The number of cells of a unit.
async fn cells(unit: &ProcessUnit) -> usize {
    unit.list_entities("__ctl/Cell").await.len()
}

#[tokio::test]
async fn self_test_passes_through_tls_and_leaves_nothing() {
    let secure = SecureUnit::start();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, format!("{MASTER_TOKEN}\n")).unwrap();
    let url = secure.url();
    let arguments = [
        "selftest",
        "--url",
        &url,
        "--token-file",
        token.to_str().unwrap(),
    ];
    let (status, report) = run_json(&arguments, &secure.options(), "");
    assert_eq!(status, Some(0), "{report}");
    let steps = steps(&report);
    let names: Vec<&str> = steps.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "log in",
        "cell",
        "account and role",
        "box and access",
        "file",
        "entity",
        "service",
        "rule and event",
        "removal",
    ];
    assert_eq!(names, expected, "{report}");
    // This unit runs scripts, so the service is not skipped either.
    assert!(steps.iter().all(|(_, outcome)| outcome == "ok"), "{report}");
    assert_eq!(cells(&secure.unit).await, 0);
}

#[tokio::test]
async fn administrator_of_the_first_start_can_run_the_self_test() {
    let unit = crate::administered_unit::AdministeredUnit::local();
    let (_process, client) = unit.serve("localhost", &[]);
    let url = client.url().to_owned();
    let (status, report) = run_json(&["selftest", "--url", &url], &[], &unit.password);
    assert_eq!(status, Some(0), "{report}");
    let (status, report) = run_json(&["selftest", "--url", &url], &[], "wrong-password");
    assert_eq!(status, Some(1));
    assert_eq!(steps(&report), [("log in".to_owned(), "error".to_owned())]);
    assert!(!report.to_string().contains("wrong-password"));
    let output = program::run(&["selftest", "--url", &url]);
    assert!(program::text(&output).contains("has no password"));
}

#[tokio::test]
async fn self_test_of_a_unit_that_refuses_a_step_fails_and_removes_its_cell() {
    let unit = crate::unit()
        .setting("io.personium.core.dav.childresource.maxnum", 1)
        .start();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, MASTER_TOKEN).unwrap();
    let url = unit.url().to_owned();
    let arguments = [
        "selftest",
        "--url",
        &url,
        "--token-file",
        token.to_str().unwrap(),
    ];
    let (status, report) = run_json(&arguments, &[], "");
    assert_eq!(status, Some(1), "{report}");
    let failed = steps(&report)
        .into_iter()
        .filter(|(_, outcome)| outcome == "error");
    assert!(failed.count() > 0, "{report}");
    assert_eq!(steps(&report).last().unwrap().1, "ok", "{report}");
    assert_eq!(cells(&unit).await, 0);
}
