//! The store of back-ups of a unit: a folder, or the objects of a bucket under the same names.
//!
//! `files/` has all bodies, those of the unit and those that back-ups make, each with its checksums. `generations/` has a small file for each
//! complete generation, which names its list. What no complete generation leads to does not count.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use personium_folder::{BlobSync, FolderSettings, FolderStore};
use personium_store::{BlobStore, record_checksum};
use personium_token::at_rest::BodyKey;
use personium_types::error::chain;
use personium_types::{BlobId, CellId, Secret, hex};
use serde_json::{Value, json};

use super::journal_pass::{JournalPass, PassList};
use super::lease::{LOCK_OBJECT, Lease};
use super::manifest::{Manifest, member};
use super::place::{BackupPlace, FILES_DIR};
use super::sealed_bodies::SealedBodies;
use super::small_files::SmallFiles;
use super::{BackupResult, Generation};
use crate::system;

/// The version of the format.
const FORMAT: u64 = 1;
/// The file that says whose back-ups these are.
const MARK_FILE: &str = "personium-backup.json";
const LOCK_FILE: &str = "lock";
const GENERATIONS_DIR: &str = "generations";
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
/// The number of times that a generation tries to take the lock of a folder, and the pause between two.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// The text that the key of the back-ups encrypts, so that another key is known as such.
const KEY_CHECK: &[u8] = b"personium backup";
const KEY_CHECK_NAME: &str = "check";

/// The right to write.
enum WriteLock {
    /// A file that is locked as long as it is open.
    File { _file: File },
    /// An object that names this process.
    Object(Lease),
    /// Only reading.
    None,
}

/// The store of back-ups. A folder is locked for this process; a bucket is, if something is written.
pub(crate) struct BackupStore {
    /// Where it is, for people.
    pub(super) place: String,
    /// The mark of the unit whose back-ups are here.
    pub(crate) unit: String,
    pub(crate) files: Arc<dyn BlobStore>,
    small_files: SmallFiles,
    lock: WriteLock,
}

/// The lists of the cells that a back-up has begun with.
pub(super) struct BegunCells {
    name: String,
    /// The numbers of its parts.
    parts: Range<usize>,
}

impl BackupStore {
    /// Opens the store, to write a generation of this unit. An empty place becomes one of its back-ups.
    ///
    /// # Errors
    /// A text for the operator, also if it has back-ups of another unit, or needs another key.
    pub(super) async fn create(
        place: &BackupPlace,
        unit: &str,
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
            let check = match key {
                None => Value::Null,
                Some(key) => json!(hex::encode(&seal_check(key)?)),
            };
            let text = json!({"format": FORMAT, "unit": unit, "check": check}).to_string();
            small_files.write(MARK_FILE, text.into_bytes()).await?;
        }
        Self::open_locked(place, key, (small_files, lock), Some(unit)).await
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
        match opened {
            Ok((unit, files)) => Ok(Self {
                place: place.to_string(),
                unit,
                files,
                small_files,
                lock,
            }),
            Err(error) => {
                lock.release().await;
                Err(error)
            }
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
        self.confirm_lock().await?;
        let text = format!("{text}\n{sum:x}\n").into_bytes();
        self.small_files.write(&path, text).await
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

    /// Begins the lists of the cells that a back-up has begun with.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn begin_list(&self, name: &str) -> BackupResult<BegunCells> {
        let parts = self.list(UNFINISHED).await?;
        let parts = parts.iter().filter_map(|part| {
            let (of, number) = part.rsplit_once('.')?;
            number.parse::<usize>().ok().filter(|_| of == name)
        });
        // An interrupted one can have had the same name.
        let first = parts.max().map_or(0, |last| last.saturating_add(1));
        let mut begun = BegunCells {
            name: name.to_owned(),
            parts: first..first,
        };
        // So that the next one finds what is made for no cell.
        self.note(&mut begun, &[]).await?;
        Ok(begun)
    }

