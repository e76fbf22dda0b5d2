//! Exports and installations on a full disk: at each step the failure has a code, nothing is left of it, and the cell is as it was.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use personium_testkit::{TestResponse, wait_until};

use crate::full_disk::{Kind, Mount, fill as fill_disk, without_limit};
use crate::interrupted_import::{begin, check_whole, end, export, fill, stored};
use crate::storage_unit::StorageUnit;

const ARCHIVE: &str = "application/zip+x-personium-bar";

/// A file that takes the space of a disk, until it is dropped.
struct Filler(PathBuf);

impl Filler {
    /// Leaves so many KiB.
    fn leaving(folder: &Path, kib: u64) -> Self {
        fill_disk(folder);
        let path = folder.join("filler");
        let file = File::options().write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length - (kib << 10)).unwrap();
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

/// The free space of the disk of a folder in KiB.
fn free_kib(folder: &Path) -> u64 {
    let shown = Command::new("df")
        .args(["--output=avail", "-k"])
        .arg(folder)
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    shown.lines().last().unwrap().trim().parse().unwrap()
}

async fn export_box(unit: &StorageUnit) -> TestResponse {
    let request = unit.admin_request("GET", "c/b");
    request.header("accept", ARCHIVE).send().await
}

/// Exports the cell without enough room: there is no snapshot. Returns whether a file tells why.
async fn fail_to_export(unit: &StorageUnit) -> bool {
    match begin(unit, "__export").await {
        202 => assert_eq!(end(unit, "__export").await, "ready"),
        refused => assert_eq!(refused, 507),
    }
    let snapshot = unit.admin_request("GET", "c/__snapshot/s.zip").send().await;
    snapshot.expect(404);
    let path = "c/__snapshot/s.error";
    let why = unit.admin_request("GET", path).send().await;
    if why.status.as_u16() == 404 {
        return false;
    }
    assert_eq!(why.json()["code"], "PR507-SV-0001", "{}", why.text());
    unit.admin_request("DELETE", path).send().await.expect(204);
    true
}

#[tokio::test]
async fn exports_without_room_for_temporary_files_fail_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let temporary = folder.path().join("temporary");
    let Some(_mount) = Mount::new(Kind::Tmpfs, &temporary, 32) else {
        return;
    };
    let builder = crate::unit().folder(folder.path());
    let builder = builder.setting("io.personium.core.bar.tmp.dir", temporary.display());
    let unit = StorageUnit::start(builder);
    fill(&unit).await;
    let before = stored(&unit.data());
    for kib in [0, 8, 300, 2_000, 5_000] {
        let filler = Filler::leaving(&temporary, kib);
        let free = free_kib(&temporary);
        export_box(&unit).await.expect_error(507, "SV-0001");
        assert!(fail_to_export(&unit).await, "{kib} KiB");
        wait_until("the end of the temporary files", async || {
            free_kib(&temporary) == free
        })
        .await;
        drop(filler);
        assert_eq!(stored(&unit.data()), before, "{kib} KiB");
    }
    assert_eq!(check_whole(&unit).await, "old");
    export_box(&unit).await.expect(200);
    export(&unit).await;
}

/// Installs an archive as the box `c/new`, and waits for the end. Returns the status with the reason of the failure, or the answer that
/// refused it.
async fn install(unit: &StorageUnit, archive: &[u8]) -> String {
    let request = unit.admin_request("MKCOL", "c/new");
    let request = request.header("content-type", "application/zip");
    let begun = request.body(archive).send().await;
    if begun.status != 202 {
        return begun.text();
    }
    wait_until("the end of the installation", async || {
        installation(unit).await["status"] != "installation in progress"
    })
    .await;
    installation(unit).await.to_string()
}

async fn installation(unit: &StorageUnit) -> serde_json::Value {
    let request = unit.admin_request("GET", "c/new");
    let request = request.header("accept", "application/json");
    request.send().await.json()["box"].take()
}

async fn boxes(unit: &StorageUnit) -> usize {
    let listed = unit.admin_request("GET", "c/__ctl/Box?$format=json");
    let listed = listed.send().await.expect(200).json();
    listed["d"]["results"].as_array().unwrap().len()
}

#[tokio::test]
async fn installations_on_a_full_disk_fail_at_each_step_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Some(_mount) = Mount::new(Kind::Tmpfs, &data, 48) else {
        return;
    };
    let temporary = folder.path().join("temporary");
    fs::create_dir(&temporary).unwrap();
    let builder = without_limit(folder.path());
    let builder = builder.setting("io.personium.core.bar.tmp.dir", temporary.display());
    // The bodies that a killed process was about to remove are removed by the first scan after the next start.
    let first_scan = "io.personium.core.blobStore.firstOrphanScanInSeconds";
    let builder = builder.setting(first_scan, 2);
    let mut unit = StorageUnit::start(builder);
    fill(&unit).await;
    let archive = export_box(&unit).await.expect(200).body.to_vec();
    let before = stored(&data);
    // Nothing, some records, some files. The reserve, which is given up, has another 3 MB of the 7 that are needed.
    for (round, kib) in [0, 300, 1_500, 2_500, 3_500].into_iter().enumerate() {
        let filler = Filler::leaving(&data, kib);
        let outcome = install(&unit, &archive).await;
        assert!(outcome.contains("PR507-SV-0001"), "{kib} KiB: {outcome}");
        if round == 2 {
            unit.kill();
            unit.restart();
        }
        wait_until("the removal of what was made", async || {
            stored(&data) == before && boxes(&unit).await == 1
        })
        .await;
        drop(filler);
        unit.wait_until_ready_says("ready").await;
        assert_eq!(check_whole(&unit).await, "old", "{kib} KiB");
    }
    let outcome = install(&unit, &archive).await;
    assert!(outcome.contains("\"ready\""), "{outcome}");
    let state = unit.admin_request("GET", "c/new/state").send().await;
    assert_eq!(state.expect(200).text(), "old");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    unit.kill();
    let (is_good, report) = unit.check();
    assert!(is_good, "{report}");
}
