//! A bit is flipped in each file of a unit, and of its back-ups: the file is named, or the bit changes no answer; other cells answer as before.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use personium_testkit::{OnDrop, Process, ProcessUnit, TestClient};
use serde_json::json;

use crate::program;
use crate::storage_unit::copy;

/// Files of the data folder whose content counts for nothing, and why.
const WITHOUT_CONTENT: [(&str, &str); 4] = [
    ("records/lock", "it is locked, and empty"),
    ("records/reserve", "it takes space"),
    (
        "administrator",
        "it repeats a record, and is written by each start",
    ),
    ("journal-copied", "a metric shows the time in it"),
];

const SECRET: &str = "0123456789abcdef";
const CELLS: [&str; 2] = ["one", "two"];
const DAMAGED: Option<i32> = Some(3);

fn needle(cell: &str) -> String {
    format!("only-in-{cell}")
}

/// A stopped unit, and its data as they were.
struct Stage {
    unit: ProcessUnit,
    pristine: PathBuf,
    answers: BTreeMap<&'static str, Vec<String>>,
}

impl Stage {
    /// A unit that has files of each kind. It was killed, or has ended.
    async fn new(is_killed: bool) -> Self {
        let journal = "io.personium.core.store.journalInHours";
        let reserve = "io.personium.core.store.reserveInMiB";
        let unit = crate::unit().setting(journal, 24).setting(reserve, 1);
        let mut unit = unit.start();
        for cell in CELLS {
            fill(&unit, cell).await;
        }
        unit.terminate();
        assert!(unit.wait());
        // The secret as a file, and further file bodies that are encrypted.
        let data = unit.folder().join("data");
        fs::write(data.join("unit.secret"), SECRET).unwrap();
        unit.replace_in_settings(
            &format!("io.personium.core.security.secret16={SECRET}\n"),
            "io.personium.core.security.dav.encrypt.enabled=true\n",
        );
        unit.restart();
        for cell in CELLS {
            unit.put_file(&format!("{cell}/box/sealed"), &cell.repeat(40_000))
                .await;
            for n in 0..4 {
                let role = json!({"Name": format!("late{n}")}).to_string();
                unit.create(&format!("{cell}/__ctl/Role"), &role).await;
            }
        }
        let mut answers = BTreeMap::new();
        for cell in CELLS {
            answers.insert(cell, answers_of(&unit, cell).await);
        }
        if is_killed {
            unit.kill();
        } else {
            unit.terminate();
            assert!(unit.wait());
        }
        let pristine = unit.folder().join("pristine");
        copy(&data, &pristine);
        Self {
            unit,
            pristine,
            answers,
        }
    }

    fn data(&self) -> PathBuf {
        self.unit.folder().join("data")
    }

    fn reset(&self) {
        fs::remove_dir_all(self.data()).unwrap();
        copy(&self.pristine, &self.data());
    }

    fn run(&self, command: &[&str]) -> (Option<i32>, String) {
        let settings = self.unit.folder().join("unit.properties");
        let (settings, data) = (
            settings.display().to_string(),
            self.data().display().to_string(),
        );
        let output = program::run(&[command, &["--config", &settings, "--data", &data]].concat());
        (output.status.code(), program::text(&output))
    }

    /// The cell that a file of the data folder belongs to.
    fn cell_of(&self, file: &str) -> Option<&'static str> {
        let mut parts = file.split('/');
        let id = match (parts.next()?, parts.next()?, parts.next()) {
            ("records", "cells", _) => file.rsplit('/').next()?.split('.').next()?,
            ("files", id, Some(_)) => id,
            _ => return None,
        };
        let (shelf, cells) = (&id[..2], self.pristine.join("records/cells"));
        let has = |cell: &&&str| {
            let of = |end: &str| fs::read(cells.join(shelf).join(format!("{id}.db{end}")));
            let content = [of("").unwrap(), of("-wal").unwrap_or_default()].concat();
            find(&content, &needle(cell)).is_some()
        };
        CELLS.iter().find(has).copied()
    }

    /// Starts the unit: it names the file and ends, or the cells answer as before. A damaged one may answer with errors that have a code.
    async fn expect_contained(&self, file: &str, at: usize) {
        let name = file.rsplit('/').next().unwrap();
        let (owner, log) = (self.cell_of(file), self.unit.folder().join("start.log"));
        let (settings, data) = (self.unit.folder().join("unit.properties"), self.data());
        let port = self.unit.port();
        let mut command = program::command(&["serve", "--port", &port.to_string()]);
        let out = fs::File::create(&log).unwrap();
        command
            .arg("--config")
            .arg(settings)
            .arg("--data")
            .arg(data);
        command.stdout(out.try_clone().unwrap()).stderr(out);
        let Ok((mut process, _)) = Process::listen(&mut command, port, OnDrop::Kill) else {
            let log = fs::read_to_string(log).unwrap();
            assert!(
                owner.is_none() && log.contains(name),
                "{file} at {at}: {log}"
            );
            return;
        };
        let client = TestClient::for_host("localhost", port);
        for cell in CELLS {
            let found = answers_of(&client, cell).await;
            for (found, wanted) in found.iter().zip(&self.answers[cell]) {
                let is_error = found.contains(" 500 PR500-");
                assert!(
                    found == wanted || (is_error && owner.is_none_or(|owner| owner == cell)),
                    "{file} at {at}: {found} in place of {wanted}"
                );
            }
        }
        process.request_end();
        assert!(process.wait().success(), "{file} at {at}");
    }
}

