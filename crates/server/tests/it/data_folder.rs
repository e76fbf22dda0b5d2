//! Data folders with missing and foreign parts, on a real disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use personium_testkit::SplitMix64;

use crate::program;
use crate::storage_unit::{StorageUnit, bodies, cell_files, copy, files};

/// A unit with two cells, a small file and a large one in the first.
async fn whole_unit() -> StorageUnit {
    let unit = StorageUnit::start(crate::unit());
    for cell in ["one", "two"] {
        unit.create_cell(cell).await;
    }
    unit.create_box("one", "b").await;
    unit.put_file("one/b/small", "small").await;
    unit.put_file("one/b/large", &"x".repeat(200_000)).await;
    unit
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// The log files of a database file are a part of it.
fn remove_database(path: &Path) {
    remove(path);
    let _ = fs::remove_file(path.with_extension("db-wal"));
}

#[tokio::test]
async fn unit_without_one_of_its_parts_does_not_start_and_says_what_is_missing() {
    let mut unit = whole_unit().await;
    unit.kill();
    let backup = unit.folder().join("backup");
    copy(&unit.data(), &backup);
    for (part, named) in [
        ("records/unit.db", "records/unit.db is missing"),
        ("records", "records/unit.db is missing"),
        ("files", "files/unit.id is missing"),
        ("files/unit.id", "files/unit.id is missing"),
        ("unit.id", "data/unit.id is missing"),
    ] {
        remove_database(&unit.data().join(part));
        let (ok, report) = unit.check();
        assert!(!ok && report.contains(named), "{part}: {report}");
        let log = unit.expect_refused_restart();
        assert!(log.contains(named), "{part}: {log}");
        assert!(log.contains("backup") && log.contains("personium adopt"));
        assert!(!log.contains("This unit is new"), "{part}: {log}");
        remove(&unit.data());
        copy(&backup, &unit.data());
    }
    unit.restart();
    let small = unit.admin_request("GET", "one/b/small").send().await;
    assert_eq!(small.expect(200).text(), "small");
}

#[tokio::test]
async fn parts_of_another_unit_are_refused() {
    let (mut unit, mut other) = (whole_unit().await, whole_unit().await);
    unit.kill();
    other.kill();
    for part in ["files", "records"] {
        let (path, kept) = (unit.data().join(part), unit.folder().join("kept"));
        fs::rename(&path, &kept).unwrap();
        copy(&other.data().join(part), &path);
        let log = unit.expect_refused_restart();
        assert!(log.contains("is of unit"), "{part}: {log}");
        let (ok, report) = unit.check();
        assert!(!ok && report.contains("is of unit"), "{part}: {report}");
        remove(&path);
        fs::rename(&kept, &path).unwrap();
    }
    unit.restart();
}

#[tokio::test]
async fn damaged_records_of_the_unit_are_named_as_such() {
    let mut unit = whole_unit().await;
    unit.kill();
    let path = unit.data().join("records/unit.db");
    let mut bytes = fs::read(&path).unwrap();
    let mut random = SplitMix64::new(1);
    for byte in bytes.iter_mut().take(8 << 10) {
        *byte = u8::try_from(random.below(256)).unwrap();
    }
    fs::write(&path, bytes).unwrap();
    let log = unit.expect_refused_restart();
    assert!(log.contains("records/unit.db is damaged"), "{log}");
    assert!(!log.contains("secret"), "{log}");
    let (ok, report) = unit.check();
    assert!(
        !ok && report.contains("records/unit.db is damaged"),
        "{report}"
    );
}

#[tokio::test]
async fn cell_without_its_file_is_damaged_and_not_empty() {
    let mut unit = whole_unit().await;
    unit.kill();
    let kept = unit.folder().join("kept");
    fs::create_dir(&kept).unwrap();
    for path in cell_files(&unit.data()) {
        let _ = fs::rename(
            path.with_extension("db-wal"),
            kept.join(path.with_extension("db-wal").file_name().unwrap()),
        );
        fs::rename(&path, kept.join(path.file_name().unwrap())).unwrap();
    }
    let (ok, report) = unit.check();
    assert!(!ok && report.contains(".db is missing"), "{report}");
    unit.restart();
    for (method, path) in [
        ("GET", "one/b/small"),
        ("GET", "one/__ctl/Box"),
        ("PUT", "one/b/new"),
        ("PUT", "one/__/new"),
        ("POST", "one/__ctl/Box"),
        ("PROPFIND", "one/"),
        ("GET", "two/__ctl/Box"),
    ] {
        let request = unit.admin_request(method, path).header("depth", "0");
        let response = request.body(r#"{"Name":"n"}"#).send().await;
        assert_eq!(response.status.as_u16(), 500, "{method} {path}");
        assert!(response.text().contains("PR500-SV-0000"), "{method} {path}");
    }
    assert_eq!(cell_files(&unit.data()), Vec::<PathBuf>::new());
    let (status, ready) = unit.wait_until_ready_says(".db is missing").await;
    assert!(status == 200 && ready.starts_with("degraded"), "{ready}");
    let (_, metrics) = unit.admin_text("metrics").await;
    assert!(metrics.contains("personium_damaged_spaces 2"), "{metrics}");
    assert!(unit.log().contains(".db"), "{}", unit.log());
    // Other cells work.
    unit.create_cell("three").await;
    unit.create_box("three", "b").await;

    unit.kill();
    for path in files(&kept, "") {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        fs::rename(
            &path,
            unit.data()
                .join("records/cells")
                .join(&name[..2])
                .join(name),
        )
        .unwrap();
    }
    unit.restart();
    let small = unit.admin_request("GET", "one/b/small").send().await;
    assert_eq!(small.expect(200).text(), "small");
}

#[tokio::test]
async fn cell_without_its_file_can_be_deleted_and_its_name_is_free() {
    let mut unit = whole_unit().await;
    unit.kill();
    for path in cell_files(&unit.data()) {
        remove_database(&path);
    }
    unit.restart();
    assert_eq!(bodies(&unit.data()).len(), 1);
    // Whether the cell is empty, or has the state that a condition names, is not known.
    let delete = async |path: &str, headers: &[(&str, &str)]| {
        let request = unit.admin_request("DELETE", path).headers(headers);
        request.send().await
    };
    let recursive = ("x-personium-recursive", "true");
    for (path, headers) in [
        ("__ctl/Cell('one')", &[][..]),
        ("one", &[recursive, ("if-match", "\"1-1\"")]),
    ] {
        delete(path, headers).await.expect_error(500, "SV-0000");
    }
    let refused = unit.request("DELETE", "one").headers(&[recursive]);
    refused.send().await.expect(401);
    delete("one", &[]).await.expect_error(412, "MC-0001");
    delete("one", &[recursive]).await.expect(204);
    delete("two", &[recursive]).await.expect(204);
    let (_, ready) = unit.wait_until_ready_says("ready").await;
    assert!(!ready.contains("missing"), "{ready}");
    unit.admin_request("GET", "one/b/small")
        .send()
        .await
        .expect(404);
    let until = Instant::now() + Duration::from_secs(20);
    while !bodies(&unit.data()).is_empty() {
        assert!(Instant::now() < until, "the bodies are kept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    unit.create_cell("one").await;
    unit.create_box("one", "b").await;
    unit.put_file("one/b/small", "new").await;
    let small = unit.admin_request("GET", "one/b/small").send().await;
    assert_eq!(small.expect(200).text(), "new");
    unit.kill();
    let (ok, report) = unit.check();
    assert!(ok, "{report}");
}

#[tokio::test]
async fn file_of_a_cell_that_is_removed_while_the_unit_runs_takes_no_writes() {
    let unit = whole_unit().await;
    for path in cell_files(&unit.data()) {
        remove(&path);
    }
    for path in ["one/b/new", "two/__/new"] {
        let put = unit.admin_request("PUT", path).body("new").send().await;
        put.expect_error(500, "SV-0000");
    }
    let (status, _) = unit.wait_until_ready_says(".db is missing").await;
    assert_eq!(status, 200);
    remove(&unit.data().join("records/unit.db"));
    let (status, _) = unit.wait_until_ready_says("unit.db is missing").await;
    assert_eq!(status, 503);
}

#[tokio::test]
async fn folder_from_before_the_marks_is_taken_with_its_empty_cells() {
    let mut unit = whole_unit().await;
    unit.kill();
    // As an older version left it: without marks, and the empty cell without a file.
    let data = unit.data();
    remove(&data.join("unit.id"));
    remove(&data.join("files/unit.id"));
    unmark(&data);
    // Nothing was written to the empty cell since it was opened.
    let is_empty = |path: &PathBuf| !path.with_extension("db-wal").exists();
    let empty = cell_files(&data).into_iter().find(is_empty).unwrap();
    remove(&empty);
    unit.restart();
    let small = unit.admin_request("GET", "one/b/small").send().await;
    assert_eq!(small.expect(200).text(), "small");
    unit.create_box("two", "b").await;
    assert!(data.join("unit.id").exists() && data.join("files/unit.id").exists());
    unit.kill();
    assert!(unit.check().0);
    remove_database(&data.join("records/unit.db"));
    unit.expect_refused_restart();
}

/// Removes the mark from the records of a unit, which moves the log into the file.
fn unmark(data: &Path) {
    let script = "
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
found = db.execute(\"DELETE FROM record WHERE instr(key, CAST('unit/mark' AS BLOB)) > 0\")
assert found.rowcount == 1
db.commit()
db.execute('PRAGMA wal_checkpoint(TRUNCATE)')
";
    let run = Command::new("python3")
        .args(["-c", script])
        .arg(data.join("records/unit.db"))
        .status();
    assert!(run.unwrap().success());
}

#[test]
fn nothing_is_adopted_where_no_part_of_a_unit_is() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", "missing"] {
        let place = folder.path().join(name);
        let adopted = Command::new(env!("CARGO_BIN_EXE_personium"))
            .args(["adopt", "--data"])
            .arg(&place)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&adopted.stderr);
        assert_eq!(adopted.status.code(), Some(1), "{text}");
        assert!(text.contains("there is no unit"), "{text}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn adoption_makes_a_unit_of_what_is_there() {
    let mut unit = whole_unit().await;
    unit.kill();
    remove(&unit.data().join("files/unit.id"));
    unit.expect_refused_restart();
    assert!(unit.command("adopt").status.success());
    let exported = Command::new(env!("CARGO_BIN_EXE_personium"))
        .args(["audit", "export", "--data"])
        .arg(unit.data())
        .arg("--config")
        .arg(unit.folder().join("unit.properties"))
        .output();
    let exported = String::from_utf8(exported.unwrap().stdout).unwrap();
    let last = exported.lines().last().unwrap_or_default();
    assert!(last.contains("\"operation\":\"adopt\""), "{exported}");
    unit.restart();
    assert_eq!(bodies(&unit.data()).len(), 1);
    let large = unit.admin_request("GET", "one/b/large").send().await;
    assert_eq!(large.expect(200).body.len(), 200_000);
    unit.kill();
    remove_database(&unit.data().join("records/unit.db"));
    unit.expect_refused_restart();
    assert!(unit.command("adopt").status.success());
    unit.restart();
    let gone = unit.admin_request("GET", "one/b/small").send().await;
    assert_eq!(gone.status.as_u16(), 404);
}

#[tokio::test]
async fn adoption_makes_a_cell_that_lost_its_file_an_empty_one() {
    let mut unit = whole_unit().await;
    unit.kill();
    for path in cell_files(&unit.data()) {
        remove_database(&path);
    }
    assert!(unit.command("adopt").status.success());
    assert!(unit.check().0);
    unit.restart();
    unit.create_box("one", "new").await;
}

#[tokio::test]
async fn first_start_can_be_killed_at_any_time() {
    let _load = crate::machine_load().read().await;
    let folder = tempfile::tempdir().unwrap();
    let mut random = SplitMix64::new(12);
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_personium"));
        command
            .args([
                "serve",
                "--port",
                "0",
                "-c",
                "admin.listen=127.0.0.1:0",
                "--data",
            ])
            .arg(folder.path().join("data"))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        command.spawn().unwrap()
    };
    for _ in 0..40 {
        let mut process = start();
        let time = Duration::from_micros(200 * random.below(300));
        tokio::time::sleep(time).await;
        assert!(
            process
                .try_wait()
                .unwrap()
                .is_none_or(|status| status.success())
        );
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let mut process = start();
    let until = Instant::now() + Duration::from_secs(60);
    while !folder.path().join("data/administrator").exists() {
        assert!(process.try_wait().unwrap().is_none());
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.kill().unwrap();
    process.wait().unwrap();
}

#[tokio::test]
async fn files_of_a_unit_are_accessible_to_their_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let mut unit = StorageUnit::start(crate::unit().folder(folder.path()));
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    unit.put_file("c/b/large", &"x".repeat(200_000)).await;
    let check = |data: &Path| {
        let open = Command::new("find")
            .arg(data)
            .args(["-perm", "/077", "-not", "-type", "l"])
            .output()
            .unwrap();
        let open = String::from_utf8(open.stdout).unwrap();
        assert_eq!(open, "");
    };
    check(&data);
    assert!(unit.log().contains("other users had access"));
    unit.kill();
    for path in files(&data, "") {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    unit.restart();
    check(&data);
}

#[test]
fn command_of_another_user_names_the_missing_permission() {
    /// The user of many systems that owns nothing.
    const NOBODY: u32 = 65_534;
    let outer = tempfile::tempdir().unwrap();
    let data = outer.path().join("data");
    fs::create_dir_all(data.join("records")).unwrap();
    fs::write(data.join("records/unit.db"), "").unwrap();
    let permit = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    permit(outer.path(), 0o755);
    permit(&data, if is_root { 0o700 } else { 0 });
    let own = program::command(&[]).get_program().to_owned();
    // The folder of the program may be one that others cannot enter. A file that this process writes could still be open in a child of
    // another test, and then not be run.
    let copied = outer.path().join("personium");
    let done = Command::new("cp").arg(own).arg(&copied).status().unwrap();
    assert!(done.success());
    permit(&copied, 0o755);
    let to = outer.path().join("backups");
    let to = to.to_str().unwrap();
    for command in [&["usage"][..], &["verify"], &["backup", "--to", to]] {
        let mut run = Command::new(&copied);
        run.args(command).arg("--data").arg(&data);
        run.current_dir(outer.path());
        if is_root {
            run.uid(NOBODY);
        }
        let output = run.output().unwrap();
        let text = program::text(&output);
        assert!(!output.status.success(), "{text}");
        assert!(
            text.contains("run the command as the user of the unit"),
            "{text}"
        );
        assert!(!text.contains("there is no unit"), "{text}");
    }
    permit(&data, 0o700);
}
