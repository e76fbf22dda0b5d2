//! `personium backup` and `personium restore`: a restored unit answers as the original did, and nothing that happens to a back-up or to the
//! folder of back-ups leads to another unit than the one that was backed up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use personium_testkit::{PostgresCluster, create_unit_database};

use crate::copied_unit::stage::{Side, Stage, change, until_line};
use crate::full_disk::{Kind, Mount};
use crate::program;
use crate::storage_unit::{cell_files, copy as copy_folder, files};
use crate::verified_unit::{expect_whole, stage, verify};

/// More lines than a back-up or a restore writes.
const LINES_MAX: usize = 40;

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789a";

struct Backups {
    folder: PathBuf,
    key: Option<PathBuf>,
}

impl Backups {
    fn new(stage: &Stage) -> Self {
        Self {
            folder: stage.unit.folder().join("backups"),
            key: None,
        }
    }

    fn encrypted(stage: &Stage) -> Self {
        let key = stage.unit.folder().join("backup-key");
        fs::write(&key, SECRET).unwrap();
        Self {
            key: Some(key),
            ..Self::new(stage)
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::command(arguments);
        if let Some(key) = &self.key {
            command.arg("--key").arg(key);
        }
        command
    }

    fn backup_command(&self, side: &Side, more: &[&str]) -> Command {
        let to = self.folder.to_str().unwrap();
        let own = ["backup", "--config", side.settings(), "--to", to];
        self.command(&[&own, more].concat())
    }

    fn restore_command(&self, more: &[&str]) -> Command {
        let own = ["restore", "--from", self.folder.to_str().unwrap()];
        self.command(&[&own, more].concat())
    }

    /// Whether a back-up succeeds, and what it says.
    fn backup(&self, side: &Side, more: &[&str]) -> (bool, String) {
        let output = self.backup_command(side, more).output().unwrap();
        (output.status.success(), program::text(&output))
    }

    fn expect_backup(&self, side: &Side, more: &[&str]) -> String {
        let (done, text) = self.backup(side, more);
        assert!(done && text.contains("Generation "), "{text}");
        text
    }

    fn restore(&self, more: &[&str]) -> (bool, String) {
        let output = self.restore_command(more).output().unwrap();
        (output.status.success(), program::text(&output))
    }

    fn expect_restored(&self, to: &Side) -> String {
        let (done, text) = self.restore(&["--to", to.settings()]);
        assert!(
            done && text.contains("Copied and compared: 4 cells"),
            "{text}"
        );
        text
    }

    fn expect_drill(&self, stage: &Stage) -> String {
        let scratch = stage.unit.folder().join("scratch");
        let (done, text) = self.restore(&["--drill", scratch.to_str().unwrap()]);
        assert!(done && text.contains(": 0 damaged, 0 orphaned"), "{text}");
        assert_eq!(fs::read_dir(scratch).unwrap().count(), 0);
        text
    }

    /// The names of the complete generations.
    fn generations(&self) -> Vec<String> {
        let (done, text) = self.restore(&["--list"]);
        assert!(done, "{text}");
        let names = text.lines().filter_map(|line| line.split_once(": "));
        names.map(|(name, _)| name.to_owned()).collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        files(&self.folder.join("files"), "")
    }
}

fn database(cluster: &PostgresCluster) -> String {
    let settings = create_unit_database(cluster, Path::new(env!("CARGO_BIN_EXE_personium")));
    let line = |(key, value): &(&str, String)| format!("io.personium.core.{key}={value}\n");
    settings.iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unit_restored_to_other_stores_answers_as_before() {
    let mut stage = Stage::start("").await;
    let backups = Backups::encrypted(&stage);
    let text = backups.expect_backup(&stage.source, &[]);
    assert!(text.contains("4 cells (4 new or changed)"), "{text}");
    assert!(text.contains("16 file bodies"), "{text}");
    let again = backups.expect_backup(&stage.source, &[]);
    assert!(again.contains("4 cells (0 new or changed)"), "{again}");
    assert!(again.contains("(0 new, 0 bytes)"), "{again}");
    // Nobody but the owner can read them, and nothing is readable in them.
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(&backups.folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
    for path in backups.files() {
        let bytes = fs::read(path).unwrap();
        for text in [&b"personium"[..], b"xxxxxxxx", b"PRIVATE KEY"] {
            assert!(!bytes.windows(text.len()).any(|part| part == text));
        }
    }
    let cluster = PostgresCluster::shared();
    for (name, stores) in [("files", String::new()), ("database", database(&cluster))] {
        let there = stage.side(name, &stores);
        backups.expect_restored(&there);
        stage.expect_same_answers(&there).await;
        let (done, text) = backups.restore(&["--to", there.settings()]);
        assert!(!done && text.contains("it is not empty"), "{text}");
        // Its numbers of commits are not those of the generation.
        let next = backups.expect_backup(&there, &[]);
        assert!(next.contains("4 cells (4 new or changed)"), "{next}");
        assert!(next.contains("(0 new, 0 bytes)"), "{next}");
    }
    backups.expect_drill(&stage);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_changed_cells_and_new_bodies_are_copied_and_each_generation_is_as_it_was() {
    let mut stage = Stage::start("").await;
    let backups = Backups::new(&stage);
    backups.expect_backup(&stage.source, &[]);
    stage.unit.restart();
    stage
        .unit
        .put_file("two/box/new", &"n".repeat(400_000))
        .await;
    stage
        .unit
        .admin_request("DELETE", "one/box/f0")
        .send()
        .await
        .expect(204);
    stage.unit.create_cell("five").await;
    let four = stage.unit.admin_request("DELETE", "four");
    four.header("x-personium-recursive", "true")
        .send()
        .await
        .expect(204);
    stage.unit.terminate();
    assert!(stage.unit.wait());
    let text = backups.expect_backup(&stage.source, &[]);
    assert!(text.contains("4 cells (3 new or changed)"), "{text}");
    assert!(text.contains("(1 new, 400"), "{text}");
    let full = backups.expect_backup(&stage.source, &["--full"]);
    assert!(full.contains("4 cells (4 new or changed)"), "{full}");
    let generations = backups.generations();
    assert_eq!(generations.len(), 3);
    let first = stage.side("first", "");
    let name = generations[0].as_str();
    let (done, text) = backups.restore(&["--generation", name, "--to", first.settings()]);
    assert!(done, "{text}");
    stage.expect_same_answers(&first).await;

    // Only the last one stays, and what it needs.
    let before = backups.files().len();
    let text = backups.expect_backup(&stage.source, &["--keep", "1"]);
    assert!(text.contains("3 former generations were removed"), "{text}");
    assert_eq!(backups.generations().len(), 1);
    assert!(backups.files().len() < before);
    let last = stage.side("last", "");
    backups.expect_restored(&last);
    expect_whole(&last);
    let (done, text) = backups.restore(&["--generation", name, "--to", first.settings()]);
    assert!(!done && text.contains("no such generation"), "{text}");
    let needed = backups.files().len();
    backups.expect_backup(&stage.source, &["--keep", "1", "--full"]);
    assert_eq!(backups.files().len(), needed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_the_unit_are_written_again_only_if_they_have_changed() {
    let mut stage = Stage::start("").await;
    let backups = Backups::new(&stage);
    let folder = backups.folder.join("files/unit");
    let written = |stage: &Stage| {
        let before = files(&folder, "").len();
        let text = backups.expect_backup(&stage.source, &[]);
        (files(&folder, "").len() - before, text)
    };
    assert!(written(&stage).0 > 2);
    // The list and the keys.
    assert_eq!(written(&stage).0, 2);
    stage.unit.restart();
    written(&stage);
    assert_eq!(written(&stage).0, 2);
    // One cell more, then as many as before, which are others.
    for (change, cells) in [
        ("POST", "5 cells (1 new"),
        ("DELETE", "4 cells (0 new"),
        ("POST", "5 cells (1 new"),
    ] {
        match change {
            "POST" => stage.unit.create_cell("five").await,
            _ => {
                let five = stage.unit.admin_request("DELETE", "five");
                five.header("x-personium-recursive", "true")
                    .send()
                    .await
                    .expect(204);
            }
        }
        let (number, text) = written(&stage);
        assert!(number > 2 && text.contains(cells), "{number} {text}");
    }
    stage.unit.terminate();
    assert!(stage.unit.wait());
    let restored = stage.side("restored", "");
    let (done, text) = backups.restore(&["--to", restored.settings()]);
    assert!(
        done && text.contains("Copied and compared: 5 cells"),
        "{text}"
    );
    expect_whole(&restored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_cell_is_removed_from_all_generations_too_and_the_others_stay() {
    let mut stage = Stage::start("").await;
    let backups = Backups::encrypted(&stage);
    backups.expect_backup(&stage.source, &[]);
    stage.unit.restart();
    stage.unit.put_file("two/box/new", "a change").await;
    backups.expect_backup(&stage.source, &[]);
    // The unit has it, so the next back-up would have it again.
    let (done, text) = backups.backup(&stage.source, &["--forget", "four"]);
    assert!(!done && text.contains("remove it there first"), "{text}");
    for cell in ["four", "three"] {
        let gone = stage.unit.admin_request("DELETE", cell);
        gone.header("x-personium-recursive", "true")
            .send()
            .await
            .expect(204);
    }
    let folders = || fs::read_dir(backups.folder.join("files")).unwrap().count();
    let (before, files) = (folders(), backups.files().len());
    let text = backups.backup(&stage.source, &["--forget", "four"]).1;
    assert!(
        text.contains("four was removed from 2 generations"),
        "{text}"
    );
    assert!(folders() < before && backups.files().len() < files);
    // The unit runs; its audit log says who did it.
    let forgotten = |cell: &str| {
        let settings = stage.source.settings();
        let log = program::text(&program::run(&["audit", "export", "--config", settings]));
        let is_of = |line: &&str| {
            line.contains("backup.forget") && line.contains(&format!("cell {cell} in "))
        };
        log.lines().filter(is_of).count()
    };
    assert_eq!(forgotten("four"), 1);
    let (done, text) = backups.backup(&stage.source, &["--forget", "four"]);
    assert!(
        !done && text.contains("no generation has a cell four"),
        "{text}"
    );
    stage.unit.terminate();
    assert!(stage.unit.wait());

    // Each generation is whole without it, and the next one goes on from the last.
    for (number, generation) in backups.generations().iter().enumerate() {
        let target = stage.side(&format!("generation{number}"), "");
        let to = [
            "--generation",
            generation.as_str(),
            "--to",
            target.settings(),
        ];
        let (done, text) = backups.restore(&to);
        assert!(
            done && text.contains("Copied and compared: 3 cells"),
            "{text}"
        );
        expect_whole(&target);
    }
    let (done, text) = backups.restore(&["--cell", "four", "--dry-run"]);
    assert!(!done, "{text}");
    let (done, text) = backups.backup(&stage.source, &["--forget", "four"]);
    assert!(
        !done && text.contains("no generation has a cell four"),
        "{text}"
    );
    // Also that of a unit that is stopped.
    let text = backups.backup(&stage.source, &["--forget", "three"]).1;
    assert!(text.contains("from 2 generations"), "{text}");
    assert_eq!((forgotten("three"), forgotten("four")), (1, 1));
    let text = backups.expect_backup(&stage.source, &[]);
    assert!(text.contains("2 cells (0 new or changed)"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unit_that_serves_is_verified_and_backed_up_while_it_is_changed() {
    let cluster = PostgresCluster::shared();
    for stores in [String::new(), database(&cluster)] {
        let mut stage = stage(&stores).await;
        let backups = Backups::new(&stage);
        stage.unit.restart();
        let writer = {
            let (unit, stop) = (stage.unit.with_token("none"), std::sync::Arc::default());
            let stopped: std::sync::Arc<std::sync::atomic::AtomicBool> =
                std::sync::Arc::clone(&stop);
            let task = tokio::spawn(async move {
                let mut n = 0;
                while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                    let path = format!("two/box/w{}", n % 5);
                    let put = unit
                        .admin_request("PUT", &path)
                        .body("w".repeat(150_000 + n));
                    put.send().await.expect_success();
                    let row = format!(r#"{{"__id":"w{n}","text":"{n}"}}"#);
                    unit.create("two/box/data/Row", &row).await;
                    let name = format!("w{n}");
                    unit.create_cell(&name).await;
                    if n % 2 == 0 {
                        let gone = unit.admin_request("DELETE", &name);
                        let gone = gone.header("x-personium-recursive", "true");
                        gone.send().await.expect_success();
                    }
                    n += 1;
                }
                n
            });
            (stop, task)
        };
        for _ in 0..3 {
            backups.expect_backup(&stage.source, &["--keep", "2"]);
            let (status, text) = verify(&stage.source, &[]);
            assert!(status == Some(0) && text.contains(": 0 damaged"), "{text}");
        }
        writer.0.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(writer.1.await.unwrap() > 0);
        let drilled = backups.expect_drill(&stage);
        assert!(drilled.contains("Verified: "), "{drilled}");
        stage.unit.terminate();
        assert!(stage.unit.wait());
        expect_whole(&stage.source);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_backups_and_restores_leave_the_former_generations_and_go_on() {
    let mut stage = Stage::start("").await;
    let backups = Backups::new(&stage);
    let mut killed = 0;
    for lines in 0..LINES_MAX {
        let before = if lines == 0 {
            Vec::new()
        } else {
            backups.generations()
        };
        let command = backups.backup_command(&stage.source, &["--full", "--keep", "2"]);
        let Some(mut child) = until_line(command, lines) else {
            break;
        };
        let _ = child.kill();
        if !child.wait().unwrap().success() {
            killed += 1;
        }
        if backups.folder.join("personium-backup.json").exists() {
            let after = backups.generations();
            let (done, text) = backups.restore(&["--dry-run"]);
            assert!(
                done || (after.is_empty() && text.contains("no such generation")),
                "{text}"
            );
            assert!(after.len() >= before.len().min(2), "{before:?} {after:?}");
        } else {
            backups.expect_backup(&stage.source, &[]);
        }
    }
    assert!(killed > 0);
    backups.expect_backup(&stage.source, &["--keep", "1"]);
    let left = |end| files(&backups.folder.join("generations"), end).len();
    assert_eq!(
        (left(".json"), left(".removed"), left(".unfinished")),
        (1, 0, 0)
    );
    // 16 bodies, the records of 4 cells, three files of those of the unit, the list and the keys.
    assert_eq!(backups.files().len(), 16 + 4 + 3 + 2);

    let there = stage.side("there", "");
    let mut killed = 0;
    for lines in 1..LINES_MAX {
        let command = backups.restore_command(&["--to", there.settings()]);
        let Some(mut child) = until_line(command, lines) else {
            break;
        };
        let _ = child.kill();
        if child.wait().unwrap().success() {
            break;
        }
        killed += 1;
        let (done, text) = there.run("check");
        if done && text.contains("has all its parts") {
            break;
        }
    }
    assert!(killed > 0);
    let (done, text) = backups.restore(&["--to", there.settings()]);
    assert!(
        done || text.contains("it is not empty: it has a unit"),
        "{text}"
    );
    stage.expect_same_answers(&there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn altered_truncated_and_missing_file_of_a_generation_is_found_before_anything_is_restored() {
    let stage = Stage::start("").await;
    for backups in [Backups::new(&stage), Backups::encrypted(&stage)] {
        let _ = fs::remove_dir_all(&backups.folder);
        backups.expect_backup(&stage.source, &[]);
        let there = stage.side("there", "");
        for (number, path) in backups.files().into_iter().enumerate() {
            let middle = usize::try_from(fs::metadata(&path).unwrap().len() / 2).unwrap();
            let whole = match number % 3 {
                0 => change(&path, |bytes| bytes[middle] ^= 1),
                1 => change(&path, |bytes| bytes.truncate(middle)),
                _ => {
                    let whole = fs::read(&path).unwrap();
                    fs::remove_file(&path).unwrap();
                    whole
                }
            };
            let (done, text) = backups.restore(&["--to", there.settings()]);
            assert!(!done, "{path:?} {number}: {text}");
            // What is damaged of the audit log is named, and the rest restored all the same.
            let is_restored = text.contains("of the audit log are left out");
            let restored = there.data.join("records/unit.db").exists();
            assert_eq!(restored, is_restored, "{path:?}: {text}");
            if is_restored {
                fs::remove_dir_all(&there.data).unwrap();
            }
            fs::write(&path, whole).unwrap();
        }
        let generation = &files(&backups.folder.join("generations"), ".json")[0];
        let whole = change(generation, |bytes| bytes[20] ^= 1);
        let (done, text) = backups.restore(&["--to", there.settings()]);
        assert!(!done && text.contains("cannot be read"), "{text}");
        // The next back-up does not rely on it.
        backups.expect_backup(&stage.source, &[]);
        fs::write(generation, whole).unwrap();
        assert_eq!(backups.generations().len(), 2);
        backups.expect_restored(&there);
        fs::remove_dir_all(&there.data).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_cell_keeps_its_former_state_in_the_next_generation_and_is_named() {
    let stage = Stage::start("").await;
    let backups = Backups::new(&stage);
    backups.expect_backup(&stage.source, &[]);
    let cell = &cell_files(&stage.source.data)[0];
    let text = br#""xxxxxxxxxxxxxxx""#;
    change(cell, |bytes| {
        let at = bytes.windows(text.len()).position(|part| part == text);
        bytes[at.unwrap() + 3] ^= 1;
    });
    let lost = &crate::storage_unit::bodies(&stage.source.data)[..];
    let lost = lost
        .iter()
        .find(|path| fs::metadata(path).unwrap().len() > 1_000_000);
    let lost = lost.unwrap();
    fs::remove_file(lost).unwrap();
    // The body is in the folder of back-ups.
    let (done, text) = backups.backup(&stage.source, &["--full"]);
    assert!(!done, "{text}");
    assert!(
        text.contains("is not complete: ") && text.contains("checksum"),
        "{text}"
    );
    let there = stage.side("there", "");
    backups.expect_restored(&there);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_ends_a_backup_and_the_former_generation_stays() {
    let stage = Stage::start("").await;
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small");
    let Some(_mount) = Mount::new(Kind::Tmpfs, &small, 12) else {
        return;
    };
    let backups = Backups {
        folder: small.clone(),
        key: None,
    };
    let (done, text) = backups.backup(&stage.source, &[]);
    assert!(!done && text.contains("file body"), "{text}");
    assert!(backups.generations().is_empty());
    let grown = Command::new("mount")
        .args(["-o", "remount,size=100m"])
        .arg(&small)
        .status();
    assert!(grown.unwrap().success());
    backups.expect_backup(&stage.source, &[]);
    backups.expect_drill(&stage);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_ends_a_restore_which_goes_on_when_there_is_space() {
    let mut stage = Stage::start("").await;
    let backups = Backups::new(&stage);
    backups.expect_backup(&stage.source, &[]);
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small");
    let Some(mount) = Mount::new(Kind::Tmpfs, &small, 1) else {
        return;
    };
    let there = stage.side(small.join("there").to_str().unwrap(), "");
    let (mut failed, mut begun) = (0, 0);
    // The bodies have 24 MB.
    for mib in [1, 2, 4, 8, 16, 24] {
        mount.resize(mib.max(mount.used_mib()));
        let (done, text) = backups.restore(&["--to", there.settings()]);
        assert!(!text.contains("panicked"), "{text}");
        if done {
            break;
        }
        failed += 1;
        let is_named = ["full", "No space left"]
            .iter()
            .any(|why| text.contains(why));
        assert!(is_named, "{mib} MiB: {text}");
        // What is there is no unit, also when there is space again.
        mount.resize(100);
        if there.data.join("records/unit.db").exists() || there.data.join("unit.id").exists() {
            begun += 1;
            there.expect_unfinished();
            let _ = fs::remove_file(there.data.join("records/reserve"));
        }
    }
    assert!(failed > 3 && begun > 1, "{failed}, {begun}");
    mount.resize(100);
    backups.expect_restored(&there);
    let whole = stage.side("whole", "");
    copy_folder(&there.data, &whole.data);
    stage.expect_same_answers(&whole).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_key_foreign_folder_and_two_backups_at_once_are_refused() {
    let stage = Stage::start("").await;
    let backups = Backups::encrypted(&stage);
    backups.expect_backup(&stage.source, &["--without-keys"]);
    let key = backups.key.as_ref().unwrap();
    let refused = |reason: &str| {
        let (done, text) = backups.backup(&stage.source, &[]);
        assert!(!done && text.contains(reason), "{reason}: {text}");
        let (done, text) = backups.restore(&["--list"]);
        assert!(!done && text.contains(reason), "{reason}: {text}");
    };
    fs::write(key, SECRET.replace('a', "b")).unwrap();
    refused("encrypted with another key");
    fs::write(key, "short").unwrap();
    refused("at least 32 characters");
    fs::write(key, SECRET).unwrap();
    let plain = Backups::new(&stage);
    let (done, text) = plain.backup(&stage.source, &[]);
    assert!(
        !done && text.contains("is encrypted; give its key"),
        "{text}"
    );
    // Without its keys no unit is restored.
    let there = stage.side("there", "");
    let (done, text) = backups.restore(&["--to", there.settings()]);
    assert!(
        !done && text.contains("the generation has no keys"),
        "{text}"
    );
    // Another unit, and a folder of something else.
    let second = Stage::start("").await;
    let (done, text) = backups.backup(&second.source, &[]);
    assert!(!done && text.contains("another unit"), "{text}");
    let foreign = Backups {
        folder: stage.unit.folder().join("other"),
        key: None,
    };
    fs::create_dir(&foreign.folder).unwrap();
    fs::write(foreign.folder.join("letter"), "Dear Sir").unwrap();
    let (done, text) = foreign.backup(&stage.source, &[]);
    assert!(
        !done && text.contains("is not empty and has no back-ups"),
        "{text}"
    );
    let lock = fs::File::open(backups.folder.join("lock")).unwrap();
    lock.lock().unwrap();
    refused("in use by another back-up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_and_wrong_keys_are_named_by_every_command_and_never_replaced_nor_backed_up() {
    let stage = Stage::start("").await;
    let data = &stage.source.data;
    let secret = data.join("unit.secret");
    // The secret is in the file that a unit makes by itself.
    let setting = "io.personium.core.security.secret16=0123456789abcdef\n";
    for path in [
        &stage.source.settings,
        &stage.unit.folder().join("unit.properties"),
    ] {
        let lines = fs::read_to_string(path).unwrap();
        assert!(lines.contains(setting));
        fs::write(path, lines.replace(setting, "")).unwrap();
    }
    fs::write(&secret, "0123456789abcdef").unwrap();
    let backups = Backups::new(&stage);
    backups.expect_backup(&stage.source, &[]);
    let kept = fs::read_to_string(&secret).unwrap();
    let generations = backups.generations();
    let expect_refused = |commands: &[&str], reason: &str| {
        for command in commands {
            let (done, text) = match *command {
                "backup" => backups.backup(&stage.source, &["--keep", "1"]),
                command => stage.source.run(command),
            };
            assert!(!done && text.contains(reason), "{command}: {text}");
        }
        assert_eq!(backups.generations(), generations);
    };
    fs::remove_file(&secret).unwrap();
    let commands = ["check", "verify", "backup", "serve"];
    expect_refused(&commands, "unit.secret is missing");
    assert!(!secret.exists());
    fs::write(&secret, "x".repeat(32)).unwrap();
    expect_refused(&commands, "is not the secret");
    fs::write(&secret, &kept).unwrap();
    for name in ["unit.key", "unit.crt"] {
        let (path, away) = (data.join(name), data.join("away"));
        fs::rename(&path, &away).unwrap();
        expect_refused(&["backup"], &format!("{name}, is missing"));
        fs::rename(&away, &path).unwrap();
    }
    for name in ["sub", "files/sub"] {
        let inside = Backups {
            folder: data.join(name),
            key: None,
        };
        let (done, text) = inside.backup(&stage.source, &[]);
        assert!(!done && text.contains("belongs to the unit"), "{text}");
        assert!(!inside.folder.exists());
    }
    let outcome = verify(&stage.source, &[]);
    assert_eq!(outcome.0, Some(0), "{}", outcome.1);
    backups.expect_drill(&stage);

    // The unit was not started since its secret was changed, so a unit with the new one only does not start.
    let former = format!("security.secret16.previous={}", kept.trim());
    let new = format!("security.secret16={}", "y".repeat(32));
    backups.expect_backup(&stage.source, &["-c", &new, "-c", &former]);
    let scratch = stage.unit.folder().join("scratch");
    let (done, text) = backups.restore(&["--drill", scratch.to_str().unwrap()]);
    assert!(!done && text.contains("is not the secret"), "{text}");
    let there = stage.side("there", "");
    let (done, text) = backups.restore(&["--to", there.settings()]);
    assert!(!done && text.contains("It does not start"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_whose_output_nobody_reads_end_and_leave_nothing() {
    let stage = Stage::start("").await;
    let backups = Backups::new(&stage);
    let unread = |mut command: Command| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        command.status().unwrap().code()
    };
    unread(backups.backup_command(&stage.source, &[]));
    assert_eq!(backups.generations().len(), 1);
    let scratch = stage.unit.folder().join("scratch");
    let drill = backups.restore_command(&["--drill", scratch.to_str().unwrap()]);
    assert_eq!(unread(drill), Some(1));
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0);
    assert_eq!(unread(program::command(&["--version"])), Some(1));
    assert_eq!(
        unread(program::command(&["adopt", "--data", "/proc/1/none"])),
        Some(1)
    );
}
