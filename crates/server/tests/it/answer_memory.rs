//! Clients that request large answers and do not read them: the memory stays bounded, and others are served.

use std::time::{Duration, Instant};

use personium_testkit::{ProcessUnit, RawBody, RawConnection, request_bytes};
use serde_json::json;

use crate::hostile_bodies::{peak_memory_kib, status_kib};
use crate::storage_unit::StorageUnit;

/// The number of clients that do not read.
const READERS: usize = 500;
/// The limit for the memory of the process without the pages of the program's file, in KiB.
const PEAK_MAX_KIB: u64 = 400 << 10;
/// The bytes of answers that are held when the memory for them is nearly used up.
const HELD_MIN: u64 = 100 << 20;
/// How often others read while the clients do not.
const READ_CHECKS: usize = 9;
/// The same if the answers are made slowly.
const READ_CHECKS_MAX: usize = 120;

/// A request for a large answer.
struct LargeAnswer {
    method: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    status: u16,
}

const JSON: (&str, &str) = ("Accept", "application/json");

const fn large(method: &'static str, path: &'static str, status: u16) -> LargeAnswer {
    LargeAnswer {
        method,
        path,
        headers: &[JSON],
        status,
    }
}

/// The cells besides `big`, with large lists only.
const MORE_CELLS: [&str; 5] = ["big1", "big2", "big3", "big4", "big5"];

/// All kinds of large answers from the cell `big`.
const KINDS: [LargeAnswer; 10] = [
    large("GET", "/big/box/data/Row?$top=200", 200),
    large(
        "GET",
        "/big/box/data/Row?$top=200&$orderby=__updated%20desc",
        200,
    ),
    large("GET", "/big/box/data/Row?$top=200&$format=atom", 200),
    LargeAnswer {
        headers: &[JSON, ("Accept-Encoding", "gzip")],
        ..large("GET", "/big/box/data/Row?$top=200", 200)
    },
    large("GET", "/big/box/data/Row('0')?$expand=_Part", 200),
    large("GET", "/big/box/data/Row('0')/_Part?$top=150", 200),
    LargeAnswer {
        headers: &[("Depth", "1")],
        ..large("PROPFIND", "/big/box/many", 207)
    },
    LargeAnswer {
        headers: &[("Depth", "infinity")],
        ..large("PROPFIND", "/big/box", 207)
    },
    large("GET", "/big/__log/current/default.log", 200),
    large("GET", "/big/box/file", 200),
];

/// Fills the cell `big` with what the requests ask for.
async fn fill(unit: &ProcessUnit) {
    fill_list(unit, "big").await;
    relate_parts(unit).await;
    let long = "x".repeat(50_000);
    for _ in 0..150 {
        let part = json!({"t": &long}).to_string();
        unit.create("big/box/data/Row('0')/_Part", &part).await;
    }
    unit.create_collection("big/box/many", "").await;
    for n in 0..200 {
        let path = format!("big/box/many/{n}");
        unit.put_file(&path, "content").await;
        let set = format!(
            "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><x xmlns='u:x'>{}</x></D:prop></D:set></D:propertyupdate>",
            &long[..30_000]
        );
        let request = unit.admin_request("PROPPATCH", &path);
        request.body(set).send().await.expect(207);
    }
    let rule = json!({"Name": "log", "EventExternal": true, "Action": "log"});
    unit.create("big/__ctl/Rule", &rule.to_string()).await;
    for _ in 0..18 {
        let event = json!({"Type": "t", "Object": "o", "Info": &long});
        let posted = unit.post("big/__event", &event.to_string()).await;
        posted.expect_success();
    }
    unit.put_file("big/box/file", &"f".repeat(8 << 20)).await;
}

/// Creates a cell with a list of 10 MB.
async fn fill_list(unit: &ProcessUnit, cell: &str) {
    unit.create_cell_with_owner(cell).await;
    let collection = format!("{cell}/box/data");
    unit.create_odata_collection(&collection, "Row").await;
    let long = "x".repeat(50_000);
    for n in 0..200 {
        let row = json!({"__id": n.to_string(), "t": &long}).to_string();
        unit.create(&format!("{collection}/Row"), &row).await;
    }
}

/// Declares that a `Row` has many `Part`s.
async fn relate_parts(unit: &ProcessUnit) {
    unit.create_entity_type("big/box/data", "Part").await;
    let ends = "big/box/data/$metadata/AssociationEnd";
    for (name, of, multiplicity) in [("row", "Row", "0..1"), ("part", "Part", "*")] {
        let end = json!({"Name": name, "_EntityType.Name": of, "Multiplicity": multiplicity});
        unit.create(ends, &end.to_string()).await;
    }
    let uri = format!("{}{ends}(Name='part',_EntityType.Name='Part')", unit.url());
    let links = format!("{ends}(Name='row',_EntityType.Name='Row')/$links/_AssociationEnd");
    let linked = unit.post(&links, &json!({"uri": uri}).to_string()).await;
    linked.expect(204);
}

