//! The archive, read on threads that may wait.

use std::fs::File;
use std::sync::Arc;

use parking_lot::Mutex;
pub(super) use personium_archive::BarEntry;
use personium_archive::{ArchiveLimits, Bar, BarError, BarVersion};
use personium_types::{Code, Error, Result};
use tokio::task::spawn_blocking;

use super::failure::{Failure, Fault, Outcome};
use crate::settings::ArchiveSettings;

/// Entries that an archive may have.
const ENTRIES_MAX: usize = 100_000;
/// How many times larger than the largest archive all entries together may be.
const RATIO_MAX: u64 = 20;
/// Bytes of a megabyte.
const MEGABYTE: u64 = 1 << 20;

/// An archive that may be installed, as far as that shows without making anything.
pub struct Package {
    bar: Arc<Mutex<Bar<File>>>,
    entries: Vec<BarEntry>,
    version: BarVersion,
    schema: Option<String>,
    contents: bool,
}

impl Package {
    /// Opens an archive and checks everything that can be checked before something is made.
    ///
    /// # Errors
    /// 400 with what is wrong with it.
    pub async fn open(file: File, limits: &ArchiveSettings) -> Result<Self> {
        let limits = limits.clone();
        let opened = spawn_blocking(move || {
            let within = ArchiveLimits {
                max_entry_bytes: limits.entry_max_megabytes.saturating_mul(MEGABYTE),
                max_entries: ENTRIES_MAX,
                max_total_bytes: limits
                    .archive_max_megabytes
                    .saturating_mul(MEGABYTE * RATIO_MAX),
            };
            Bar::open(file, within).map_err(|fault| refusal(fault, &limits))
        });
        let bar = opened.await.map_err(Error::internal)??;
        let schema = bar.manifest().schema.clone();
        if bar.version() == BarVersion::V1 && schema.is_none() {
            return Err(Error::new(Code::BarStructure).with("schema"));
        }
        Ok(Self {
            entries: bar.entries().to_vec(),
            version: bar.version(),
            contents: bar.has_folder("90_contents"),
            bar: Arc::new(Mutex::new(bar)),
            schema,
        })
    }

    /// The app that the box is for.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// Whether it is of the older version.
    pub(super) fn is_legacy(&self) -> bool {
        self.version == BarVersion::V1
    }

    /// How many entries count for the progress.
    pub(super) fn total(&self) -> u64 {
        let manifest = usize::from(!self.is_legacy());
        self.entries.len().saturating_sub(manifest) as u64
    }

    /// The entry of this path.
    pub(super) fn find(&self, path: &str) -> Option<BarEntry> {
        self.entries
            .iter()
            .find(|entry| entry.path() == path)
            .cloned()
    }

    /// Whether there is a folder for the tree, even if nothing is in it.
    pub(super) fn has_contents(&self) -> bool {
        self.contents
    }

    /// The entries below a folder, in the order of the archive.
    pub(super) fn below(&self, folder: &str) -> Vec<BarEntry> {
        let inside = |entry: &&BarEntry| {
            let rest = entry.path().strip_prefix(folder);
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        self.entries.iter().filter(inside).cloned().collect()
    }

    /// The bytes of an entry.
    pub(super) async fn read(&self, entry: &BarEntry) -> Outcome<Vec<u8>> {
        self.read_as(entry, std::convert::identity).await
    }

    /// What `parse` makes of the bytes of an entry. It runs on the thread that reads them, so that a large document keeps
    /// no request waiting.
    pub(super) async fn read_as<T: Send + 'static>(
        &self,
        entry: &BarEntry,
        parse: impl FnOnce(Vec<u8>) -> T + Send + 'static,
    ) -> Outcome<T> {
        let (bar, wanted) = (Arc::clone(&self.bar), entry.clone());
        let read = spawn_blocking(move || {
            let bytes = bar.lock().read(&wanted).map_err(|e| e.to_string())?;
            Ok::<_, String>(parse(bytes))
        });
        let unreadable =
            |reason: &dyn std::fmt::Display| Failure::new(Fault::Unreadable, entry.name(), reason);
        match read.await {
            Ok(Ok(parsed)) => Ok(parsed),
            Ok(Err(reason)) => Err(unreadable(&reason)),
            Err(error) => Err(unreadable(&error)),
        }
    }
}

/// The refusal of an archive.
fn refusal(fault: BarError, limits: &ArchiveSettings) -> Error {
    let error = match &fault {
        BarError::NotZip(_) => Error::new(Code::BarUnreadable).with("it is no zip archive"),
        BarError::TooLarge => Error::new(Code::BarUnreadable).with("it holds too much"),
        BarError::UnsafeName(name) | BarError::InvalidEntry { name, .. } => {
            Error::new(Code::BarEntryFormat).with(name)
        }
        BarError::EntryTooLarge(name) => Error::new(Code::BarEntryTooLarge)
            .with(name)
            .with(limits.entry_max_megabytes.to_string()),
        BarError::Missing(names) => {
            let legacy = names.iter().any(|name| name.starts_with("bar/"));
            let told = if legacy {
                names.join(" ")
            } else {
                names.first().cloned().unwrap_or_default()
            };
            Error::new(Code::BarStructure).with(told)
        }
        BarError::ManifestUnreadable { version, .. } => match version {
            BarVersion::V1 => Error::new(Code::BarEntryFormat).with("bar/00_meta/00_manifest.json"),
            BarVersion::V2 => Error::new(Code::BarUnreadable).with("its manifest is not valid"),
        },
        BarError::ManifestField(name) => Error::new(Code::BarManifestField).with(*name),
        BarError::Version(version) => Error::new(Code::BarVersion).with(version),
        BarError::Io(_) => Error::new(Code::Unknown),
    };
    error.with_source(fault)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::Settings;

    const ROOT_PROPS: &str = "00_meta/90_rootprops.xml";

    async fn package() -> Package {
        let mut zip = ZipWriter::new(tempfile::tempfile().unwrap());
        for (name, content) in [
            ("00_meta/00_manifest.json", r#"{"bar_version":"2"}"#),
            (ROOT_PROPS, "<multistatus/>"),
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
    async fn documents_are_parsed_where_they_are_read() {
        let package = package().await;
        let entry = package.find(ROOT_PROPS).unwrap();
        let here = std::thread::current().id();
        let parse = |bytes: Vec<u8>| (bytes.len(), std::thread::current().id());
        let (length, there) = package.read_as(&entry, parse).await.unwrap();
        assert_eq!(length, package.read(&entry).await.unwrap().len());
        assert_ne!(there, here, "the thread of the requests was kept");
    }
}
