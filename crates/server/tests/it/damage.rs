//! Bytes on the disk that were changed: found when they are read, never sent as if they were right.

use std::fs;
use std::path::Path;
use std::time::Duration;

use personium_testkit::TestClient;

use crate::storage_unit::{StorageUnit, bodies, cell_files, files};

const ROWS: usize = 300;

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|part| part == text)
}

/// Moves the logs of all databases into them: a new opening and an orderly end do that.
async fn end_orderly(unit: &mut StorageUnit) {
    let id = unit.process_id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-TERM", &id])
        .status();
    assert!(sent.unwrap().success());
    while unit.is_running() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(files(&unit.data().join("records"), "-wal").is_empty());
}

async fn unit_with_rows() -> StorageUnit {
    let unit = StorageUnit::start(crate::unit());
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    unit.create_odata_collection("c/b/data", "Row").await;
    for n in 0..ROWS {
        unit.create("c/b/data/Row", &row(n)).await;
    }
    unit
}

fn row(n: usize) -> String {
    format!(r#"{{"__id":"row{n:04}","text":"content-of-{n:04}"}}"#)
}

async fn find_row(unit: &TestClient, n: usize) -> u16 {
    let path = format!("c/b/data/Row('row{n:04}')");
    let request = unit
        .admin_request("GET", &path)
        .header("accept", "application/json");
    let response = request.send().await;
    if response.status == 200 {
        let text = response.results()["text"].clone();
        assert_eq!(text, format!("content-of-{n:04}"));
    } else {
        assert!(response.text().contains("PR500-"), "{}", response.text());
    }
    response.status.as_u16()
}

#[tokio::test]
async fn changed_bit_of_an_entity_is_an_error_of_that_entity() {
    let mut unit = unit_with_rows().await;
    end_orderly(&mut unit).await;
    for path in cell_files(&unit.data()) {
        change(&path, |bytes| {
            // The entity itself; index entries have the text in another form.
            let at = find(bytes, br#""content-of-0123""#).unwrap();
            bytes[at + 14] ^= 1;
        });
    }
    unit.restart();
    for n in [0, 122, 124, ROWS - 1] {
        assert_eq!(find_row(&unit, n).await, 200);
    }
    assert_eq!(find_row(&unit, 123).await, 500);
    let (_, ready) = unit.wait_until_ready_says("damaged").await;
    assert!(ready.starts_with("degraded"), "{ready}");
    assert!(unit.log().contains("stored data is damaged"));
    let (_, metrics) = unit.admin_text("metrics").await;
    assert!(metrics.contains("personium_damaged_spaces 1"), "{metrics}");
    // The rest of the cell can be changed.
    unit.create("c/b/data/Row", &row(ROWS)).await;
}

#[tokio::test]
async fn no_entity_of_a_zeroed_page_is_said_to_be_absent() {
    for half in [0, 4096] {
        let mut unit = unit_with_rows().await;
        end_orderly(&mut unit).await;
        for path in cell_files(&unit.data()) {
            change(&path, |bytes| {
                let at = find(bytes, br#""content-of-0123""#).unwrap();
                let page = at / 8192 * 8192 + half;
                bytes[page..page + 4096].fill(0);
            });
        }
        unit.restart();
        for n in 0..ROWS {
            find_row(&unit, n).await;
        }
        let list = unit.admin_request("GET", "c/b/data/Row").send().await;
        assert_eq!(list.status.as_u16(), 500);
        let (_, ready) = unit.wait_until_ready_says("is damaged").await;
        assert!(ready.starts_with("degraded"), "{ready}");
        assert!(unit.log().contains("stored data is damaged"));
        let (ok, report) = {
            end_orderly(&mut unit).await;
            unit.check()
        };
        assert!(!ok && report.contains("damaged"), "{report}");
    }
}

#[tokio::test]
async fn changed_byte_of_a_body_is_never_sent_as_if_it_were_right() {
    let unit = StorageUnit::start(crate::unit());
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    let body = |length: usize| b"0123456789".repeat(length / 10);
    for (name, length, changed) in [
        ("begin", 1_000_000, 5_000),
        ("end", 1_000_000, 999_999),
        ("short", 100_000, 99_999),
    ] {
        let path = format!("c/b/{name}");
        let before = bodies(&unit.data());
        let put = unit.admin_request("PUT", &path).body(body(length));
        put.send().await.expect(201);
        let mut after = bodies(&unit.data());
        after.retain(|file| !before.contains(file));
        change(&after[0], |bytes| bytes[changed] ^= 1);
        let read = unit.admin_request("GET", &path).try_send().await;
        match read {
            // The head was sent before the damage was found.
            Err(_) => assert_eq!(name, "end"),
            Ok(response) => drop(response.expect_error(500, "SV-0000")),
        }
        let at = changed / 65_536 * 65_536;
        let range = format!("bytes={at}-{}", at + 9);
        let part = unit.admin_request("GET", &path).header("range", &range);
        part.send().await.expect_error(500, "SV-0000");
        if length > 500_000 {
            let part = unit
                .admin_request("GET", &path)
                .header("range", "bytes=500000-500009");
            assert_eq!(part.send().await.expect(206).text(), "0123456789");
        }
    }
    assert!(unit.log().contains("a file body is damaged"));
    let (_, ready) = unit.admin_text("ready").await;
    assert!(
        ready.contains("file body") && ready.contains("damaged"),
        "{ready}"
    );
    for path in bodies(&unit.data()) {
        fs::remove_file(path).unwrap();
    }
    let gone = unit.admin_request("GET", "c/b/end").send().await;
    gone.expect_error(500, "DV-0001");
}

#[tokio::test]
async fn bodies_of_killed_uploads_are_removed_soon_after_the_next_start() {
    let setting = "io.personium.core.blobStore.firstOrphanScanInSeconds";
    let mut unit = StorageUnit::start(crate::unit().setting(setting, 1));
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    unit.put_file("c/b/kept", &"x".repeat(200_000)).await;
    unit.kill();
    // As if the unit was killed between a body and its record.
    let kept = bodies(&unit.data()).pop().unwrap();
    let id = kept.file_name().unwrap().to_str().unwrap();
    let last = if id.ends_with('0') { '1' } else { '0' };
    let orphan = kept.with_file_name(format!("{}{last}", &id[..id.len() - 1]));
    fs::copy(&kept, &orphan).unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    unit.restart();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(bodies(&unit.data()), [kept]);
    assert!(unit.log().contains("removed orphaned file bodies"));
}
