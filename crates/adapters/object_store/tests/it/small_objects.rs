//! Small objects with names of their own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use personium_object_store::SmallObjects;
use personium_store::{BlobStore, StoreError};
use personium_testkit::{S3Program, S3Server};
use personium_types::SystemClock;

use crate::stores::{PART_BYTES, new_space, open, random_body, settings};

const MAX: u64 = 100;

/// More than a server lists at once.
const MANY: usize = 1_050;

fn objects(server: &S3Server, prefix: &str) -> SmallObjects {
    let settings = settings(&server.url(), prefix);
    SmallObjects::new(&settings, Arc::new(SystemClock::new())).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn object_is_written_only_in_the_state_that_its_writer_has_seen() {
    let server = S3Server::start(S3Program::Minio);
    let objects = objects(&server, "a/b");
    let text = |text: &'static str| Bytes::from_static(text.as_bytes());
    assert!(objects.find("x/lock", MAX).await.unwrap().is_none());
    assert!(objects.create("x/lock", text("one")).await.unwrap());
    assert!(!objects.create("x/lock", text("two")).await.unwrap());
    let first = objects.find("x/lock", MAX).await.unwrap().unwrap();
    assert_eq!(first.bytes, "one");
    assert!(first.age.unwrap() < Duration::from_secs(3_600));
    let version = &first.version;
    assert!(
        objects
            .replace("x/lock", text("three"), version)
            .await
            .unwrap()
    );
    assert!(
        !objects
            .replace("x/lock", text("four"), version)
            .await
            .unwrap()
    );
    objects.put("y", text("five")).await.unwrap();
    assert_eq!(objects.list("", 9).await.unwrap(), ["x/lock", "y"]);
    assert_eq!(objects.list("x", 9).await.unwrap(), ["x/lock"]);
    objects.remove("x/lock").await.unwrap();
    objects.remove("x/lock").await.unwrap();
    assert!(
        !objects
            .replace("x/lock", text("six"), version)
            .await
            .unwrap()
    );
    assert_eq!(objects.list("", 9).await.unwrap(), ["y"]);
    let large = Bytes::from(vec![7; 101]);
    objects.put("large", large).await.unwrap();
    let refused = objects.find("large", MAX).await;
    assert!(
        matches!(refused, Err(StoreError::Corrupt(_))),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_objects_than_a_server_lists_at_once_are_listed() {
    let server = S3Server::start(S3Program::Minio);
    let objects = objects(&server, "p");
    let names: Vec<String> = (0..MANY).map(|n| format!("g/{n:05}.json")).collect();
    let puts = names.iter().map(|name| objects.put(name, Bytes::new()));
    let puts = futures_util::stream::iter(puts).buffer_unordered(16);
    puts.for_each(|put| async { put.unwrap() }).await;
    assert_eq!(objects.list("g", usize::MAX).await.unwrap(), names);
    assert_eq!(objects.list("g", 7).await.unwrap(), names[..7]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_of_a_process_that_ended_are_aborted() {
    let server = S3Server::start(S3Program::GoFakeS3);
    let space = new_space();
    for prefix in ["p/files", "other"] {
        let store = open(&settings(&server.url(), prefix));
        let mut writer = store.create(&space).await.unwrap();
        writer.write(random_body(PART_BYTES + 1)).await.unwrap();
        // As if the process had been killed.
        std::mem::forget(writer);
    }
    let next = open(&settings(&server.url(), "p/files"));
    assert_eq!(next.abort_all_uploads().await.unwrap(), 1);
    assert_eq!(next.abort_all_uploads().await.unwrap(), 0);
}
