//! Writing while the server or the network fails.

use std::time::{Duration, Instant};

use http::{Method, Uri};
use personium_object_store::S3Settings;
use personium_store::{BlobStore, StoreError};
use personium_testkit::{Disturbance, S3Program, S3Proxy, S3Server};

use crate::stores::{PART_BYTES, list, new_space, open, random_body, read, settings, write};

/// More than any operation here needs.
const ALWAYS: usize = 1_000;

fn is_part(method: &Method, uri: &Uri) -> bool {
    method == Method::PUT
        && uri
            .query()
            .is_some_and(|query| query.contains("partNumber"))
}

fn is_completion(method: &Method, uri: &Uri) -> bool {
    method == Method::POST && uri.query().is_some_and(|query| query.contains("uploadId"))
}

fn is_put(method: &Method, _: &Uri) -> bool {
    method == Method::PUT
}

#[tokio::test]
async fn each_write_survives_failures_that_pass() {
    let server = S3Server::start(S3Program::Minio);
    let proxy = S3Proxy::start(&server.address()).await;
    let store = open(&settings(&proxy.url(), "p"));
    let space = new_space();
    for disturbance in [
        Disturbance::Status(500, "InternalError"),
        Disturbance::Status(503, "SlowDown"),
        Disturbance::CutRequest,
        Disturbance::LoseResponse,
    ] {
        for len in [1_000, 2 * PART_BYTES + 5] {
            for choice in [is_put, is_part, is_completion] {
                proxy.disturb(1, disturbance, choice);
                let body = random_body(len);
                let id = write(&store, &space, &body).await;
                let id = id.unwrap_or_else(|e| panic!("{disturbance:?} {len}: {e:?}"));
                let found = read(&store, &space, &id).await.unwrap().unwrap();
                assert!(found == body, "{disturbance:?} {len}");
                proxy.calm();
            }
        }
    }
    assert_eq!(list(&store, &space).await.len(), 4 * 2 * 3);
}

#[tokio::test]
async fn lasting_failure_of_a_write_is_reported_by_its_meaning_and_leaves_no_body() {
    let server = S3Server::start(S3Program::Minio);
    let proxy = S3Proxy::start(&server.address()).await;
    let store = open(&settings(&proxy.url(), "p"));
    let space = new_space();
    type Expected = fn(&StoreError) -> bool;
    let cases: [(Disturbance, Expected); 4] = [
        (Disturbance::Status(503, "SlowDown"), |e| {
            matches!(e, StoreError::Busy(_))
        }),
        (Disturbance::Status(507, "XMinioStorageFull"), |e| {
            matches!(e, StoreError::Full(_))
        }),
        (Disturbance::Status(500, "InternalError"), |e| {
            matches!(e, StoreError::Down(_))
        }),
        (Disturbance::CutRequest, |e| {
            matches!(e, StoreError::Down(_))
        }),
    ];
    for (disturbance, is_expected) in cases {
        for choice in [is_put, is_part, is_completion] {
            proxy.disturb(ALWAYS, disturbance, choice);
            let failed = write(&store, &space, &random_body(3 * PART_BYTES)).await;
            let error = failed.unwrap_err();
            assert!(is_expected(&error), "{disturbance:?}: {error:?}");
            proxy.calm();
            assert_eq!(list(&store, &space).await, []);
        }
    }
    let body = random_body(3 * PART_BYTES);
    let id = write(&store, &space, &body).await.unwrap();
    assert!(read(&store, &space, &id).await.unwrap().unwrap() == body);
}

#[tokio::test]
async fn failed_or_dropped_upload_is_aborted() {
    let server = S3Server::start(S3Program::Minio);
    let proxy = S3Proxy::start(&server.address()).await;
    let store = open(&settings(&proxy.url(), "p"));
    let space = new_space();
    let mut writer = store.create(&space).await.unwrap();
    writer.write(random_body(2 * PART_BYTES)).await.unwrap();
    drop(writer);
    proxy.disturb(ALWAYS, Disturbance::Status(500, ""), is_part);
    assert!(
        write(&store, &space, &random_body(2 * PART_BYTES))
            .await
            .is_err()
    );
    let mut aborted = 0;
    for _ in 0..100 {
        let requests = proxy.take_requests();
        let is_abort = |line: &&String| line.starts_with("DELETE") && line.contains("uploadId");
        aborted += requests.iter().filter(is_abort).count();
        if aborted == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{aborted} uploads were aborted");
}

#[tokio::test]
async fn dead_or_silent_server_fails_in_bounded_time_and_recovers() {
    let mut server = S3Server::start(S3Program::Minio);
    let proxy = S3Proxy::start(&server.address()).await;
    let store = open(&S3Settings {
        timeout: Duration::from_secs(1),
        retries: 1,
        ..settings(&proxy.url(), "p")
    });
    let direct = open(&settings(&server.url(), "p"));
    let space = new_space();
    let body = random_body(1_000);
    let id = write(&store, &space, &body).await.unwrap();

    proxy.disturb(
        ALWAYS,
        Disturbance::Delay(Duration::from_secs(60)),
        |_, _| true,
    );
    let started = Instant::now();
    let failed = write(&store, &space, &body).await;
    assert!(matches!(failed, Err(StoreError::Down(_))), "{failed:?}");
    let failed = read(&store, &space, &id).await;
    assert!(matches!(failed, Err(StoreError::Down(_))), "{failed:?}");
    assert!(started.elapsed() < Duration::from_secs(30));
    proxy.calm();

    server.kill();
    let failed = read(&direct, &space, &id).await;
    assert!(matches!(failed, Err(StoreError::Down(_))), "{failed:?}");
    server.restart();
    let mut found = read(&direct, &space, &id).await;
    for _ in 0..100 {
        // MinIO listens before it answers.
        if found.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        found = read(&direct, &space, &id).await;
    }
    assert!(found.unwrap().unwrap() == body);
}
