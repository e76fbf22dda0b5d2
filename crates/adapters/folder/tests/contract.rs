//! The contract of the port, and the files on the disk.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use personium_folder::{BlobSync, FolderSettings, FolderStore};
use personium_store::{BlobStore, Space, contract};
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
