//! The memory of exports, imports and installations does not grow with what is in a cell: nothing is kept as a whole.

use personium_testkit::TestClient;
use serde_json::json;

use crate::hostile_bodies::peak_memory_kib;
use crate::interrupted_import::{begin, end, export};
use crate::storage_unit::StorageUnit;

/// The factor between the sizes that are compared.
const FACTOR: usize = 6;
/// The content of the smaller cell: one large file, and entities with a text.
const FILE_BYTES: usize = 10 << 20;
const ENTITIES: usize = 60;
const TEXT_BYTES: usize = 40_000;
/// How much more memory the larger one may need. If only its file was kept as a whole, it would need 50 MiB more.
const MORE_KIB: u64 = 30 << 10;

/// Bytes that cannot be packed.
fn content(bytes: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let next = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    });
    next.take(bytes).collect()
}

async fn fill(unit: &TestClient, factor: usize) {
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    unit.create_odata_collection("c/b/data", "Row").await;
    let file = content(FILE_BYTES * factor);
    let put = unit.admin_request("PUT", "c/b/large").body(file);
    put.send().await.expect(201);
    let text = "t".repeat(TEXT_BYTES);
    for number in 0..ENTITIES * factor {
        let row = json!({"__id": number.to_string(), "text": &text}).to_string();
        unit.create("c/b/data/Row", &row).await;
    }
}

/// The largest memory of the process in KiB for a cell and a box with so much content: without the transfers, and with them.
async fn peaks(factor: usize) -> (u64, u64) {
    let mut unit = StorageUnit::start(
        crate::unit()
            .setting("io.personium.core.bar.file.maxSize", "1000")
            .setting("io.personium.core.bar.entry.maxSize", "1000"),
    );
    fill(&unit, factor).await;
    // The archives are made by another process than the one that is measured, since the client gets them whole.
    let archive = unit.admin_request("GET", "c/b");
    let archive = archive.header("accept", "application/zip+x-personium-bar");
    let archive = archive.send().await.expect(200).body;
    unit.kill();
    unit.restart();
    let before = peak_memory_kib(unit.process_id());
    export(&unit).await;
    assert_eq!(begin(&unit, "__import").await, 202);
    assert_eq!(end(&unit, "__import").await, "ready");
    let request = unit.admin_request("MKCOL", "c/new");
    let request = request.header("content-type", "application/zip");
    request.body(archive).send().await.expect(202);
    let path = "c/new/data/Row?$inlinecount=allpages&$top=1&$format=json";
    personium_testkit::wait_until("the end of the installation", async || {
        let request = unit.admin_request("GET", "c/new");
        let shown = request.header("accept", "application/json").send().await;
        shown.json()["box"]["status"] == "ready"
    })
    .await;
    let listed = unit.admin_request("GET", path).send().await.expect(200);
    let number = (ENTITIES * factor).to_string();
    assert_eq!(listed.json()["d"]["__count"], number);
    let head = unit.admin_request("HEAD", "c/new/large").send().await;
    let length = (FILE_BYTES * factor).to_string();
    assert_eq!(head.expect(200).header("content-length"), Some(&*length));
    (before, peak_memory_kib(unit.process_id()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archives_of_a_large_cell_need_no_more_memory_than_those_of_a_small_one() {
    let (start, small) = peaks(1).await;
    let (start_of_large, large) = peaks(FACTOR).await;
    assert!(
        large < small + MORE_KIB,
        "{start} to {small} KiB, {start_of_large} to {large} KiB"
    );
}
