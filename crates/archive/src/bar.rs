//! Opening bar files and reading their entries.

use std::io::{ErrorKind, Read, Seek, Write};

use zip::read::{ArchiveOffset, Config, ZipFileEntry};
use zip::{CompressionMethod, ZipArchive};

use crate::entries::{BarEntry, EntryList};
use crate::error::{BarError, EntryError, ReadError, printable_name};
use crate::manifest::Manifest;
use crate::name::{self, NameEncoding};
use crate::version::BarVersion;
use crate::{central_directory, paths};

/// The number of bytes that are decompressed at once.
const CHUNK_BYTES: usize = 64 << 10;
/// The flags for encryption, strong encryption and masked headers.
const FLAGS_ENCRYPTED: u16 = 0x2041;
/// The flag for names in UTF-8.
const FLAG_UTF8: u16 = 0x0800;
/// The flag for compressed patched data.
const FLAG_PATCHED: u16 = 0x0020;

/// The limits for a bar file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// The maximum uncompressed size of an entry in bytes.
    pub max_entry_bytes: u64,
    /// The maximum number of entries, including folders.
    pub max_entries: usize,
    /// The maximum uncompressed size of all entries in bytes.
    pub max_total_bytes: u64,
}

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
    archive: ZipArchive<R>,
    entries: EntryList,
    version: BarVersion,
    manifest: Manifest,
}

impl<R: Read + Seek> Bar<R> {
    /// Opens and validates an archive: its structure, the names, kinds and declared sizes of all entries, the required
    /// entries and the manifest. Other entries are not read, so their content may be damaged.
    ///
    /// # Errors
    /// Every variant of [`BarError`].
    pub fn open(mut reader: R, limits: ArchiveLimits) -> Result<Bar<R>, BarError> {
        central_directory::check(&mut reader, limits.max_entries)?;
        let config = Config {
            archive_offset: ArchiveOffset::Known(0),
        };
        let mut archive = ZipArchive::with_config(config, reader)?;
        let mut entries = read_entry_list(&archive, &limits)?;
        archive.validate_header_consistency()?;
        let version = match entries.find(paths::MANIFEST) {
            Some(_) => BarVersion::V2,
            None => BarVersion::V1,
        };
        check_required(&entries, version)?;
        entries.set_prefix(version.prefix());
        let mut bar = Bar {
            archive,
            entries,
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
        self.entries.files()
    }

    /// The inner paths of the folders that have their own entries, without trailing `/`.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        let prefix = self.version.prefix();
        let folders = self.entries.folders();
        folders.filter_map(move |name| name.strip_prefix(prefix))
    }

    /// Finds the file with an inner path, such as `90_contents/col1/a.txt`.
    pub fn find(&self, path: &str) -> Option<&BarEntry> {
        self.entries.find(&self.full_name(path))
    }

    /// Whether a folder with an inner path (without trailing `/`) exists, or a file in it.
    pub fn has_folder(&self, path: &str) -> bool {
        self.entries.has_folder(&self.full_name(path))
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
        let name = entry.name();
        let mut file = self
            .archive
            .by_index(entry.position())
            .map_err(|error| ReadError::from_zip(name, error))?;
        if name::decode(file.name_raw(), NameEncoding::Unknown).as_deref() != Some(name) {
            return Err(ReadError::damaged(name, "not an entry of this archive"));
        }
        let mut remaining = entry.size();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = match file.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(ReadError::from_read(name, error)),
            };
            remaining = remaining
                .checked_sub(count as u64)
                .ok_or_else(|| ReadError::damaged(name, "longer than declared"))?;
            out.write_all(chunk.get(..count).unwrap_or_default())
                .map_err(ReadError::Io)?;
        }
        if remaining > 0 {
            return Err(ReadError::damaged(name, "shorter than declared"));
        }
        Ok(())
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

/// Validates every entry of the central directory.
fn read_entry_list<R: Read + Seek>(
    archive: &ZipArchive<R>,
    limits: &ArchiveLimits,
) -> Result<EntryList, BarError> {
    if archive.has_duplicate_names() {
        return Err(BarError::not_zip("two entries have the same name"));
    }
    let mut entries = EntryList::default();
    let mut total: u64 = 0;
    for position in 0..archive.len() {
        let entry = archive.by_index_data(position)?;
        let encoding = match entry.flags().as_u16() & FLAG_UTF8 {
            0 => NameEncoding::Unknown,
            _ => NameEncoding::Utf8,
        };
        let name = name::check(entry.name_raw(), encoding)?;
        let is_folder =
            is_folder(&name, &entry).map_err(|reason| BarError::invalid_entry(&name, reason))?;
        if entry.size() > limits.max_entry_bytes {
            return Err(BarError::EntryTooLarge(printable_name(&name)));
        }
        total = total.saturating_add(entry.size());
        if is_folder {
            entries.add_folder(&name);
        } else {
            entries.add_file(&name, entry.size(), position);
        }
    }
    if total > limits.max_total_bytes {
        return Err(BarError::TooLarge);
    }
    entries.check_names()?;
    Ok(entries)
}

fn is_folder(name: &str, entry: &ZipFileEntry<'_>) -> Result<bool, EntryError> {
    let flags = entry.flags().as_u16();
    if flags & FLAGS_ENCRYPTED != 0 {
        return Err(EntryError::Encrypted);
    }
    let is_readable = matches!(
        entry.compression(),
        CompressionMethod::Stored | CompressionMethod::Deflated
    );
    if !is_readable || flags & FLAG_PATCHED != 0 {
        return Err(EntryError::Compression);
    }
    let is_folder = name.ends_with('/');
    // Systems other than Unix leave these bits empty or copy them from Unix.
    match (entry.external_attributes() >> 16) & 0o170_000 {
        0 => {}
        0o040_000 if is_folder => {}
        0o100_000 if !is_folder => {}
        0o040_000 | 0o100_000 => return Err(EntryError::AmbiguousKind),
        _ => return Err(EntryError::SpecialFile),
    }
    if is_folder && entry.size() > 0 {
        return Err(EntryError::FolderContent);
    }
    Ok(is_folder)
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
