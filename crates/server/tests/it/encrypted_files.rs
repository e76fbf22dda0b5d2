//! Encryption of stored file bodies, on a real disk, with a changed secret.

use std::path::{Path, PathBuf};

use personium_testkit::{ProcessUnit, TestClient};

const ENCRYPTION: &str = "io.personium.core.security.dav.encrypt.enabled";
const FIRST: &str = "security.secret16=0123456789abcdef";
const SECOND: &str = "security.secret16=another-secret-of-this-unit";
const MARK: &str = "this is what nobody else may read";

fn large() -> String {
    MARK.repeat(100_000)
}

async fn create_box(unit: &TestClient) {
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
}

async fn unit_with_files() -> ProcessUnit {
    let unit = crate::unit().setting(ENCRYPTION, true).start();
    create_box(&unit).await;
    for (path, body) in [("c/b/small", MARK.to_owned()), ("c/b/large", large())] {
        let put = unit.admin_request("PUT", path).body(&body);
        put.send().await.expect(201);
    }
    unit
}

async fn expect_readable(unit: &TestClient) {
    for (path, body) in [("c/b/small", MARK.to_owned()), ("c/b/large", large())] {
        let response = unit.admin_request("GET", path).send().await.expect(200);
        assert!(response.body == body.as_bytes(), "{path}");
    }
}

/// Collects the files below a folder, without sockets.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

/// The files below the data folder that contain the marked text.
fn marked_files(unit: &ProcessUnit) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&unit.folder().join("data"), &mut found);
    assert!(found.len() > 3, "{found:?}");
    let mark = MARK.as_bytes();
    found.retain(|path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(mark.len()).any(|part| part == mark)
    });
    found
}

#[tokio::test]
async fn encrypted_bodies_are_unreadable_on_disk_and_altered_ones_are_not_sent() {
    let mut unit = unit_with_files().await;
    expect_readable(&unit).await;
    assert_eq!(marked_files(&unit), Vec::<PathBuf>::new());
    unit.kill();
    unit.restart();
    expect_readable(&unit).await;

    let mut bodies = Vec::new();
    files(&unit.folder().join("data/files"), &mut bodies);
    bodies.retain(|path| path.file_name().unwrap() != "unit.id");
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let mut bytes = std::fs::read(&bodies[0]).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&bodies[0], bytes).unwrap();
    let broken = unit.admin_request("GET", "c/b/large").send().await;
    broken.expect_error(500, "SV-0000");
    let range = unit
        .admin_request("GET", "c/b/large")
        .header("range", "bytes=100000-100099");
    assert!(range.send().await.body == large().as_bytes()[100_000..100_100]);
}

#[tokio::test]
async fn bodies_are_stored_unencrypted_without_the_setting() {
    let unit = crate::unit().start();
    create_box(&unit).await;
    let put = unit.admin_request("PUT", "c/b/large").body(large());
    put.send().await.expect(201);
    assert_eq!(marked_files(&unit).len(), 1);
}

/// The public key of the cell, which is created if there is none.
async fn certs(unit: &TestClient) -> String {
    let certs = unit.request("GET", "c/__certs").send().await;
    certs.expect(200).text()
}

/// The signing keys of cells are encrypted also if file bodies are not.
#[tokio::test]
async fn changed_secret_needs_the_previous_one_once_there_is_a_signing_key() {
    let mut unit = crate::unit().start();
    create_box(&unit).await;
    let before = certs(&unit).await;
    unit.kill();
    unit.replace_in_settings(FIRST, SECOND);
    unit.expect_refused_restart();
    let previous = FIRST.replace("secret16=", "secret16.previous=");
    unit.replace_in_settings(SECOND, &format!("{SECOND}\nio.personium.core.{previous}"));
    unit.restart();
    assert_eq!(certs(&unit).await, before);
}

#[tokio::test]
async fn changed_secret_needs_the_previous_one_once() {
    let mut unit = unit_with_files().await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    let session = unit.access_token("c").await;
    unit.kill();

    unit.replace_in_settings(FIRST, SECOND);
    let log = unit.expect_refused_restart();
    assert!(log.contains("security.secret16.previous"), "{log}");

    let previous = FIRST.replace("secret16=", "secret16.previous=");
    let both = format!("{SECOND}\nio.personium.core.{previous}");
    unit.replace_in_settings(SECOND, &both);
    unit.restart();
    expect_readable(&unit).await;
    // The session goes on: it is known, but may not list roles.
    let known = unit.request("GET", "c/__ctl/Role").bearer(&session);
    known.send().await.expect(403);
    unit.kill();

    unit.replace_in_settings(&both, SECOND);
    unit.restart();
    expect_readable(&unit).await;
    unit.kill();
    unit.replace_in_settings(SECOND, FIRST);
    unit.expect_refused_restart();
}
