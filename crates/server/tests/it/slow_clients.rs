//! Clients that are slow, or never finish: they do not delay others.

use std::time::{Duration, Instant};

use personium_testkit::{ProcessUnit, RawBody, RawConnection, TestClient};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::JoinSet;

const TRANSFER_TIMEOUT: &str = "io.personium.core.server.transfer.timeoutInSec";

async fn connect(unit: &ProcessUnit) -> RawConnection {
    RawConnection::open_once(unit.port()).await.unwrap()
}

/// The head of a request with a body.
fn head(unit: &ProcessUnit, token: &str, request: &str, length: usize) -> String {
    let port = unit.port();
    format!(
        "{request} HTTP/1.1\r\nHost: localhost:{port}\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// Sends a byte on each connection ten times a second, until the result is dropped.
fn trickle(writers: Vec<OwnedWriteHalf>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for mut writer in writers {
        tasks.spawn(async move {
            // Ends when the unit closes the connection.
            while writer.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    tasks
}

#[tokio::test]
async fn unfinished_request_heads_do_not_delay_others_and_time_out() {
    let unit = crate::unit().start();
    let owner = unit.create_cell_with_owner("slow").await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut connection = connect(&unit).await;
        let part = b"GET /slow/box/a HTTP/1.1\r\nHost: local";
        connection.send(part).await.unwrap();
        slow.push(connection);
    }
    for number in 0..20 {
        let path = format!("slow/box/f{number}");
        owner.call("PUT", &path, "content").await;
    }
    // The limit is generous, the test only checks that there is one.
    assert!(
        slow[0].closes_within(Duration::from_secs(120)).await,
        "an unfinished head does not time out"
    );
    owner.reconnect().call("GET", "slow/box/f1", "").await;
}

#[tokio::test]
async fn trickled_request_head_times_out() {
    let unit = crate::unit().start();
    let mut connection = connect(&unit).await;
    let part = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ";
    connection.send(part).await.unwrap();
    let until = Instant::now() + Duration::from_secs(150);
    let mut closed = false;
    while !closed && Instant::now() < until {
        closed = connection.send(b"a").await.is_err()
            || connection.closes_within(Duration::from_millis(400)).await;
    }
    assert!(closed, "a trickled head does not time out");
}

#[tokio::test]
async fn trickled_body_below_the_minimum_rate_times_out() {
    let unit = crate::unit().setting(TRANSFER_TIMEOUT, 4).start();
    unit.create_cell_with_owner("slow").await;
    let mut connection = connect(&unit).await;
    let head = head(&unit, "", "POST /slow/__token", 10_000);
    connection.send(head.as_bytes()).await.unwrap();
    let (writer, mut reader) = connection.split();
    let _trickle = trickle(vec![writer]);
    let mut body = Vec::new();
    let response = reader.receive(RawBody::Keep(&mut body), false);
    let response = tokio::time::timeout(Duration::from_secs(60), response).await;
    let response = response
        .expect("a trickled body does not time out")
        .unwrap();
    assert_eq!(response.status, 408, "{}", String::from_utf8_lossy(&body));
    assert_eq!(reader.header("connection"), Some("close"));
}

#[tokio::test]
async fn slow_body_above_the_minimum_rate_is_accepted() {
    // A long pause of this process would make the body too slow.
    let _steady = crate::machine_load().write().await;
    let unit = crate::unit().setting(TRANSFER_TIMEOUT, 4).start();
    let owner = unit.create_cell_with_owner("slow").await;
    let mut connection = connect(&unit).await;
    let chunks = 40;
    let head = head(&unit, owner.token(), "PUT /slow/box/a", chunks * 400);
    connection.send(head.as_bytes()).await.unwrap();
    // The body takes twice the time-out of one chunk, and has 2 KB/s.
    for _ in 0..chunks {
        connection.send(&[b's'; 400]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let response = connection.receive(RawBody::Count, false).await.unwrap();
    assert_eq!(response.status, 201);
}

/// Begins a request for each head, with the begin of a large body, which is then trickled.
async fn trickle_bodies(unit: &ProcessUnit, heads: impl Iterator<Item = String>) -> JoinSet<()> {
    let mut writers = Vec::new();
    for head in heads {
        let mut connection = connect(unit).await;
        connection.send(head.as_bytes()).await.unwrap();
        connection.send(&[b's'; 20_000]).await.unwrap();
        writers.push(connection.split().0);
    }
    let tasks = trickle(writers);
    tokio::time::sleep(Duration::from_millis(500)).await;
    tasks
}

/// The length of trickled bodies.
const TRICKLED_BYTES: usize = 1_000_000;

/// The head of the upload of a file.
fn upload(unit: &ProcessUnit, owner: &TestClient, path: &str) -> String {
    head(unit, owner.token(), &format!("PUT /{path}"), TRICKLED_BYTES)
}

/// The head of the upload of an archive into a cell.
fn archive(unit: &ProcessUnit, cell: &str, number: usize) -> String {
    let mkcol = format!("MKCOL /{cell}/app{number}");
    let head = head(unit, unit.admin().token(), &mkcol, TRICKLED_BYTES);
    head.replace("Host:", "Content-Type: application/zip\r\nHost:")
}

/// The head of an upload without a length, and the begin of its only chunk.
fn upload_in_chunks(unit: &ProcessUnit, owner: &TestClient, path: &str) -> String {
    let length = format!("Content-Length: {TRICKLED_BYTES}\r\n\r\n");
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{TRICKLED_BYTES:x}\r\n");
    upload(unit, owner, path).replace(&length, &chunked)
}

/// Sends something that is no archive as one, and expects that it is read and refused.
async fn expect_installations(unit: &ProcessUnit, cell: &str) {
    unit.admin()
        .request("MKCOL", &format!("{cell}/app"))
        .header("content-type", "application/zip")
        .body("no archive")
        .send()
        .await
        .expect_error(400, "BI-0007");
}

/// Uploads a file at 20 KB/s for four seconds, and returns the status.
async fn upload_slowly(unit: &ProcessUnit, owner: &TestClient, path: &str) -> u16 {
    let mut connection = connect(unit).await;
    let chunks = 20;
    let put = format!("PUT /{path}");
    let head = head(unit, owner.token(), &put, chunks * 4_000);
    connection.send(head.as_bytes()).await.unwrap();
    for _ in 0..chunks {
        connection.send(&[b's'; 4_000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let response = connection.receive(RawBody::Count, false).await;
    response.unwrap().status
}

/// Uploads and downloads files of 20 KB.
async fn expect_transfers(owner: &TestClient, cell: &str) {
    let body = "o".repeat(20_000);
    for number in 0..10 {
        let path = format!("{cell}/box/a{number}");
        let put = owner.request("PUT", &path).body(&body).send();
        // Less than the time that a request waits for a place.
        let put = tokio::time::timeout(Duration::from_secs(20), put).await;
        put.expect("an upload is answered late").expect(201);
        assert!(owner.call("GET", &path, "").await.text() == body);
    }
}

#[tokio::test]
async fn trickled_uploads_do_not_block_uploads_even_if_one_is_allowed_at_a_time() {
    let unit = crate::unit()
        .setting(TRANSFER_TIMEOUT, 3600)
        .setting("io.personium.core.dav.uploads.max", 1)
        .start();
    let slow = unit.create_cell_with_owner("slow").await;
    let heads = (0..8).map(|number| upload(&unit, &slow, &format!("slow/box/f{number}")));
    let _trickle = trickle_bodies(&unit, heads).await;
    // Also in the same cell.
    slow.call("PUT", "slow/box/a", &"o".repeat(100_000)).await;
}

#[tokio::test]
async fn trickled_archives_do_not_block_installations() {
    let unit = crate::unit()
        .setting(TRANSFER_TIMEOUT, 3600)
        .setting("io.personium.core.thread.pool.num.io.box", 1)
        .start();
    for cell in ["slow", "other"] {
        unit.create_cell_with_owner(cell).await;
    }
    let heads = (0..8).map(|number| archive(&unit, "slow", number));
    let _trickle = trickle_bodies(&unit, heads).await;
    expect_installations(&unit, "other").await;
}

#[tokio::test]
async fn hundreds_of_trickled_uploads_in_many_cells_do_not_block_uploads() {
    let unit = crate::unit().setting(TRANSFER_TIMEOUT, 3600).start();
    let mut heads = Vec::new();
    for cell in ["slow1", "slow2", "slow3", "slow4"] {
        let owner = unit.create_cell_with_owner(cell).await;
        for number in 0..64 {
            heads.push(upload(&unit, &owner, &format!("{cell}/box/f{number}")));
        }
        for number in 0..32 {
            let path = format!("{cell}/box/c{number}");
            heads.push(upload_in_chunks(&unit, &owner, &path));
            heads.push(archive(&unit, cell, number));
        }
    }
    let other = unit.create_cell_with_owner("other").await;
    let mut trickle = trickle_bodies(&unit, heads.into_iter()).await;
    let (slow, ()) = tokio::join!(
        upload_slowly(&unit, &other, "other/box/slow"),
        expect_transfers(&other, "other")
    );
    assert_eq!(slow, 201);
    expect_installations(&unit, "other").await;
    assert!(trickle.try_join_next().is_none(), "an upload was cut off");
}

#[tokio::test]
async fn trickled_entities_do_not_use_up_the_memory_for_bodies() {
    let unit = crate::unit()
        .setting(TRANSFER_TIMEOUT, 3600)
        .setting("io.personium.core.server.bodyMemory.maxBytes", 1 << 20)
        .start();
    let mut heads = Vec::new();
    for cell in ["slow1", "slow2", "slow3", "slow4"] {
        let owner = unit.create_cell_with_owner(cell).await;
        let post = format!("POST /{cell}/__ctl/Role");
        for _ in 0..20 {
            heads.push(head(&unit, owner.token(), &post, TRICKLED_BYTES));
        }
    }
    let other = unit.create_cell_with_owner("other").await;
    let mut trickle = trickle_bodies(&unit, heads.into_iter()).await;
    for number in 0..5 {
        let name = format!(r#"{{"Name":"r{number}"}}"#);
        // Larger than what needs no memory budget.
        let body = format!("{name}{}", " ".repeat(200_000));
        other.create("other/__ctl/Role", &body).await;
    }
    assert!(trickle.try_join_next().is_none(), "a body was cut off");
}

/// The status of the file `new` and the content of the file `old`.
async fn files(client: &TestClient) -> (u16, String) {
    let new = client.request("GET", "slow/box/new").send().await;
    let old = client.request("GET", "slow/box/old").send().await;
    (new.status.as_u16(), old.text())
}

#[tokio::test]
async fn interrupted_upload_leaves_files_unchanged() {
    let unit = crate::unit().start();
    let owner = unit.create_cell_with_owner("slow").await;
    owner.call("PUT", "slow/box/old", "old content").await;
    let begin = async |path: &str| {
        let mut connection = connect(&unit).await;
        let head = head(&unit, owner.token(), &format!("PUT {path}"), 1_000_000);
        connection.send(head.as_bytes()).await.unwrap();
        connection.send(&[b'n'; 300_000]).await.unwrap();
        connection
    };
    let (new, over) = (begin("/slow/box/new").await, begin("/slow/box/old").await);
    let unchanged = (404, "old content".to_owned());
    assert_eq!(files(&owner).await, unchanged, "during the upload");
    drop((new, over));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(files(&owner).await, unchanged, "after the upload broke");
    owner.call("PUT", "slow/box/new", "whole").await;
    let new = owner.call("GET", "slow/box/new", "").await;
    assert_eq!(new.text(), "whole");
}

#[tokio::test]
async fn downloads_that_are_not_read_do_not_delay_others() {
    let unit = crate::unit().start();
    let owner = unit.create_cell_with_owner("slow").await;
    let large = vec![b'l'; 8 << 20];
    let put = owner.request("PUT", "slow/box/large").body(&large);
    put.send().await.expect(201);
    let request = format!(
        "GET /slow/box/large HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: Bearer {}\r\n\r\n",
        unit.port(),
        owner.token()
    );
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut connection = connect(&unit).await;
        connection.send(request.as_bytes()).await.unwrap();
        waiting.push(connection);
    }
    for number in 0..20 {
        let path = format!("slow/box/f{number}");
        owner.call("PUT", &path, "content").await;
    }
    // One of them is read after all, and gets everything.
    let mut body = Vec::new();
    let response = waiting[7].receive(RawBody::Keep(&mut body), false);
    assert_eq!(response.await.unwrap().status, 200);
    assert!(body == large);
}

#[tokio::test]
async fn request_heads_over_the_size_limit_are_refused() {
    let mut unit = crate::unit().start();
    let long = "a".repeat(512 * 1024);
    let many: String = (0..5000).map(|n| format!("X-{n}: y\r\n")).collect();
    for (name, head) in [
        (
            "a long header",
            format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"),
        ),
        (
            "a long path",
            format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ),
        (
            "many headers",
            format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"),
        ),
    ] {
        let mut connection = connect(&unit).await;
        // The unit may answer and close before it has read everything.
        let _ = connection.send(head.as_bytes()).await;
        let response = connection.receive(RawBody::Count, false);
        let response = tokio::time::timeout(Duration::from_secs(120), response).await;
        if let Ok(response) = response.expect("no response in time") {
            assert!(
                matches!(response.status, 400 | 414 | 431),
                "{name}: {}",
                response.status
            );
        }
        assert!(unit.is_running(), "{name} ended the unit");
    }
    unit.create_cell_with_owner("after").await;
}
