//! The store of back-ups of a unit: a folder, or the objects of a bucket under the same names.
//!
//! `files/` has all bodies, those of the unit and those that back-ups make, each with its checksums. `generations/` has a small file for each
//! complete generation, which names its list. What no complete generation leads to does not count.

mod begun_cells;
mod mark;
mod write_lock;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use personium_store::{BlobStore, record_checksum};
use personium_types::error::chain;
use personium_types::{BlobId, Secret};
use serde_json::{Value, json};

pub(super) use self::begun_cells::BegunCells;
use self::mark::{MARK_FILE, find_mark, mark_text, open_files, require_empty, synced_folder};
use self::write_lock::{WriteLock, take_lock};
use super::journal_pass::{JournalPass, PassList};
use super::manifest::{Manifest, member};
use super::place::BackupPlace;
use super::scope::BackupScope;
use super::small_files::SmallFiles;
use super::{BackupResult, Generation};
use crate::file_system::SyncedFolder;

const LOCK_FILE: &str = "lock";
const GENERATIONS_DIR: &str = "generations";
/// The file with the erasures of cells that were followed here.
const ERASURES_FILE: &str = "generations/followed.erasures";
/// The end of the name of the file of a complete generation.
const COMPLETE: &str = "json";
/// The end of the name of the file of a pass.
const PASS: &str = "journal";
/// The end of the name of a generation that is being removed.
const REMOVED: &str = "removed";
/// The end of the names of the lists of the cells that an interrupted back-up has begun with.
const UNFINISHED: &str = "unfinished";
/// The largest mark, and the largest file of a complete generation, in bytes.
const MAX_SMALL_BYTES: u64 = 1 << 20;
/// The largest list of cells, in bytes. Each part of one is smaller; former versions wrote one for all cells.
const MAX_LIST_BYTES: u64 = 1 << 28;

/// The store of back-ups. A folder is locked for this process; a bucket is, if something is written.
pub(crate) struct BackupStore {
    /// Where it is, for people.
    pub(crate) place: String,
    /// The mark of the unit whose back-ups are here.
    pub(crate) unit: String,
    /// The part of the unit that they have.
    pub(crate) scope: BackupScope,
    pub(crate) files: Arc<dyn BlobStore>,
    small_files: SmallFiles,
    lock: WriteLock,
    /// The folder whose file system is synced before a generation or a pass is complete; `None` if each body is synced by itself.
    synced: Option<SyncedFolder>,
}

impl BackupStore {
    /// Opens the store, to write a generation of this part of this unit. An empty place becomes one of its back-ups.
    ///
    /// # Errors
    /// A text for the operator, also if it has back-ups of another unit or of another part, or needs another key.
    pub(super) async fn create(
        place: &BackupPlace,
        (unit, scope): (&str, &BackupScope),
        key: Option<&Secret<String>>,
    ) -> BackupResult<Self> {
        let small_files = small_files(place)?;
        if find_mark(&small_files).await?.is_none() {
            require_empty(place, &small_files).await?;
        }
        if let BackupPlace::Folder(root) = place {
            for folder in [root.clone(), root.join(GENERATIONS_DIR)] {
                let mut builder = DirBuilder::new();
                let created = builder.recursive(true).mode(0o700).create(folder);
                created.map_err(|error| format!("cannot write to {place}: {error}"))?;
            }
        }
        let lock = take_lock(place, &small_files, true).await?;
        // Another back-up may have been faster.
        if find_mark(&small_files).await?.is_none() {
            let text = mark_text(unit, scope, key)?;
            small_files.write(MARK_FILE, text.into_bytes()).await?;
        }
        let store = Self::open_locked(place, key, (small_files, lock), Some(unit)).await?;
        if store.scope == *scope {
            return Ok(store);
        }
        let found = store.scope.to_string();
        store.close().await;
        Err(format!(
            "{place} has back-ups of {found}, and not of {scope}: each part has a place of its own"
        ))
    }

    /// Whether the place has back-ups.
    ///
    /// # Errors
    /// A text for the operator if the place cannot be read.
    pub(super) async fn is_claimed(place: &BackupPlace) -> BackupResult<bool> {
        let mark = find_mark(&small_files(place)?).await?;
        Ok(mark.is_some())
    }

    /// Opens the store to read from it.
    ///
    /// # Errors
    /// A text for the operator if it has no back-ups, or needs another key.
    pub(crate) async fn open(
        place: &BackupPlace,
        key: Option<&Secret<String>>,
    ) -> BackupResult<Self> {
        let small_files = marked_small_files(place).await?;
        let lock = match place {
            BackupPlace::Folder(_) => take_lock(place, &small_files, false).await?,
            // Whoever restores may have no right to write.
            BackupPlace::Bucket(_) => WriteLock::None,
        };
        Self::open_locked(place, key, (small_files, lock), None).await
    }

    /// Opens the store of the back-ups of a unit to change some.
    ///
    /// # Errors
    /// A text for the operator if it has none of this unit, or needs another key.
    pub(super) async fn open_to_change(
        place: &BackupPlace,
        unit: &str,
        key: Option<&Secret<String>>,
    ) -> BackupResult<Self> {
        let small_files = marked_small_files(place).await?;
        let lock = take_lock(place, &small_files, false).await?;
        Self::open_locked(place, key, (small_files, lock), Some(unit)).await
    }

