//! The archive of an application, read on threads that may block.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::File;
use std::sync::Arc;

use parking_lot::Mutex;
use personium_archive::{ArchiveLimits, Bar, BarEntry, BarError, BarVersion, ReadError, paths};
use personium_dav::rootprops::BoxContents;
use personium_model::settings::ArchiveSettings;
use personium_model::temp_file::{self, TempFile};
use personium_model::temp_folder::TempFolder;
use personium_odata::constraint::is_uri;
use personium_types::{Code, Error, Result};
use tokio::task::spawn_blocking;

use crate::error::{InstallError, InstallReason, InstallResult};

/// The largest number of entries of an archive.
pub(crate) const MAX_ENTRIES: usize = 100_000;
/// The largest size of all entries together, as a multiple of the largest size of an archive.
const MAX_EXPANSION_RATIO: u64 = 20;
const MEGABYTE_BYTES: u64 = 1 << 20;

/// The archive of an application. What can be checked without creating anything was checked.
pub struct Package {
    bar: Arc<Mutex<Bar<File>>>,
    entries: Vec<BarEntry>,
    folders: Vec<String>,
    version: BarVersion,
    schema: Option<String>,
    has_contents: bool,
}

impl Package {
    /// Opens an archive and checks its structure and its manifest.
    ///
    /// # Errors
    /// [`Code::BarUnreadable`], [`Code::BarStructure`], [`Code::BarEntryFormat`], [`Code::BarEntryTooLarge`],
    /// [`Code::BarManifestField`] or [`Code::BarVersion`]; [`Code::Unknown`] if the file cannot be read.
    pub async fn open(file: File, settings: &ArchiveSettings) -> Result<Self> {
        let settings = settings.clone();
        let opened = spawn_blocking(move || {
            let limits = ArchiveLimits {
                max_entry_bytes: settings.entry_max_megabytes.saturating_mul(MEGABYTE_BYTES),
                max_entries: MAX_ENTRIES,
                max_total_bytes: settings
                    .archive_max_megabytes
                    .saturating_mul(MEGABYTE_BYTES * MAX_EXPANSION_RATIO),
            };
            Bar::open(file, limits).map_err(|error| refusal(error, &settings))
        });
        let bar = opened.await.map_err(Error::internal)??;
        let schema = bar.manifest().schema.clone();
        let has_schema = schema.as_deref().is_some_and(is_uri);
        if bar.version() == BarVersion::V1 && !has_schema {
            return Err(Error::new(Code::BarStructure).with("schema"));
        }
        Ok(Self {
            entries: own_entries(bar.entries()),
            folders: bar.folders().map(str::to_owned).collect(),
            version: bar.version(),
            has_contents: bar.has_folder(paths::CONTENTS),
            bar: Arc::new(Mutex::new(bar)),
            schema,
        })
    }

    /// The schema URL of the application.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// Whether the archive has the older version.
    pub(crate) fn is_legacy(&self) -> bool {
        self.version == BarVersion::V1
    }

    /// The number of entries that the progress is measured by.
    pub(crate) fn total(&self) -> u64 {
        let manifest = usize::from(!self.is_legacy());
        self.entries.len().saturating_sub(manifest) as u64
    }

    /// The entry of this path.
    pub(crate) fn find(&self, path: &str) -> Option<BarEntry> {
        self.entries
            .iter()
            .find(|entry| entry.path() == path)
            .cloned()
    }

    /// The paths of the contents of the box.
    pub(crate) fn contents(&self) -> BoxContents {
        let folder = format!("{}/", paths::CONTENTS);
        let files = self.entries.iter().map(BarEntry::path);
        let folders = self.folders.iter().map(String::as_str);
        BoxContents::new(
            files
                .chain(folders)
                .filter_map(|path| path.strip_prefix(&folder)),
        )
    }

