//! Back-ups of a unit that runs look only at the cells that have changed. None is missed, whatever ends the unit or a back-up.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use personium_testkit::{ProcessUnit, TestClient};

use crate::copied_unit::stage::Side;
use crate::program;
use crate::storage_unit::files;

/// More cells than a back-up lists again each time.
const CELLS: usize = 110;

fn name(number: usize) -> String {
    format!("cell{number}")
}

/// A unit with many cells, and its back-ups.
struct ManyCells {
    unit: ProcessUnit,
    source: Side,
    backups: PathBuf,
}

impl ManyCells {
    async fn start(settings: &str) -> Self {
        let unit = crate::unit().settings(settings).start();
        for number in 0..CELLS {
            unit.create_cell(&name(number)).await;
            unit.create_box(&name(number), "box").await;
        }
        Self {
            source: Side::of_folder(&unit, &unit.folder().join("data")),
            backups: unit.folder().join("backups"),
            unit,
        }
    }

    fn backup(&self, more: &[&str]) -> (bool, String) {
        let to = self.backups.to_str().unwrap();
        let own = ["backup", "--config", self.source.settings(), "--to", to];
        let output = program::run(&[&own, more].concat());
        (output.status.success(), program::text(&output))
    }

    fn expect_backup(&self, cells: &str) {
        let (done, text) = self.backup(&[]);
        assert!(done && text.contains(cells), "{cells}: {text}");
    }

    fn restore(&self, more: &[&str]) -> (bool, String) {
        let own = ["restore", "--from", self.backups.to_str().unwrap()];
        let output = program::run(&[&own, more].concat());
        (output.status.success(), program::text(&output))
    }

    fn expect_drill(&self, more: &[&str]) {
        let scratch = self.unit.folder().join("scratch");
        let drill = ["--drill", scratch.to_str().unwrap()];
        let (done, text) = self.restore(&[&drill, more].concat());
        assert!(done && text.contains(": 0 damaged, 0 orphaned"), "{text}");
    }

    /// The bodies of the records of the unit, of lists and keys.
    fn of_unit(&self) -> Vec<PathBuf> {
        files(&self.backups.join("files/unit"), "")
    }

    fn generations(&self) -> Vec<String> {
        let (done, text) = self.restore(&["--list"]);
        assert!(done, "{text}");
        let names = text.lines().filter_map(|line| line.split_once(": "));
        names.map(|(name, _)| name.to_owned()).collect()
    }

    /// Restores the last generation, and starts the unit on it.
    fn start_restored(&mut self, name: &str) {
        self.unit.terminate();
        assert!(self.unit.wait());
        let folder = self.unit.folder().to_owned();
        let restored = Side::of_folder(&self.unit, &folder.join(name));
        let (done, text) = self.restore(&["--to", restored.settings()]);
        assert!(done, "{text}");
        fs::rename(folder.join("data"), folder.join(format!("before-{name}"))).unwrap();
        fs::rename(&restored.data, folder.join("data")).unwrap();
        self.unit.restart();
    }
}