    async fn open_locked(
        place: &BackupPlace,
        key: Option<&Secret<String>>,
        (small_files, lock): (SmallFiles, WriteLock),
        wanted: Option<&str>,
    ) -> BackupResult<Self> {
        let opened = open_files(place, key, (&small_files, &lock), wanted).await;
        let synced = synced_folder(place).map(SyncedFolder::open).transpose();
        let synced = synced.map_err(|error| format!("{place} cannot be read: {error}"));
        let opened = opened.and_then(|opened| synced.map(|synced| (opened, synced)));
        match opened {
            Ok(((unit, scope, files), synced)) => Ok(Self {
                place: place.to_string(),
                unit,
                scope,
                files,
                small_files,
                lock,
                synced,
            }),
            Err(error) => {
                lock.release().await;
                Err(error)
            }
        }
    }

    /// Refuses what can only be done with back-ups of the whole unit.
    ///
    /// # Errors
    /// A text for the operator if these are of a part.
    pub(crate) fn require_whole_unit(&self) -> BackupResult {
        match self.scope.is_unit() {
            true => Ok(()),
            false => Err(format!(
                "{} has back-ups of {}: only its cells can be restored from there, into the unit, with --cell or --owner",
                self.place, self.scope
            )),
        }
    }

    /// Gives up the right to write.
    pub(super) async fn close(self) {
        self.lock.release().await;
    }

    /// Whether this process still has the right to write, as far as it knows.
    ///
    /// # Errors
    /// A text for the operator if it has lost it.
    pub(super) fn check_lock(&self) -> BackupResult {
        match &self.lock {
            WriteLock::Object(lease) => lease.check(),
            WriteLock::File { .. } | WriteLock::None => Ok(()),
        }
    }

    async fn confirm_lock(&self) -> BackupResult {
        match &self.lock {
            WriteLock::Object(lease) => lease.confirm().await,
            WriteLock::File { .. } | WriteLock::None => Ok(()),
        }
    }

    /// Whether each look at a body is a request to a server.
    pub(super) const fn is_remote(&self) -> bool {
        matches!(self.small_files, SmallFiles::Bucket { .. })
    }

    /// Returns the names of the small files with this end, without it.
    async fn list(&self, end: &str) -> BackupResult<Vec<String>> {
        let names = self.small_files.list(GENERATIONS_DIR).await?;
        let names = names.into_iter().filter_map(|name| {
            let (name, found) = name.rsplit_once('.')?;
            (found == end).then(|| name.to_owned())
        });
        Ok(names.collect())
    }

    /// Returns the complete generations, the oldest first, and what is wrong with others.
    ///
    /// # Errors
    /// A text for the operator if the store cannot be read.
    pub(crate) async fn generations(&self) -> BackupResult<(Vec<Generation>, Vec<String>)> {
        self.parsed(COMPLETE).await
    }

    /// Returns the generations whose removal was begun.
    ///
    /// # Errors
    /// A text for the operator if the store cannot be read.
    pub(super) async fn removed(&self) -> BackupResult<Vec<Generation>> {
        Ok(self.parsed(REMOVED).await?.0)
    }

    async fn parsed(&self, end: &str) -> BackupResult<(Vec<Generation>, Vec<String>)> {
        let (mut found, mut wrong) = (Vec::new(), Vec::new());
        for name in self.list(end).await? {
            let path = path(&name, end);
            let text = self.small_files.find(&path, MAX_SMALL_BYTES).await;
            if self.is_remote()
                && let Err(error) = text
            {
                // A server that fails says nothing about the generation.
                return Err(error);
            }
            let text = text.ok().flatten();
            let text = text.and_then(|text| String::from_utf8(text).ok());
            match text.and_then(|text| parse(&name, &text)) {
                Some(generation) => found.push(generation),
                None => wrong.push(format!("{} cannot be read", self.small_files.shown(&path))),
            }
        }
        Ok((found, wrong))
    }

    /// Makes a generation complete.
    ///
    /// # Errors
    /// A text for the operator if the file cannot be written, or the lock was lost; then there is no such generation.
    pub(super) async fn complete(
        &self,
        name: &str,
        manifest: &BlobId,
        summary: &Value,
    ) -> BackupResult {
        self.write_summary((name, COMPLETE), manifest, summary)
            .await
    }

    async fn write_summary(
        &self,
        (name, end): (&str, &str),
        list: &BlobId,
        summary: &Value,
    ) -> BackupResult {
        let text = json!({"manifest": list.to_string(), "summary": summary}).to_string();
        let sum = record_checksum::of(name.as_bytes(), 0, text.as_bytes());
        let path = path(name, end);
        self.sync().await?;
        self.confirm_lock().await?;
        let text = format!("{text}\n{sum:x}\n").into_bytes();
        self.small_files.write(&path, text).await
    }

