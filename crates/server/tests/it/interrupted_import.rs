//! Imports of snapshots that are interrupted: the program is killed, or the disk is full. The cell is as it was.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use personium_testkit::{TestClient, wait_until};

use crate::full_disk::{Kind, Mount};
use crate::storage_unit::{StorageUnit, bodies, cell_files};

const FILES: usize = 60;
const ENTITIES: usize = 150;
/// More than is stored in records.
const FILE_BYTES: usize = 120_000;
const ROUNDS: u64 = 10;
/// The size of the disk of temporary files that is filled.
const TEMPORARY_MIB: u64 = 64;

/// Content that does not become smaller when it is packed.
fn content(seed: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let bytes = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    });
    bytes.take(FILE_BYTES).collect()
}

/// Makes the cell `c` with a box of files and entities.
pub async fn fill(unit: &TestClient) {
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    unit.create_odata_collection("c/b/data", "Row").await;
    for number in 0..FILES {
        let put = unit.admin_request("PUT", &format!("c/b/f{number}"));
        put.body(content(number)).send().await.expect(201);
    }
    for number in 0..ENTITIES {
        let body = format!("{{\"__id\":\"{number}\",\"a\":\"b\"}}");
        unit.create("c/b/data/Row", &body).await;
    }
    unit.put_file("c/b/state", "old").await;
}

pub async fn begin(unit: &TestClient, endpoint: &str) -> u16 {
    let post = unit.admin_request("POST", &format!("c/{endpoint}"));
    let begun = post.body(r#"{"Name":"s"}"#).send().await;
    begun.status.as_u16()
}

/// The status of `__export` or `__import`.
async fn status(unit: &TestClient, endpoint: &str) -> String {
    let request = unit.admin_request("GET", &format!("c/{endpoint}"));
    let shown = request.send().await.expect(200).json();
    shown["status"].as_str().unwrap().to_owned()
}

/// Waits until nothing runs; returns the status.
pub async fn end(unit: &TestClient, endpoint: &str) -> String {
    wait_until("the end of the transfer", async || {
        !status(unit, endpoint).await.contains("in progress")
    })
    .await;
    status(unit, endpoint).await
}

pub async fn export(unit: &TestClient) {
    assert_eq!(begin(unit, "__export").await, 202);
    assert_eq!(end(unit, "__export").await, "ready");
    let path = "c/__snapshot/s.zip";
    unit.admin_request("HEAD", path).send().await.expect(200);
}

/// Checks that the cell has everything and takes changes. Returns the content of the file that tells which one it is.
pub async fn check_whole(unit: &TestClient) -> String {
    for number in 0..FILES {
        let got = unit.admin_request("GET", &format!("c/b/f{number}"));
        let got = got.send().await.expect(200);
        assert!(got.body == content(number), "file {number}");
    }
    let path = "c/b/data/Row?$inlinecount=allpages&$top=1&$format=json";
    let listed = unit.admin_request("GET", path).send().await.expect(200);
    assert_eq!(listed.json()["d"]["__count"], ENTITIES.to_string());
    unit.put_file("c/b/probe", "x").await;
    unit.admin_request("DELETE", "c/b/probe")
        .send()
        .await
        .expect(204);
    let state = unit.admin_request("GET", "c/b/state").send().await;
    state.expect(200).text()
}

pub fn stored(data: &Path) -> (usize, usize) {
    (cell_files(data).len(), bodies(data).len())
}

#[tokio::test]
async fn killed_import_leaves_the_old_cell_or_the_whole_new_one() {
    let mut unit = StorageUnit::start(crate::unit());
    fill(&unit).await;
    export(&unit).await;
    unit.put_file("c/b/state", "new").await;
    let data = unit.data();
    let before = stored(&data);
    let (mut old, mut replaced) = (0, 0);
    for round in 0..ROUNDS {
        assert_eq!(begin(&unit, "__import").await, 202);
        tokio::time::sleep(Duration::from_millis(5 + round * 60)).await;
        unit.kill();
        unit.restart();
        let status = end(&unit, "__import").await;
        match check_whole(&unit).await.as_str() {
            // The import had ended.
            "old" => {
                assert_eq!(status, "ready", "round {round}");
                unit.put_file("c/b/state", "new").await;
                replaced += 1;
            }
            state => {
                assert_eq!((state, status.as_str()), ("new", "import failed"));
                old += 1;
            }
        }
        wait_until("the removal of what is not needed", async || {
            stored(&data) == before
        })
        .await;
    }
    assert!(old > 0, "{replaced} imports had ended before");
    assert_eq!(begin(&unit, "__import").await, 202);
    assert_eq!(end(&unit, "__import").await, "ready");
    assert_eq!(check_whole(&unit).await, "old");
    unit.kill();
    let (is_good, report) = unit.check();
    assert!(is_good, "{report}");
}

#[tokio::test]
async fn import_onto_a_full_disk_leaves_the_cell_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // The files and the snapshot have 7 MB each, and an import needs both again.
    let Some(_mount) = Mount::new(Kind::Tmpfs, &data, 24) else {
        return;
    };
    let temporary = folder.path().join("temporary");
    let builder = crate::unit().folder(folder.path());
    let builder = builder.setting("io.personium.core.bar.tmp.dir", temporary.display());
    let mut unit = StorageUnit::start(builder);
    fill(&unit).await;
    export(&unit).await;
    unit.put_file("c/b/state", "new").await;
    let before = stored(&data);
    for round in 0..3 {
        assert_eq!(begin(&unit, "__import").await, 202, "round {round}");
        assert_eq!(end(&unit, "__import").await, "import failed");
        let shown = unit.admin_request("GET", "c/__import").send().await.json();
        assert_eq!(shown["message"]["code"], "PR507-SV-0001", "{shown}");
        wait_until("the removal of what was made", async || {
            stored(&data) == before
        })
        .await;
        unit.wait_until_ready_says("ready").await;
        assert_eq!(check_whole(&unit).await, "new");
        if round == 1 {
            unit.kill();
            unit.restart();
        }
    }
}

#[tokio::test]
async fn import_without_room_for_temporary_files_leaves_the_cell_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let temporary = folder.path().join("temporary");
    let Some(_mount) = Mount::new(Kind::Tmpfs, &temporary, TEMPORARY_MIB) else {
        return;
    };
    let builder = crate::unit().folder(folder.path());
    let builder = builder.setting("io.personium.core.bar.tmp.dir", temporary.display());
    let unit = StorageUnit::start(builder);
    fill(&unit).await;
    export(&unit).await;
    unit.put_file("c/b/state", "new").await;
    let before = stored(&unit.data());
    let mut full = fs::File::create(temporary.join("full")).unwrap();
    let blocks = (0..TEMPORARY_MIB * 16 + 1)
        .take_while(|_| full.write_all(&[0; 1 << 16]).is_ok())
        .count();
    assert!(blocks > 0);
    let post = unit.admin_request("POST", "c/__import");
    let refused = post.body(r#"{"Name":"s"}"#).send().await;
    refused.expect_error(507, "SV-0001");
    assert_eq!(status(&unit, "__import").await, "ready");
    assert_eq!(check_whole(&unit).await, "new");
    assert_eq!(stored(&unit.data()), before);
}
