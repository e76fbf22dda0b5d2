//! The contract of the port, on two servers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use personium_object_store::{S3Credentials, S3Settings};
use personium_store::{BlobStore, Space, StoreError, contract};
use personium_testkit::{S3Program, S3Server};
use personium_types::Secret;

use crate::stores::{PART_BYTES, list, new_space, open, random_body, read, settings, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn minio_keeps_the_contract() {
    let server = S3Server::start(S3Program::Minio);
    contract::blobs(Arc::new(open(&settings(&server.url(), "a/unit")))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn gofakes3_keeps_the_contract() {
    let server = S3Server::start(S3Program::GoFakeS3);
    contract::blobs(Arc::new(open(&settings(&server.url(), "")))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn large_bodies_are_sent_in_parts_and_read_in_any_order() {
    for program in [S3Program::Minio, S3Program::GoFakeS3] {
        let server = S3Server::start(program);
        let store = open(&settings(&server.url(), "p"));
        let space = new_space();
        // The last part is only checksums, a few bytes, or another whole part.
        for len in [PART_BYTES, 2 * PART_BYTES + 17, 3 * PART_BYTES - 2000] {
            let body = random_body(len);
            let id = write(&store, &space, &body).await.unwrap();
            let whole = read(&store, &space, &id).await.unwrap().unwrap();
            assert!(whole == body, "{program:?} {len}");
            let mut reader = store.open(&space, &id).await.unwrap().unwrap();
            for (offset, max) in [
                (len - 10, 100),
                (0, 1),
                (65_535, 2),
                (1_000_000, 400_000),
                (1_400_000, 70_000),
                (1_460_000, 70_000),
                (70_000, 65_536),
            ] {
                let part = reader.read_at(offset as u64, max).await.unwrap();
                let end = (offset + max).min(len);
                assert!(part == body[offset..end], "{program:?} {len} {offset}");
            }
        }
    }
}

#[tokio::test]
async fn two_stores_over_one_bucket_behave_as_one() {
    let server = S3Server::start(S3Program::Minio);
    let (a, b) = (settings(&server.url(), "p"), settings(&server.url(), "p"));
    let (a, b) = (open(&a), open(&b));
    let space = new_space();
    let body = random_body(100_000);
    let id = write(&a, &space, &body).await.unwrap();
    assert!(read(&b, &space, &id).await.unwrap().unwrap() == body);
    b.drop_space(&space).await.unwrap();
    assert_eq!(read(&a, &space, &id).await.unwrap(), None);
    assert!(list(&a, &space).await.is_empty());
}

#[tokio::test]
async fn objects_of_removed_bodies_disappear_after_the_delay() {
    let server = S3Server::start(S3Program::Minio);
    for delay in [Duration::ZERO, Duration::from_millis(300)] {
        let store = open(&S3Settings {
            removal_delay: delay,
            ..settings(&server.url(), "p")
        });
        let other = open(&settings(&server.url(), "p"));
        let space = new_space();
        let id = write(&store, &space, &random_body(10)).await.unwrap();
        store.remove(&space, &id).await.unwrap();
        assert_eq!(read(&store, &space, &id).await.unwrap(), None);
        assert_eq!(list(&store, &space).await, []);
        for _ in 0..100 {
            if list(&other, &space).await.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(list(&other, &space).await, []);
    }
}

#[tokio::test]
async fn body_of_a_space_dropped_meanwhile_is_refused_and_leaves_nothing() {
    let server = S3Server::start(S3Program::Minio);
    let store = open(&settings(&server.url(), "p"));
    for len in [10, 2 * PART_BYTES] {
        let space = new_space();
        let mut writer = store.create(&space).await.unwrap();
        writer.write(random_body(len)).await.unwrap();
        store.drop_space(&space).await.unwrap();
        assert!(writer.finish().await.is_err(), "{len}");
        assert_eq!(list(&store, &space).await, []);
    }
}

#[tokio::test]
async fn mark_of_another_unit_is_not_replaced() {
    let server = S3Server::start(S3Program::Minio);
    let store = open(&settings(&server.url(), "p"));
    assert_eq!(store.find_mark().await.unwrap(), None);
    assert!(store.is_empty().await.unwrap());
    store.put_mark("0a").await.unwrap();
    store.put_mark("0a").await.unwrap();
    let other = open(&settings(&server.url(), "p"));
    let refused = other.put_mark("0b").await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    assert_eq!(other.find_mark().await.unwrap().as_deref(), Some("0a"));
    assert!(!other.is_empty().await.unwrap());
    let beside = open(&settings(&server.url(), "p2"));
    assert_eq!(beside.find_mark().await.unwrap(), None);
}

#[tokio::test]
async fn wrong_bucket_or_secret_is_an_error_and_not_a_missing_body() {
    let server = S3Server::start(S3Program::Minio);
    let id = "00000000000000000000000000000000".parse().unwrap();
    let right = settings(&server.url(), "p");
    let wrong_secret = S3Credentials::Keys {
        access_key: S3Server::ACCESS_KEY.to_owned(),
        secret_key: Secret::new("a-wrong-secret".to_owned()),
        session_token: None,
    };
    for wrong in [
        S3Settings {
            bucket: "no-such-bucket".to_owned(),
            ..right.clone()
        },
        S3Settings {
            credentials: wrong_secret,
            ..right
        },
    ] {
        let store = open(&wrong);
        let shown = format!("{store:?} {wrong:?}");
        let opened = store.open(&Space::Unit, &id).await;
        let Err(error) = opened else {
            panic!("a body is missing")
        };
        let text = personium_types::error::chain(&error);
        assert!(matches!(error, StoreError::Down(_)), "{text}");
        let mut writer = store.create(&Space::Unit).await.unwrap();
        writer.write(Bytes::from_static(b"x")).await.unwrap();
        assert!(writer.finish().await.is_err());
        assert!(store.check().await.is_err());
        assert!(store.find_mark().await.is_err());
        let secrets = [S3Server::SECRET_KEY, "a-wrong-secret"];
        for secret in secrets {
            assert!(!text.contains(secret) && !shown.contains(secret), "{text}");
        }
    }
}
