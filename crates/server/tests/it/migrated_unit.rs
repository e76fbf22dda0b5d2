//! `personium migrate`: a unit of the original is taken over, its changes later, also after interruptions; damaged exports are refused.

mod from_search_engine;
pub mod original;
mod search_engine;
mod to_other_stores;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use personium_testkit::ProcessUnit;
use serde_json::{Value, json};

use self::original::{Original, PASSWORD, cell_id, outcome};
use crate::full_disk::{Kind, Mount};
use crate::program;

async fn login(unit: &ProcessUnit, cell: &str) -> String {
    let fields = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
    ];
    let token = unit.request("POST", &format!("/{cell}/__token"));
    let token = token.form(&fields).send().await.expect(200).json();
    token["access_token"].as_str().unwrap().to_owned()
}

async fn get(unit: &ProcessUnit, path: &str) -> String {
    unit.admin_request("GET", path)
        .send()
        .await
        .expect(200)
        .text()
}

/// The names of the cells of a unit.
async fn cells(unit: &ProcessUnit) -> Vec<String> {
    let list: Value = serde_json::from_str(&get(unit, "/__ctl/Cell?$format=json").await).unwrap();
    let list = list["d"]["results"].as_array().unwrap().iter();
    let mut names: Vec<String> = list
        .map(|cell| cell["Name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unit_of_the_original_starts_after_the_last_pass_with_all_it_had() {
    let original = Original::new(2);
    let (status, text) = original.migrate(&[]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("2 taken over, 0 unchanged"), "{text}");
    let written = fs::read_to_string(original.data().join("personium-unit-config.properties"));
    let written = written.unwrap();
    assert!(
        written.contains("masterToken=none") && !written.contains("blobStore.root"),
        "{written}"
    );
    let report = original.report();
    assert_eq!(report.len(), 1, "{report:?}");
    assert_eq!(report[0]["kind"], "setting");

    // It does not start yet, and nothing else is put into it.
    let data = original.data().display().to_string();
    let refused = program::run(&["serve", "--data", &data]);
    assert!(!refused.status.success());
    assert!(
        program::text(&refused).contains("is not finished"),
        "{}",
        program::text(&refused)
    );
    fs::copy(
        original.path("unit.properties"),
        original.path("other.properties"),
    )
    .unwrap();
    let other = original.path("other.properties").display().to_string();
    let documents = original.path("documents.ndjson").display().to_string();
    let foreign = [
        "migrate",
        "--from",
        &other,
        "--documents",
        &documents,
        "--data",
        &data,
    ];
    let foreign = program::run(&foreign);
    assert!(program::text(&foreign).contains("has an unfinished migration of"));

    let (status, text) = original.migrate(&["--verify", "--finish"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(
        text.contains("0 taken over, 2 unchanged, 0 removed, 0 failed, 0 different"),
        "{text}"
    );
    assert!(
        text.contains("6 entities, the checksums of 4 files"),
        "{text}"
    );
    assert!(!original.data().join("migration").exists());
    let whole = program::run(&["verify", "--data", &data]);
    assert!(whole.status.success(), "{}", program::text(&whole));
    let (status, text) = original.migrate(&[]);
    assert_eq!(status, Some(1));
    assert!(text.contains("the target is not empty"), "{text}");
    // Nor is a file of settings written into a unit that has none.
    let settings = original.data().join("personium-unit-config.properties");
    let kept = std::fs::read(&settings).unwrap();
    std::fs::remove_file(&settings).unwrap();
    let (status, text) = original.migrate(&[]);
    assert_eq!(status, Some(1));
    assert!(text.contains("the target is not empty"), "{text}");
    let files = std::fs::read_dir(original.data()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let written: Vec<_> = names.filter(|name| name.contains("unit-config")).collect();
    assert!(written.is_empty(), "{written:?}");
    std::fs::write(&settings, kept).unwrap();

    let unit = original.start();
    assert_eq!(cells(&unit).await, ["cell0", "cell1"]);
    let token = login(&unit, "cell1").await;
    let secret = unit.request("GET", "/cell1/b/secret.txt").bearer(&token);
    let secret = secret.send().await.expect(200);
    assert_eq!(secret.text(), "top secret, and longer than a block");
    let anonymous = unit.request("GET", "/cell1/b/plain.txt").send().await;
    anonymous.expect(401);
    let entity = get(&unit, "/cell1/b/data/Item('e2')?$format=json").await;
    let entity: Value = serde_json::from_str(&entity).unwrap();
    let entity = &entity["d"]["results"];
    assert_eq!(entity["size"], 2.5);
    assert_eq!(entity["__metadata"]["etag"], "W/\"2-1700000000005\"");
    assert!(
        get(&unit, "/cell1/__log/current/default.log")
            .await
            .contains("09:15:30.123Z")
    );
    let roles = get(&unit, "/cell1/__ctl/Account('me')/_Role").await;
    assert!(roles.contains("boss"), "{roles}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_passes_take_over_what_has_changed_since() {
    let mut original = Original::new(4);
    assert_eq!(original.migrate(&[]).0, Some(0));
    // One cell gets an entity, one a file, one another name, one is gone.
    original.add_entity(0, 7, "7.25");
    let file = original
        .tree(1)
        .join(format!("box{:019}", 1))
        .join("later.txt");
    original.put(&file, "dav.file", Some(b"later"), json!({}));
    for document in &mut original.documents {
        if document["_source"]["s"]["Name"] == "cell2" {
            document["_source"]["s"]["Name"] = json!("renamed");
        }
    }
    let gone = cell_id(3);
    original
        .documents
        .retain(|document| document["_id"] != *gone && document["_source"]["c"] != *gone);
    let (status, text) = original.migrate(&["--verify", "--finish"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(
        text.contains("3 taken over, 0 unchanged, 1 removed"),
        "{text}"
    );

    let unit = original.start();
    assert_eq!(cells(&unit).await, ["cell0", "cell1", "renamed"]);
    assert!(
        get(&unit, "/cell0/b/data/Item('e7')?$format=json")
            .await
            .contains("7.25")
    );
    assert_eq!(get(&unit, "/cell1/b/later.txt").await, "later");
    login(&unit, "renamed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migration_killed_anywhere_goes_on_when_it_is_repeated() {
    let original = Original::new(12);
    for lines in [1, 2, 4, 7, 11] {
        if original.kill_after(lines) {
            break;
        }
        let data = original.data().display().to_string();
        let refused = program::run(&["serve", "--data", &data]);
        assert!(!refused.status.success());
    }
    let (status, text) = original.migrate(&["--verify", "--finish"]);
    assert_eq!(status, Some(0), "{text}\n{:#?}", original.report());
    let unit = original.start();
    assert_eq!(cells(&unit).await.len(), 12);
    for cell in ["cell0", "cell11"] {
        login(&unit, cell).await;
        assert_eq!(get(&unit, &format!("/{cell}/b/plain.txt")).await, "plain");
    }
    drop(unit);
    let data = original.data().display().to_string();
    let whole = program::run(&["verify", "--data", &data]);
    assert!(whole.status.success(), "{}", program::text(&whole));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migration_killed_before_the_records_say_so_starts_no_empty_unit() {
    let original = Original::new(1);
    let data = original.data();
    let folder = data.display().to_string();
    // Each part, when it is first seen, ends a run; the folder goes on to the next one, or is begun anew.
    let parts = [
        "migration.started",
        "records",
        "records/unit.db",
        "unit.id.started",
        "files/unit.id",
        "unit.id",
    ];
    let mut early = 0;
    for (number, part) in parts.iter().cycle().take(2 * parts.len()).enumerate() {
        if number < parts.len() && data.exists() {
            fs::remove_dir_all(&data).unwrap();
        }
        let mut run = original.command(&[]).spawn().unwrap();
        while !data.join(part).exists() && run.try_wait().unwrap().is_none() {
            std::hint::spin_loop();
        }
        let _ = run.kill();
        run.wait().unwrap();
        early += usize::from(data.join("migration.started").exists());
        let refused = program::run(&["serve", "--data", &folder]);
        let text = program::text(&refused);
        assert_eq!(refused.status.code(), Some(1), "{part}: {text}");
        let is_named = ["personium migrate", "unfinished migration"];
        assert!(is_named.iter().any(|why| text.contains(why)), "{text}");
    }
    assert!(early > 0);
    let (status, text) = original.migrate(&["--verify", "--finish"]);
    assert_eq!(status, Some(0), "{text}\n{:#?}", original.report());
    let mut left = fs::read_dir(&data).unwrap();
    assert!(!left.any(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name == "migration.started" || name.contains(".properties.")
    }));
    let unit = original.start();
    assert_eq!(cells(&unit).await, ["cell0"]);
}

#[test]
fn what_cannot_be_taken_over_is_left_out_and_reported() {
    let mut original = Original::new(2);
    // Ids that lead elsewhere, unknown kinds, wrong types, links to nothing, the same name twice.
    original.add(
        "u0_anon.account",
        "a",
        1,
        json!({"type": "Account", "c": "../../etc", "s": {"Name": "x"}}),
    );
    original.add(
        "u0_anon.thing",
        "b",
        1,
        json!({"type": "Thing", "c": cell_id(0), "s": {}}),
    );
    original.add(
        "u0_ad.cell",
        "../x",
        1,
        json!({"type": "Cell", "s": {"Name": "x"}}),
    );
    original.add(
        "u0_ad.cell",
        &"z".repeat(22),
        1,
        json!({"type": "Cell", "s": {"Name": "cell1"}}),
    );
    original.add(
        "u0_anon.role",
        "c",
        1,
        json!({"type": "Role", "c": cell_id(0), "s": {"Name": {"a": 1}}}),
    );
    let lost = json!({"type": "link", "c": cell_id(0), "t1": "Account", "t2": "Role", "k1": "account0", "k2": "no"});
    original.add("u0_anon.link", "d", 1, lost);
    original.add_entity(0, 8, "no number");
    original
        .documents
        .push(json!({"_index": "u0_anon.role", "_id": 5, "_source": "text"}));
    let the_box = original.tree(0).join(format!("box{:019}", 0));
    symlink("/etc", the_box.join("linked")).unwrap();
    let short = the_box.join("short.txt");
    original.put(&short, "dav.file", Some(b"short"), json!({"cl": 500}));
    let bad = the_box.join("bad.txt");
    original.put(
        &bad,
        "dav.file",
        Some(b"not encrypted at all"),
        json!({"et": "AES"}),
    );
    original.put(&the_box.join("odd"), "dav.odd", None, json!({}));
    fs::create_dir(the_box.join("nothing")).unwrap();
    let mut export = fs::File::create(original.path("documents.ndjson")).unwrap();
    write!(export, "{}", original.lines()).unwrap();
    // A line that is longer than any document.
    export.write_all(&vec![b'x'; 17 << 20]).unwrap();
    export.write_all(b"\n\n").unwrap();
    let export = original.path("documents.ndjson");
    let run = original
        .command_with(&export, &["--verify"])
        .output()
        .unwrap();
    let (status, text) = outcome(&run);
    assert_eq!(status, Some(3), "{text}");
    assert!(
        text.contains("2 taken over, 0 unchanged, 0 removed, 1 failed"),
        "{text}"
    );
    let report: Vec<String> = original.report().iter().map(Value::to_string).collect();
    for expected in [
        "belongs to no cell",
        "unknown kind",
        "is no id of a cell",
        "is longer than",
        "\"id\":\"c\"",
        "it has no Role no",
        "another type than its property",
        "linked: it is a symbolic link",
        "should have 500",
        "cannot be decrypted",
        "nothing of this kind",
        "it has no description",
        "invalid type",
    ] {
        let found = report.iter().filter(|line| line.contains(expected)).count();
        assert!(found >= 1, "{expected}: {report:#?}");
    }
    assert!(
        !report.iter().any(|line| line.contains("root:")),
        "{report:#?}"
    );
}

#[test]
fn exports_that_end_in_the_middle_are_refused() {
    let original = Original::new(2);
    let lines = original.lines();
    let path = original.path("part.ndjson");
    fs::write(&path, &lines[..lines.len() - 20]).unwrap();
    let (status, text) = outcome(&original.command_with(&path, &[]).output().unwrap());
    assert_eq!(status, Some(1));
    assert!(text.contains("ends in the middle"), "{text}");

    let mut gzip = Command::new("gzip")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    gzip.stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let packed = gzip.wait_with_output().unwrap().stdout;
    fs::write(&path, &packed[..packed.len() - 30]).unwrap();
    let (status, text) = outcome(&original.command_with(&path, &[]).output().unwrap());
    assert_eq!(status, Some(1));
    assert!(text.contains("cannot read"), "{text}");

    // Cut between two lines: only the list of indexes shows it.
    let shorter: String = lines
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&path, shorter).unwrap();
    let list = original.path("indices.json");
    fs::write(
        &list,
        json!({"indices": {"u0_ad.cell": {"documents": 2}}}).to_string(),
    )
    .unwrap();
    let list = list.display().to_string();
    let short = original.command_with(&path, &["--indices", &list]).output();
    let (status, text) = outcome(&short.unwrap());
    assert_eq!(status, Some(1));
    assert!(
        text.contains("has 1 documents of the index u0_ad.cell"),
        "{text}"
    );

    fs::write(&path, &packed).unwrap();
    let whole = original.command_with(&path, &["--indices", &list]).output();
    assert_eq!(outcome(&whole.unwrap()).0, Some(0));
    fs::write(&path, "{}\n").unwrap();
    let (status, text) = outcome(&original.command_with(&path, &[]).output().unwrap());
    assert_eq!(status, Some(1));
    assert!(text.contains("no cells"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_ends_a_migration_which_goes_on_when_there_is_space() {
    let mut original = Original::new(3);
    for cell in 0..3 {
        for number in 10..40 {
            original.add_entity(cell, number, "1.5");
        }
        let file = original
            .tree(cell)
            .join(format!("box{cell:019}"))
            .join("large");
        let content = vec![b'x'; 3 << 20];
        original.put(&file, "dav.file", Some(&content), json!({}));
    }
    let Some(_mount) = Mount::new(Kind::Tmpfs, &original.data(), 1) else {
        return;
    };
    let mut failures = 0;
    // From a disk without room for the records of the unit to one that lacks the last file.
    for mib in [1, 2, 4, 6, 9, 12] {
        let grown = Command::new("mount")
            .args(["-o", &format!("remount,size={mib}m")])
            .arg(original.data())
            .status();
        assert!(grown.unwrap().success());
        let (status, text) = original.migrate(&[]);
        assert!(!text.contains("panicked"), "{text}");
        if status == Some(0) {
            continue;
        }
        failures += 1;
        let is_named = ["full", "No space left"]
            .iter()
            .any(|why| text.contains(why));
        assert!(is_named, "{mib} MiB: {status:?} {text}");
        // What is there is no unit.
        let data = original.data().display().to_string();
        let refused = program::run(&["serve", "--data", &data]);
        assert!(!refused.status.success(), "{}", program::text(&refused));
    }
    assert!(failures > 2, "{failures}");
    let grown = Command::new("mount")
        .args(["-o", "remount,size=60m"])
        .arg(original.data())
        .status();
    assert!(grown.unwrap().success());
    let (status, text) = original.migrate(&["--verify", "--finish"]);
    assert_eq!(status, Some(0), "{text}");
    let data = original.data().display().to_string();
    let whole = program::run(&["verify", "--data", &data]);
    assert!(whole.status.success(), "{}", program::text(&whole));
    let unit = original.start();
    assert_eq!(cells(&unit).await, ["cell0", "cell1", "cell2"]);
    for cell in 0..3 {
        let file = get(&unit, &format!("/cell{cell}/b/large")).await;
        assert_eq!(file.len(), 3 << 20);
        let entity = get(
            &unit,
            &format!("/cell{cell}/b/data/Item('e39')?$format=json"),
        )
        .await;
        assert!(entity.contains("1.5"), "{entity}");
    }
}