async fn fill(unit: &TestClient, cell: &str) {
    unit.create_cell_with_owner(cell).await;
    unit.create_odata_collection(&format!("{cell}/box/data"), "Row")
        .await;
    for n in 0..3 {
        let row = json!({"__id": format!("r{n}"), "text": needle(cell)}).to_string();
        unit.create(&format!("{cell}/box/data/Row"), &row).await;
    }
    let long = json!({"__id": "long", "text": "l".repeat(50_000)}).to_string();
    unit.create(&format!("{cell}/box/data/Row"), &long).await;
    unit.put_file(&format!("{cell}/box/small"), "small").await;
    unit.put_file(&format!("{cell}/box/large"), &cell.repeat(50_000))
        .await;
}

/// The answers of a cell: path, status, and the code of an error or the sum of the content.
async fn answers_of(unit: &TestClient, cell: &str) -> Vec<String> {
    let mut found = Vec::new();
    let paths = [
        "__ctl/Role",
        "__ctl/Account",
        "__ctl/Box",
        "box/data/Row?$orderby=__id",
        "box/data/Row('r1')",
        "box/small",
        "box/large",
        "box/sealed",
    ];
    for path in paths {
        let request = unit.admin_request("GET", &format!("{cell}/{path}"));
        let sent = request
            .header("accept", "application/json")
            .try_send()
            .await;
        let text = match sent {
            // The head was sent before the damage was found.
            Err(_) => "500 PR500-".to_owned(),
            Ok(response) if response.status == 500 => {
                let text = response.text();
                let code = text
                    .find("PR500-")
                    .unwrap_or_else(|| panic!("{path}: {text}"));
                format!("500 {}", &text[code..code + 13])
            }
            Ok(response) => format!("{} {:?}", response.status, response.body),
        };
        found.push(format!("{path} {text}"));
    }
    found
}

fn find(bytes: &[u8], text: &str) -> Option<usize> {
    let text = text.as_bytes();
    bytes.windows(text.len()).position(|part| part == text)
}

/// The files below a folder by their names there.
fn files_of(root: &Path) -> Vec<String> {
    let listed = Command::new("find")
        .arg(root)
        .args(["-type", "f", "-printf", "%P\n"])
        .output();
    let text = String::from_utf8(listed.unwrap().stdout).unwrap();
    let mut found: Vec<String> = text.lines().map(str::to_owned).collect();
    found.sort();
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1 << (at % 7);
    fs::write(path, bytes).unwrap();
}

