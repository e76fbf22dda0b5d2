//! The contract of the port, and the files on the disk.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use personium_folder::{BlobSync, FolderSettings, FolderStore};
use personium_store::{BlobStore, Space, StoreError, StoreHealth, contract};
use personium_types::{CellId, Random, SystemRandom};

fn random() -> Arc<dyn Random> {
    Arc::new(SystemRandom::new())
}

fn open(folder: &Path, exclusive: bool) -> FolderStore {
    FolderStore::open(
        &FolderSettings {
            folder: folder.to_owned(),
            sync: BlobSync::Full,
            exclusive,
            witness: None,
            health: Arc::default(),
            keep_removed: None,
        },
        random(),
    )
    .unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn folder_store_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    contract::blobs(Arc::new(open(folder.path(), true))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn folder_store_without_sync_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let settings = FolderSettings {
        folder: folder.path().join("made"),
        sync: BlobSync::None,
        exclusive: true,
        witness: None,
        health: Arc::default(),
        keep_removed: None,
    };
    contract::blobs(Arc::new(FolderStore::open(&settings, random()).unwrap())).await;
}

#[tokio::test]
async fn dropped_writer_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), true);
    let mut writer = store.create(&Space::Unit).await.unwrap();
    writer.write(Bytes::from(vec![1; 1 << 20])).await.unwrap();
    assert_eq!(files(folder.path()).len(), 1);
    drop(writer);
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn orphans_of_a_crash_are_removed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let space = Space::Cell(CellId::random(&random()));
    let store = open(folder.path(), true);
    let mut whole = store.create(&space).await.unwrap();
    whole.write(Bytes::from_static(b"whole")).await.unwrap();
    let id = whole.finish().await.unwrap();
    let mut half = store.create(&space).await.unwrap();
    half.write(Bytes::from(vec![1; 1 << 20])).await.unwrap();
    std::mem::forget(half);
    let half_dropped = folder.path().join("trash").join("space").join("ab");
    std::fs::create_dir_all(&half_dropped).unwrap();
    std::fs::write(half_dropped.join("body"), "x").unwrap();
    assert_eq!(files(folder.path()).len(), 3);

    open(folder.path(), false);
    assert_eq!(
        files(folder.path()).len(),
        3,
        "another process may be writing them"
    );
    let store = open(folder.path(), true);
    assert_eq!(files(folder.path()).len(), 1);
    let mut reader = store.open(&space, &id).await.unwrap().unwrap();
    assert_eq!(reader.read_at(0, 100).await.unwrap(), "whole");
}

#[tokio::test]
async fn error_names_the_folder_that_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "").unwrap();
    let error = FolderStore::open(
        &FolderSettings {
            folder: path,
            sync: BlobSync::Full,
            exclusive: true,
            witness: None,
            health: Arc::default(),
            keep_removed: None,
        },
        random(),
    )
    .unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

#[tokio::test]
async fn body_of_a_dropped_space_cannot_be_finished() {
    let folder = tempfile::tempdir().unwrap();
    let space = Space::Cell(CellId::random(&random()));
    let store = open(folder.path(), true);
    let mut writer = store.create(&space).await.unwrap();
    writer.write(Bytes::from(vec![1; 1 << 20])).await.unwrap();
    let mut other = store.create(&Space::Unit).await.unwrap();
    other.write(Bytes::from(vec![1; 1 << 20])).await.unwrap();
    store.drop_space(&space).await.unwrap();
    assert_eq!(
        files(folder.path()).len(),
        1,
        "only the body of another space"
    );
    assert!(writer.finish().await.is_err());
    assert_eq!(files(folder.path()).len(), 1);
    other.finish().await.unwrap();
}

#[tokio::test]
async fn changed_byte_of_a_body_is_found_when_its_part_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), true);
    let body: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let mut writer = store.create(&Space::Unit).await.unwrap();
    for part in body.chunks(7_001) {
        writer.write(Bytes::copy_from_slice(part)).await.unwrap();
    }
    let id = writer.finish().await.unwrap();
    let mut reader = store.open(&Space::Unit, &id).await.unwrap().unwrap();
    assert_eq!(reader.len(), 300_000);
    for (offset, max) in [
        (0, 300_000),
        (65_536, 65_536),
        (70_001, 130_000),
        (299_999, 9),
    ] {
        let found = reader.read_at(offset, max).await.unwrap();
        let offset = usize::try_from(offset).unwrap();
        assert!(
            found == body[offset..(offset + max).min(body.len())],
            "{offset}"
        );
    }
    let path = files(folder.path()).pop().unwrap();
    let mut stored = std::fs::read(&path).unwrap();
    stored[100_000] ^= 4;
    std::fs::write(&path, &stored).unwrap();
    let mut reader = store.open(&Space::Unit, &id).await.unwrap().unwrap();
    for offset in [65_536, 99_990, 131_071] {
        let found = reader.read_at(offset, 20).await;
        assert!(matches!(found, Err(StoreError::Corrupt(_))), "{found:?}");
    }
    for offset in [0, 131_072] {
        assert_eq!(reader.read_at(offset, 20).await.unwrap().len(), 20);
    }
    // A body that is cut has another length than its record says.
    std::fs::write(&path, &stored[..200_000]).unwrap();
    let reader = store.open(&Space::Unit, &id).await.unwrap().unwrap();
    assert_eq!(reader.len(), 200_000);
}

#[tokio::test]
async fn body_from_before_the_checksums_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), true);
    let mut writer = store.create(&Space::Unit).await.unwrap();
    writer.write(Bytes::from_static(b"new")).await.unwrap();
    let id = writer.finish().await.unwrap();
    for old in [&b""[..], b"old", &[b'o'; 100_000]] {
        std::fs::write(files(folder.path()).pop().unwrap(), old).unwrap();
        let mut reader = store.open(&Space::Unit, &id).await.unwrap().unwrap();
        assert_eq!(reader.read_at(0, 200_000).await.unwrap(), old);
    }
}

#[tokio::test]
async fn removed_body_is_kept_unless_the_disk_is_nearly_full() {
    let folder = tempfile::tempdir().unwrap();
    let health = Arc::<StoreHealth>::default();
    let settings = FolderSettings {
        folder: folder.path().to_owned(),
        sync: BlobSync::None,
        exclusive: true,
        witness: None,
        health: Arc::clone(&health),
        keep_removed: Some(Duration::from_secs(3600)),
    };
    let store = FolderStore::open(&settings, random()).unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut writer = store.create(&Space::Unit).await.unwrap();
        writer.write(Bytes::from_static(b"body")).await.unwrap();
        ids.push(writer.finish().await.unwrap());
    }
    store.remove(&Space::Unit, &ids[0]).await.unwrap();
    assert!(store.open(&Space::Unit, &ids[0]).await.unwrap().is_some());
    assert_eq!(files(folder.path()).len(), 3);
    health.set_low_for_bodies(true);
    store.remove(&Space::Unit, &ids[1]).await.unwrap();
    assert_eq!(files(folder.path()).len(), 1);
    health.set_low_for_bodies(false);
    store.remove(&Space::Unit, &ids[2]).await.unwrap();
    assert_eq!(files(folder.path()).len(), 1);
    store.free_kept().await.unwrap();
    assert_eq!(files(folder.path()).len(), 0);
    assert!(store.open(&Space::Unit, &ids[2]).await.unwrap().is_none());
}
