//! `personium restore --cell`: one cell comes back beside the living one, in its place, or after it was removed; the others stay.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use personium_testkit::{PostgresCluster, TestClient, create_unit_database};

use crate::copied_unit::stage::{Side, Stage, until_line};
use crate::full_disk::Mount;
use crate::program;
use crate::verified_unit::{expect_whole, verify};

/// More lines than a restore of a cell writes.
const LINES_MAX: usize = 20;

const LARGE: usize = 400_000;

/// A unit with back-ups of a time when its cells had other content than now.
struct Restored {
    stage: Stage,
    folder: PathBuf,
}

impl Restored {
    /// The unit is stopped.
    async fn new(stores: &str) -> Self {
        let mut stage = Stage::start(stores).await;
        stage.unit.restart();
        stage.unit.put_file("two/__/main", "in the main box").await;
        stage
            .unit
            .put_file("two/__/large", &"m".repeat(LARGE))
            .await;
        stage.unit.create_collection("two/__/folder", "").await;
        stage.unit.put_file("two/__/folder/file", "inner").await;
        let folder = stage.unit.folder().join("backups");
        let restored = Self { stage, folder };
        let to = restored.folder.to_str().unwrap();
        let source = restored.stage.source.settings();
        let backup = program::run(&["backup", "--config", source, "--to", to]);
        assert!(backup.status.success(), "{}", program::text(&backup));
        // What happens after the back-up.
        let unit = &restored.stage.unit;
        unit.put_file("two/__/main", "changed").await;
        unit.put_file("two/box/new", "new").await;
        for path in [
            "two/box/f0",
            "two/box/f9",
            "two/__/large",
            "two/box/data/Row('r3')",
        ] {
            let removed = unit.admin_request("DELETE", path).send().await;
            removed.expect(204);
        }
        let removed = unit.admin_request("DELETE", "four");
        let removed = removed.header("x-personium-recursive", "true");
        removed.send().await.expect(204);
        restored
    }

    fn stop(&mut self) {
        self.stage.unit.terminate();
        assert!(self.stage.unit.wait());
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let own = ["restore", "--from", self.folder.to_str().unwrap()];
        program::command(&[&own, arguments].concat())
    }

    fn restore(&self, arguments: &[&str]) -> (bool, String) {
        let to = self.stage.source.settings();
        let output = self.command(&[arguments, &["--to", to]].concat()).output();
        let output = output.unwrap();
        (output.status.success(), program::text(&output))
    }

    fn expect(&self, arguments: &[&str]) {
        let (done, text) = self.restore(arguments);
        assert!(done && text.contains("Restored the cell"), "{text}");
    }

    fn refused(&self, arguments: &[&str], reason: &str) {
        let (done, text) = self.restore(arguments);
        assert!(!done && text.contains(reason), "{arguments:?}: {text}");
    }
}

async fn text(unit: &TestClient, path: &str) -> String {
    let got = unit.admin_request("GET", path);
    got.header("accept", "application/json").send().await.text()
}

async fn status(unit: &TestClient, path: &str) -> u16 {
    unit.admin_request("GET", path).send().await.status.as_u16()
}

/// Checks that a cell is as the cell `two` was at the time of the back-up.
async fn expect_former(unit: &TestClient, cell: &str) {
    assert_eq!(
        text(unit, &format!("{cell}/__/main")).await,
        "in the main box"
    );
    assert_eq!(text(unit, &format!("{cell}/__/folder/file")).await, "inner");
    assert!(text(unit, &format!("{cell}/__/large")).await == "m".repeat(LARGE));
    assert_eq!(
        text(unit, &format!("{cell}/box/f0")).await.len(),
        text(unit, "one/box/f0").await.len()
    );
    for path in ["box/f9", "box/data/Row('r3')", "__ctl/Account('me')"] {
        assert_eq!(status(unit, &format!("{cell}/{path}")).await, 200, "{path}");
    }
    assert_eq!(status(unit, &format!("{cell}/box/new")).await, 404);
    let listed = unit
        .admin_request("PROPFIND", &format!("{cell}/__"))
        .header("depth", "1");
    let listed = listed.send().await.expect(207).text();
    assert!(
        listed.contains("/folder") && listed.contains("/main"),
        "{listed}"
    );
    // It can be changed, and its accounts log in.
    unit.put_file(&format!("{cell}/__/folder/more"), "more")
        .await;
    unit.login(cell, &[]).await;
}

