//! The mark of a store of back-ups: whose they are, and whether and with which key they are encrypted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use personium_folder::{BlobSync, FolderSettings, FolderStore};
use personium_store::BlobStore;
use personium_token::at_rest::BodyKey;
use personium_types::error::chain;
use personium_types::{Secret, hex};
use serde_json::{Value, json};

use super::write_lock::WriteLock;
use super::{GENERATIONS_DIR, LOCK_FILE, MAX_SMALL_BYTES};
use crate::backup::BackupResult;
use crate::backup::lease::LOCK_OBJECT;
use crate::backup::manifest::member;
use crate::backup::place::{BackupPlace, FILES_DIR};
use crate::backup::scope::BackupScope;
use crate::backup::sealed_bodies::SealedBodies;
use crate::backup::small_files::SmallFiles;
use crate::{file_system, system};

/// The version of the format.
const FORMAT: u64 = 1;
/// The version of the format of back-ups of a part of a unit, which former programs do not know.
const FORMAT_OF_PARTS: u64 = 2;
/// The file that says whose back-ups these are.
pub(super) const MARK_FILE: &str = "personium-backup.json";
/// The text that the key of the back-ups encrypts, so that another key is known as such.
const KEY_CHECK: &[u8] = b"personium backup";
const KEY_CHECK_NAME: &str = "check";

/// The mark of a place; `None` if it has no back-ups.
///
/// # Errors
/// A text for the operator if it cannot be read.
pub(super) async fn find_mark(small_files: &SmallFiles) -> BackupResult<Option<Vec<u8>>> {
    small_files.find(MARK_FILE, MAX_SMALL_BYTES).await
}

/// The mark of a place that gets its first back-up.
///
/// # Errors
/// A text for the operator if nothing can be encrypted.
pub(super) fn mark_text(
    unit: &str,
    scope: &BackupScope,
    key: Option<&Secret<String>>,
) -> BackupResult<String> {
    let check = match key {
        None => Value::Null,
        Some(key) => json!(hex::encode(&seal_check(key)?)),
    };
    let mut mark = json!({"format": FORMAT, "unit": unit, "check": check});
    if let (Value::Object(members), false) = (&mut mark, scope.is_unit()) {
        members.insert("format".to_owned(), json!(FORMAT_OF_PARTS));
        members.insert("scope".to_owned(), scope.to_json());
    }
    Ok(mark.to_string())
}

/// Refuses a place that has something else than back-ups.
///
/// # Errors
/// A text for the operator.
pub(super) async fn require_empty(place: &BackupPlace, small_files: &SmallFiles) -> BackupResult {
    let is_empty = match (place, small_files) {
        (BackupPlace::Folder(root), _) => {
            is_empty(root).map_err(|error| format!("cannot write to {place}: {error}"))?
        }
        (_, SmallFiles::Bucket { objects, .. }) => {
            let listed = objects.list("", 2).await;
            let listed = listed.map_err(|error| format!("{place}: {}", chain(&error)))?;
            listed.iter().all(|name| name == LOCK_OBJECT)
        }
        (BackupPlace::Bucket(_), SmallFiles::Folder(_)) => false,
    };
    match is_empty {
        true => Ok(()),
        false => Err(format!(
            "{place} is not empty and has no back-ups; name another place"
        )),
    }
}

/// The folder whose file system brings all bodies to the disk at once. Without one, each body is synced by itself.
pub(super) fn synced_folder(place: &BackupPlace) -> Option<PathBuf> {
    let BackupPlace::Folder(root) = place else {
        return None;
    };
    let files = root.join(FILES_DIR);
    file_system::can_sync(&files).then_some(files)
}

/// Opens the bodies. Returns the mark of their unit, and what part of it they are of, too.
///
/// # Errors
/// A text for the operator, also if they are those of another unit, or need another key.
pub(super) async fn open_files(
    place: &BackupPlace,
    key: Option<&Secret<String>>,
    (small_files, lock): (&SmallFiles, &WriteLock),
    wanted: Option<&str>,
) -> BackupResult<(String, BackupScope, Arc<dyn BlobStore>)> {
    let mark = small_files.shown(MARK_FILE);
    let unreadable = || format!("{mark} cannot be read");
    let read = find_mark(small_files).await?.ok_or_else(unreadable)?;
    let text: Value = serde_json::from_slice(&read).map_err(|_| unreadable())?;
    let format = member(&text, "format").as_u64();
    if !matches!(format, Some(FORMAT | FORMAT_OF_PARTS)) {
        return Err(format!("{place} has a newer format"));
    }
    let scope = BackupScope::from_json(member(&text, "scope")).ok_or_else(unreadable)?;
    let unit = member(&text, "unit").as_str().ok_or_else(unreadable)?;
    let random = system::random();
    let check = match (member(&text, "check").as_str(), key) {
        (None, None) => None,
        (Some(_), None) => {
            return Err(format!("{place} is encrypted; give its key"));
        }
        (None, Some(_)) => {
            return Err(format!("{place} is not encrypted; leave the key out"));
        }
        (Some(check), Some(key)) => {
            if !hex::decode(check).is_some_and(|check| opens_check(key, check)) {
                return Err(format!("{place} is encrypted with another key"));
            }
            Some(derive(key)?)
        }
    };
    if wanted.is_some_and(|wanted| wanted != unit) {
        return Err(format!("{place} has the back-ups of another unit"));
    }
    let files: Arc<dyn BlobStore> = match place {
        BackupPlace::Folder(root) => {
            let settings = FolderSettings {
                folder: root.join(FILES_DIR),
                sync: match synced_folder(place) {
                    Some(_) => BlobSync::None,
                    None => BlobSync::Full,
                },
                exclusive: true,
                witness: None,
                health: Arc::default(),
                keep_removed: None,
            };
            let files = FolderStore::open(&settings, Arc::clone(&random));
            Arc::new(files.map_err(|error| chain(&error))?)
        }
        BackupPlace::Bucket(bucket) => {
            let files = bucket.bodies()?;
            if matches!(lock, WriteLock::Object(_))
                && let Err(error) = files.abort_all_uploads().await
            {
                // Not every server lists them; those remove them when they are old.
                tracing::debug!(error = %chain(&error), "failed to abort the unfinished uploads of an interrupted back-up");
            }
            Arc::new(files)
        }
    };
    let files = match check {
        None => files,
        Some(key) => Arc::new(SealedBodies::new(files, key, random)),
    };
    Ok((unit.to_owned(), scope, files))
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.all(|entry| {
            // What a back-up makes before it marks the folder, and what every file system has.
            let own = [LOCK_FILE, GENERATIONS_DIR, "lost+found"];
            entry.is_ok_and(|entry| own.iter().any(|own| entry.file_name() == *own))
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn derive(key: &Secret<String>) -> BackupResult<BodyKey> {
    BodyKey::derive(key.reveal()).map_err(|error| chain(&error))
}

fn seal_check(key: &Secret<String>) -> BackupResult<Vec<u8>> {
    let cipher = derive(key)?.cipher(KEY_CHECK_NAME, &[]);
    let sealed = cipher.and_then(|cipher| cipher.seal(KEY_CHECK));
    sealed.map_err(|error| chain(&error))
}

fn opens_check(key: &Secret<String>, sealed: Vec<u8>) -> bool {
    let cipher = derive(key)
        .ok()
        .and_then(|key| key.cipher(KEY_CHECK_NAME, &[]).ok());
    cipher.is_some_and(|cipher| cipher.open(sealed).is_ok_and(|plain| plain == KEY_CHECK))
}
