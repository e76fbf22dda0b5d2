//! `personium restore --at`: a unit, or one of its cells, as it was at a time between two generations of its back-ups.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use personium_testkit::{TestClient, wait_until};
use personium_types::time::iso_time;

use crate::copied_unit::stage::{Side, Stage, change};
use crate::program;
use crate::storage_unit::files;
use crate::verified_unit::expect_whole;

const JOURNAL: &str = "io.personium.core.store.journalInHours=24\n";

const LARGE: usize = 400_000;

/// A unit that runs, keeps journals, and has a generation of back-ups.
struct Kept {
    stage: Stage,
    folder: PathBuf,
    key: PathBuf,
}

impl Kept {
    async fn start() -> Self {
        let mut stage = Stage::start(JOURNAL).await;
        let folder = stage.unit.folder().join("backups");
        let key = stage.unit.folder().join("backup-key");
        fs::write(&key, "k".repeat(40)).unwrap();
        stage.unit.restart();
        let kept = Self { stage, folder, key };
        kept.backup(&[]);
        kept
    }

    fn unit(&self) -> &TestClient {
        &self.stage.unit
    }

    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let key = ["--key", self.key.to_str().unwrap()];
        let output = program::run(&[arguments, &key].concat());
        (output.status.success(), program::text(&output))
    }

    fn backup(&self, more: &[&str]) -> String {
        let (source, to) = (self.stage.source.settings(), self.folder.to_str().unwrap());
        let own = ["backup", "--config", source, "--to", to];
        let (done, text) = self.run(&[&own, more].concat());
        assert!(done, "{text}");
        text
    }

    fn restore(&self, more: &[&str]) -> (bool, String) {
        let own = ["restore", "--from", self.folder.to_str().unwrap()];
        self.run(&[&own, more].concat())
    }

    /// Restores the unit as it was at a time.
    fn restore_unit(&self, name: &str, at: &str) -> Side {
        let side = self.stage.side(name, "");
        let (done, text) = self.restore(&["--at", at, "--to", side.settings()]);
        assert!(done && text.contains("The unit is restored"), "{text}");
        expect_whole(&side);
        side
    }

    /// Checks that the space of the journals is shown, and that neither what cells store nor a quota has it.
    async fn expect_journals_in_no_quota(&self) {
        let settings = self.stage.source.settings();
        let usage = |more: &[&str]| {
            let own = ["usage", "--json", "--cell", "two", "--config", settings];
            let output = program::run(&[&own, more].concat());
            let text = program::text(&output);
            let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
            (shown["cells"][0].clone(), shown)
        };
        let (without, _) = usage(&[]);
        assert_eq!(without.get("journalBytes"), None);
        let (with, all) = usage(&["--journals"]);
        assert_eq!(with["usedBytes"], without["usedBytes"]);
        let bytes = |name: &str| with[name].as_u64().unwrap();
        assert!(bytes("journalBytes") > 1_000, "{with}");
        assert!(bytes("removedFileBytes") >= LARGE as u64, "{with}");
        assert_eq!(all["journalBytes"], with["journalBytes"]);
        let text = program::text(&program::run(&[
            "usage",
            "--journals",
            "--config",
            settings,
        ]));
        assert!(text.contains("Journals, which no quota limits: "), "{text}");
    }

    fn stop(&mut self) {
        self.stage.unit.terminate();
        assert!(self.stage.unit.wait());
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// The time now. What follows is later.
async fn moment() -> String {
    let now = now_ms();
    while now_ms() == now {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    iso_time(now)
}

async fn get(unit: &TestClient, path: &str) -> (u16, String) {
    let got = unit.admin_request("GET", path).send().await;
    (got.status.as_u16(), got.text())
}

async fn remove_cell(unit: &TestClient, cell: &str) {
    let removed = unit.admin_request("DELETE", cell);
    let removed = removed.header("x-personium-recursive", "true");
    removed.send().await.expect(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unit_and_cell_are_restored_to_times_between_two_generations() {
    let mut kept = Kept::start().await;
    let large = "l".repeat(LARGE);
    kept.unit().put_file("two/box/large", &large).await;
    kept.unit().put_file("two/box/small", "first").await;
    let first = moment().await;
    // The body is removed before any back-up has seen it.
    let removed = kept.unit().admin_request("DELETE", "two/box/large");
    removed.send().await.expect(204);
    kept.unit().put_file("two/box/small", "second").await;
    kept.unit().create_cell("five").await;
    let second = moment().await;
    kept.backup(&["--journal"]);
    kept.unit().put_file("two/box/small", "third").await;
    let third = moment().await;
    // What was acknowledged is in the journal.
    kept.stage.unit.kill();
    kept.stage.unit.restart();
    kept.backup(&["--journal"]);
    kept.unit().put_file("two/box/small", "fourth").await;
    remove_cell(kept.unit(), "five").await;
    let fourth = moment().await;
    kept.backup(&["--journal"]);
    kept.expect_journals_in_no_quota().await;
    let (done, text) = kept.restore(&["--list"]);
    assert!(done && text.contains("Any time from "), "{text}");
    let (done, text) = kept.restore(&["--dry-run", "--at", &third]);
    assert!(done && text.contains("5 cells"), "{text}");
    let later = moment().await;
    let (done, text) = kept.restore(&["--dry-run", "--at", &later]);
    assert!(!done && text.contains("cannot be reached"), "{text}");
    kept.stop();

    let wanted = [
        (&first, "first", 200, 404),
        (&second, "second", 404, 200),
        (&third, "third", 404, 200),
        (&fourth, "fourth", 404, 404),
    ];
    for (at, small, large_status, five_status) in wanted {
        let side = kept.restore_unit(small, at);
        kept.stage.start_on(&side);
        assert_eq!(get(kept.unit(), "two/box/small").await.1, small);
        let found = get(kept.unit(), "two/box/large").await;
        assert_eq!(found.0, large_status);
        assert!(large_status != 200 || found.1 == large);
        let five = get(kept.unit(), "five/__ctl/Box").await;
        assert_eq!(five.0, five_status, "{small}: {}", five.1);
        kept.stage.stop_on(&side);
    }
    let cell = ["--cell", "two", "--at", &first, "--as", "two-then"];
    let to = kept.stage.source.settings().to_owned();
    let (done, text) = kept.restore(&[&cell[..], &["--to", &to]].concat());
    assert!(
        done && text.contains("Restored the cell two-then"),
        "{text}"
    );
    kept.stage.unit.restart();
    for (path, found) in [("two-then/box/small", "first"), ("two/box/small", "fourth")] {
        assert_eq!(get(kept.unit(), path).await.1, found);
    }
    assert!(get(kept.unit(), "two-then/box/large").await.1 == large);
    kept.stop();
}

/// The time until which the journals were copied, as the unit shows it.
fn copied_until_ms(kept: &Kept) -> i64 {
    let text = fs::read_to_string(kept.stage.source.data.join("journal-copied"));
    text.map_or(0, |text| text.parse().unwrap())
}

/// The names in the folder of generations that end like this, the oldest first.
fn generations(kept: &Kept, end: &str) -> Vec<PathBuf> {
    let mut found = files(&kept.folder.join("generations"), end);
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followed_journal_ends_whole_and_leads_on_from_before_a_damaged_generation() {
    let mut kept = Kept::start().await;
    let (source, to) = (kept.stage.source.settings(), kept.folder.to_str().unwrap());
    let follow = ["backup", "--config", source, "--to", to, "--follow", "1"];
    let key = ["--key", kept.key.to_str().unwrap()];
    let mut command = program::command(&[&follow[..], &key].concat());
    let mut followed = command.stdout(Stdio::null()).spawn().unwrap();
    let is_copied = async |until_ms: i64| copied_until_ms(&kept) > until_ms;
    let begun = now_ms();
    wait_until("a pass", async || is_copied(begun).await).await;
    kept.unit().put_file("two/box/small", "followed").await;
    let at_ms = now_ms();
    wait_until("the next pass", async || is_copied(at_ms).await).await;
    program::signal(followed.id(), "TERM");
    assert!(followed.wait().unwrap().success());
    assert_eq!(generations(&kept, ".unfinished"), [] as [PathBuf; 0]);
    let at = iso_time(at_ms);
    let (done, text) = kept.restore(&["--dry-run", "--at", &at]);
    assert!(done && text.contains("is whole"), "{text}");

    kept.backup(&[]);
    kept.unit().put_file("two/box/small", "later").await;
    let later = moment().await;
    kept.backup(&["--journal"]);
    kept.stop();
    let lists = generations(&kept, ".json");
    assert_eq!(lists.len(), 2);
    let text = fs::read_to_string(lists.last().unwrap()).unwrap();
    let list = text.split('"').find(|part| part.len() == 32).unwrap();
    let list = kept.folder.join("files/unit").join(&list[..2]).join(list);
    change(&list, |bytes| bytes[20] ^= 1);
    let (done, text) = kept.restore(&["--dry-run"]);
    assert!(!done, "{text}");
    let side = kept.restore_unit("before", &later);
    kept.stage.start_on(&side);
    assert_eq!(get(kept.unit(), "two/box/small").await.1, "later");
    kept.stage.stop_on(&side);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn altered_journal_is_named_and_a_forgotten_cell_is_in_none() {
    let mut kept = Kept::start().await;
    kept.unit().put_file("two/box/small", "first").await;
    let before = moment().await;
    kept.backup(&["--journal"]);
    let known = files(&kept.folder.join("files"), "");
    kept.unit().put_file("two/box/small", "second").await;
    kept.unit().put_file("four/box/small", "forgotten").await;
    let after = moment().await;
    kept.backup(&["--journal"]);
    remove_cell(kept.unit(), "four").await;
    kept.backup(&["--journal"]);
    let text = kept.backup(&["--forget", "four"]);
    assert!(text.contains("four was removed"), "{text}");
    kept.stop();
    let side = kept.restore_unit("forgotten", &after);
    kept.stage.start_on(&side);
    assert_eq!(get(kept.unit(), "four").await.0, 404);
    assert_eq!(get(kept.unit(), "two/box/small").await.1, "second");
    kept.stage.stop_on(&side);

    // The segment of the second pass of the cell.
    let of_unit = kept.folder.join("files").join("unit");
    let mut segments = files(&kept.folder.join("files"), "");
    segments.retain(|path| !known.contains(path) && !path.starts_with(&of_unit));
    assert!(!segments.is_empty());
    for segment in segments {
        change(&segment, |bytes| bytes[40] ^= 1);
    }
    let there = kept.stage.side("damaged", "");
    let (done, text) = kept.restore(&["--at", &after, "--to", there.settings()]);
    assert!(
        !done && text.contains("its journal is damaged") && text.contains("it is as it was at"),
        "{text}"
    );
    kept.stage.start_on(&there);
    assert_eq!(get(kept.unit(), "two/box/small").await.1, "first");
    kept.stage.stop_on(&there);
    let (done, text) = kept.restore(&["--at", &after, "--cell", "two", "--dry-run"]);
    assert!(!done && text.contains("give an earlier time"), "{text}");
    let (done, text) = kept.restore(&["--at", &before, "--dry-run"]);
    assert!(done && text.contains("is whole"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_journal_has_is_named() {
    let mut kept = Kept::start().await;
    // No back-up sees the cell while it is there.
    kept.unit().create_cell("six").await;
    let there = moment().await;
    remove_cell(kept.unit(), "six").await;
    kept.backup(&["--journal"]);
    let (done, text) = kept.restore(&["--dry-run", "--at", &there]);
    let lost = "cell six is not complete: it was removed before its journal was read again";
    assert!(!done && text.contains(lost), "{text}");

    // The journal of a cell is lost, and nothing follows.
    kept.unit().put_file("two/box/small", "lost").await;
    let lost = moment().await;
    kept.stop();
    let cells = files(&kept.stage.source.data.join("records").join("cells"), ".db");
    assert!(!cells.is_empty());
    for cell in cells {
        change(&cell, |bytes| {
            let name = b"journal";
            // The page of the schema.
            let places = 0..8192.min(bytes.len()) - name.len();
            for at in places
                .filter(|at| bytes[*at..].starts_with(name))
                .collect::<Vec<_>>()
            {
                bytes[at + name.len() - 1] = b'k';
            }
        });
    }
    kept.stage.unit.restart();
    let (source, to) = (kept.stage.source.settings(), kept.folder.to_str().unwrap());
    let journal = ["backup", "--config", source, "--to", to, "--journal"];
    let (done, text) = kept.run(&journal);
    assert!(!done && text.contains("do not go on from there"), "{text}");
    let (done, text) = kept.restore(&["--dry-run", "--at", &lost]);
    let gap = "cell two is not complete: its journal has a gap";
    assert!(!done && text.contains(gap), "{text}");
    let (done, text) = kept.restore(&["--dry-run", "--at", &lost, "--cell", "two"]);
    assert!(!done && text.contains("its journal has a gap"), "{text}");
    kept.stop();
}