async fn expect_changed(unit: &TestClient) {
    assert_eq!(text(unit, "two/__/main").await, "changed");
    assert_eq!(text(unit, "two/box/new").await, "new");
    assert_eq!(status(unit, "two/box/f0").await, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cell_comes_back_beside_in_place_and_after_its_removal() {
    let mut unit = Restored::new("").await;
    let (done, text) = unit.restore(&["--cell", "two", "--as", "former"]);
    assert!(!done && text.contains("must be stopped"), "{text}");
    unit.stop();
    unit.refused(&["--cell", "two"], "give --replace");
    unit.refused(&["--cell", "none"], "has no cell none");
    unit.refused(&["--cell", "two", "--as", "one"], "the unit has a cell one");
    unit.refused(&["--cell", "two", "--as", "a b"], "is no name of a cell");
    let refused = unit.command(&["--owner", "none", "--dry-run"]).output();
    let refused = refused.unwrap();
    let text = program::text(&refused);
    assert!(
        !refused.status.success() && text.contains("--owner is for --to"),
        "{text}"
    );
    let dry = unit
        .command(&["--cell", "two", "--dry-run"])
        .output()
        .unwrap();
    assert!(dry.status.success());
    assert!(
        program::text(&dry).contains("is whole"),
        "{}",
        program::text(&dry)
    );
    unit.expect(&["--cell", "two", "--as", "former"]);
    unit.expect(&["--cell", "four"]);
    expect_whole(&unit.stage.source);
    unit.stage.unit.restart();
    expect_former(&unit.stage.unit, "former").await;
    expect_changed(&unit.stage.unit).await;
    assert_eq!(status(&unit.stage.unit, "four/box/f1").await, 200);
    unit.stage.unit.login("four", &[]).await;
    unit.stop();
    unit.expect(&["--cell", "two", "--replace"]);
    unit.stage.unit.restart();
    expect_former(&unit.stage.unit, "two").await;
    unit.stop();
    let (code, text) = verify(&unit.stage.source, &[]);
    assert!(code == Some(0) && text.contains("5 cells"), "{text}");
    let settings = unit.stage.source.settings();
    let log = program::text(&program::run(&["audit", "export", "--config", settings]));
    let begun = |cell: &str| {
        let is_of = |line: &&str| {
            line.contains("\"begin\",\"operation\":\"cell.restore\"")
                && line.contains(&format!("/{cell}/\""))
        };
        log.lines().filter(is_of).count()
    };
    assert_eq!((begun("former"), begun("four")), (1, 1), "{log}");
    // Back-ups are of one unit.
    let other = Stage::start("").await;
    let arguments = [
        "--cell",
        "two",
        "--as",
        "x",
        "--to",
        other.source.settings(),
    ];
    let refused = unit.command(&arguments).output().unwrap();
    assert!(program::text(&refused).contains("those of another unit"));
}

/// The id of the key that a cell signs with.
async fn key_id(unit: &TestClient, cell: &str) -> String {
    let got = unit.admin_request("GET", &format!("{cell}/__certs"));
    let got = got.send().await.expect(200).text();
    let keys: serde_json::Value = serde_json::from_str(&got).unwrap();
    keys["keys"][0]["kid"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_cell_shares_its_signing_key_with_no_living_one() {
    let mut unit = Restored::new("").await;
    let client = &unit.stage.unit;
    let (of_one, of_two) = (key_id(client, "one").await, key_id(client, "two").await);
    let (settings, to) = (unit.stage.source.settings(), unit.folder.to_str().unwrap());
    let backup = program::run(&["backup", "--config", settings, "--to", to]);
    assert!(backup.status.success(), "{}", program::text(&backup));
    let renamed = client.admin_request("PUT", "__ctl/Cell('two')");
    let renamed = renamed.body(r#"{"Name":"renamed"}"#);
    renamed.send().await.expect(204);
    unit.stop();
    // Another cell has the key.
    let restored = unit.restore(&["--cell", "two"]);
    assert!(
        restored.0 && restored.1.contains("a new key"),
        "{restored:?}"
    );
    // The owner of another cell does not lose it.
    unit.refused(
        &["--cell", "two", "--as", "one", "--replace"],
        "is another one than two",
    );
    // In its own place it keeps it.
    let restored = unit.restore(&["--cell", "two", "--as", "renamed", "--replace"]);
    assert!(
        restored.0 && !restored.1.contains("a new key"),
        "{restored:?}"
    );
    unit.stage.unit.restart();
    let client = &unit.stage.unit;
    assert_eq!(key_id(client, "renamed").await, of_two);
    assert_eq!(key_id(client, "one").await, of_one);
    let restored = key_id(client, "two").await;
    assert!(restored != of_one && restored != of_two, "{restored}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cell_comes_back_while_the_unit_serves_from_a_database() {
    let cluster = PostgresCluster::shared();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_personium"));
    let settings = create_unit_database(&cluster, program);
    let line = |(key, value): &(&str, String)| format!("io.personium.core.{key}={value}\n");
    let stores: String = settings.iter().map(line).collect();
    let unit = Restored::new(&stores).await;
    expect_changed(&unit.stage.unit).await;
    unit.expect(&["--cell", "two", "--as", "former"]);
    expect_former(&unit.stage.unit, "former").await;
    expect_changed(&unit.stage.unit).await;
    unit.expect(&["--cell", "two", "--replace"]);
    expect_former(&unit.stage.unit, "two").await;
    let (code, text) = verify(&unit.stage.source, &[]);
    assert!(code == Some(0) && text.contains(": 0 damaged"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_restore_of_a_cell_leaves_the_living_one_or_the_restored_one() {
    let mut unit = Restored::new("").await;
    unit.stop();
    let mut killed = 0;
    for lines in 0..LINES_MAX {
        let to = unit.stage.source.settings().to_owned();
        let command = unit.command(&["--cell", "two", "--replace", "--to", &to]);
        let Some(mut child) = until_line(command, lines) else {
            break;
        };
        let _ = child.kill();
        if !child.wait().unwrap().success() {
            killed += 1;
        }
        let (code, text) = verify(&unit.stage.source, &[]);
        assert!(code == Some(0) && text.contains("3 cells"), "{text}");
    }
    assert!(killed > 0);
    unit.stage.unit.restart();
    let is_former = text(&unit.stage.unit, "two/__/main").await == "in the main box";
    match is_former {
        true => expect_former(&unit.stage.unit, "two").await,
        false => expect_changed(&unit.stage.unit).await,
    }
    unit.stop();
    unit.expect(&["--cell", "two", "--replace"]);
    unit.stage.unit.restart();
    expect_former(&unit.stage.unit, "two").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_ends_a_restore_of_a_cell_and_the_living_one_stays() {
    let mut unit = Restored::new("").await;
    unit.stop();
    let data = unit.stage.source.data.clone();
    let Some(mount) = Mount::below(&data, 200) else {
        return;
    };
    let (mut used, mut failed) = (mount.used_mib(), 0);
    // The cell has 6 MB.
    for more in 0..20 {
        mount.resize(used + more);
        let (done, text) = unit.restore(&["--cell", "two", "--replace"]);
        assert!(!text.contains("panicked"), "{text}");
        if done {
            break;
        }
        failed += 1;
        let is_named = ["full", "No space left"]
            .iter()
            .any(|why| text.contains(why));
        assert!(is_named, "{more} MiB: {text}");
        let (code, text) = verify(&unit.stage.source, &[]);
        assert!(code == Some(0) && text.contains("3 cells"), "{text}");
        if more == 2 {
            mount.resize(used + 50);
            unit.stage.unit.restart();
            expect_changed(&unit.stage.unit).await;
            unit.stop();
            let _ = fs::remove_file(data.join("records/reserve"));
            used = mount.used_mib();
        }
    }
    assert!(failed > 2, "{failed}");
    mount.resize(200);
    unit.expect(&["--cell", "two", "--replace"]);
    unit.stage.unit.restart();
    expect_former(&unit.stage.unit, "two").await;
    unit.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder_of_the_restored_unit_is_made() {
    let unit = Restored::new("").await;
    let to = unit.stage.unit.folder().join("deep/restored");
    let restored = unit
        .command(&["--to", to.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(restored.status.success(), "{}", program::text(&restored));
    let side = Side::of_folder(&unit.stage.unit, &to);
    expect_whole(&side);
    let missing = to.with_file_name("missing.properties");
    let refused = unit
        .command(&["--to", missing.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(!refused.status.success() && !missing.exists());
}
