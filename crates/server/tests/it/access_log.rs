//! The access log of the running program, and the lines of failed logins.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use personium_testkit::{ProcessUnit, ProcessUnitBuilder, RawBody, RawConnection, wait_until};
use serde_json::Value;

use crate::program::{logged_after, signal};

fn json_unit() -> ProcessUnitBuilder {
    crate::unit().setting("io.personium.core.log.format", "json")
}

/// The lines of a log that are JSON with this message.
fn lines(log: &str, message: &str) -> Vec<Value> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["message"] == message)
        .collect()
}

/// Waits for the access line with a request key.
async fn access_line(unit: &ProcessUnit, request_key: &str) -> Value {
    let log = logged_after(unit, 0, &format!("\"request.key\":\"{request_key}\"}}")).await;
    let found: Vec<Value> = lines(&log, "access")
        .into_iter()
        .filter(|line| line["request.key"] == request_key)
        .collect();
    assert_eq!(found.len(), 1, "one line for each request: {log}");
    found[0].clone()
}

#[tokio::test]
async fn each_request_has_one_line() {
    let unit = json_unit().start();
    let owner = unit.create_cell_with_owner("c").await;
    owner.call("PUT", "c/box/f.txt", "content").await;
    for (key, method, path, status, bytes) in [
        ("k-get", "GET", "c/box/f.txt", 200, 7),
        ("k-head", "HEAD", "c/box/f.txt", 200, 0),
        ("k-put", "PUT", "c/box/f.txt", 204, 0),
        ("k-none", "GET", "c/box/none", 404, -1),
    ] {
        let request = owner
            .request(method, path)
            .headers(&[("x-personium-requestkey", key)]);
        let response = request.body("content").try_send().await.unwrap();
        let line = access_line(&unit, key).await;
        assert_eq!(line["request.method"], method);
        assert_eq!(line["request.path"], format!("/{path}"));
        assert_eq!(line["response.status"], status, "{key}");
        assert_eq!(response.status.as_u16(), status, "{key}");
        if bytes >= 0 {
            assert_eq!(line["response.bytes"], bytes, "{key}");
        } else {
            assert_eq!(line["response.bytes"], response.text().len(), "{key}");
        }
        assert_eq!(line["client.address"], "127.0.0.1");
        assert!(
            line["request.key"]
                .as_str()
                .is_some_and(|key| !key.is_empty())
        );
        assert!(line["elapsed_us"].as_u64().is_some());
    }
}

#[tokio::test]
async fn client_behind_a_proxy_is_named_and_secrets_are_masked() {
    let unit = json_unit().start();
    let request = unit
        .request("GET", "none/__authz?code=hidden1&$top=3&password=hidden2")
        .headers(&[
            ("x-personium-requestkey", "k-masked"),
            ("x-forwarded-for", "203.0.113.9, 192.0.2.77"),
        ]);
    request.body("").try_send().await.unwrap();
    let line = access_line(&unit, "k-masked").await;
    assert_eq!(line["client.address"], "192.0.2.77");
    assert_eq!(line["request.query"], "code=***&$top=3&password=***");
    assert!(!unit.log().contains("hidden"), "{}", unit.log());
}

#[tokio::test]
async fn unreadable_request_has_a_line() {
    let unit = json_unit().start();
    for bytes in [
        &b"no request\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
    ] {
        let before = unit.log().len();
        let mut connection = RawConnection::open_once(unit.port()).await.unwrap();
        connection.send(bytes).await.unwrap();
        let response = connection.receive(RawBody::Count, false).await.unwrap();
        assert_eq!(response.status, 400);
        let log = logged_after(&unit, before, "\"access\"").await;
        let line = &lines(&log, "access")[0];
        assert_eq!(line["response.status"], 400, "{log}");
        assert_eq!(line["client.address"], "127.0.0.1", "{log}");
    }
}

