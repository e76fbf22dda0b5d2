//! Failures of a network file system: of single calls, and of the mount.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use personium_store::{BlobStore, Result, Space, StoreError};
use personium_types::{BlobId, SystemRandom};

use super::{Call, io};
use crate::{BlobSync, FolderSettings, FolderStore};

/// ESTALE and EIO.
const STALE: i32 = 116;
const IO: i32 = 5;

/// A call below a folder that fails.
struct Failure {
    folder: PathBuf,
    call: Call,
    errno: i32,
    /// Whether the call is made nevertheless: its answer is lost.
    happens: bool,
    left: usize,
}

static FAILURES: Mutex<Vec<Failure>> = Mutex::new(Vec::new());

pub(super) fn intercepted<T>(
    call: Call,
    path: &Path,
    run: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let failure = {
        let mut failures = FAILURES.lock().unwrap();
        let due = failures.iter_mut().find(|failure| {
            failure.left > 0 && failure.call == call && path.starts_with(&failure.folder)
        });
        due.map(|failure| {
            failure.left -= 1;
            (failure.errno, failure.happens)
        })
    };
    match failure {
        Some((errno, happens)) => {
            if happens {
                run()?;
            }
            Err(io::Error::from_raw_os_error(errno))
        }
        None => run(),
    }
}

fn fail(folder: &Path, call: Call, errno: i32, times: usize) {
    FAILURES.lock().unwrap().push(Failure {
        folder: folder.to_owned(),
        call,
        errno,
        happens: call == Call::Rename,
        left: times,
    });
}

const WITNESS: &str = "unit.id";

#[expect(clippy::disallowed_methods, reason = "a test may use real randomness")]
fn store(folder: &Path) -> FolderStore {
    let settings = FolderSettings {
        folder: folder.to_owned(),
        sync: BlobSync::Full,
        exclusive: false,
        witness: Some(WITNESS.to_owned()),
        health: Arc::default(),
        keep_removed: None,
    };
    let store = FolderStore::open(&settings, Arc::new(SystemRandom::new())).unwrap();
    std::fs::write(folder.join(WITNESS), "").unwrap();
    store
}

async fn write(store: &FolderStore, len: usize) -> Result<BlobId> {
    let mut writer = store.create(&Space::Unit).await?;
    writer.write(Bytes::from(vec![7; len])).await?;
    writer.finish().await
}

async fn read(store: &FolderStore, id: &BlobId) -> Result<Option<usize>> {
    let Some(mut reader) = store.open(&Space::Unit, id).await? else {
        return Ok(None);
    };
    let max = usize::try_from(reader.len()).unwrap();
    Ok(Some(reader.read_at(0, max).await?.len()))
}

#[tokio::test]
async fn stale_handles_are_looked_up_again_a_bounded_number_of_times() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let id = write(&store, 300_000).await.unwrap();
    for call in [Call::Open, Call::Read, Call::Stat] {
        fail(folder.path(), call, STALE, 3);
        assert_eq!(read(&store, &id).await.unwrap(), Some(300_000), "{call:?}");
        FAILURES
            .lock()
            .unwrap()
            .retain(|failure| failure.folder != folder.path());
    }
    fail(folder.path(), Call::Open, STALE, 1_000);
    let failed = read(&store, &id).await;
    assert!(matches!(failed, Err(StoreError::Down(_))), "{failed:?}");
    FAILURES
        .lock()
        .unwrap()
        .retain(|failure| failure.folder != folder.path());
    fail(folder.path(), Call::Remove, STALE, 2);
    store.remove(&Space::Unit, &id).await.unwrap();
    assert_eq!(read(&store, &id).await.unwrap(), None);
}

#[tokio::test]
async fn rename_whose_answer_is_lost_has_happened() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    // The second body finds the folder of the first.
    for errno in [2, IO, 2, STALE] {
        fail(folder.path(), Call::Rename, errno, 1);
        let id = write(&store, 100_000).await;
        let id = id.unwrap_or_else(|e| panic!("{errno}: {e:?}"));
        assert_eq!(read(&store, &id).await.unwrap(), Some(100_000), "{errno}");
    }
    let listed = store.list(&Space::Unit, None, Duration::ZERO, 10).await;
    assert_eq!(listed.unwrap().len(), 4);
}

#[tokio::test]
async fn error_of_the_disk_is_an_error_and_not_a_missing_body() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let id = write(&store, 300_000).await.unwrap();
    for call in [Call::Open, Call::Read] {
        fail(folder.path(), call, IO, 1);
        let failed = read(&store, &id).await;
        assert!(matches!(failed, Err(StoreError::Down(_))), "{failed:?}");
        assert_eq!(read(&store, &id).await.unwrap(), Some(300_000));
    }
}

#[tokio::test]
async fn unmounted_folder_is_not_an_empty_one_and_takes_no_body() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, away) = (parent.path().join("mount"), parent.path().join("away"));
    let store = store(&folder);
    let id = write(&store, 300_000).await.unwrap();
    let mut begun = store.create(&Space::Unit).await.unwrap();
    begun.write(Bytes::from(vec![7; 300_000])).await.unwrap();
    std::fs::rename(&folder, &away).unwrap();
    // Without the folder, with an empty one, and with one that was used while it was empty.
    for empty in ["", "mount", "mount/unfinished"] {
        std::fs::create_dir_all(parent.path().join(empty)).unwrap();
        let is_down = |failed: Option<StoreError>| {
            assert!(
                matches!(failed, Some(StoreError::Down(_))),
                "{empty}: {failed:?}"
            );
        };
        is_down(read(&store, &id).await.err());
        is_down(write(&store, 10).await.err());
        is_down(write(&store, 300_000).await.err());
        is_down(store.remove(&Space::Unit, &id).await.err());
        is_down(store.drop_space(&Space::Unit).await.err());
        is_down(
            store
                .list(&Space::Unit, None, Duration::ZERO, 10)
                .await
                .err(),
        );
        is_down(store.check().await.err());
    }
    let failed = begun.finish().await.err();
    assert!(matches!(failed, Some(StoreError::Down(_))), "{failed:?}");
    // That of another unit is not the folder either; the same one is, though its file system has another number.
    let witness = folder.join(WITNESS);
    std::fs::write(&witness, "another unit").unwrap();
    let failed = write(&store, 300_000).await.err();
    assert!(matches!(failed, Some(StoreError::Down(_))), "{failed:?}");
    std::fs::write(&witness, "").unwrap();
    assert_eq!(read(&store, &id).await.unwrap(), None);
    std::fs::remove_file(&witness).unwrap();
    assert_eq!(
        std::fs::read_dir(&folder).unwrap().count(),
        1,
        "nothing was written"
    );
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::rename(&away, &folder).unwrap();
    assert_eq!(read(&store, &id).await.unwrap(), Some(300_000));
    write(&store, 300_000).await.unwrap();
}

#[tokio::test]
async fn body_that_one_node_removes_is_read_to_its_end_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (store(folder.path()), store(folder.path()));
    let id = write(&one, 300_000).await.unwrap();
    let mut reader = other.open(&Space::Unit, &id).await.unwrap().unwrap();
    one.remove(&Space::Unit, &id).await.unwrap();
    assert_eq!(read(&other, &id).await.unwrap(), None);
    // The file still exists, so that the handle of another machine stays valid.
    let trash = folder.path().join("trash");
    assert_eq!(std::fs::read_dir(trash).unwrap().count(), 1);
    assert_eq!(reader.read_at(0, 300_000).await.unwrap().len(), 300_000);
}
