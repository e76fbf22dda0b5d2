//! Full disks, quotas of a file's size and read-only file systems, on small file systems of their own.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use personium_testkit::{ProcessUnitBuilder, TestClient, wait_until};

use crate::storage_unit::{StorageUnit, bodies, copy};

const CYCLES: usize = 12;

/// A small file system, mounted until it is dropped.
pub struct Mount {
    path: PathBuf,
    _image: tempfile::TempDir,
}

/// The kinds of file systems that are tried.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Tmpfs,
    Ext4,
}

impl Mount {
    /// Mounts a file system of this many MiB. Returns nothing where that is not permitted.
    pub fn new(kind: Kind, path: &Path, mib: u64) -> Option<Self> {
        let image_folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(path).unwrap();
        let succeeds =
            |command: &mut Command| command.output().is_ok_and(|out| out.status.success());
        let mounted = match kind {
            Kind::Tmpfs => succeeds(
                Command::new("mount")
                    .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
                    .arg(path),
            ),
            Kind::Ext4 => {
                let image = image_folder.path().join("image");
                File::create(&image).unwrap().set_len(mib << 20).unwrap();
                succeeds(Command::new("mkfs.ext4").arg("-q").arg(&image))
                    && succeeds(
                        Command::new("mount")
                            .args(["-o", "loop"])
                            .arg(&image)
                            .arg(path),
                    )
            }
        };
        if !mounted {
            eprintln!("skipped: {kind:?} cannot be mounted here");
            return None;
        }
        Some(Self {
            path: path.to_owned(),
            _image: image_folder,
        })
    }
}

impl Mount {
    /// Moves a folder onto a tmpfs of this many MiB that is mounted in its place.
    pub fn below(folder: &Path, mib: u64) -> Option<Self> {
        let before = folder.with_extension("before");
        fs::rename(folder, &before).unwrap();
        let mount = Self::new(Kind::Tmpfs, folder, mib);
        if mount.is_some() {
            for entry in fs::read_dir(&before).unwrap() {
                let from = entry.unwrap().path();
                copy(&from, &folder.join(from.file_name().unwrap()));
            }
        }
        mount
    }

