//! A cell whose database file is damaged beyond repair: it is refused with an error, all others serve, it is named, and it comes back from a
//! back-up in its place.

use std::fs;
use std::path::{Path, PathBuf};

use personium_testkit::{TestClient, free_port};

use crate::copied_unit::stage::{Stage, change};
use crate::program;
use crate::storage_unit::cell_files;
use crate::verified_unit::{expect_whole, verify};

/// A text that only the cell `two` has.
const NEEDLE: &str = "only in this cell";

type Damage = fn(&mut Vec<u8>);

const DAMAGES: [(&str, Damage); 4] = [
    ("its header is overwritten", |bytes| bytes[..100].fill(0)),
    ("it is empty", Vec::clear),
    ("its second half is missing", |bytes| {
        bytes.truncate(bytes.len() / 2);
    }),
    ("it is something else", |bytes| bytes.fill(7)),
];

/// The database file of the cell `two` of a stopped unit.
fn file_of_cell(stage: &Stage) -> PathBuf {
    let has = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        let needle = NEEDLE.as_bytes();
        bytes.windows(needle.len()).any(|part| part == needle)
    };
    let mut found = cell_files(&stage.source.data).into_iter().filter(has);
    let file = found.next().unwrap();
    assert!(found.next().is_none());
    file
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// The metric of the spaces with damage.
async fn damaged_spaces(admin_port: u16) -> String {
    let client = TestClient::for_port(admin_port);
    let metrics = client.request("GET", "metrics").send().await.text();
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix("personium_damaged_spaces "));
    value.unwrap_or_else(|| panic!("{metrics}")).to_owned()
}

async fn status(unit: &TestClient, path: &str) -> u16 {
    let got = unit.admin_request("GET", path);
    let got = got.header("accept", "application/json").send().await;
    let status = got.status.as_u16();
    if status >= 500 {
        let text = got.text();
        assert!(
            text.contains("\"code\":\"PR50") || text.contains("<code>PR50"),
            "{text}"
        );
    }
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cell_whose_file_is_broken_is_refused_alone_and_comes_back_in_its_place() {
    let admin_port = free_port();
    let listen = format!("io.personium.core.admin.listen=127.0.0.1:{admin_port}\n");
    let mut stage = Stage::start(&listen).await;
    stage.unit.restart();
    let row = format!(r#"{{"__id":"needle","text":"{NEEDLE}"}}"#);
    stage.unit.create("two/box/data/Row", &row).await;
    stage.unit.terminate();
    assert!(stage.unit.wait());
    let folder = stage.unit.folder().join("backups");
    let (place, settings) = (
        folder.to_str().unwrap().to_owned(),
        stage.source.settings().to_owned(),
    );
    let back_up = || {
        let output = program::run(&["backup", "--config", &settings, "--to", &place]);
        (output.status.success(), program::text(&output))
    };
    let (done, text) = back_up();
    assert!(done, "{text}");
    for (what, damage) in DAMAGES {
        let file = file_of_cell(&stage);
        change(&file, damage);
        stage.unit.restart();
        for path in [
            "box/data/Row('needle')",
            "box/f1",
            "__ctl/Role",
            "__ctl/Box",
        ] {
            let found = status(&stage.unit, &format!("two/{path}")).await;
            assert!(found >= 500, "{what}: {path}: {found}");
        }
        for cell in ["one", "three", "four"] {
            for path in ["box/data/Row('r3')", "box/f1", "__ctl/Role"] {
                let found = status(&stage.unit, &format!("{cell}/{path}")).await;
                assert_eq!(found, 200, "{what}: {cell}/{path}");
            }
            stage.unit.put_file(&format!("{cell}/box/more"), what).await;
            stage.unit.login(cell, &[]).await;
        }
        // Found and named, also while the unit serves; the others are backed up.
        let (code, text) = verify(&stage.source, &[]);
        assert!(
            code == Some(3) && text.contains("cell two"),
            "{what}: {text}"
        );
        let others = text.lines().filter(|line| line.starts_with("damage: "));
        assert!(
            others.clone().all(|line| line.contains("cell two")),
            "{what}: {text}"
        );
        let log = stage.unit.log();
        assert!(log.contains("stored data is damaged"), "{what}: {log}");
        assert_eq!(damaged_spaces(admin_port).await, "1", "{what}");
        let (done, text) = back_up();
        assert!(
            !done && text.contains("cell two is not complete") && text.contains("Generation "),
            "{what}: {text}"
        );
        stage.unit.terminate();
        assert!(stage.unit.wait());
        // Named by both commands of a stopped unit. A repair leaves it as it is, and does what it can for the others.
        let (done, text) = stage.source.run("check");
        let id = file_name(&file);
        assert!(!done && text.contains(&id), "{what}: {text}");
        let before = fs::read(&file).unwrap();
        let (code, text) = verify(&stage.source, &["--repair"]);
        assert!(
            code == Some(3) && text.contains("cell two") && text.contains("Verified: "),
            "{what}: {text}"
        );
        assert!(fs::read(&file).unwrap() == before, "{what}");
        // The generations of the damage lead to the state from before, which is what the first one has.
        let first = program::run(&["restore", "--from", &place, "--list"]);
        let list = program::text(&first);
        let first = list.split(':').next().unwrap();
        let restored = program::run(&[
            "restore",
            "--from",
            &place,
            "--generation",
            first,
            "--cell",
            "two",
            "--replace",
            "--to",
            &settings,
        ]);
        let text = program::text(&restored);
        assert!(text.contains("Restored the cell two"), "{what}: {text}");
        expect_whole(&stage.source);
        stage.unit.restart();
        for path in ["box/data/Row('needle')", "box/f1", "__ctl/Role"] {
            let found = status(&stage.unit, &format!("two/{path}")).await;
            assert_eq!(found, 200, "{what}: {path}");
        }
        stage.unit.login("two", &[]).await;
        stage.unit.terminate();
        assert!(stage.unit.wait());
    }
}