/// The places at which a bit is flipped: in the begin, the middle and the end, and in a record.
fn places(bytes: &[u8]) -> Vec<usize> {
    let len = bytes.len();
    let mut places = vec![len.min(17) / 2, len / 2, len - 1];
    let record = CELLS.iter().find_map(|cell| find(bytes, &needle(cell)));
    places.extend(
        record
            .or_else(|| find(bytes, r#""Name":"one""#))
            .map(|at| at + 8),
    );
    places.dedup();
    places
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bit_in_each_file_of_a_unit_is_named_and_concerns_no_other_cell() {
    let stage = Stage::new(false).await;
    let files = files_of(&stage.pristine);
    for kind in [
        "records/unit.db",
        "unit.secret",
        "unit.key",
        "unit.crt",
        "unit.id",
        "files/",
    ] {
        assert!(
            files.iter().any(|file| file.starts_with(kind)),
            "{kind}: {files:?}"
        );
    }
    for file in &files {
        let bytes = fs::read(stage.pristine.join(file)).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let reason = WITHOUT_CONTENT.iter().find(|(name, _)| name == file);
        let (mut named, owner) = (0, stage.cell_of(file));
        for (number, at) in places(&bytes).into_iter().enumerate() {
            stage.reset();
            flip(&stage.data().join(file), at);
            let (status, text) = stage.run(&["verify"]);
            let name = file.rsplit('/').next().unwrap();
            let is_named = match (status, owner) {
                (Some(0), _) => false,
                (DAMAGED, Some(cell)) => {
                    let lines = text.lines().filter(|line| line.starts_with("damage: "));
                    let lines: Vec<_> = lines.collect();
                    let of_cell = format!("cell {cell} ");
                    !lines.is_empty() && lines.iter().all(|line| line.contains(&of_cell))
                }
                _ => text.contains(name),
            };
            assert_eq!(
                is_named,
                status != Some(0),
                "{file} at {at}: {status:?} {text}"
            );
            named += u32::from(is_named);
            if number == 1 || !is_named {
                stage.expect_contained(file, at).await;
            }
        }
        assert_eq!(named > 0, reason.is_none(), "{file}: {reason:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bit_in_the_log_of_a_killed_unit_is_named_and_no_change_seems_never_made() {
    let stage = Stage::new(true).await;
    let files = files_of(&stage.pristine);
    let logs: Vec<&String> = files.iter().filter(|file| file.ends_with("-wal")).collect();
    assert!(logs.len() > CELLS.len(), "{files:?}");
    for file in logs {
        let name = file.rsplit('/').next().unwrap();
        // In the size of a page, the salt of the first frame, and its page.
        for (number, at) in [10, 41, 300].into_iter().enumerate() {
            stage.reset();
            let log = stage.data().join(file);
            flip(&log, at);
            let changed = fs::read(&log).unwrap();
            let (status, text) = stage.run(&["verify"]);
            let wanted = match stage.cell_of(file) {
                Some(_) => DAMAGED,
                // Without its records there is no unit.
                None => Some(1),
            };
            assert!(
                status == wanted && text.contains(name),
                "{file} at {at}: {text}"
            );
            assert_eq!(fs::read(&log).unwrap(), changed);
            if number == 2 {
                stage.expect_contained(file, at).await;
                assert_eq!(fs::read(&log).unwrap(), changed);
            }
        }
    }
    // Without a flipped bit all is there.
    stage.reset();
    let (status, text) = stage.run(&["verify"]);
    assert_eq!(status, Some(0), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bit_in_each_file_of_back_ups_is_found_before_anything_is_restored() {
    let stage = Stage::new(false).await;
    let key = stage.unit.folder().join("key");
    fs::write(&key, "k".repeat(40)).unwrap();
    for options in [&[][..], &["--key", key.to_str().unwrap()]] {
        stage.reset();
        let place = stage
            .unit
            .folder()
            .join(format!("backups{}", options.len()));
        let place = place.to_str().unwrap();
        let (status, text) = stage.run(&[&["backup", "--to", place][..], options].concat());
        assert_eq!(status, Some(0), "{text}");
        let check = |more: &[&str]| {
            let command = ["restore", "--from", place, "--dry-run"];
            let output = program::run(&[&command[..], more, options].concat());
            (output.status.success(), program::text(&output))
        };
        let (is_whole, text) = check(&[]);
        assert!(is_whole, "{text}");
        // The generation alone, and with the journal behind it.
        let reached = text.lines().find(|line| line.starts_with("Any time from "));
        let time = reached
            .unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .trim_end_matches('.');
        let is_found = || {
            [&[][..], &["--at", time]].into_iter().any(|more| {
                let (is_whole, text) = check(more);
                assert!(!text.contains("panicked"), "{text}");
                !is_whole
            })
        };
        assert!(!is_found());
        let mut wrong = Vec::new();
        for file in files_of(Path::new(place)) {
            let path = Path::new(place).join(&file);
            let whole = fs::read(&path).unwrap();
            if whole.is_empty() {
                continue;
            }
            let places = places(&whole);
            let mut missed = Vec::new();
            for at in &places {
                flip(&path, *at);
                if !is_found() {
                    missed.push(*at);
                }
                fs::write(&path, &whole).unwrap();
            }
            if !missed.is_empty() && file != "lock" {
                wrong.push(format!("{file} at {missed:?} of {}", whole.len()));
            }
        }
        assert_eq!(wrong, [""; 0]);
    }
}