/// Sends a request without reading the response.
async fn send(unit: &ProcessUnit, kind: &LargeAnswer) -> RawConnection {
    send_to(unit, kind, kind.path).await
}

/// As [`send`], with another path.
async fn send_to(unit: &ProcessUnit, kind: &LargeAnswer, path: &str) -> RawConnection {
    let host = format!("localhost:{}", unit.port());
    let bearer = format!("Bearer {}", unit.admin().token());
    let mut headers = vec![("Host", host.as_str()), ("Authorization", bearer.as_str())];
    headers.extend_from_slice(kind.headers);
    let request = request_bytes(kind.method, path, &headers, b"");
    let mut connection = RawConnection::open_once(unit.port()).await.unwrap();
    connection.send(&request).await.unwrap();
    connection
}

/// The bytes that are reserved for answers.
async fn reserved(unit: &StorageUnit) -> u64 {
    let (_, metrics) = unit.admin_text("metrics").await;
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix("personium_answer_memory_bytes "));
    value.unwrap().parse().unwrap()
}

#[tokio::test]
async fn clients_that_do_not_read_large_answers_neither_fill_the_memory_nor_stop_others() {
    let _loaded = crate::machine_load().read().await;
    let unit = StorageUnit::start(crate::unit());
    fill(&unit).await;
    for cell in MORE_CELLS {
        fill_list(&unit, cell).await;
    }
    let owner = unit.create_cell_with_owner("other").await;
    owner.call("PUT", "other/box/small", "content").await;
    owner
        .call("PUT", "other/box/large", &"l".repeat(1 << 20))
        .await;
    let mut readers = Vec::new();
    let (mut slowest, mut held) = (Duration::ZERO, 0);
    for n in 0..READERS {
        readers.push(match n % 2 {
            0 => send(&unit, &KINDS[n / 2 % KINDS.len()]).await,
            _ => {
                let path = KINDS[0]
                    .path
                    .replace("big", MORE_CELLS[n / 2 % MORE_CELLS.len()]);
                send_to(&unit, &KINDS[0], &path).await
            }
        });
        if n % 50 == 49 {
            let start = Instant::now();
            owner.call("GET", "other/box/small", "").await;
            slowest = slowest.max(start.elapsed());
            held = held.max(reserved(&unit).await);
        }
    }
    for n in 0..READ_CHECKS_MAX {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let start = Instant::now();
        owner.call("GET", "other/box/small", "").await;
        slowest = slowest.max(start.elapsed());
        let large = owner.call("GET", "other/box/large", "").await;
        assert_eq!(large.body.len(), 1 << 20);
        held = held.max(reserved(&unit).await);
        // A loaded machine needs longer until the answers are made.
        if n >= READ_CHECKS && held > HELD_MIN {
            break;
        }
    }
    assert!(held > HELD_MIN, "{held} bytes are held: the test is void");
    let process = unit.process_id();
    let peak = peak_memory_kib(process) - file_pages_kib(process);
    eprintln!("peak {peak} KiB, {held} bytes held, slowest small response {slowest:?}");
    assert!(peak < PEAK_MAX_KIB, "{peak} KiB");
    expect_served(&unit, &KINDS[0]).await;
    drop(readers);
    expect_all_released(&unit).await;
    for kind in &KINDS {
        expect_served(&unit, kind).await;
    }
    expect_all_released(&unit).await;
}

/// Repeats a request until it is served: clients that do not read are cut off when others need the memory, and this
/// one too if a loaded machine keeps it from reading.
async fn expect_served(unit: &ProcessUnit, kind: &LargeAnswer) {
    let until = Instant::now() + Duration::from_secs(180);
    loop {
        let mut connection = send(unit, kind).await;
        let seen = match connection.receive(RawBody::Count, false).await {
            Ok(response) if response.status == kind.status => {
                let length = response.length;
                assert!(length > 20_000, "{}: {length}", kind.path);
                return;
            }
            Ok(response) => response.status.to_string(),
            Err(error) => error.to_string(),
        };
        let request = format!("{} {}", kind.method, kind.path);
        assert!(Instant::now() < until, "{request}: {seen}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The memory of a process that shows parts of files, in KiB: of the program itself, which is large when it is not
/// optimized.
fn file_pages_kib(process: u32) -> u64 {
    status_kib(process, "RssFile:")
}

/// Waits until no answer is in memory.
async fn expect_all_released(unit: &StorageUnit) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let left = reserved(unit).await;
        if left == 0 {
            return;
        }
        assert!(Instant::now() < until, "{left} bytes stay reserved");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