    /// The names of the folder of the contents and of the folders in it, each with `/` at its end, in the order of the names. Folders
    /// without entries of their own are among them. `is_wanted` gets the path of each in the box.
    pub(crate) fn content_folders(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let root = format!("{}/", paths::CONTENTS);
        let in_root = |path: &'_ str| path.strip_prefix(&root).map(str::to_owned);
        let explicit = self.folders.iter().filter_map(|path| in_root(path));
        let files = self.entries.iter().filter_map(|file| in_root(file.path()));
        let parents = files.filter_map(|path| Some(path.rsplit_once('/')?.0.to_owned()));
        let mut folders = BTreeSet::new();
        for mut folder in explicit.chain(parents) {
            // Those above a folder that is known are known.
            while folders.insert(folder.clone()) {
                let Some((above, _)) = folder.rsplit_once('/') else {
                    break;
                };
                folder = above.to_owned();
            }
        }
        let wanted = folders.into_iter().filter(|folder| is_wanted(folder));
        let names = wanted.map(|folder| format!("{root}{folder}/"));
        std::iter::once(root.clone()).chain(names).collect()
    }

    /// Whether the archive has a folder for the contents of the box, which may be empty.
    pub(crate) fn has_contents(&self) -> bool {
        self.has_contents
    }

    /// The entries in a folder and its subfolders, in the order of the archive.
    pub(crate) fn below(&self, folder: &str) -> Vec<BarEntry> {
        let is_below = |entry: &&BarEntry| {
            let rest = entry.path().strip_prefix(folder);
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        self.entries.iter().filter(is_below).cloned().collect()
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`InstallReason::Unreadable`].
    pub(crate) async fn read(&self, entry: &BarEntry) -> InstallResult<Vec<u8>> {
        self.read_as(entry, std::convert::identity).await
    }

    /// Reads and parses an entry. `parse` runs on the blocking thread that reads, so that a large document does not
    /// delay requests.
    ///
    /// # Errors
    /// [`InstallReason::Unreadable`].
    pub(crate) async fn read_as<T: Send + 'static>(
        &self,
        entry: &BarEntry,
        parse: impl FnOnce(Vec<u8>) -> T + Send + 'static,
    ) -> InstallResult<T> {
        let mut parse = Some(parse);
        let parse = move |bytes| parse.take().map(|parse| parse(bytes));
        let mut read = self.read_all(&[entry], parse).await;
        let parsed = read.pop().transpose()?.flatten();
        parsed.ok_or_else(|| unreadable(entry, &"it was not read"))
    }

    /// Writes the content of an entry to a temporary file.
    ///
    /// # Errors
    /// [`InstallReason::Unreadable`]; the refusal of the temporary file, such as [`Code::StorageFull`].
    pub(crate) async fn extract(
        &self,
        entry: &BarEntry,
        folder: &TempFolder,
    ) -> InstallResult<TempFile> {
        let refused = |error: &Error| InstallError::refused(entry, error);
        let file = TempFile::create(folder).await;
        let file = file.and_then(TempFile::into_file);
        let mut file = file.map_err(|error| refused(&error))?;
        let (bar, wanted) = (Arc::clone(&self.bar), entry.clone());
        let copied = spawn_blocking(move || {
            let copied = bar.lock().copy(&wanted, &mut file);
            copied.map(|()| file)
        });
        match copied.await {
            Ok(Ok(file)) => TempFile::of_written(file).map_err(|error| refused(&error)),
            Ok(Err(ReadError::Io(error))) => Err(refused(&temp_file::failure(error))),
            Ok(Err(damaged)) => Err(unreadable(entry, &damaged)),
            Err(error) => Err(unreadable(entry, &error)),
        }
    }

