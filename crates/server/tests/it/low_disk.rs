//! Disks with little free space: the unit is read and deleted from only, by itself, until there is more.

use std::fs;
use std::path::Path;
use std::process::Command;

use personium_testkit::{TestClient, wait_until};

use crate::full_disk::{Kind, Mount};
use crate::storage_unit::StorageUnit;

const MIB: usize = 1 << 20;

/// A unit whose disk must have 4 of its 24 MiB free, and 6 to store something again.
fn limited_unit(folder: &Path) -> StorageUnit {
    let settings = "io.personium.core.store.minFreeInMiB=4\n\
                    io.personium.core.store.minFreePercent=90\n\
                    io.personium.core.store.resumeFreePercent=150\n";
    StorageUnit::start(crate::unit().folder(folder).settings(settings))
}

/// Leaves so many MiB of the disk free.
pub fn leave_free(data: &Path, mib: usize) {
    let filler = data.join("filler");
    let _ = fs::remove_file(&filler);
    let mut shown = Command::new("df");
    shown.args(["--output=avail", "-B1"]).arg(data);
    let shown = String::from_utf8(shown.output().unwrap().stdout).unwrap();
    let free = shown.lines().nth(1).unwrap().trim();
    let free: usize = free.parse().unwrap();
    fs::write(&filler, vec![b'f'; free.saturating_sub(mib * MIB)]).unwrap();
}

async fn put(unit: &StorageUnit, path: &str) -> u16 {
    let put = unit.admin_request("PUT", path).body("x").send().await;
    let status = put.status.as_u16();
    if status >= 400 {
        put.expect_error(503, "SV-0005");
    }
    status
}

pub async fn low_space(unit: &TestClient) -> serde_json::Value {
    let shown = unit.admin_request("GET", "__status").send().await;
    shown.json()["health"]["lowSpace"].clone()
}

async fn wait_until_written(unit: &StorageUnit, path: &str) {
    wait_until("data is stored again", async || {
        put(unit, path).await == 201
    })
    .await;
}

#[tokio::test]
async fn disk_with_little_space_is_only_read_and_deleted_from_until_it_has_more() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Some(_mount) = Mount::new(Kind::Tmpfs, &data, 24) else {
        return;
    };
    let mut unit = limited_unit(folder.path());
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    unit.put_file("c/b/kept", "kept").await;
    unit.put_file("c/b/large", &"l".repeat(4 * MIB)).await;
    let metric = async |line: &str| {
        let (_, metrics) = unit.admin_text("metrics").await;
        assert!(metrics.contains(line), "{line} in {metrics}");
    };
    metric("\npersonium_disk_low{content=\"records\"} 0\n").await;
    assert_eq!(low_space(&unit).await, serde_json::json!([]));

    leave_free(&data, 3);
    let (status, ready) = unit.wait_until_ready_says("nearly full").await;
    assert!(status == 200 && ready.starts_with("degraded"), "{ready}");
    metric("\npersonium_disk_low{content=\"records\"} 1\n").await;
    metric("\npersonium_disk_free_bytes{content=\"records\"} 3").await;
    metric("\npersonium_storage_full 0\n").await;
    assert_eq!(low_space(&unit).await, serde_json::json!(["records"]));
    assert_eq!(put(&unit, "c/b/refused").await, 503);
    let refused = unit.admin_request("POST", "__ctl/Cell").body("{}");
    refused.send().await.expect_error(503, "SV-0005");
    let (_, report) = unit.check();
    assert!(report.contains("less than the limit of 4 MiB"), "{report}");

    // The next process knows before its first request.
    unit.kill();
    unit.restart();
    assert_eq!(put(&unit, "c/b/refused").await, 503);
    let kept = unit.admin_request("GET", "c/b/kept").send().await;
    assert_eq!(kept.expect(200).text(), "kept");
    let deleted = unit.admin_request("DELETE", "c/b/large").send().await;
    deleted.expect(204);
    wait_until_written(&unit, "c/b/after").await;
    unit.wait_until_ready_says("ready\n").await;
    assert_eq!(low_space(&unit).await, serde_json::json!([]));
    let log = unit.log();
    assert!(log.contains("the disk has little space left"), "{log}");
    assert!(log.contains("the disk has enough space again"), "{log}");
}

#[tokio::test]
async fn mode_of_an_administrator_stays_when_a_disk_has_space_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Some(_mount) = Mount::new(Kind::Tmpfs, &data, 24) else {
        return;
    };
    let mut unit = limited_unit(folder.path());
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    let set_mode = |mode: &str| {
        let out = Command::new(env!("CARGO_BIN_EXE_personium"))
            .args(["admin", "mode", mode, "--config"])
            .arg(folder.path().join("unit.properties"))
            .arg("--data")
            .arg(&data)
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    unit.kill();
    leave_free(&data, 3);
    let shown = set_mode("read-delete");
    assert!(shown.contains("deleted from only"), "{shown}");
    unit.restart();
    unit.wait_until_ready_says("nearly full").await;
    assert_eq!(put(&unit, "c/b/f").await, 503);
    leave_free(&data, 12);
    unit.wait_until_ready_says("ready\n").await;
    assert_eq!(put(&unit, "c/b/f").await, 503);
    unit.kill();
    let shown = set_mode("normal");
    assert!(shown.contains("normal mode"), "{shown}");
    unit.restart();
    assert_eq!(put(&unit, "c/b/f").await, 201);
}