    /// Adds cells to the lists, before anything is written for them.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn note(&self, begun: &mut BegunCells, cells: &[CellId]) -> BackupResult {
        self.check_lock()?;
        let text: String = cells.iter().map(|id| format!("{id}\n")).collect();
        let path = path(&format!("{}.{}", begun.name, begun.parts.end), UNFINISHED);
        begun.parts.end += 1;
        self.small_files.write(&path, text.into_bytes()).await
    }

    /// Returns the lists of back-ups that did not end: the names of the lists, and their contents. Those of the back-up `current` are left
    /// out.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn begun_lists(&self, current: &str) -> BackupResult<Vec<(String, String)>> {
        let mut found = Vec::new();
        for name in self.list(UNFINISHED).await? {
            let of = name.split_once('.').map_or(name.as_str(), |(of, _)| of);
            if of == current {
                continue;
            }
            let path = path(&name, UNFINISHED);
            let text = self.small_files.find(&path, MAX_LIST_BYTES).await?;
            if let Some(text) = text {
                found.push((name, String::from_utf8_lossy(&text).into_owned()));
            }
        }
        Ok(found)
    }

    /// Removes the lists of this back-up.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn end_lists(&self, begun: &BegunCells) -> BackupResult {
        for part in begun.parts.clone() {
            let list = format!("{}.{part}", begun.name);
            self.end_list(&list).await?;
        }
        Ok(())
    }

    /// Removes a list of cells.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn end_list(&self, name: &str) -> BackupResult {
        self.check_lock()?;
        self.small_files.remove(&path(name, UNFINISHED)).await
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

impl WriteLock {
    async fn release(self) {
        if let Self::Object(lease) = self {
            lease.release().await;
        }
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

async fn find_mark(small_files: &SmallFiles) -> BackupResult<Option<Vec<u8>>> {
    small_files.find(MARK_FILE, MAX_SMALL_BYTES).await
}

/// Refuses a place that has something else than back-ups.
async fn require_empty(place: &BackupPlace, small_files: &SmallFiles) -> BackupResult {
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

async fn take_lock(
    place: &BackupPlace,
    small_files: &SmallFiles,
    creates: bool,
) -> BackupResult<WriteLock> {
    match (place, small_files) {
        (BackupPlace::Folder(root), _) => {
            let file = open_lock(root, creates)?;
            // A pass of a journal takes a moment, and comes again and again: a generation waits for its end.
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
            let lease = Lease::take(Arc::clone(objects), &place.to_string()).await;
            lease.map(WriteLock::Object)
        }
        (BackupPlace::Bucket(_), SmallFiles::Folder(_)) => Ok(WriteLock::None),
    }
}

/// Opens the bodies. Returns the mark of their unit, too.
async fn open_files(
    place: &BackupPlace,
    key: Option<&Secret<String>>,
    (small_files, lock): (&SmallFiles, &WriteLock),
    wanted: Option<&str>,
) -> BackupResult<(String, Arc<dyn BlobStore>)> {
    let mark = small_files.shown(MARK_FILE);
    let unreadable = || format!("{mark} cannot be read");
    let read = find_mark(small_files).await?.ok_or_else(unreadable)?;
    let text: Value = serde_json::from_slice(&read).map_err(|_| unreadable())?;
    if member(&text, "format") != FORMAT {
        return Err(format!("{place} has a newer format"));
    }
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
                sync: BlobSync::Full,
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
    Ok((unit.to_owned(), files))
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
    // A copy of a bucket has no lock.
    let file = match creates || !path.exists() {
        true => File::options().create(true).append(true).open(&path),
        false => File::open(&path),
    };
    file.map_err(|error| format!("cannot open {}: {error}", path.display()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn generations_without_an_end_are_named_and_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let place = BackupPlace::Folder(folder.path().to_owned());
        let store = BackupStore::create(&place, "unit", None).await.unwrap();
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

    #[tokio::test]
    async fn lists_of_an_interrupted_backup_are_found_and_those_of_the_current_one_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = BackupPlace::Folder(folder.path().to_owned());
        let store = BackupStore::create(&place, "unit", None).await.unwrap();
        let cell = CellId::from_bytes([7; 16]);
        let mut killed = store.begin_list("a").await.unwrap();
        store.note(&mut killed, &[cell]).await.unwrap();
        let current = store.begin_list("a+").await.unwrap();
        let again = store.begin_list("a").await.unwrap();
        assert_eq!(again.parts, 2..3);
        store.end_lists(&again).await.unwrap();
        let found = store.begun_lists("a+").await.unwrap();
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a.0", "a.1"]);
        assert_eq!(found[1].1, format!("{cell}\n"));
        store.end_lists(&current).await.unwrap();
        for (name, _) in &found {
            store.end_list(name).await.unwrap();
        }
        assert!(store.begun_lists("").await.unwrap().is_empty());
    }
}
