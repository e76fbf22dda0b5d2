//! The folder of back-ups of a unit.
//!
//! `files/` has all bodies, those of the unit and those that back-ups make, each with its checksums. `generations/` has a small file for each
//! complete generation, which names its list. What no complete generation leads to does not count.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use personium_folder::{BlobSync, FolderSettings, FolderStore};
use personium_store::{BlobStore, record_checksum};
use personium_token::at_rest::BodyKey;
use personium_types::error::chain;
use personium_types::{BlobId, Secret};
use serde_json::{Value, json};

use super::manifest::{Manifest, member};
use super::sealed_bodies::SealedBodies;
use crate::{key_files, system};

/// The version of the format of the folder.
const FORMAT: u64 = 1;
/// The file that says whose back-ups the folder has.
const MARK_FILE: &str = "personium-backup.json";
const LOCK_FILE: &str = "lock";
const FILES_DIR: &str = "files";
const GENERATIONS_DIR: &str = "generations";
/// The end of the name of the file of a complete generation.
const COMPLETE: &str = "json";
/// The end of the name of a generation that is being removed.
const REMOVED: &str = "removed";
/// The end of the name of the list of the cells that an interrupted back-up has begun with.
const UNFINISHED: &str = "unfinished";
/// The largest mark, and the largest file of a complete generation, in bytes.
const MAX_SMALL_BYTES: u64 = 1 << 20;
/// The text that the key of the folder encrypts, so that another key is known as such.
const KEY_CHECK: &[u8] = b"personium backup";
const KEY_CHECK_NAME: &str = "check";

/// A result whose error is a text for the operator.
pub(crate) type BackupResult<T = ()> = Result<T, String>;

/// A complete generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Generation {
    /// Its name, which is the time it was begun.
    pub(crate) name: String,
    /// Its list.
    pub(crate) manifest: BlobId,
    /// Its content, for people.
    pub(crate) summary: Value,
}

/// A folder that is locked for this process.
pub(crate) struct BackupFolder {
    root: PathBuf,
    /// The mark of the unit whose back-ups are here.
    pub(crate) unit: String,
    pub(crate) files: Arc<dyn BlobStore>,
    _lock: File,
}

impl BackupFolder {
    /// Opens the folder, to write a generation of this unit. An empty folder becomes one of its back-ups.
    ///
    /// # Errors
    /// A text for the operator, also if it has back-ups of another unit, or needs another key.
    pub(crate) fn create(
        root: &Path,
        unit: &str,
        key: Option<&Secret<String>>,
    ) -> BackupResult<Self> {
        let failed = |error: io::Error| format!("cannot write to {}: {error}", root.display());
        let mark = root.join(MARK_FILE);
        for folder in [root.to_owned(), root.join(GENERATIONS_DIR)] {
            if folder == *root && !mark.exists() && !is_empty(root).map_err(failed)? {
                let root = root.display();
                return Err(format!(
                    "{root} is not empty and has no back-ups; name another folder"
                ));
            }
            let mut builder = DirBuilder::new();
            let created = builder.recursive(true).mode(0o700).create(folder);
            created.map_err(failed)?;
        }
        let lock = open_lock(root, true)?;
        if !mark.exists() {
            let check = match key {
                None => Value::Null,
                Some(key) => json!(hex(&seal_check(key)?)),
            };
            let text = json!({"format": FORMAT, "unit": unit, "check": check}).to_string();
            key_files::write_private(&mark, text.as_bytes()).map_err(|error| chain(&error))?;
        }
        let folder = Self::open_locked(root, key, lock)?;
        match folder.unit == unit {
            true => Ok(folder),
            false => Err(format!(
                "{} has the back-ups of another unit",
                root.display()
            )),
        }
    }

    /// Opens the folder to read from it.
    ///
    /// # Errors
    /// A text for the operator if it has no back-ups, or needs another key.
    pub(crate) fn open(root: &Path, key: Option<&Secret<String>>) -> BackupResult<Self> {
        if !root.join(MARK_FILE).exists() {
            return Err(format!("{} has no back-ups", root.display()));
        }
        let lock = open_lock(root, false)?;
        Self::open_locked(root, key, lock)
    }