    /// The MiB that are in use, rounded up.
    pub fn used_mib(&self) -> u64 {
        let used = Command::new("du").arg("-sm").arg(&self.path).output();
        let used = String::from_utf8(used.unwrap().stdout).unwrap();
        used.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Gives the tmpfs another size.
    pub fn resize(&self, mib: u64) {
        let resized = Command::new("mount")
            .args(["-o", &format!("remount,size={mib}m")])
            .arg(&self.path)
            .status();
        assert!(resized.unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// Takes all space of the disk but the last few KiB.
pub fn fill(folder: &Path) {
    let mut file = File::create(folder.join("filler")).unwrap();
    let mut piece = vec![b'f'; 1 << 20];
    while piece.len() > 1 << 10 {
        match file.write_all(&piece) {
            Ok(()) => {}
            Err(_) => piece.truncate(piece.len() / 2),
        }
    }
    let _ = file.sync_all();
}

/// Gives it back.
pub fn empty(folder: &Path) {
    fs::remove_file(folder.join("filler")).unwrap();
}

/// Writes small and large files until the unit refuses. Returns the names of those that were acknowledged.
async fn write_until_full(unit: &StorageUnit, cycle: usize) -> Vec<String> {
    let mut written = Vec::new();
    for number in 0..4_000 {
        let path = format!("c/b/f{cycle}-{number}");
        let length = if number % 7 == 0 { 150_000 } else { 6_000 };
        let put = unit
            .admin_request("PUT", &path)
            .body(content(&path, length));
        let response = put.send().await;
        match response.status.as_u16() {
            201 => written.push(path),
            507 => {
                response.expect_error(507, "SV-0001");
                return written;
            }
            other => panic!("{path}: {other} {}", response.text()),
        }
    }
    panic!("the disk did not become full");
}

fn content(path: &str, length: usize) -> Vec<u8> {
    path.bytes().cycle().take(length).collect()
}

async fn expect_files(unit: &TestClient, paths: &[String]) {
    for path in paths {
        let found = unit.admin_request("GET", path).send().await.expect(200);
        let length = found.body.len();
        assert!(found.body == content(path, length), "{path}");
    }
}

async fn wait_until_writable(unit: &StorageUnit) {
    unit.wait_until_ready_says("ready").await;
}

/// A unit in a folder that stores something until the disk is full.
pub fn without_limit(folder: &Path) -> ProcessUnitBuilder {
    let limit = "io.personium.core.store.minFreeInMiB";
    crate::unit().folder(folder).setting(limit, 0)
}

async fn full_disk_is_honest_and_recovers(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Some(_mount) = Mount::new(kind, &data, 24) else {
        return;
    };
    let _load = crate::machine_load().read().await;
    let mut unit = StorageUnit::start(without_limit(folder.path()));
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    unit.put_file("c/b/kept", "kept").await;
    for cycle in 0..CYCLES {
        let by_others = cycle % 2 == 1;
        if by_others {
            fill(&data);
        }
        let written = write_until_full(&unit, cycle).await;
        if matches!(kind, Kind::Tmpfs) {
            let (status, ready) = unit.wait_until_ready_says("storage is full").await;
            assert!(status == 200 && ready.starts_with("degraded"), "{ready}");
        }
        // On ext4, moving the log into the file may free enough space to go on at once.
        if cycle % 3 != 0 {
            unit.kill();
            unit.restart();
        }
        let kept = unit.admin_request("GET", "c/b/kept").send().await;
        assert_eq!(kept.expect(200).text(), "kept", "{cycle}");
        expect_files(&unit, &written).await;
        for path in &written {
            let deleted = unit.admin_request("DELETE", path).send().await;
            assert_eq!(
                deleted.status.as_u16(),
                204,
                "{cycle} {path}: {}",
                deleted.text()
            );
        }
        if by_others {
            empty(&data);
        }
        wait_until_writable(&unit).await;
        let path = format!("c/b/after{cycle}");
        unit.put_file(&path, &"x".repeat(1_000)).await;
    }
    let lines = unit.log().matches("the storage takes no data").count();
    assert!(
        (CYCLES / 2..=4 * CYCLES).contains(&lines),
        "{lines} log lines"
    );
    assert!(unit.log().contains("takes data again"));
}

#[tokio::test]
async fn full_tmpfs_can_be_read_and_emptied_and_recovers() {
    full_disk_is_honest_and_recovers(Kind::Tmpfs).await;
}

#[tokio::test]
async fn full_ext4_can_be_read_and_emptied_and_recovers() {
    full_disk_is_honest_and_recovers(Kind::Ext4).await;
}

#[tokio::test]
async fn refused_changes_of_every_kind_have_the_code_and_a_cell_can_be_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Some(_mount) = Mount::new(Kind::Tmpfs, &data, 16) else {
        return;
    };
    let unit = StorageUnit::start(without_limit(folder.path()));
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    unit.create_odata_collection("c/b/data", "Row").await;
    unit.create("c/b/data/Row", r#"{"__id":"1","a":"b"}"#).await;
    let metric = async |line: &str| {
        let (_, metrics) = unit.admin_text("metrics").await;
        assert!(metrics.contains(line), "{line} in {metrics}");
    };
    metric("\npersonium_storage_full 0\n").await;
    fill(&data);
    unit.wait_until_ready_says("storage is full").await;
    metric("\npersonium_storage_full 1\n").await;
    for (method, path, body) in [
        ("POST", "c/b/data/Row", r#"{"__id":"2"}"#),
        ("PUT", "c/b/data/Row('1')", r#"{"a":"c"}"#),
        ("MKCOL", "c/b/folder", ""),
        ("POST", "__ctl/Cell", r#"{"Name":"d"}"#),
        ("POST", "c/__ctl/Role", r#"{"Name":"r"}"#),
    ] {
        let response = unit.admin_request(method, path).body(body).send().await;
        response.expect_error(507, "SV-0001");
    }
    let found = unit.admin_request("GET", "c/b/data/Row('1')").send().await;
    found.expect(200);
    let delete = unit.admin_request("DELETE", "c/b/data/Row('1')");
    delete.header("if-match", "*").send().await.expect(204);
    let delete = unit
        .admin_request("DELETE", "c")
        .header("x-personium-recursive", "true");
    delete.send().await.expect(204);
    empty(&data);
    wait_until_writable(&unit).await;
    metric("\npersonium_storage_full 0\n").await;
    unit.create_cell("d").await;
}

#[tokio::test]
async fn removed_files_of_a_journal_give_up_their_space_when_the_disk_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Some(_mount) = Mount::new(Kind::Tmpfs, &data, 24) else {
        return;
    };
    let builder = without_limit(folder.path());
    let builder = builder.setting("io.personium.core.store.journalInHours", 1);
    let unit = StorageUnit::start(builder);
    for cell in ["c", "d"] {
        unit.create_cell(cell).await;
        unit.create_box(cell, "b").await;
        let path = format!("{cell}/b/large");
        let put = unit.admin_request("PUT", &path).body(vec![b'x'; 3 << 20]);
        put.send().await.expect(201);
        let deleted = unit.admin_request("DELETE", &path).send().await;
        deleted.expect(204);
    }
    assert_eq!(bodies(&data).len(), 2);
    fill(&data);
    wait_until("the end of the removed files", async || {
        bodies(&data).is_empty()
    })
    .await;
    // Nothing else was removed: the unit can go on with that.
    wait_until_writable(&unit).await;
    let put = unit.admin_request("PUT", "c/b/large");
    put.body(vec![b'x'; 1 << 20]).send().await.expect(201);
}

#[tokio::test]
async fn limit_on_the_size_of_files_is_an_error_and_not_the_end() {
    let program = std::env::temp_dir().join(format!("limited-{}", std::process::id()));
    let script = format!(
        "#!/bin/sh\nexec prlimit --fsize=1000000 {} \"$@\"\n",
        env!("CARGO_BIN_EXE_personium")
    );
    fs::write(&program, script).unwrap();
    let made = Command::new("chmod").arg("700").arg(&program).status();
    assert!(made.unwrap().success());
    let builder = personium_testkit::ProcessUnit::builder(&program);
    let mut unit = StorageUnit::start(builder);
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    unit.put_file("c/b/kept", "kept").await;
    let large = vec![b'x'; 3_000_000];
    let put = unit
        .admin_request("PUT", "c/b/large")
        .body(&large)
        .send()
        .await;
    put.expect_error(507, "SV-0001");
    let mut refused = 0;
    for number in 0..400 {
        let path = format!("c/b/f{number}");
        let put = unit
            .admin_request("PUT", &path)
            .body(&large[..8_000])
            .send()
            .await;
        match put.status.as_u16() {
            201 => {}
            507 => refused += 1,
            other => panic!("{other}: {}", put.text()),
        }
    }
    assert!(refused > 0, "the limit was not reached");
    assert!(unit.is_running());
    let kept = unit.admin_request("GET", "c/b/kept").send().await;
    assert_eq!(kept.expect(200).text(), "kept");
    unit.admin_request("DELETE", "c/b/f0")
        .send()
        .await
        .expect(204);
    drop(unit);
    fs::remove_file(program).unwrap();
}

#[tokio::test]
async fn read_only_file_system_is_named_and_recovers() {
    let unit = StorageUnit::start(crate::unit());
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    unit.put_file("c/b/kept", &"k".repeat(200_000)).await;
    let data = unit.data();
    // Files that are open stay writable, everything that is opened from now on is not.
    let mount = |args: &[&str]| {
        let out = Command::new("mount").args(args).arg(&data).output();
        out.is_ok_and(|out| out.status.success())
    };
    let source = data.to_str().unwrap().to_owned();
    if !mount(&["--bind", &source]) {
        eprintln!("skipped: nothing can be mounted here");
        return;
    }
    let bound = BindMount(data.clone());
    assert!(mount(&["-o", "remount,bind,ro"]));
    let (_, ready) = unit.wait_until_ready_says("read-only").await;
    assert!(ready.starts_with("degraded"), "{ready}");
    let (_, metrics) = unit.admin_text("metrics").await;
    assert!(
        metrics.contains("\npersonium_storage_read_only 1\n"),
        "{metrics}"
    );
    let put = unit
        .admin_request("PUT", "c/b/large")
        .body(vec![b'x'; 200_000]);
    put.send().await.expect_error(503, "SV-0007");
    let kept = unit.admin_request("GET", "c/b/kept").send().await;
    assert_eq!(kept.expect(200).body.len(), 200_000);
    drop(bound);
    wait_until_writable(&unit).await;
    unit.put_file("c/b/after", &"x".repeat(200_000)).await;
}

/// A bind mount, until it is dropped.
struct BindMount(PathBuf);

impl Drop for BindMount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