    /// Brings all bodies to the disk.
    async fn sync(&self) -> BackupResult {
        let Some(folder) = self.synced.clone() else {
            return Ok(());
        };
        let synced = tokio::task::spawn_blocking(move || folder.sync()).await;
        let synced = synced.map_err(|error| error.to_string())?;
        synced.map_err(|error| format!("{} cannot be written to the disk: {error}", self.place))
    }

    /// Returns the passes, the oldest first, and what is wrong with others.
    ///
    /// # Errors
    /// A text for the operator if the store cannot be read.
    pub(crate) async fn passes(&self) -> BackupResult<(Vec<JournalPass>, Vec<String>)> {
        let (files, mut wrong) = self.parsed(PASS).await?;
        let mut found = Vec::new();
        for file in &files {
            match JournalPass::parse(file) {
                Some(pass) => found.push(pass),
                None => wrong.push(format!("{} cannot be read", path(&file.name, PASS))),
            }
        }
        Ok((found, wrong))
    }

    /// Reads the list of a pass.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) async fn pass_list(&self, pass: &JournalPass) -> BackupResult<PassList> {
        let loaded = PassList::load(&*self.files, &pass.list).await;
        loaded.map_err(|error| format!("the journal {}: {}", pass.name, chain(&error)))
    }

    /// Makes a pass complete, or replaces one of its name.
    ///
    /// # Errors
    /// A text for the operator if the file cannot be written, or the lock was lost.
    pub(super) async fn complete_pass(&self, pass: &JournalPass) -> BackupResult {
        let of = (&*pass.name, PASS);
        self.write_summary(of, &pass.list, &pass.summary()).await
    }

    /// Removes a pass.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn remove_pass(&self, name: &str) -> BackupResult {
        self.check_lock()?;
        self.small_files.remove(&path(name, PASS)).await
    }

    /// Checks that nobody else has worked here while a generation was made. Otherwise it may lack what that one has removed, and is
    /// removed.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn confirm_completion(&self, name: &str) -> BackupResult {
        if let Err(error) = self.confirm_lock().await {
            self.small_files.remove(&path(name, COMPLETE)).await?;
            return Err(error);
        }
        Ok(())
    }

    /// Begins the removal of a generation, which is none from then on.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn begin_removal(&self, name: &str) -> BackupResult {
        self.check_lock()?;
        let (from, to) = (path(name, COMPLETE), path(name, REMOVED));
        self.small_files.rename(&from, &to, MAX_SMALL_BYTES).await
    }

    /// Ends the removal of a generation.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn end_removal(&self, name: &str) -> BackupResult {
        self.check_lock()?;
        self.small_files.remove(&path(name, REMOVED)).await
    }

    /// The list of the erasures of cells that were followed here completely; `None` if there is none.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn followed_erasures(&self) -> BackupResult<Option<Vec<u8>>> {
        self.small_files.find(ERASURES_FILE, MAX_LIST_BYTES).await
    }

    /// Replaces the list of the erasures of cells that were followed here.
    ///
    /// # Errors
    /// A text for the operator if the file cannot be written, or the lock was lost; then the former one is there.
    pub(super) async fn put_followed_erasures(&self, list: Vec<u8>) -> BackupResult {
        self.confirm_lock().await?;
        self.small_files.write(ERASURES_FILE, list).await
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

/// The name of a small file of a generation.
fn path(name: &str, end: &str) -> String {
    format!("{GENERATIONS_DIR}/{name}.{end}")
}

fn small_files(place: &BackupPlace) -> BackupResult<SmallFiles> {
    Ok(match place {
        BackupPlace::Folder(root) => SmallFiles::Folder(root.clone()),
        BackupPlace::Bucket(bucket) => SmallFiles::Bucket {
            objects: bucket.small_objects()?,
            place: place.to_string(),
        },
    })
}

/// The small files of a place that has back-ups.
async fn marked_small_files(place: &BackupPlace) -> BackupResult<SmallFiles> {
    let small_files = small_files(place)?;
    match find_mark(&small_files).await? {
        Some(_) => Ok(small_files),
        None => Err(format!("{place} has no back-ups")),
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn generations_without_an_end_are_named_and_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let place = BackupPlace::Folder(folder.path().to_owned());
        let store = BackupStore::create(&place, ("unit", &BackupScope::Unit), None)
            .await
            .unwrap();
        let id = BlobId::from_bytes([3; 16]);
        store.complete("good", &id, &Value::Null).await.unwrap();
        let endless = folder.path().join(path("endless", COMPLETE));
        std::os::unix::fs::symlink("/dev/zero", endless).unwrap();
        let large = vec![b' '; usize::try_from(MAX_SMALL_BYTES).unwrap() + 1];
        fs::write(folder.path().join(path("large", COMPLETE)), large).unwrap();
        let (found, wrong) = store.generations().await.unwrap();
        let names: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["good"]);
        assert!(wrong.len() == 2 && wrong[0].contains("endless") && wrong[1].contains("large"));
        drop(store);
        let mark = folder.path().join(MARK_FILE);
        fs::remove_file(&mark).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &mark).unwrap();
        assert!(BackupStore::open(&place, None).await.is_err());
    }
}
