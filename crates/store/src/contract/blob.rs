//! The contract of [`BlobStore`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use personium_types::{BlobId, CellId, SystemRandom};

use super::split_mix::SplitMix64;
use crate::{BlobStore, Space};

/// Checks the contract of [`BlobStore`], except crashes.
///
/// # Panics
/// If the store breaks the contract.
pub async fn blobs(store: Arc<dyn BlobStore>) {
    store.check().await.unwrap();
    bodies_are_read_as_written(&*store).await;
    unfinished_bodies_are_invisible(&*store).await;
    open_reader_survives_removal(&*store).await;
    spaces_are_separate(&*store).await;
    body_with_a_given_id_is_found_by_it_and_replaces_another(&*store).await;
    list_is_ordered_by_id_and_filtered_by_age(&*store).await;
    concurrent_writers_are_independent(&store).await;
}

fn new_space() -> Space {
    Space::Cell(CellId::random(&SystemRandom::new()))
}

async fn write(store: &dyn BlobStore, space: &Space, body: &[u8], chunk_bytes: usize) -> BlobId {
    let mut writer = store.create(space).await.unwrap();
    for chunk in body.chunks(chunk_bytes) {
        writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    writer.finish().await.unwrap()
}

async fn read(store: &dyn BlobStore, space: &Space, id: &BlobId) -> Option<Vec<u8>> {
    let mut reader = store.open(space, id).await.unwrap()?;
    let mut body = Vec::new();
    loop {
        let chunk = reader.read_at(body.len() as u64, 50_000).await.unwrap();
        if chunk.is_empty() {
            assert_eq!(body.len() as u64, reader.len());
            return Some(body);
        }
        body.extend_from_slice(&chunk);
    }
}

fn random_body(seed: u64, len: usize) -> Vec<u8> {
    let mut random = SplitMix64::new(seed);
    (0..len).map(|_| random.below(256) as u8).collect()
}

async fn body_with_a_given_id_is_found_by_it_and_replaces_another(store: &dyn BlobStore) {
    let (space, id) = (new_space(), BlobId::random(&SystemRandom::new()));
    for body in [&b"first"[..], b"second one"] {
        let mut writer = store.create_with_id(&space, &id).await.unwrap();
        writer.write(Bytes::copy_from_slice(body)).await.unwrap();
        assert_eq!(writer.finish().await.unwrap(), id);
        assert_eq!(read(store, &space, &id).await.unwrap(), body);
    }
}

async fn bodies_are_read_as_written(store: &dyn BlobStore) {
    let space = new_space();
    for (len, chunk_bytes) in [
        (0, 1),
        (1, 1),
        (1000, 7),
        (300_000, 8192),
        (2 << 20, 300_000),
        (3 << 20, 3 << 20),
    ] {
        let body = random_body(len as u64, len);
        let id = write(store, &space, &body, chunk_bytes).await;
        assert!(
            read(store, &space, &id).await.unwrap() == body,
            "{len} bytes in chunks of {chunk_bytes}"
        );
        let mut reader = store.open(&space, &id).await.unwrap().unwrap();
        assert_eq!((reader.len(), reader.is_empty()), (len as u64, len == 0));
        let middle = len / 2;
        let part = reader.read_at(middle as u64, 100).await.unwrap();
        assert!(part[..] == body[middle..(middle + 100).min(len)]);
        assert!(reader.read_at(len as u64, 10).await.unwrap().is_empty());
        assert!(reader.read_at(u64::MAX, 10).await.unwrap().is_empty());
        assert!(reader.read_at(0, 0).await.unwrap().is_empty());
        assert!(
            reader.read_at(0, len + 10).await.unwrap()[..] == body[..],
            "the whole body"
        );
    }
}

async fn unfinished_bodies_are_invisible(store: &dyn BlobStore) {
    let space = new_space();
    let mut writer = store.create(&space).await.unwrap();
    writer.write(Bytes::from(vec![1; 600_000])).await.unwrap();
    assert!(
        store
            .list(&space, None, Duration::ZERO, 10)
            .await
            .unwrap()
            .is_empty()
    );
    drop(writer);
    assert!(
        store
            .list(&space, None, Duration::ZERO, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        store
            .open(&space, &BlobId::random(&SystemRandom::new()))
            .await
            .unwrap()
            .is_none()
    );
}

async fn open_reader_survives_removal(store: &dyn BlobStore) {
    let space = new_space();
    let body = random_body(3, 700_000);
    let id = write(store, &space, &body, 65_536).await;
    let mut reader = store.open(&space, &id).await.unwrap().unwrap();
    assert!(reader.read_at(0, 1000).await.unwrap()[..] == body[..1000]);
    store.remove(&space, &id).await.unwrap();
    store.remove(&space, &id).await.unwrap();
    assert!(store.open(&space, &id).await.unwrap().is_none());
    assert!(reader.read_at(600_000, 200_000).await.unwrap()[..] == body[600_000..]);
}

async fn spaces_are_separate(store: &dyn BlobStore) {
    let (a, b) = (new_space(), new_space());
    let in_a = write(store, &a, b"a", 1).await;
    let in_b = write(store, &b, b"b", 1).await;
    let in_unit = write(store, &Space::Unit, b"unit", 4).await;
    assert!(store.open(&b, &in_a).await.unwrap().is_none());
    store.remove(&b, &in_a).await.unwrap();
    assert_eq!(read(store, &a, &in_a).await.unwrap(), b"a");
    let mut unfinished = store.create(&a).await.unwrap();
    unfinished.write(Bytes::from_static(b"half")).await.unwrap();
    store.drop_space(&a).await.unwrap();
    store.drop_space(&a).await.unwrap();
    assert!(store.open(&a, &in_a).await.unwrap().is_none());
    assert!(
        store
            .list(&a, None, Duration::ZERO, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(read(store, &b, &in_b).await.unwrap(), b"b");
    assert_eq!(read(store, &Space::Unit, &in_unit).await.unwrap(), b"unit");
    drop(unfinished);
    let new = write(store, &a, b"new", 2).await;
    assert_eq!(read(store, &a, &new).await.unwrap(), b"new");
}

async fn list_is_ordered_by_id_and_filtered_by_age(store: &dyn BlobStore) {
    let space = new_space();
    let mut ids = Vec::new();
    for n in 0..25u8 {
        ids.push(write(store, &space, &[n], 1).await);
    }
    ids.sort();
    let mut seen: Vec<BlobId> = Vec::new();
    loop {
        let page = store
            .list(&space, seen.last(), Duration::ZERO, 7)
            .await
            .unwrap();
        assert!(page.len() <= 7);
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen, ids);
    assert!(
        store
            .list(&space, None, Duration::from_secs(3600), 100)
            .await
            .unwrap()
            .is_empty(),
        "none is an hour old"
    );
}

async fn concurrent_writers_are_independent(store: &Arc<dyn BlobStore>) {
    let space = new_space();
    let tasks: Vec<_> = (0..16u64)
        .map(|n| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let body = random_body(n, 100_000);
                let id = write(&*store, &space, &body, 4096).await;
                assert!(read(&*store, &space, &id).await.unwrap() == body);
                id
            })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap());
    }
    ids.sort();
    assert_eq!(
        store.list(&space, None, Duration::ZERO, 100).await.unwrap(),
        ids
    );
}