    fn open_locked(root: &Path, key: Option<&Secret<String>>, lock: File) -> BackupResult<Self> {
        let mark = root.join(MARK_FILE);
        let read = read_small(&mark).map_err(|error| format!("{}: {error}", mark.display()))?;
        let unreadable = || format!("{} cannot be read", mark.display());
        let text: Value = serde_json::from_slice(&read).map_err(|_| unreadable())?;
        if member(&text, "format") != FORMAT {
            return Err(format!("{} has a newer format", root.display()));
        }
        let unit = member(&text, "unit")
            .as_str()
            .ok_or_else(unreadable)?
            .to_owned();
        let settings = FolderSettings {
            folder: root.join(FILES_DIR),
            sync: BlobSync::Full,
            exclusive: true,
            witness: None,
            health: Arc::default(),
        };
        let random = system::random();
        let files = FolderStore::open(&settings, Arc::clone(&random));
        let files: Arc<dyn BlobStore> = Arc::new(files.map_err(|error| chain(&error))?);
        let files = match (member(&text, "check").as_str(), key) {
            (None, None) => files,
            (Some(_), None) => {
                return Err(format!("{} is encrypted; give its key", root.display()));
            }
            (None, Some(_)) => {
                return Err(format!(
                    "{} is not encrypted; leave the key out",
                    root.display()
                ));
            }
            (Some(check), Some(key)) => {
                let opened = unhex(check).is_some_and(|check| opens_check(key, check));
                if !opened {
                    return Err(format!("{} is encrypted with another key", root.display()));
                }
                Arc::new(SealedBodies::new(files, derive(key)?, random))
            }
        };
        Ok(Self {
            root: root.to_owned(),
            unit,
            files,
            _lock: lock,
        })
    }

    fn path(&self, name: &str, end: &str) -> PathBuf {
        self.root
            .join(GENERATIONS_DIR)
            .join(format!("{name}.{end}"))
    }

    fn list(&self, wanted: &str) -> BackupResult<Vec<(String, PathBuf)>> {
        let folder = self.root.join(GENERATIONS_DIR);
        let list = || -> io::Result<Vec<(String, PathBuf)>> {
            let mut found = Vec::new();
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let name = path.file_stem().and_then(|name| name.to_str());
                if path.extension().is_some_and(|end| end == wanted)
                    && let Some(name) = name
                {
                    found.push((name.to_owned(), path));
                }
            }
            found.sort();
            Ok(found)
        };
        list().map_err(|error| format!("cannot list {}: {error}", folder.display()))
    }

    /// Returns the complete generations, the oldest first, and what is wrong with others.
    ///
    /// # Errors
    /// A text for the operator if the folder cannot be read.
    pub(crate) fn generations(&self) -> BackupResult<(Vec<Generation>, Vec<String>)> {
        self.parsed(COMPLETE)
    }

    /// Returns the generations whose removal was begun.
    ///
    /// # Errors
    /// A text for the operator if the folder cannot be read.
    pub(super) fn removed(&self) -> BackupResult<Vec<Generation>> {
        Ok(self.parsed(REMOVED)?.0)
    }

    fn parsed(&self, end: &str) -> BackupResult<(Vec<Generation>, Vec<String>)> {
        let (mut found, mut wrong) = (Vec::new(), Vec::new());
        for (name, path) in self.list(end)? {
            let text = read_small(&path).ok();
            let text = text.and_then(|text| String::from_utf8(text).ok());
            match text.and_then(|text| parse(&name, &text)) {
                Some(generation) => found.push(generation),
                None => wrong.push(format!("{} cannot be read", path.display())),
            }
        }
        Ok((found, wrong))
    }

    /// Makes a generation complete.
    ///
    /// # Errors
    /// A text for the operator if the file cannot be written; then there is no such generation.
    pub(super) fn complete(&self, name: &str, manifest: &BlobId, summary: &Value) -> BackupResult {
        let text = json!({"manifest": manifest.to_string(), "summary": summary}).to_string();
        let sum = record_checksum::of(name.as_bytes(), 0, text.as_bytes());
        let path = self.path(name, COMPLETE);
        let written = key_files::write_private(&path, format!("{text}\n{sum:x}\n").as_bytes());
        written.map_err(|error| chain(&error))
    }

    /// Begins the removal of a generation, which is none from then on.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) fn begin_removal(&self, name: &str) -> BackupResult {
        let renamed = fs::rename(self.path(name, COMPLETE), self.path(name, REMOVED));
        renamed.map_err(|error| format!("cannot remove the generation {name}: {error}"))
    }

    /// Ends the removal of a generation.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) fn end_removal(&self, name: &str) -> BackupResult {
        remove(&self.path(name, REMOVED))
    }

    /// Begins the list of the cells that a back-up has begun with.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) fn begin_journal(&self, name: &str) -> BackupResult<File> {
        let path = self.path(name, UNFINISHED);
        let opened = File::options().create(true).append(true).open(&path);
        opened.map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    /// Returns the lists of back-ups that did not end: their names and contents.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) fn journals(&self) -> BackupResult<Vec<(String, String)>> {
        let mut found = Vec::new();
        for (name, path) in self.list(UNFINISHED)? {
            let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            found.push((name, String::from_utf8_lossy(&text).into_owned()));
        }
        Ok(found)
    }

    /// Removes a list of cells.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) fn end_journal(&self, name: &str) -> BackupResult {
        remove(&self.path(name, UNFINISHED))
    }

    /// Reads the list of a generation.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) async fn manifest(&self, generation: &Generation) -> BackupResult<Manifest> {
        let loaded = Manifest::load(&*self.files, &generation.manifest).await;
        loaded.map_err(|error| format!("the generation {}: {}", generation.name, chain(&error)))
    }
}

