//! The certificate of the unit: host names, clocks, trusted roots.

use std::path::Path;

use personium_testkit::TestClient;

use crate::administered_unit::AdministeredUnit;
use crate::faketime::FAKETIME_LIBRARY;
use crate::program;

/// The status of a list of cells with a token of the administrator for the unit.
async fn list_as_administrator(unit: &AdministeredUnit, client: &TestClient) -> u16 {
    let administrator = unit.administrator(client).await;
    let request = administrator.request("GET", "__ctl/Cell").body("");
    request.try_send().await.unwrap().status.as_u16()
}

fn url_options(host: &str) -> [String; 3] {
    [
        "unitScheme=http".to_owned(),
        "pathBasedCellUrl.enabled=true".to_owned(),
        format!("unitFqdn={host}"),
    ]
}

#[tokio::test]
async fn administrator_keeps_working_when_the_host_name_changes() {
    let unit = AdministeredUnit::local();
    let key = std::fs::read(unit.data().join("unit.key")).unwrap();
    for host in ["unit.example", "other.example"] {
        let options = url_options(host);
        let unit_port = "unitPort=1";
        let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
        options.push(unit_port);
        let (process, client) = unit.serve(host, &options);
        assert_eq!(
            list_as_administrator(&unit, &client).await,
            200,
            "{}",
            unit.log()
        );
        assert!(unit.log().contains("issued again"), "{}", unit.log());
        drop(process);
        let (process, client) = unit.serve(host, &options);
        assert_eq!(list_as_administrator(&unit, &client).await, 200);
        assert!(!unit.log().contains("issued again"), "{}", unit.log());
        drop(process);
    }
    assert_eq!(std::fs::read(unit.data().join("unit.key")).unwrap(), key);
}

#[tokio::test]
async fn own_tokens_are_accepted_whatever_the_trusted_roots_are() {
    let (unit, other) = (AdministeredUnit::local(), AdministeredUnit::local());
    let root = format!(
        "x509.root={}",
        other.folder.path().join("root.crt").display()
    );
    // The certificate of another unit, for another host.
    let (process, _) = other.serve("other.example", &[&url_options("other.example")[2]]);
    drop(process);
    std::fs::copy(
        other.data().join("unit.crt"),
        other.folder.path().join("root.crt"),
    )
    .unwrap();
    let (_process, client) = unit.serve("localhost", &[&root]);
    assert_eq!(
        list_as_administrator(&unit, &client).await,
        200,
        "{}",
        unit.log()
    );
}

/// Runs the program under a wrong clock.
fn with_clock(time: &str, arguments: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_personium"));
    command
        .args(arguments)
        .env("LD_PRELOAD", FAKETIME_LIBRARY)
        .env("FAKETIME", time);
    command.output().unwrap()
}

#[tokio::test]
async fn first_start_at_a_wrong_clock_does_not_prevent_later_ones() {
    for time in ["1970-01-02 00:00:00", "2099-01-01 00:00:00"] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let data = data.to_str().unwrap();
        let output = with_clock(time, &["init", "--data", data]);
        assert!(
            output.status.success(),
            "{time}: {}",
            program::text(&output)
        );
        let output = program::run(&["check", "--data", data, "-c", "listen=127.0.0.1:0"]);
        assert!(
            output.status.success(),
            "{time}: {}",
            program::text(&output)
        );
    }
}

/// Options with the key and certificate of another unit.
fn certificate_options(data: &Path) -> [String; 2] {
    [
        format!("x509.key={}", data.join("unit.key").display()),
        format!("x509.crt={}", data.join("unit.crt").display()),
    ]
}

#[tokio::test]
async fn configured_certificate_for_another_host_is_refused_with_the_cure() {
    let owner = AdministeredUnit::local();
    let data = tempfile::tempdir().unwrap();
    let data = data.path().join("data");
    let [key, certificate] = certificate_options(&owner.data());
    let arguments = [
        "--data",
        data.to_str().unwrap(),
        "-c",
        &key,
        "-c",
        &certificate,
        "-c",
        "unitFqdn=unit.example",
        "-c",
        "listen=127.0.0.1:0",
    ];
    for command in ["serve", "check", "init"] {
        let mut all = vec![command];
        all.extend(arguments);
        let output = program::run(&all);
        let text = program::text(&output);
        assert!(!output.status.success(), "{command}: {text}");
        assert!(text.contains("set unitFqdn=localhost"), "{command}: {text}");
        assert!(!data.exists(), "{command} leaves nothing behind");
    }
}
