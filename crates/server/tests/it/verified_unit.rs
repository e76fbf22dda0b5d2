//! `personium verify`: a whole unit has no findings, and each kind of damage is found and named.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use personium_model::keys;
use personium_sqlite::{SpaceCreation, SqliteSettings, SqliteStore};
use personium_store::{Batch, Direction, Key, KeyRange, Limit, RecordStore, Space};
use personium_testkit::{PostgresCluster, TestClient, create_unit_database};
use personium_types::{BlobId, CellId};
use serde_json::{Value, json};

use crate::copied_unit::stage::{Side, Stage};
use crate::full_disk::{Mount, empty, fill};
use crate::program;
use crate::storage_unit::bodies;

/// The status of a verification that found damage.
const DAMAGED: i32 = 3;

/// Verifies the unit of these settings. Returns the status and the text.
pub fn verify(side: &Side, options: &[&str]) -> (Option<i32>, String) {
    let arguments = [&["verify", "--config", side.settings()], options].concat();
    let output = program::run(&arguments);
    (output.status.code(), program::text(&output))
}

/// Checks that nothing is found.
pub fn expect_whole(side: &Side) -> String {
    let (status, text) = verify(side, &[]);
    assert!(
        status == Some(0) && text.contains(": 0 damaged, 0 orphaned, 0 not verified"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// The URL of a resource.
fn at(unit: &TestClient, path: &str) -> String {
    format!("{}{path}", unit.url())
}

/// Content of further kinds: associations and links of user data, control objects with links, snapshots, moved and removed files.
async fn add_content(unit: &TestClient) {
    let collection = "one/box/data";
    unit.create_entity_type(collection, "Other").await;
    let schema = format!("{collection}/$metadata");
    for (name, kind) in [("name", "Edm.String"), ("size", "Edm.Int32")] {
        let property = json!({"Name": name, "Type": kind, "_EntityType.Name": "Row"});
        unit.create(&format!("{schema}/Property"), &property.to_string())
            .await;
    }
    for (name, of, number) in [("row", "Row", "*"), ("other", "Other", "0..1")] {
        let end = json!({"Name": name, "Multiplicity": number, "_EntityType.Name": of});
        unit.create(&format!("{schema}/AssociationEnd"), &end.to_string())
            .await;
    }
    let end =
        |name: &str, of: &str| format!("AssociationEnd(Name='{name}',_EntityType.Name='{of}')");
    let links = format!("{schema}/{}/$links/_AssociationEnd", end("row", "Row"));
    let uri = json!({"uri": at(unit, &format!("{schema}/{}", end("other", "Other")))});
    unit.post(&links, &uri.to_string()).await.expect(204);
    let other = r#"{"__id":"o1","kind":"first"}"#;
    unit.create(&format!("{collection}/Other"), other).await;
    for n in 0..5 {
        let row = json!({"__id": format!("named{n}"), "name": format!("name-{n}"), "size": n});
        unit.create(&format!("{collection}/Row"), &row.to_string())
            .await;
        let links = format!("{collection}/Row('named{n}')/$links/_Other");
        let uri = json!({"uri": at(unit, &format!("{collection}/Other('o1')"))});
        unit.post(&links, &uri.to_string()).await.expect(204);
    }
    unit.create(
        "one/__ctl/Relation",
        r#"{"Name":"friend","_Box.Name":"box"}"#,
    )
    .await;
    unit.create(
        "one/__ctl/ExtCell",
        r#"{"Url":"https://other.example/cell/"}"#,
    )
    .await;
    let links = "one/__ctl/Relation(Name='friend',_Box.Name='box')/$links/_ExtCell";
    let ext = "one/__ctl/ExtCell('https%3A%2F%2Fother.example%2Fcell%2F')";
    let uri = json!({"uri": at(unit, ext)});
    unit.post(links, &uri.to_string()).await.expect(204);
    for path in ["one/box/folder", "one/box/folder/inner", "one/box/gone"] {
        unit.create_collection(path, "").await;
    }
    unit.put_file("one/box/folder/inner/file", "moved").await;
    unit.put_file("one/box/gone/file", &"gone".repeat(100_000))
        .await;
    unit.put_file("one/box/folder/replaced", &"a".repeat(300_000))
        .await;
    unit.put_file("one/box/folder/replaced", &"b".repeat(300_001))
        .await;
    let target = at(unit, "one/box/renamed");
    let moved = unit
        .admin_request("MOVE", "one/box/folder")
        .header("destination", &target);
    moved.send().await.expect(201);
    let removed = unit
        .admin_request("DELETE", "one/box/gone")
        .header("x-personium-recursive", "true");
    removed.send().await.expect(204);
    let row = unit
        .admin_request("DELETE", "one/box/data/Row('r3')")
        .send()
        .await;
    row.expect(204);
}

/// A stopped unit with content of every kind.
pub async fn stage(stores: &str) -> Stage {
    let mut stage = Stage::start(stores).await;
    stage.unit.restart();
    add_content(&stage.unit).await;
    // Background work that the removal has begun ends before the unit does.
    stage.unit.terminate();
    assert!(stage.unit.wait());
    stage
}

/// The records of a stopped unit.
struct StoppedRecords {
    store: Arc<SqliteStore>,
    cells: Vec<(String, CellId)>,
}

impl StoppedRecords {
    async fn open(data: &Path) -> Self {
        let store = SqliteStore::open(SqliteSettings {
            spaces: SpaceCreation::Explicit,
            ..SqliteSettings::new(data.join("records"))
        });
        let mut records = Self {
            store: Arc::new(store.unwrap()),
            cells: Vec::new(),
        };
        let set = keys::SetKey::control(keys::ControlSet::Cell);
        let found = records.scan(&Space::Unit, &keys::entities(&set)).await;
        for (key, value) in found {
            let value: Value = serde_json::from_slice(&value[1..]).unwrap();
            let id = keys::last_text(&key, 3).unwrap().parse().unwrap();
            let name = value["d"]["Name"].as_str().unwrap().to_owned();
            records.cells.push((name, id));
        }
        records
    }

    fn space(&self, cell: &str) -> Space {
        let mut cells = self.cells.iter();
        Space::Cell(cells.find(|(name, _)| name == cell).unwrap().1)
    }

    async fn scan(&self, space: &Space, range: &KeyRange) -> Vec<(Key, Vec<u8>)> {
        let limit = Limit::records(10_000);
        let found = self.store.scan(space, range, Direction::Up, limit).await;
        let found = found.unwrap().value.into_iter();
        found
            .map(|(key, record)| (key, record.value.to_vec()))
            .collect()
    }

    /// The first key of a table of which the readable part has this text.
    async fn key(&self, space: &Space, table: u8, text: &str) -> Key {
        let range = KeyRange::prefix(&Key::table(table).build());
        let found = self
            .scan(space, &range)
            .await
            .into_iter()
            .find(|(key, value)| {
                let all = [key.as_bytes(), value].concat();
                String::from_utf8_lossy(&all).contains(text)
            });
        found
            .unwrap_or_else(|| panic!("no {} with {text}", char::from(table)))
            .0
    }

    async fn commit(&self, space: &Space, change: impl FnOnce(&mut Batch)) {
        let mut batch = Batch::new();
        change(&mut batch);
        self.store.commit(space, batch).await.unwrap();
    }

    async fn close(self) {
        self.store.close().await.unwrap();
    }
}

fn expect_lines(text: &str, wanted: &[&str]) {
    for part in wanted {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_unit_has_no_findings_on_every_store() {
    let stage = stage("").await;
    let text = expect_whole(&stage.source);
    assert!(
        text.contains("4 cells") && text.contains(" 17 file bodies"),
        "{text}"
    );
    let (status, text) = verify(&stage.source, &["--json", "--cell", "one"]);
    let outcome: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, &outcome["ok"], &outcome["cells"]),
        (Some(0), &json!(true), &json!(1))
    );
    let (status, text) = verify(&stage.source, &["--cell", "nobody"]);
    assert!(
        status == Some(1) && text.contains("no cell nobody"),
        "{text}"
    );

    let cluster = PostgresCluster::shared();
    let settings = create_unit_database(&cluster, Path::new(env!("CARGO_BIN_EXE_personium")));
    let lines = settings
        .iter()
        .map(|(key, value)| format!("io.personium.core.{key}={value}\n"));
    let there = stage.side("there", &lines.collect::<String>());
    let copied = program::run(&[
        "copy",
        "--from",
        stage.source.settings(),
        "--to",
        there.settings(),
    ]);
    assert!(copied.status.success(), "{}", program::text(&copied));
    expect_whole(&there);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_that_disagrees_with_another_is_found_and_named() {
    let stage = stage("").await;
    let records = StoppedRecords::open(&stage.source.data).await;
    let (one, two) = (records.space("one"), records.space("two"));
    let (three, four) = (records.space("three"), records.space("four"));
    // An index entry is missing; another has no entity; a third is of another value.
    let entry = records.key(&one, b'I', "name-2").await;
    let of_another = records.key(&one, b'I', "name-1").await;
    let mut wrong = of_another.as_bytes().to_vec();
    let at = wrong.windows(6).position(|part| part == b"name-1").unwrap();
    wrong[at + 5] = b'7';
    let entity = records.key(&two, b'E', r#""xxxxxxxxx""#).await;
    // A unique key, a link in one direction, and numbers.
    let role = records.key(&one, b'K', "friend").await;
    let link = records.key(&one, b'L', "named3").await;
    let members = records.key(&three, b'D', "").await;
    let number = records.key(&four, b'C', "").await;
    // A folder, the reference to a body, and a small body.
    let folder = records.key(&one, b'N', "renamed").await;
    let reference = records.key(&three, b'R', "").await;
    let small = records.key(&four, b'B', "").await;
    records
        .commit(&one, |batch| {
            batch.delete(entry);
            batch.put(Key::from_bytes(wrong), "");
            batch.delete(role);
            batch.delete(link);
            batch.delete(folder);
        })
        .await;
    records.commit(&two, |batch| batch.delete(entity)).await;
    records
        .commit(&three, |batch| {
            batch.put(members, 77_i64.to_le_bytes().to_vec());
            batch.delete(reference);
        })
        .await;
    records
        .commit(&four, |batch| {
            batch.put(number, 88_i64.to_le_bytes().to_vec());
            batch.delete(small);
            batch.put(keys::inline_body(&BlobId::from_bytes([9; 16])), "x");
        })
        .await;
    records.close().await;
    let (status, text) = verify(&stage.source, &[]);
    assert_eq!(status, Some(DAMAGED), "{text}");
    expect_lines(
        &text,
        &[
            "box/data/Row('named2'): its index entry is missing (index of name of box/data/Row)",
            "index of name of box/data/Row: it does not follow from its entity (box/data/Row('named1'))",
            "damage: cell two (",
            "its entity is missing (box/data/Row('r9'))",
            "its unique key is missing or of another entity (unique key of __ctl/Relation)",
            "the link back is missing",
            "its folder is missing",
            "it is 77, and there are",
            "the reference to its body is missing",
            "it is 88, and there are",
            "its body is missing",
            "orphan: cell four",
            "it belongs to no file",
        ],
    );
    let (status, text) = verify(&stage.source, &["--json"]);
    assert_eq!(status, Some(DAMAGED), "{text}");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let outcome = lines.last().unwrap();
    assert_eq!(outcome["ok"], false);
    let damages = lines
        .iter()
        .filter(|line| line["finding"] == "damage")
        .count();
    assert_eq!(outcome["damages"], damages);
    assert!(
        lines
            .iter()
            .any(|line| line["cell"] == "three" && line["cellId"].is_string())
    );
    repair(&stage.source);
}

/// Repairs what follows from other records. All else is as damaged as before.
fn repair(unit: &Side) {
    let (status, text) = verify(unit, &["--repair"]);
    assert_eq!(status, Some(DAMAGED), "{text}");
    let repaired = |line: &&str| line.starts_with("repaired: ");
    let (repaired, left): (Vec<&str>, Vec<&str>) = text.lines().partition(repaired);
    expect_lines(
        &repaired.join("\n"),
        &[
            "repaired: cell one: box/data/Row('named2'): its index entry is missing",
            "it does not follow from its entity (box/data/Row('named1'))",
            "its entity is missing (box/data/Row('r9'))",
            "its unique key is missing or of another entity (unique key of __ctl/Relation)",
            "its link is missing",
            "it is 77, and there are",
            "the reference to its body is missing",
            "it is 88, and there are",
        ],
    );
    let damage = |line: &&&str| line.starts_with("damage: ");
    let left: Vec<&&str> = left.iter().filter(damage).collect();
    let of_files = ["its folder is missing", "its body is missing"];
    let is_of_files = |line: &&&str| of_files.iter().any(|problem| line.contains(problem));
    assert!(!left.is_empty() && left.iter().all(is_of_files), "{left:?}");
    let (_, again) = verify(unit, &["--repair"]);
    assert!(again.contains("Repaired: 0 "), "{again}");
}

/// The number of findings of damage.
fn damages(unit: &Side) -> usize {
    let (_, text) = verify(unit, &[]);
    let damage = |line: &&str| line.starts_with("damage: ");
    text.lines().filter(damage).count()
}

/// A unit two cells of which have lost the index entries and keys of their entities.
async fn unit_without_indexes() -> Stage {
    let stage = stage("").await;
    let records = StoppedRecords::open(&stage.source.data).await;
    for cell in ["one", "two"] {
        let space = records.space(cell);
        for table in [b'I', b'K'] {
            let range = KeyRange::prefix(&Key::table(table).build());
            let found = records.scan(&space, &range).await;
            assert!(!found.is_empty());
            let delete =
                |batch: &mut Batch| found.into_iter().for_each(|(key, _)| batch.delete(key));
            records.commit(&space, delete).await;
        }
    }
    records.close().await;
    stage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_ends_a_repair_which_goes_on_when_there_is_space() {
    let stage = unit_without_indexes().await;
    let data = stage.source.data.clone();
    let Some(mount) = Mount::below(&data, 200) else {
        return;
    };
    let _ = fs::remove_file(data.join("records/reserve"));
    let before = damages(&stage.source);
    assert!(before > 10, "{before}");
    mount.resize(mount.used_mib());
    fill(&data);
    let (status, text) = verify(&stage.source, &["--repair"]);
    assert!(!text.contains("panicked"), "{text}");
    let is_named = ["full", "No space left"]
        .iter()
        .any(|why| text.contains(why));
    // What a few small changes repair needs no more than the logs of the files have.
    assert!(status == Some(0) || is_named, "{status:?}: {text}");
    mount.resize(200);
    empty(&data);
    let now = damages(&stage.source);
    assert!(now <= before, "{now} of {before}");
    let (status, text) = verify(&stage.source, &["--repair"]);
    assert_eq!(status, Some(0), "{text}");
    expect_whole(&stage.source);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_repairs_damage_nothing_and_are_repeated() {
    const STEP: Duration = Duration::from_millis(20);
    const ROUNDS_MAX: u32 = 200;
    let stage = unit_without_indexes().await;
    let mut left = damages(&stage.source);
    assert!(left > 10, "{left}");
    let mut killed = 0;
    for round in 0..ROUNDS_MAX {
        let arguments = ["verify", "--config", stage.source.settings(), "--repair"];
        let mut command = program::command(&arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        tokio::time::sleep(STEP * round).await;
        let _ = child.kill();
        let status = child.wait().unwrap();
        let now = damages(&stage.source);
        assert!(now <= left, "{now} of {left}");
        left = now;
        if status.success() {
            break;
        }
        killed += 1;
    }
    assert!(killed > 0);
    let (status, text) = verify(&stage.source, &["--repair"]);
    assert_eq!(status, Some(0), "{text}");
    expect_whole(&stage.source);
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Changes a bit of a text in a file, wherever the text is: a page can have kept what was moved to another one.
fn flip(path: &Path, text: &[u8]) {
    change(path, |bytes| {
        let parts = bytes.windows(text.len()).enumerate();
        let found: Vec<usize> = parts
            .filter(|(_, part)| *part == text)
            .map(|(at, _)| at)
            .collect();
        assert!(!found.is_empty());
        for at in found {
            bytes[at + text.len() / 2] ^= 1;
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_bit_and_missing_file_of_each_kind_are_found_and_named() {
    let stage = stage("").await;
    let data = &stage.source.data;
    let records = StoppedRecords::open(data).await;
    let path = |cell: &str| records.store.path(&records.space(cell));
    let [one, three, four] = ["one", "three", "four"].map(path);
    let folder = |cell: &str| {
        let Space::Cell(id) = records.space(cell) else {
            unreachable!()
        };
        id.to_string()
    };
    let of_cell = |cell: &str| {
        let id = folder(cell);
        let mut found = bodies(data);
        found.retain(|path| path.to_string_lossy().contains(&id));
        found
    };
    let (bodies_of_one, bodies_of_two) = (of_cell("one"), of_cell("two"));
    records.close().await;
    // Two records of a cell, one of them a file, and two bodies.
    flip(&one, br#""xxxxxxxxxxxxxxx""#);
    let mut large = bodies_of_one
        .iter()
        .filter(|path| fs::metadata(path).unwrap().len() > 1_000_000);
    change(large.next_back().unwrap(), |bytes| bytes[1_000_000] ^= 1);
    fs::remove_file(&bodies_of_two[0]).unwrap();
    let lost = bodies_of_two[1].with_file_name("ffffffffffffffffffffffffffffffff");
    fs::copy(&bodies_of_two[1], lost).unwrap();
    // A page, and a whole file.
    change(&three, |bytes| {
        let at = bytes
            .windows(5)
            .position(|part| part == b"\"xxx\"")
            .unwrap()
            / 4096
            * 4096;
        bytes[at..at + 4096].fill(0);
    });
    fs::rename(&four, data.join("lost")).unwrap();
    let (status, text) = verify(&stage.source, &[]);
    assert_eq!(status, Some(DAMAGED), "{text}");
    expect_lines(
        &text,
        &[
            "box/data/Row('r15'): ",
            "checksum of a record does not match",
            "its body is damaged",
            "damage: cell two",
            "its body is missing (file body",
            "no record names it",
            "damage: cell three",
            "is damaged",
            "damage: cell four",
            "all of them are missing",
        ],
    );
    assert!(
        text.contains("damage: cell one") && text.contains(": box/f"),
        "{text}"
    );
    // Nothing was changed, and the damaged unit of the catalogue is damage too.
    let unit = data.join("records/unit.db");
    flip(&unit, br#""Name":"two""#);
    let (status, text) = verify(&stage.source, &[]);
    assert_eq!(status, Some(DAMAGED), "{text}");
    expect_lines(
        &text,
        &["damage: the unit: __ctl/Cell('", "box/data/Row('r15'): "],
    );
    // A part of the unit is gone.
    fs::remove_file(&unit).unwrap();
    let (status, text) = verify(&stage.source, &[]);
    assert!(
        status == Some(1) && text.contains("unit.db is missing"),
        "{text}"
    );
}

#[test]
fn folder_without_a_unit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_personium"))
        .args(["verify", "--data"])
        .arg(folder.path())
        .output()
        .unwrap();
    let text = program::text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("there is no unit"), "{text}");
}
