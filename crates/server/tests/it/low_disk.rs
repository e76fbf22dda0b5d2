//! Disks with little free space: the unit is read and deleted from only, by itself, until there is more. Disks that are mounted over the folders of a
//! running unit: nothing is stored there.

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

/// Waits until a unit says whether the folder of a content is on another file system than at the start.
async fn wait_until_displaced(unit: &StorageUnit, content: &str, is_displaced: bool) {
    let name = format!("personium_disk_displaced{{content=\"{content}\"}}");
    wait_until("the unit looks at its folders", async || {
        unit.metric(&name).await == u64::from(is_displaced)
    })
    .await;
}

#[tokio::test]
async fn nothing_is_stored_in_a_folder_while_another_file_system_is_mounted_there() {
    let folder = tempfile::tempdir().unwrap();
    let bodies = folder.path().join("bodies");
    let temporary = folder.path().join("temporary");
    let Some(_mount) = Mount::new(Kind::Tmpfs, &bodies, 24) else {
        return;
    };
    let key = "io.personium.core.";
    let settings = format!(
        "{key}blobStore.root={}\n{key}bar.tmp.dir={}\n",
        bodies.display(),
        temporary.display()
    );
    let unit = StorageUnit::start(crate::unit().folder(folder.path()).settings(&settings));
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    let large = "l".repeat(MIB);
    unit.put_file("c/b/large", &large).await;
    let put = async |name: &str, body: &str| {
        let request = unit.admin_request("PUT", &format!("c/b/{name}"));
        request.body(body).send().await
    };
    let export = async || {
        let request = unit.admin_request("GET", "c/b");
        let request = request.header("accept", "application/zip+x-personium-bar");
        request.send().await
    };
    let read = async || unit.admin_request("GET", "c/b/large").send().await;
    export().await.expect(200);
    for content in ["bodies", "temporary"] {
        wait_until_displaced(&unit, content, false).await;
    }

    let over = Mount::new(Kind::Tmpfs, &temporary, 8).unwrap();
    export().await.expect_error(503, "SV-0006");
    wait_until_displaced(&unit, "temporary", true).await;
    let (status, ready) = unit
        .wait_until_ready_says("on another file system than at the start")
        .await;
    assert!(status == 200 && ready.starts_with("degraded"), "{ready}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    put("small", "s").await.expect(201);
    drop(over);
    wait_until_displaced(&unit, "temporary", false).await;
    export().await.expect(200);

    // An empty one at the place of the bodies, and one with the mark of another unit.
    for mark in [None, Some("personium unit 0a-1b\n")] {
        let over = Mount::new(Kind::Tmpfs, &bodies, 8).unwrap();
        if let Some(mark) = mark {
            fs::write(bodies.join("unit.id"), mark).unwrap();
        }
        put("other", &large).await.expect_error(503, "SV-0006");
        wait_until_displaced(&unit, "bodies", true).await;
        put("other", &large).await.expect_error(503, "SV-0006");
        read().await.expect_error(503, "SV-0006");
        put("small", "s").await.expect(204);
        let found = fs::read_dir(&bodies).unwrap().count();
        assert_eq!(found, usize::from(mark.is_some()), "nothing was written");
        drop(over);
        wait_until_displaced(&unit, "bodies", false).await;
        assert_eq!(read().await.expect(200).text(), large);
        put("other", &large).await.expect_success();
    }
    let log = unit.log();
    assert!(
        log.contains("on another file system than at the start"),
        "{log}"
    );
    assert!(log.contains("is on its file system again"), "{log}");
}