/// Reads a file of the folder that a unit makes small. The folder may come from elsewhere: what is no file is not opened, because it
/// could have no end.
fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let refused = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidData, text));
    if !fs::metadata(path)?.is_file() {
        return refused("it is no file");
    }
    let mut content = Vec::new();
    let read = File::open(path)?
        .take(MAX_SMALL_BYTES + 1)
        .read_to_end(&mut content)?;
    match u64::try_from(read) {
        Ok(read) if read <= MAX_SMALL_BYTES => Ok(content),
        _ => refused("it is too large"),
    }
}

/// Adds a line to a list of cells.
///
/// # Errors
/// A text for the operator.
pub(super) fn note(journal: &mut File, line: &str) -> BackupResult {
    let written = journal.write_all(format!("{line}\n").as_bytes());
    written.map_err(|error| format!("cannot write to the folder of back-ups: {error}"))
}

fn remove(path: &Path) -> BackupResult {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
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

fn open_lock(root: &Path, creates: bool) -> BackupResult<File> {
    let path = root.join(LOCK_FILE);
    let file = match creates {
        true => File::options().create(true).append(true).open(&path),
        false => File::open(&path),
    };
    let file = file.map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(format!(
            "{} is in use by another back-up or restore",
            root.display()
        )),
    }
}

fn parse(name: &str, text: &str) -> Option<Generation> {
    let (json, sum) = text.trim_end().split_once('\n')?;
    let wanted = record_checksum::of(name.as_bytes(), 0, json.as_bytes());
    if i64::from_str_radix(sum, 16).ok()? != wanted {
        return None;
    }
    let json: Value = serde_json::from_str(json).ok()?;
    Some(Generation {
        name: name.to_owned(),
        manifest: member(&json, "manifest").as_str()?.parse().ok()?,
        summary: member(&json, "summary").clone(),
    })
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes().chunks(2);
    let bytes = bytes.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_without_an_end_are_named_and_not_read() {
        let place = tempfile::tempdir().unwrap();
        let folder = BackupFolder::create(place.path(), "unit", None).unwrap();
        let id = BlobId::from_bytes([3; 16]);
        folder.complete("good", &id, &Value::Null).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path("endless", COMPLETE)).unwrap();
        let large = vec![b' '; usize::try_from(MAX_SMALL_BYTES).unwrap() + 1];
        fs::write(folder.path("large", COMPLETE), large).unwrap();
        let (found, wrong) = folder.generations().unwrap();
        let names: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["good"]);
        assert!(wrong.len() == 2 && wrong[0].contains("endless") && wrong[1].contains("large"));
        drop(folder);
        let mark = place.path().join(MARK_FILE);
        fs::remove_file(&mark).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &mark).unwrap();
        assert!(BackupFolder::open(place.path(), None).is_err());
    }
}
