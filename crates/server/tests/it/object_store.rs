//! File bodies in a bucket of a real object store.

use std::time::Duration;

use personium_testkit::{
    Disturbance, ProcessUnit, ProcessUnitBuilder, RawConnection, S3Program, S3Proxy, S3Server,
    TestClient,
};

const ENCRYPTION: &str = "io.personium.core.security.dav.encrypt.enabled=true\n";

/// More than any operation here needs.
const ALWAYS: usize = 1_000;

fn unit(server: &S3Server, prefix: &str) -> ProcessUnitBuilder {
    crate::unit().settings(&server.settings(prefix))
}

fn large() -> Vec<u8> {
    (0..20_000_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect()
}

async fn put(unit: &TestClient, path: &str, body: &[u8]) {
    let put = unit.admin_request("PUT", path).body(body);
    put.send().await.expect_success();
}

async fn expect_content(unit: &TestClient, path: &str, body: &[u8]) {
    let found = unit.admin_request("GET", path).send().await.expect(200);
    assert!(found.body == body, "{path}");
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=70000-200000", 70_000, 200_001),
        ("bytes=-5", body.len() - 5, body.len()),
    ] {
        let part = unit.admin_request("GET", path).header("range", range);
        let part = part.send().await.expect(206);
        assert!(part.body == body[from..to], "{path} {range}");
    }
}

async fn expect_files_to_work(unit: &mut ProcessUnit, body: &[u8]) {
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    for (path, body) in [("c/b/large", body), ("c/b/middle", &body[..300_000])] {
        put(unit, path, body).await;
        expect_content(unit, path, body).await;
    }
    put(unit, "c/b/small", b"small").await;
    put(unit, "c/b/middle", &body[..400_000]).await;
    expect_content(unit, "c/b/middle", &body[..400_000]).await;
    unit.kill();
    unit.restart();
    expect_content(unit, "c/b/large", body).await;
    let copy = unit
        .admin_request("MOVE", "c/b/middle")
        .header("destination", &format!("{}c/b/moved", unit.url()));
    copy.send().await.expect_success();
    expect_content(unit, "c/b/moved", &body[..400_000]).await;
    let delete = unit.admin_request("DELETE", "c/b/large");
    delete.send().await.expect(204);
    let gone = unit.admin_request("GET", "c/b/large");
    gone.send().await.expect(404);
    assert!(!unit.log().contains(S3Server::SECRET_KEY));
}

#[tokio::test]
async fn files_are_written_read_replaced_and_deleted_in_each_object_store() {
    let body = large();
    for program in [S3Program::Minio, S3Program::GoFakeS3] {
        let server = S3Server::start(program);
        for (prefix, encryption) in [("plain", ""), ("sealed", ENCRYPTION)] {
            let mut unit = unit(&server, prefix).settings(encryption).start();
            expect_files_to_work(&mut unit, &body).await;
        }
    }
}

#[tokio::test]
async fn encrypted_bodies_are_unreadable_in_the_bucket() {
    let server = S3Server::start(S3Program::Minio);
    let text = "nobody else may read this".repeat(10_000);
    for (prefix, encryption) in [("plain", ""), ("sealed", ENCRYPTION)] {
        let unit = unit(&server, prefix).settings(encryption).start();
        unit.create_cell("c").await;
        unit.create_box("c", "b").await;
        put(&unit, "c/b/file", text.as_bytes()).await;
        expect_content(&unit, "c/b/file", text.as_bytes()).await;
        assert_eq!(
            contains(&server.folder().join(prefix), b"nobody else"),
            encryption.is_empty()
        );
    }
}

/// Whether a file below a folder contains a text.
fn contains(folder: &std::path::Path, text: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => contains(&path, text),
            false => {
                let bytes = std::fs::read(path).unwrap();
                bytes.windows(text.len()).any(|part| part == text)
            }
        }
    })
}