    /// Reads and parses entries, as [`Self::read_as`] does each of them: a result for each, in their order. All are read by one call of
    /// a blocking thread, whose wake-up takes longer than reading a small entry.
    pub(crate) async fn read_all<T: Send + 'static>(
        &self,
        entries: &[&BarEntry],
        mut parse: impl FnMut(Vec<u8>) -> T + Send + 'static,
    ) -> Vec<InstallResult<T>> {
        let wanted: Vec<BarEntry> = entries.iter().copied().cloned().collect();
        let bar = Arc::clone(&self.bar);
        let read = spawn_blocking(move || {
            let read_one = |entry: &BarEntry| {
                // Others may read between two entries.
                let bytes = bar.lock().read(entry);
                let bytes = bytes.map_err(|error| unreadable(entry, &error))?;
                Ok(parse(bytes))
            };
            wanted.iter().map(read_one).collect()
        });
        match read.await {
            Ok(read) => read,
            Err(error) => entries
                .iter()
                .map(|entry| Err(unreadable(entry, &error)))
                .collect(),
        }
    }
}

fn unreadable(entry: &BarEntry, reason: &dyn Display) -> InstallError {
    InstallError::new(InstallReason::Unreadable, entry.name(), reason)
}

/// The entries in the two folders of an application. Others, such as `README.md`, `.DS_Store` or `__MACOSX/`, are no part of
/// it.
fn own_entries(entries: &[BarEntry]) -> Vec<BarEntry> {
    let is_own = |entry: &&BarEntry| {
        let folder = entry.path().split_once('/').map(|(folder, _)| folder);
        matches!(folder, Some(paths::META | paths::CONTENTS))
    };
    entries.iter().filter(is_own).cloned().collect()
}

/// The error for an archive that is refused.
fn refusal(error: BarError, settings: &ArchiveSettings) -> Error {
    let refusal = match &error {
        BarError::NotZip(_) => Error::new(Code::BarUnreadable).with("it is not a zip archive"),
        BarError::TooLarge => Error::new(Code::BarUnreadable).with("it is too large"),
        BarError::UnsafeName(name) | BarError::InvalidEntry { name, .. } => {
            Error::new(Code::BarEntryFormat).with(name)
        }
        BarError::EntryTooLarge(name) => Error::new(Code::BarEntryTooLarge)
            .with(name)
            .with(settings.entry_max_megabytes.to_string()),
        BarError::Missing(names) => {
            let is_legacy = names.iter().any(|name| name.starts_with("bar/"));
            let missing = match is_legacy {
                true => names.join(" "),
                false => names.first().cloned().unwrap_or_default(),
            };
            Error::new(Code::BarStructure).with(missing)
        }
        BarError::ManifestUnreadable { version, .. } => match version {
            BarVersion::V1 => Error::new(Code::BarEntryFormat).with("bar/00_meta/00_manifest.json"),
            BarVersion::V2 => Error::new(Code::BarUnreadable).with("its manifest is not valid"),
        },
        BarError::ManifestField(name) => Error::new(Code::BarManifestField).with(*name),
        BarError::Version(version) => Error::new(Code::BarVersion).with(version),
        BarError::Io(_) => Error::new(Code::Unknown),
    };
    refusal.with_source(error)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use personium_model::Settings;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    async fn package() -> Package {
        let mut zip = ZipWriter::new(tempfile::tempfile().unwrap());
        for (name, content) in [
            (paths::MANIFEST, r#"{"bar_version":"2"}"#),
            (paths::ROOT_PROPS, "<multistatus/>"),
        ] {
            let options = SimpleFileOptions::default();
            zip.start_file(name, options).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        let file = zip.finish().unwrap();
        Package::open(file, &Settings::default().archives)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn entries_are_parsed_on_the_blocking_thread_that_reads_them() {
        let package = package().await;
        let entry = package.find(paths::ROOT_PROPS).unwrap();
        let own = std::thread::current().id();
        let parse = |bytes: Vec<u8>| (bytes.len(), std::thread::current().id());
        let (length, parsed_on) = package.read_as(&entry, parse).await.unwrap();
        assert_eq!(length, package.read(&entry).await.unwrap().len());
        assert_ne!(parsed_on, own);
    }
}
