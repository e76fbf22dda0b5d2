//! Back-ups of the cells of an owner and of one cell: nothing else is in them, they have places of their own, and their cells are restored into
//! the unit.

use std::fs;
use std::path::{Path, PathBuf};

use personium_testkit::{PostgresCluster, ProcessUnit, TestClient, create_unit_database};

use crate::copied_unit::stage::Side;
use crate::program;
use crate::storage_unit::files;
use crate::verified_unit::expect_whole;

const LARGE: usize = 300_000;

/// A unit with two cells of an owner and one of another, and places for back-ups.
struct Owned {
    unit: ProcessUnit,
    side: Side,
    owner: String,
}

impl Owned {
    async fn start(stores: &str) -> Self {
        let unit = crate::unit().settings(stores).start();
        let data = unit.folder().join("data");
        let side = Side::of_folder(&unit, &data);
        let lines = fs::read_to_string(&side.settings).unwrap();
        fs::write(&side.settings, format!("{lines}{stores}")).unwrap();
        unit.create_cell("users").await;
        let owner = format!("{}#one", unit.cell_url("users"));
        let other = format!("{}#two", unit.cell_url("users"));
        for (cell, owner) in [("red", &owner), ("blue", &owner), ("green", &other)] {
            let created = unit
                .admin_request("POST", "__ctl/Cell")
                .header("x-personium-unit-user", owner)
                .body(format!(r#"{{"Name":"{cell}"}}"#));
            created.send().await.expect(201);
            unit.create_box(cell, "box").await;
            let content = format!("content of {cell} ").repeat(LARGE / 16);
            unit.put_file(&format!("{cell}/box/file"), &content).await;
        }
        Self { unit, side, owner }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.unit.folder().join(name)
    }

    fn backup(&self, place: &str, more: &[&str]) -> (bool, String) {
        let to = self.place(place);
        let own = [
            "backup",
            "--config",
            self.side.settings(),
            "--to",
            to.to_str().unwrap(),
        ];
        let output = program::run(&[&own, more].concat());
        (output.status.success(), program::text(&output))
    }

    fn restore(&self, place: &str, more: &[&str]) -> (bool, String) {
        let from = self.place(place);
        let own = ["restore", "--from", from.to_str().unwrap()];
        let output = program::run(&[&own, more].concat());
        (output.status.success(), program::text(&output))
    }

    fn expect_backup(&self, place: &str, more: &[&str], cells: usize) {
        let (done, text) = self.backup(place, more);
        let number = format!(": {cells} cells (");
        assert!(done && text.contains(&number), "{text}");
    }

    fn generations(&self, place: &str) -> usize {
        files(&self.place(place).join("generations"), ".json").len()
    }

    /// Stops a unit whose database is in itself: its cells cannot be restored while it runs.
    fn stop(&mut self, is_embedded: bool) {
        if is_embedded {
            self.unit.terminate();
            assert!(self.unit.wait());
        }
    }

    fn go_on(&mut self, is_embedded: bool) {
        if is_embedded {
            self.unit.restart();
        }
    }
}

async fn file(unit: &TestClient, cell: &str) -> (u16, usize) {
    let got = unit.admin_request("GET", &format!("{cell}/box/file"));
    let got = got.send().await;
    (got.status.as_u16(), got.body.len())
}

async fn remove(unit: &TestClient, cell: &str) {
    let removed = unit.admin_request("DELETE", cell);
    let removed = removed.header("x-personium-recursive", "true");
    removed.send().await.expect(204);
}

fn has(folder: &Path, text: &str) -> bool {
    let has = |path: PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    files(folder, "").into_iter().any(has)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_that_belong_to_others_now_are_not_replaced() {
    let mut unit = Owned::start("").await;
    let owner = unit.owner.clone();
    unit.expect_backup("owner", &["--owner", &owner], 2);
    remove(&unit.unit, "red").await;
    let other = format!("{}#two", unit.unit.cell_url("users"));
    let created = unit.unit.admin_request("POST", "__ctl/Cell");
    let created = created.header("x-personium-unit-user", &other);
    let created = created.body(r#"{"Name":"red"}"#).send().await;
    created.expect(201);
    unit.unit.create_box("red", "box").await;
    unit.unit.put_file("red/box/file", "of another").await;
    let settings = unit.side.settings().to_owned();
    unit.stop(true);
    for more in [&[][..], &["--replace"]] {
        let to = ["--owner", owner.as_str(), "--to", settings.as_str()];
        let (done, text) = unit.restore("owner", &[&to[..], more].concat());
        assert!(
            !done && text.contains("belong to others now (red)"),
            "{text}"
        );
    }
    unit.go_on(true);
    assert_eq!(file(&unit.unit, "red").await, (200, "of another".len()));
}

async fn back_up_and_restore_parts(stores: &str, is_embedded: bool) {
    let mut unit = Owned::start(stores).await;
    let owner = unit.owner.clone();
    let of_owner = ["--owner", owner.as_str()];
    unit.expect_backup("whole", &[], 4);
    unit.expect_backup("owner", &of_owner, 2);
    unit.expect_backup("cell", &["--cell", "green"], 1);

    // Nothing of others is there, and no key.
    let (of_owner_place, of_cell_place) = (unit.place("owner"), unit.place("cell"));
    assert!(has(&of_owner_place, "content of red") && has(&of_owner_place, "content of blue"));
    assert!(has(&of_cell_place, "content of green") && !has(&of_cell_place, "content of red"));
    for text in ["green", "PRIVATE KEY", "0123456789abcdef"] {
        assert!(!has(&of_owner_place, text), "{text}");
    }
    let (done, text) = unit.restore("owner", &["--list"]);
    assert!(done && text.contains("Back-ups of the cells of "), "{text}");

    // Each place is for one part.
    for (place, more) in [
        ("owner", &[][..]),
        ("owner", &["--cell", "red"]),
        ("whole", &of_owner),
        ("cell", &["--cell", "red"]),
    ] {
        let (done, text) = unit.backup(place, more);
        assert!(!done && text.contains("has back-ups of"), "{place}: {text}");
    }
    let (done, text) = unit.backup("owner", &["--journal"]);
    assert!(!done && text.contains("of the whole unit only"), "{text}");
    let (done, text) = unit.backup("none", &["--owner", "nobody"]);
    assert!(!done && text.contains("is no owner"), "{text}");
    // A mistyped name claims no place.
    let nobody = format!("{owner}x");
    for part in [["--cell", "nobody"], ["--owner", &nobody]] {
        let (done, text) = unit.backup("mistyped", &part);
        assert!(!done && text.contains("the unit does not have"), "{text}");
    }
    assert!(!unit.place("mistyped").exists());
    let scratch = unit.place("scratch");
    for action in ["--to", "--drill"] {
        let (done, text) = unit.restore("owner", &[action, scratch.to_str().unwrap()]);
        assert!(!done && text.contains("only its cells"), "{text}");
    }

    // Their generations are counted by themselves.
    unit.unit.put_file("red/box/file", "changed").await;
    for _ in 0..3 {
        unit.expect_backup("owner", &["--owner", &owner, "--keep", "2"], 2);
    }
    assert_eq!(
        (unit.generations("owner"), unit.generations("whole")),
        (2, 1)
    );
    let (done, text) = unit.restore("owner", &["--dry-run"]);
    assert!(done && text.contains("is whole: 2 cells"), "{text}");
    unit.unit.put_file("green/box/file", "new").await;
    unit.unit.put_file("blue/box/file", "new").await;

    // In the place of the living ones; the cell of the other owner stays.
    let settings = unit.side.settings().to_owned();
    let to = ["--owner", owner.as_str(), "--to", settings.as_str()];
    unit.stop(is_embedded);
    let (done, text) = unit.restore("owner", &to);
    assert!(!done && text.contains("give --replace"), "{text}");
    let (done, text) = unit.restore("owner", &[&to[..], &["--replace"]].concat());
    assert!(
        done && text.contains("the cell red,") && text.contains("the cell blue,"),
        "{text}"
    );
    expect_whole(&unit.side);
    unit.go_on(is_embedded);
    let large = "content of blue ".len() * (LARGE / 16);
    assert_eq!(file(&unit.unit, "red").await, (200, 7));
    assert_eq!(file(&unit.unit, "blue").await, (200, large));
    assert_eq!(file(&unit.unit, "green").await, (200, 3));

    // When the cells are gone, their back-ups stay, and both kinds of back-ups lead to them.
    remove(&unit.unit, "red").await;
    remove(&unit.unit, "blue").await;
    remove(&unit.unit, "green").await;
    for (place, more) in [("owner", &of_owner), ("cell", &["--cell", "green"])] {
        let (done, text) = unit.backup(place, &[&more[..], &["--keep", "1"]].concat());
        assert!(!done && text.contains("the unit does not have"), "{text}");
    }
    assert_eq!(
        (unit.generations("owner"), unit.generations("cell")),
        (2, 1)
    );
    unit.stop(is_embedded);
    let (done, text) = unit.restore("whole", &to);
    assert!(done, "{text}");
    let (done, text) = unit.restore("cell", &["--cell", "green", "--to", &settings]);
    assert!(done, "{text}");
    unit.go_on(is_embedded);
    for cell in ["red", "blue"] {
        assert_eq!(file(&unit.unit, cell).await.0, 200);
    }
    assert!(file(&unit.unit, "green").await.1 > LARGE / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_a_unit_on_files_are_backed_up_and_restored() {
    back_up_and_restore_parts("", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_a_unit_on_a_database_are_backed_up_and_restored_with_two_connections() {
    let cluster = PostgresCluster::shared();
    let settings = create_unit_database(&cluster, Path::new(env!("CARGO_BIN_EXE_personium")));
    let line = |(key, value): &(&str, String)| format!("io.personium.core.{key}={value}\n");
    let stores: String = settings.iter().map(line).collect();
    let stores = format!("{stores}io.personium.core.store.postgres.poolSize=2\n");
    back_up_and_restore_parts(&stores, false).await;
}