#[tokio::test]
async fn access_log_is_written_to_its_file_and_opened_again_on_sighup() {
    let folder = tempfile::tempdir().unwrap();
    let (file, renamed) = (
        folder.path().join("access.log"),
        folder.path().join("old.log"),
    );
    let unit = crate::unit()
        .setting("io.personium.core.log.access", "common")
        .setting("io.personium.core.log.access.file", file.display())
        .start();
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    let wait_for = async |path: &std::path::Path, text: &str| {
        for _ in 0..500 {
            if read(path).contains(text) {
                return read(path);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no {text} in {}", read(path));
    };
    unit.call("GET", "", "").await;
    let log = wait_for(&file, "\"GET / HTTP/1.1\" 200 ").await;
    assert!(log.starts_with("127.0.0.1 - - ["), "{log}");
    std::fs::rename(&file, &renamed).unwrap();
    let before = unit.log().len();
    signal(unit.process_id(), "HUP");
    logged_after(&unit, before, "settings reloaded").await;
    wait_until("the file is opened again", async || file.exists()).await;
    unit.admin().call("GET", "__ctl/Cell", "").await;
    let log = wait_for(&file, "\"GET /__ctl/Cell HTTP/1.1\" 200 ").await;
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(
        !unit.log().contains("/__ctl/Cell"),
        "the file replaces the standard error"
    );
}

#[tokio::test]
async fn switched_off_access_log_writes_nothing() {
    let unit = json_unit()
        .setting("io.personium.core.log.access", "off")
        .start();
    unit.admin().call("GET", "__ctl/Cell", "").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!unit.log().contains("/__ctl/Cell"), "{}", unit.log());
}

#[tokio::test]
async fn each_failed_login_has_a_line_with_its_reason() {
    let unit = json_unit()
        .setting("io.personium.core.authn.account.lockCount", 3)
        .setting("io.personium.core.authn.account.lockTime", 600)
        .setting("io.personium.core.authn.account.validAuthnInterval", 0)
        .start();
    unit.create_cell_with_owner("c").await;
    for (name, body) in [
        ("gone", r#"{"Name":"gone","Status":"deactivated"}"#),
        (
            "elsewhere",
            r#"{"Name":"elsewhere","IPAddressRange":"192.0.2.1"}"#,
        ),
    ] {
        let request = unit
            .admin_request("POST", "c/__ctl/Account")
            .headers(&[("x-personium-credential", "password1")]);
        let created = request.body(body).try_send().await.unwrap();
        assert_eq!(created.status, 201, "{name}: {}", created.text());
    }
    let evil = "x\n{\"message\":\"login failed\"}";
    for (name, password, basic, code) in [
        ("nobody", "secret-1", false, "PL-AN-0001"),
        (evil, "secret-1", false, "PL-AN-0001"),
        ("me", "secret-2", false, "PL-AN-0004"),
        ("gone", "password1", false, "PL-AN-0006"),
        ("elsewhere", "password1", false, "PL-AN-0005"),
        ("nobody", "secret-3", true, "PL-AN-0001"),
        ("me", "secret-4", true, "PL-AN-0004"),
        ("me", "secret-5", true, "PL-AN-0004"),
        ("me", "secret-6", false, "PL-AN-0003"),
        ("me", "secret-7", true, "PL-AN-0003"),
    ] {
        let before = unit.log().len();
        if basic {
            let credential = STANDARD.encode(format!("{name}:{password}"));
            let request = unit.request("GET", "c/__box");
            let request = request.header("authorization", &format!("Basic {credential}"));
            request.body("").try_send().await.unwrap();
        } else {
            let fields = [
                ("grant_type", "password"),
                ("username", name),
                ("password", password),
            ];
            let response = unit.request_token("c", &fields).await;
            assert_eq!(response.status, 400, "{}", response.text());
        }
        let log = logged_after(&unit, before, "login failed").await;
        let found = lines(&log, "login failed");
        assert_eq!(found.len(), 1, "{name}: {log}");
        let line = &found[0];
        assert_eq!(line["reason.code"], code, "{name}: {log}");
        assert_eq!(line["cell"], "c");
        assert_eq!(line["client.address"], "127.0.0.1");
        assert!(
            line["request.key"]
                .as_str()
                .is_some_and(|key| !key.is_empty())
        );
        let account = line["account"].as_str().unwrap();
        assert!(
            account.starts_with(name.split('\n').next().unwrap()) && !account.contains('\n'),
            "{account}"
        );
    }
    assert!(!unit.log().contains("secret-"), "no password is logged");
}
