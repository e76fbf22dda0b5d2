//! The right to write to a store of back-ups.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::LOCK_FILE;
use crate::backup::BackupResult;
use crate::backup::lease::Lease;
use crate::backup::place::BackupPlace;
use crate::backup::small_files::SmallFiles;

/// The number of times that a generation tries to take the lock, and the pause between two.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// The right to write.
pub(super) enum WriteLock {
    /// A file that is locked as long as it is open.
    File { _file: File },
    /// An object that names this process.
    Object(Lease),
    /// Only reading.
    None,
}

impl WriteLock {
    pub(super) async fn release(self) {
        if let Self::Object(lease) = self {
            lease.release().await;
        }
    }
}

/// Takes the lock.
///
/// # Errors
/// A text for the operator, also if another process has it. A pass of a journal takes a moment, and comes again and again: a generation, which
/// `creates` the store, waits for its end.
pub(super) async fn take_lock(
    place: &BackupPlace,
    small_files: &SmallFiles,
    creates: bool,
) -> BackupResult<WriteLock> {
    match (place, small_files) {
        (BackupPlace::Folder(root), _) => {
            let file = open_lock(root, creates)?;
            let tries = if creates { LOCK_TRIES } else { 1 };
            for number in 1..=tries {
                match file.try_lock() {
                    Ok(()) => return Ok(WriteLock::File { _file: file }),
                    Err(_) if number < tries => tokio::time::sleep(LOCK_PAUSE).await,
                    Err(_) => {}
                }
            }
            Err(format!("{place} is in use by another back-up or restore"))
        }
        (_, SmallFiles::Bucket { objects, .. }) => {
            let patience = if creates {
                LOCK_PAUSE * LOCK_TRIES
            } else {
                Duration::ZERO
            };
            let lease = Lease::take(objects, &place.to_string(), patience).await;
            lease.map(WriteLock::Object)
        }
        (BackupPlace::Bucket(_), SmallFiles::Folder(_)) => Ok(WriteLock::None),
    }
}

fn open_lock(root: &Path, creates: bool) -> BackupResult<File> {
    let path = root.join(LOCK_FILE);
    // A copy of a bucket has no lock.
    let file = match creates || !path.exists() {
        true => File::options().create(true).append(true).open(&path),
        false => File::open(&path),
    };
    file.map_err(|error| format!("cannot open {}: {error}", path.display()))
}
