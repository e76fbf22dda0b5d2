//! File bodies that are stored encrypted, on a real disk, under a secret that changes.
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

use std::path::{Path, PathBuf};

use process::{Client, Unit};

const ON: &str = "io.personium.core.security.dav.encrypt_files.enabled=true\n";
const FIRST: &str = "security.secret16=0123456789abcdef";
const SECOND: &str = "security.secret16=another-secret-of-this-unit";
const MARK: &str = "this is what nobody else may read";

fn large() -> String {
    MARK.repeat(100_000)
}

fn unit_with_files(purpose: &str) -> Unit {
    let unit = Unit::start_with(purpose, ON);
    let mut admin = unit.admin();
    admin.made("POST", "/__ctl/Cell", r#"{"Name":"c"}"#);
    admin.made("POST", "/c/__ctl/Box", r#"{"Name":"b"}"#);
    for (path, body) in [("/c/b/small", MARK.to_owned()), ("/c/b/large", large())] {
        let answer = admin.send("PUT", path, &[], body.as_bytes()).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    unit
}

fn are_readable(mut client: Client) {
    for (path, body) in [("/c/b/small", MARK.to_owned()), ("/c/b/large", large())] {
        let answer = client.send("GET", path, &[], b"").unwrap();
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body == body.as_bytes(), "{path}");
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The files below the data folder that hold the marked text as it is.
fn marked(unit: &Unit) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&unit.scratch.path().join("data"), &mut found);
    assert!(found.len() > 3, "{found:?}");
    let mark = MARK.as_bytes();
    found.retain(|path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(mark.len()).any(|part| part == mark)
    });
    found
}

#[test]
fn the_disk_holds_nothing_readable_and_an_altered_body_is_not_sent() {
    let mut unit = unit_with_files("encrypted");
    are_readable(unit.admin());
    assert_eq!(marked(&unit), Vec::<PathBuf>::new());
    unit.kill();
    unit.restart();
    are_readable(unit.admin());

    let mut bodies = Vec::new();
    files(&unit.scratch.path().join("data/files"), &mut bodies);
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let mut bytes = std::fs::read(&bodies[0]).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&bodies[0], bytes).unwrap();
    let broken = unit.admin().send("GET", "/c/b/large", &[], b"");
    assert!(broken.is_err(), "{broken:?}");
    let short = [("Range", "bytes=100000-100099")];
    let answer = unit.admin().send("GET", "/c/b/large", &short, b"").unwrap();
    assert!(answer.body == large().as_bytes()[100_000..100_100]);
}

#[test]
fn without_the_setting_bodies_are_stored_as_they_are() {
    let unit = Unit::start("plain");
    let mut admin = unit.admin();
    admin.made("POST", "/__ctl/Cell", r#"{"Name":"c"}"#);
    admin.made("POST", "/c/__ctl/Box", r#"{"Name":"b"}"#);
    let answer = admin.send("PUT", "/c/b/large", &[], large().as_bytes());
    assert_eq!(answer.unwrap().status, 201);
    assert_eq!(marked(&unit).len(), 1);
}

#[test]
fn another_secret_takes_the_key_over_or_the_unit_does_not_start() {
    let mut unit = unit_with_files("secret");
    unit.kill();

    unit.change_settings(FIRST, SECOND);
    let log = unit.refuse_to_restart();
    assert!(log.contains("security.secret16.previous"), "{log}");

    let previous = FIRST.replace("secret16=", "secret16.previous=");
    let both = format!("{SECOND}\nio.personium.core.{previous}");
    unit.change_settings(SECOND, &both);
    unit.restart();
    are_readable(unit.admin());
    unit.kill();

    // Once is enough: the former secret is not needed any more.
    unit.change_settings(&both, SECOND);
    unit.restart();
    are_readable(unit.admin());
    unit.kill();
    unit.change_settings(SECOND, FIRST);
    unit.refuse_to_restart();
}
