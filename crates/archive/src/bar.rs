//! Opening a bar file and reading its entries.

use std::io::{ErrorKind, Read, Seek, Write};

use zip::read::{ArchiveOffset, Config, ZipFileEntry};
use zip::{CompressionMethod, ZipArchive};

use crate::entries::{BarEntry, EntryList};
use crate::error::{BarError, EntryError, ReadError, printable_name};
use crate::manifest::{BarVersion, Manifest};
use crate::{central_directory, name, paths};

/// The most bytes that are decompressed at once.
const CHUNK_BYTES: usize = 64 << 10;
/// The flags of encryption, of patched data and of hidden headers.
const FLAGS_ENCRYPTED: u16 = 0x2041;
const FLAG_PATCHED: u16 = 0x0020;

/// How much a bar file may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// The most bytes of one entry, uncompressed.
    pub max_entry_bytes: u64,
    /// The most entries, folders included.
    pub max_entries: usize,
    /// The most bytes of all entries together, uncompressed.
    pub max_total_bytes: u64,
}

/// A bar file that was found in order.
#[derive(Debug)]
pub struct Bar<R> {
    archive: ZipArchive<R>,
    listing: EntryList,
    version: BarVersion,
    manifest: Manifest,
}

impl<R: Read + Seek> Bar<R> {
    /// Checks the archive: its form, every name and kind of entry, the declared sizes, the required entries and the
    /// manifest. Other entries are not read, so their content may still turn out to be damaged.
    ///
    /// # Errors
    /// See [`BarError`].
    pub fn open(mut reader: R, limits: ArchiveLimits) -> Result<Bar<R>, BarError> {
        central_directory::check(&mut reader, limits.max_entries)?;
        let config = Config {
            archive_offset: ArchiveOffset::Known(0),
        };
        let mut archive = ZipArchive::with_config(config, reader)?;
        let mut listing = read_entry_list(&archive, &limits)?;
        archive.validate_header_consistency()?;
        let version = match listing.find(paths::MANIFEST) {
            Some(_) => BarVersion::V2,
            None => BarVersion::V1,
        };
        check_required(&listing, version)?;
        listing.set_prefix(version.prefix())?;
        let mut bar = Bar {
            archive,
            listing,
            version,
            manifest: Manifest::default(),
        };
        bar.manifest = bar.read_manifest()?;
        Ok(bar)
    }

    /// How the archive is laid out.
    pub fn version(&self) -> BarVersion {
        self.version
    }

    /// What the manifest says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The files, in the order of the archive. Folders are not among them.
    pub fn entries(&self) -> &[BarEntry] {
        self.listing.files()
    }

    /// The file at an inner path, such as `90_contents/col1/a.txt`.
    pub fn find(&self, path: &str) -> Option<&BarEntry> {
        self.listing.find(&self.full_name(path))
    }

    /// Whether there is a folder at an inner path without `/` at its end, or a file below it.
    pub fn has_folder(&self, path: &str) -> bool {
        self.listing.has_folder(&self.full_name(path))
    }

    /// Reads an entry of this archive, with its declared length and checksum checked.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&mut self, entry: &BarEntry) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        self.copy(entry, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes the content of an entry of this archive to `out`, in pieces of at most 64 KiB.
    ///
    /// What is wrong with the content may show only at its end: after a failure, `out` has taken bytes that must not be
    /// used. It never takes more than the declared length.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn copy(&mut self, entry: &BarEntry, out: &mut impl Write) -> Result<(), ReadError> {
        let name = entry.name();
        let mut file = self
            .archive
            .by_index(entry.position())
            .map_err(|error| ReadError::from_zip(name, error))?;
        if file.name_raw() != name.as_bytes() {
            return Err(ReadError::damaged(name, "not an entry of this archive"));
        }
        let mut left = entry.size();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = match file.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(ReadError::from_read(name, error)),
            };
            left = left
                .checked_sub(count as u64)
                .ok_or_else(|| ReadError::damaged(name, "longer than declared"))?;
            out.write_all(chunk.get(..count).unwrap_or_default())
                .map_err(ReadError::Io)?;
        }
        if left > 0 {
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

/// Judges every entry by what the list of the archive says.
fn read_entry_list<R: Read + Seek>(
    archive: &ZipArchive<R>,
    limits: &ArchiveLimits,
) -> Result<EntryList, BarError> {
    if archive.has_duplicate_names() {
        return Err(BarError::not_zip("two entries have the same name"));
    }
    let mut listing = EntryList::default();
    let mut total: u64 = 0;
    for position in 0..archive.len() {
        let entry = archive.by_index_data(position)?;
        let name = name::check(entry.name_raw())?;
        let is_folder =
            is_folder(name, &entry).map_err(|reason| BarError::invalid_entry(name, reason))?;
        if entry.size() > limits.max_entry_bytes {
            return Err(BarError::EntryTooLarge(printable_name(name)));
        }
        total = total.saturating_add(entry.size());
        if is_folder {
            listing.add_folder(name);
        } else {
            listing.add_file(name, entry.size(), position);
        }
    }
    if total > limits.max_total_bytes {
        return Err(BarError::TooLarge);
    }
    listing.check_names()?;
    Ok(listing)
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
    // Other systems than Unix leave these bits empty, or copy them from Unix.
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

fn check_required(listing: &EntryList, version: BarVersion) -> Result<(), BarError> {
    let prefix = version.prefix();
    let folder = |path: &str| (format!("{path}/"), listing.has_folder(path));
    let file = |path: &str| {
        let name = format!("{prefix}{path}");
        let is_there = listing.find(&name).is_some();
        (name, is_there)
    };
    let root = prefix.strip_suffix('/').map(folder);
    let rest = [
        folder(&format!("{prefix}{}", paths::META)),
        file(paths::MANIFEST),
        file(paths::ROOT_PROPS),
    ];
    let missing = |(name, is_there): (String, bool)| (!is_there).then_some(name);
    let missing: Vec<_> = root.into_iter().chain(rest).filter_map(missing).collect();
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