async fn put(unit: &TestClient, cell: usize, content: &str) {
    unit.put_file(&format!("{}/box/f", name(cell)), content)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_has_changed_is_listed_and_each_generation_can_be_restored_and_removed() {
    let mut many = ManyCells::start("").await;
    many.expect_backup("110 cells (110 new or changed)");
    let largest = || {
        let sizes = many.of_unit();
        let sizes = sizes.iter().map(|file| fs::metadata(file).unwrap().len());
        sizes.max().unwrap()
    };
    let whole = largest();
    let before = many.of_unit();
    for cell in [3, 50, 109] {
        put(&many.unit, cell, "a change").await;
    }
    many.unit.create_cell("more").await;
    let gone = many.unit.admin_request("DELETE", "cell7");
    let gone = gone.header("x-personium-recursive", "true").send().await;
    gone.expect(204);
    many.expect_backup("110 cells (4 new or changed)");
    many.expect_backup("110 cells (0 new or changed)");
    put(&many.unit, 3, "another change").await;
    many.expect_backup("110 cells (1 new or changed)");
    // Lists of changes are short.
    let lists = many.of_unit().into_iter();
    let lists = lists.filter(|file| !before.contains(file));
    let with_cells = lists.filter(|file| {
        let content = fs::read(file).unwrap();
        let content = String::from_utf8_lossy(&content);
        content.starts_with("{") && content.contains("\"since\"")
    });
    let lengths: Vec<u64> = with_cells
        .map(|file| fs::metadata(file).unwrap().len())
        .collect();
    assert_eq!(lengths.len(), 3, "{lengths:?}");
    assert!(
        lengths.iter().all(|length| *length < whole / 4),
        "{lengths:?} {whole}"
    );

    let generations = many.generations();
    assert_eq!(generations.len(), 4);
    for generation in &generations {
        many.expect_drill(&["--generation", generation]);
    }
    // The first ones are removed, and what the last ones need of them stays.
    let (done, text) = many.backup(&["--keep", "2"]);
    assert!(
        done && text.contains("3 former generations were removed"),
        "{text}"
    );
    for generation in &many.generations() {
        many.expect_drill(&["--generation", generation]);
    }
    // A cell that is removed for good is in no list, also in none that others go on from.
    let gone = many.unit.admin_request("DELETE", "cell9");
    let gone = gone.header("x-personium-recursive", "true").send().await;
    gone.expect(204);
    many.expect_backup("109 cells (0 new or changed)");
    let names = |many: &ManyCells| {
        let files = many.of_unit().into_iter();
        let found = files.filter(|file| {
            let content = fs::read(file).unwrap();
            content.starts_with(b"{") && String::from_utf8_lossy(&content).contains("\"cell9\"")
        });
        found.count()
    };
    assert!(names(&many) > 0);
    let (done, text) = many.backup(&["--forget", "cell9"]);
    assert!(
        done && text.contains("was removed from 2 generations"),
        "{text}"
    );
    assert_eq!(names(&many), 0);
    for generation in &many.generations() {
        many.expect_drill(&["--generation", generation]);
    }
    many.expect_backup("109 cells (0 new or changed)");
    many.start_restored("restored");
    let got = many.unit.admin_request("GET", "cell3/box/f").send().await;
    assert_eq!(got.expect(200).text(), "another change");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_is_missed_when_the_unit_or_a_back_up_is_killed() {
    let mut many = ManyCells::start("").await;
    many.expect_backup("110 cells (110 new or changed)");
    // Killed with a change that was acknowledged, and backed up by the next process.
    put(&many.unit, 1, "before the kill").await;
    many.unit.kill();
    many.unit.restart();
    many.expect_backup("110 cells (1 new or changed)");
    // Backed up while the unit does not run, which gives no time to go on from.
    put(&many.unit, 2, "before the kill").await;
    many.unit.kill();
    many.expect_backup("110 cells (1 new or changed)");
    many.unit.restart();
    put(&many.unit, 3, "after a start").await;
    many.expect_backup("110 cells (1 new or changed)");

    let mut acknowledged: BTreeMap<usize, String> = BTreeMap::new();
    for round in 0..6_u64 {
        let writing = {
            let client = many.unit.reconnect();
            tokio::spawn(async move {
                let mut done = Vec::new();
                for number in 0..400_usize {
                    let cell = (number * 7 + usize::try_from(round).unwrap()) % CELLS;
                    let content = format!("{round}-{number}");
                    let path = format!("{}/box/f", name(cell));
                    let put = client.admin_request("PUT", &path).body(content.clone());
                    match put.try_send().await {
                        Ok(response) if response.status.is_success() => done.push((cell, content)),
                        _ => break,
                    }
                }
                done
            })
        };
        let mut command = program::command(&[
            "backup",
            "--config",
            many.source.settings(),
            "--to",
            many.backups.to_str().unwrap(),
        ]);
        let mut running = command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(60 + 90 * round)).await;
        match round % 3 {
            // The back-up ends by itself, beside changes.
            0 => {}
            1 => running.kill().unwrap(),
            _ => {
                many.unit.kill();
                many.unit.restart();
            }
        }
        running.wait().unwrap();
        for (cell, content) in writing.await.unwrap() {
            acknowledged.insert(cell, content);
        }
    }
    let (done, text) = many.backup(&[]);
    assert!(done, "{text}");
    assert!(acknowledged.len() > 20, "{acknowledged:?}");
    many.start_restored("restored");
    for (cell, content) in acknowledged {
        let path = format!("{}/box/f", name(cell));
        let got = many.unit.admin_request("GET", &path).send().await;
        let got = got.expect(200).text();
        // A change that was not acknowledged may have been made after it.
        assert!(
            got == content || newer(&got, &content),
            "{cell}: {got} {content}"
        );
    }
}

/// Whether a content was written later, or at the same time.
fn newer(found: &str, than: &str) -> bool {
    let of = |text: &str| {
        let (round, number) = text.split_once('-')?;
        Some((round.parse::<u64>().ok()?, number.parse::<u64>().ok()?))
    };
    of(found) >= of(than)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_part_of_the_audit_log_is_left_out_and_all_else_is_restored() {
    let unit = crate::unit().start();
    let mut many = ManyCells {
        source: Side::of_folder(&unit, &unit.folder().join("data")),
        backups: unit.folder().join("backups"),
        unit,
    };
    // Each generation has a file with the entries since the last one, and those of the others.
    for cell in ["first", "second", "third"] {
        many.unit.create_cell(cell).await;
        many.unit.create_box(cell, "box").await;
        many.unit.put_file(&format!("{cell}/box/f"), cell).await;
        let (done, text) = many.backup(&[]);
        assert!(done, "{text}");
    }
    let is_of_second = |file: &PathBuf| {
        let content = fs::read(file).unwrap();
        let text = String::from_utf8_lossy(&content);
        !content.starts_with(b"{") && text.contains("\"previous\"") && text.contains("second")
    };
    let parts: Vec<PathBuf> = many.of_unit().into_iter().filter(is_of_second).collect();
    assert_eq!(parts.len(), 1, "{parts:?}");
    let whole = fs::read(&parts[0]).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 4;
    let generations = many.generations();
    for damage in [Some(&changed), None] {
        match damage {
            Some(changed) => fs::write(&parts[0], changed).unwrap(),
            None => fs::remove_file(&parts[0]).unwrap(),
        }
        // The first generation does not have it.
        for (number, generation) in generations.iter().enumerate() {
            let (done, text) = many.restore(&["--generation", generation, "--dry-run"]);
            assert_eq!(done, number == 0, "{text}");
            let is_named = text.contains("of the audit log are left out");
            assert_eq!(is_named, number > 0, "{text}");
        }
        // One cell needs nothing of it.
        let (done, text) = many.restore(&["--cell", "third", "--dry-run"]);
        assert!(done, "{text}");
    }
    let folder = many.unit.folder().to_owned();
    many.unit.terminate();
    assert!(many.unit.wait());
    let restored = Side::of_folder(&many.unit, &folder.join("restored"));
    let (done, text) = many.restore(&["--to", restored.settings()]);
    assert!(!done && text.contains("The unit is restored."), "{text}");
    assert!(text.contains("of the audit log are left out"), "{text}");
    let (whole, text) = restored.run("verify");
    assert!(whole, "{text}");
    // A whole back-up writes what the unit still has.
    let (done, text) = many.backup(&["--full"]);
    assert!(done, "{text}");
    let (done, text) = many.restore(&["--dry-run"]);
    assert!(done, "{text}");
    fs::rename(folder.join("data"), folder.join("before")).unwrap();
    fs::rename(&restored.data, folder.join("data")).unwrap();
    many.unit.restart();
    for cell in ["first", "second", "third"] {
        let got = many.unit.admin_request("GET", &format!("{cell}/box/f"));
        assert_eq!(got.send().await.expect(200).text(), cell);
    }
    let log = program::text(&program::run(&[
        "audit",
        "export",
        "--config",
        many.source.settings(),
    ]));
    assert!(!log.contains("second"), "{log}");
    for cell in ["first", "third"] {
        assert!(log.contains(cell), "{log}");
    }
}
