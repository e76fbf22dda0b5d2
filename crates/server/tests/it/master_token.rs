//! `personium admin master-token`: a running unit takes another one over, and refuses the one before.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use personium_testkit::{MASTER_TOKEN, ProcessUnit, wait_until};

use crate::program::{self, logged_after, signal};

/// Runs the command with the settings file of a unit. Returns whether it succeeded, and its output.
fn run(unit: &ProcessUnit, more: &[&str]) -> (bool, String) {
    let file = unit.folder().join("unit.properties");
    let data = unit.folder().join("data");
    let mut arguments = vec!["admin", "master-token", "--config", file.to_str().unwrap()];
    arguments.extend(["--data", data.to_str().unwrap()]);
    arguments.extend(more);
    let output = program::run(&arguments);
    (output.status.success(), program::text(&output))
}

/// The entries of the audit log of a unit, a line each.
fn audit_log(unit: &ProcessUnit) -> String {
    let file = unit.folder().join("unit.properties");
    let data = unit.folder().join("data");
    let mut arguments = vec!["audit", "export", "--config", file.to_str().unwrap()];
    arguments.extend(["--data", data.to_str().unwrap()]);
    program::text(&program::run(&arguments))
}

async fn reload(unit: &ProcessUnit) {
    let before = unit.log().len();
    signal(unit.process_id(), "HUP");
    logged_after(unit, before, "settings reloaded").await;
}

/// Whether the unit takes a token.
async fn is_taken(unit: &ProcessUnit, token: &str) -> bool {
    let client = unit.admin().with_token(token);
    let response = client
        .request("GET", "__ctl/Cell")
        .body("")
        .try_send()
        .await;
    match response.unwrap().status.as_u16() {
        200 => true,
        401 => false,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn another_master_token_counts_from_the_reload_on_and_none_is_left_in_the_end() {
    let unit = crate::unit().start();
    let file = unit.folder().join("unit.properties");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let (succeeded, text) = run(&unit, &[]);
    assert!(succeeded, "{text}");
    let place = text.strip_prefix("master token ENABLED (").unwrap();
    let line = place
        .trim_end()
        .rsplit_once("unit.properties, line ")
        .unwrap();
    assert!(
        line.1.trim_end_matches(')').parse::<u32>().is_ok(),
        "{text}"
    );

    let (succeeded, text) = run(&unit, &["--new"]);
    assert!(succeeded, "{text}");
    let new = text.lines().next().unwrap();
    let new = new.strip_prefix("master token  ").unwrap().to_owned();
    assert!(is_taken(&unit, MASTER_TOKEN).await && !is_taken(&unit, &new).await);
    reload(&unit).await;
    assert!(!is_taken(&unit, MASTER_TOKEN).await && is_taken(&unit, &new).await);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    // The audit log says that it was changed, and not to what.
    wait_until("the entry of the change", async || {
        audit_log(&unit).contains("settings.change")
    })
    .await;
    let log = audit_log(&unit);
    let entry = log.lines().find(|line| line.contains("settings.change"));
    assert!(
        entry.is_some_and(|it| it.contains("\"target\":\"io.personium.core.masterToken\"")),
        "{log}"
    );
    assert!(!log.contains(&new), "{log}");

    let (succeeded, text) = run(&unit, &["--off"]);
    assert!(succeeded && text.contains("admin create"), "{text}");
    reload(&unit).await;
    for token in [MASTER_TOKEN, &new, ""] {
        assert!(!is_taken(&unit, token).await, "{token}");
    }
    assert_eq!(
        run(&unit, &[]),
        (true, "master token disabled\n".to_owned())
    );
    let after = fs::read_to_string(&file).unwrap();
    assert!(!after.contains("masterToken") && after.contains("security.secret16"));
    assert!(run(&unit, &["--off"]).0);
    assert_eq!(fs::read_to_string(&file).unwrap(), after);
}

#[tokio::test]
async fn master_token_that_is_given_elsewhere_is_not_changed_in_the_file() {
    let unit = crate::unit().start();
    let file = unit.folder().join("unit.properties");
    let before = fs::read_to_string(&file).unwrap();
    let elsewhere = ["-c", "masterToken=another-token-of-a-test"];
    for change in ["--new", "--off"] {
        let (succeeded, text) = run(&unit, &[&[change][..], &elsewhere].concat());
        assert!(
            !succeeded && text.contains("command line: change it there"),
            "{text}"
        );
    }
    let (succeeded, text) = run(&unit, &["--new", "--off"]);
    assert!(!succeeded && text.contains("cannot be used with"), "{text}");
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
}
