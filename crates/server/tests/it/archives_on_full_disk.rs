//! Exports on a full disk: at each step the failure has a code, nothing is left of it, and the cell is as it was.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use personium_testkit::{TestResponse, wait_until};

use crate::full_disk::{Kind, Mount, fill as fill_disk};
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
