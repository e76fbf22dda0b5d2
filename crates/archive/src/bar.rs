//! Opening bar files and reading their entries.

use std::io::{Read, Seek, Write};

use crate::checked_zip::{ArchiveLimits, CheckedZip};
use crate::entries::{BarEntry, EntryList};
use crate::error::{BarError, ReadError};
use crate::manifest::Manifest;
use crate::paths;
use crate::version::BarVersion;

/// An opened and validated bar file.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::fs::File;
///
/// use personium_archive::{ArchiveLimits, Bar, json, paths};
///
/// let limits = ArchiveLimits {
///     max_entry_bytes: 10 << 20,
///     max_entries: 10_000,
///     max_total_bytes: 100 << 20,
/// };
/// let mut bar = Bar::open(File::open("app.bar")?, limits)?;
/// if let Some(entry) = bar.find(paths::ROLES).cloned() {
///     for role in json::roles(&bar.read(&entry)?)? {
///         println!("{}", role.name);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Bar<R> {
    zip: CheckedZip<R>,
    version: BarVersion,
    manifest: Manifest,
}

impl<R: Read + Seek> Bar<R> {
    /// Opens and validates an archive: its structure, the names, kinds and declared sizes of all entries, the required
    /// entries and the manifest. Other entries are not read, so their content may be damaged.
    ///
    /// # Errors
    /// Every variant of [`BarError`].
    pub fn open(reader: R, limits: ArchiveLimits) -> Result<Bar<R>, BarError> {
        let mut zip = CheckedZip::open(reader, limits)?;
        let version = match zip.entries.find(paths::MANIFEST) {
            Some(_) => BarVersion::V2,
            None => BarVersion::V1,
        };
        check_required(&zip.entries, version)?;
        zip.entries.set_prefix(version.prefix());
        let mut bar = Bar {
            zip,
            version,
            manifest: Manifest::default(),
        };
        bar.manifest = bar.read_manifest()?;
        Ok(bar)
    }

    /// The version of the layout.
    pub fn version(&self) -> BarVersion {
        self.version
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The files in the order of the archive, without folders.
    pub fn entries(&self) -> &[BarEntry] {
        self.zip.entries.files()
    }

    /// The inner paths of the folders that have their own entries, without trailing `/`.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        let prefix = self.version.prefix();
        let folders = self.zip.entries.folders();
        folders.filter_map(move |name| name.strip_prefix(prefix))
    }

    /// Finds the file with an inner path, such as `90_contents/col1/a.txt`.
    pub fn find(&self, path: &str) -> Option<&BarEntry> {
        self.zip.entries.find(&self.full_name(path))
    }

    /// Whether a folder with an inner path (without trailing `/`) exists, or a file in it.
    pub fn has_folder(&self, path: &str) -> bool {
        self.zip.entries.has_folder(&self.full_name(path))
    }

    /// Reads an entry of this archive and verifies its declared size and checksum.
    ///
    /// # Errors
    /// [`ReadError::Damaged`], [`ReadError::Io`].
    pub fn read(&mut self, entry: &BarEntry) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        self.copy(entry, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes the content of an entry of this archive to `out` in chunks of at most 64 KiB.
    ///
    /// Damage may be detected only at the end of the content: after an error, the bytes in `out` must be discarded. At most
    /// the declared size is written.
    ///
    /// # Errors
    /// [`ReadError::Damaged`], [`ReadError::Io`].
    pub fn copy(&mut self, entry: &BarEntry, out: &mut impl Write) -> Result<(), ReadError> {
        self.zip.copy(entry, out)
    }

    fn full_name(&self, path: &str) -> String {
        format!("{}{path}", self.version.prefix())
    }

    fn read_manifest(&mut self) -> Result<Manifest, BarError> {
        let entry = self.find(paths::MANIFEST).cloned();
        let entry =
            entry.ok_or_else(|| BarError::Missing(vec![self.full_name(paths::MANIFEST)]))?;
        let version = self.version;
        let bytes = self.read(&entry).map_err(|error| match error {
            ReadError::Io(error) => BarError::Io(error),
            damaged => BarError::ManifestUnreadable {
                version,
                source: damaged.into(),
            },
        })?;
        Manifest::parse(&bytes, self.version)
    }
}

fn check_required(entries: &EntryList, version: BarVersion) -> Result<(), BarError> {
    let prefix = version.prefix();
    let root = prefix.strip_suffix('/');
    let meta = format!("{prefix}{}", paths::META);
    let folders = root.into_iter().chain([meta.as_str()]);
    let missing_folders = folders
        .filter(|folder| !entries.has_folder(folder))
        .map(|folder| format!("{folder}/"));
    let missing_files = [paths::MANIFEST, paths::ROOT_PROPS]
        .map(|path| format!("{prefix}{path}"))
        .into_iter()
        .filter(|name| entries.find(name).is_none());
    let missing: Vec<_> = missing_folders.chain(missing_files).collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(BarError::Missing(missing))
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod tests;
