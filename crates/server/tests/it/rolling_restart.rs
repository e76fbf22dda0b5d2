//! A stop with a delay, and restarts of nodes behind the web layer one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use personium_testkit::{Nginx, ProcessUnit, TestClient, WEB_HOST, free_port};

use crate::storage_unit::StorageUnit;

const DELAY: &str = "io.personium.core.server.shutdown.delayInSec";
const CHILDREN_MAX: &str = "io.personium.core.dav.childresource.maxnum";

/// The delay of the tests. Nginx closes idle connections to nodes after 4 seconds.
pub const DELAY_SECS: u64 = 5;

/// Asks a node to change nothing, as the web layer does.
async fn safe(unit: &ProcessUnit, method: &str, retry: &str) -> (u16, String) {
    let request = unit.reconnect().request(method, "/");
    let answer = request.header("x-forwarded-retry", retry).send().await;
    let connection = answer.header("connection").unwrap_or_default().to_owned();
    (answer.status.as_u16(), connection)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_unit_announces_it_then_serves_until_the_delay_is_over() {
    let mut unit = StorageUnit::start(crate::unit().setting(DELAY, 8));
    unit.create_cell("c").await;
    unit.create_box("c", "box").await;
    assert_eq!(safe(&unit, "GET", "502").await, (200, String::new()));
    let stopping = Instant::now();
    unit.terminate();
    let (status, _) = unit.wait_until_ready_says("stopping").await;
    assert_eq!(status, 503);
    // The proxy sends these to another node, and only a proxy that says so gets that answer.
    for method in ["GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT"] {
        assert_eq!(
            safe(&unit, method, "502").await,
            (502, "close".to_owned()),
            "{method}"
        );
    }
    assert_eq!(safe(&unit, "GET", "503").await, (200, "close".to_owned()));
    let refused = unit
        .reconnect()
        .request("GET", "/")
        .header("x-forwarded-retry", "502");
    refused.send().await.expect_error(502, "SV-0001");
    // A change is made, and the connection closed after it.
    let put = unit.reconnect().admin_request("PUT", "c/box/f");
    let put = put
        .header("x-forwarded-retry", "502")
        .body("late")
        .send()
        .await;
    assert_eq!(put.header("connection"), Some("close"));
    put.expect(201);
    assert!(
        stopping.elapsed() < Duration::from_secs(8),
        "the test was too slow"
    );
    assert!(unit.wait());
    assert!(stopping.elapsed() >= Duration::from_secs(8));
    unit.restart();
    unit.admin_request("GET", "c/box/f")
        .send()
        .await
        .expect(200);
}

/// Reads one file and writes new ones, until it is over. Every request must succeed. Returns the names of the new files.
pub async fn read_and_write(
    client: TestClient,
    writer: usize,
    is_over: Arc<AtomicBool>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let read = client.request("GET", "c/box/f").send().await.expect(200);
        assert_eq!(read.text(), "content");
        let name = format!("c/box/w{writer}-{}", acknowledged.len());
        let put = client.request("PUT", &name).body(&name).send().await;
        put.expect(201);
        acknowledged.push(name);
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_nodes_are_restarted_in_turn() {
    const CLIENTS: usize = 6;
    let _load = crate::machine_load().read().await;
    let port = free_port();
    let start = || {
        let unit = crate::unit().host(WEB_HOST).behind_proxy(port);
        unit.setting(DELAY, DELAY_SECS)
            .setting(CHILDREN_MAX, 1_000_000)
            .start()
    };
    let mut nodes = [start(), start()];
    // The nodes have stores of their own, with the same content.
    for unit in &nodes {
        unit.create_cell("c").await;
        unit.create_box("c", "box").await;
        unit.put_file("c/box/f", "content").await;
    }
    let nginx = nodes
        .iter()
        .fold(Nginx::builder(port), |nginx, unit| nginx.node(unit.port()));
    let nginx = nginx.start();
    let is_over = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..CLIENTS)
        .map(|writer| {
            let client = nginx.client().admin();
            tokio::spawn(read_and_write(client, writer, Arc::clone(&is_over)))
        })
        .collect();
    for unit in &mut nodes {
        tokio::time::sleep(Duration::from_secs(1)).await;
        unit.terminate();
        assert!(unit.wait());
        unit.restart();
        // The other one goes on until this one is in use again.
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let mut names = Vec::new();
    for client in load {
        names.extend(client.await.unwrap());
    }
    assert!(names.len() > 100, "only {} writes", names.len());
    for name in &names {
        let mut found = 0;
        for unit in &nodes {
            let read = unit.admin_request("GET", name).send().await;
            found += usize::from(read.status == 200 && read.text() == *name);
        }
        assert_eq!(found, 1, "{name} is there {found} times");
    }
}