#[tokio::test]
async fn killed_upload_leaves_no_file_and_the_former_one_whole() {
    let server = S3Server::start(S3Program::Minio);
    let mut unit = unit(&server, "p").start();
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    let body = large();
    put(&unit, "c/b/replaced", &body[..1_000_000]).await;
    for path in ["/c/b/new", "/c/b/replaced"] {
        let mut connection = RawConnection::open(unit.port()).await.unwrap();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
            unit.port(),
            personium_testkit::MASTER_TOKEN,
            body.len()
        );
        connection.send(head.as_bytes()).await.unwrap();
        connection.send(&body[..18_000_000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        unit.kill();
        unit.restart();
    }
    let absent = unit.admin_request("GET", "c/b/new");
    absent.send().await.expect(404);
    expect_content(&unit, "c/b/replaced", &body[..1_000_000]).await;
    put(&unit, "c/b/new", &body).await;
    expect_content(&unit, "c/b/new", &body).await;
}

// The proxy needs a thread of its own while the unit starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_object_store_answers_503_or_507_for_files_alone_and_recovers() {
    let server = S3Server::start(S3Program::Minio);
    let proxy = S3Proxy::start(&server.address()).await;
    let unit = crate::unit()
        .settings(&S3Server::settings_at(&proxy.url(), "p"))
        .setting("io.personium.core.blobStore.s3.retries", 1)
        .setting("io.personium.core.blobStore.s3.timeoutInSeconds", 2)
        .start();
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    let body = large();
    put(&unit, "c/b/file", &body[..1_000_000]).await;
    for (disturbance, status) in [
        (Disturbance::Status(503, "SlowDown"), 503),
        (Disturbance::Status(500, "InternalError"), 503),
        (Disturbance::Status(507, "XMinioStorageFull"), 507),
        (Disturbance::CutRequest, 503),
        (Disturbance::Delay(Duration::from_secs(30)), 503),
    ] {
        proxy.disturb(ALWAYS, disturbance, |_, _| true);
        let refused = unit
            .admin_request("PUT", "c/b/other")
            .body(&body[..500_000]);
        refused.send().await.expect(status);
        let refused = unit.admin_request("GET", "c/b/file").send().await;
        assert!(
            refused.status == 503 || refused.status == status,
            "{disturbance:?}"
        );
        // What needs no body works.
        put(&unit, "c/b/small", b"small").await;
        let listed = unit.admin_request("PROPFIND", "c/b");
        listed.header("depth", "1").send().await.expect(207);
        proxy.calm();
        expect_content(&unit, "c/b/file", &body[..1_000_000]).await;
    }
    let absent = unit.admin_request("GET", "c/b/other");
    absent.send().await.expect(404);
}

#[tokio::test]
async fn large_files_need_bounded_memory() {
    const MEMORY_BYTES: u64 = 250 << 20;
    const CHUNKS: usize = 400;
    let server = S3Server::start(S3Program::Minio);
    let unit = unit(&server, "p").start();
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    let chunk = large().split_off(19_000_000);
    let body: Vec<u8> = chunk.repeat(CHUNKS);
    put(&unit, "c/b/file", &body).await;
    let found = unit
        .admin_request("GET", "c/b/file")
        .send()
        .await
        .expect(200);
    assert!(found.body == body);
    let status = format!("/proc/{}/status", unit.process_id());
    let status = std::fs::read_to_string(status).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap();
    let peak_bytes = kib.parse::<u64>().unwrap() << 10;
    assert!(peak_bytes < MEMORY_BYTES, "{peak_bytes}");
}

#[tokio::test]
async fn bucket_without_the_mark_of_the_unit_or_with_another_one_is_refused() {
    let server = S3Server::start(S3Program::Minio);
    let mut first = unit(&server, "first").start();
    let second = unit(&server, "second").start();
    // A unit listens before it has marked its parts.
    first.create_cell("c").await;
    second.create_cell("c").await;
    first.kill();
    first.replace_in_settings("prefix=first", "prefix=second");
    let log = first.expect_refused_restart();
    assert!(log.contains("is of unit"), "{log}");
    first.replace_in_settings("prefix=second", "prefix=empty");
    let log = first.expect_refused_restart();
    assert!(log.contains("unit.id") && log.contains("missing"), "{log}");
    first.replace_in_settings("prefix=empty", "prefix=first");
    first.restart();
    drop(second);

    // A new unit does not take the bodies of another one.
    let mut third = unit(&server, "third").start();
    third.create_cell("c").await;
    third.kill();
    third.replace_in_settings("prefix=third", "prefix=first");
    std::fs::remove_dir_all(third.folder().join("data")).unwrap();
    third.expect_refused_restart();
}

#[tokio::test]
async fn start_without_the_object_store_names_it_and_not_the_secret() {
    let mut server = S3Server::start(S3Program::Minio);
    let mut unit = unit(&server, "p")
        .setting("io.personium.core.server.start.waitInSec", 1)
        .start();
    unit.kill();
    server.kill();
    let log = unit.expect_refused_restart();
    assert!(
        log.contains("object store") && !log.contains(S3Server::SECRET_KEY),
        "{log}"
    );
}
