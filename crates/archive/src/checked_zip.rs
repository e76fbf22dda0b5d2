//! A zip archive whose structure and entries were validated.

use std::io::{ErrorKind, Read, Seek, Write};

use zip::read::{ArchiveOffset, Config, ZipFileEntry};
use zip::{CompressionMethod, ZipArchive};

use crate::central_directory;
use crate::entries::{BarEntry, EntryList};
use crate::error::{BarError, EntryError, ReadError, printable_name};
use crate::name::{self, NameEncoding};

/// The number of bytes that are decompressed at once.
const CHUNK_BYTES: usize = 64 << 10;
/// The flags for encryption, strong encryption and masked headers.
const FLAGS_ENCRYPTED: u16 = 0x2041;
/// The flag for names in UTF-8.
const FLAG_UTF8: u16 = 0x0800;
/// The flag for compressed patched data.
const FLAG_PATCHED: u16 = 0x0020;

/// The limits for an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// The maximum uncompressed size of an entry in bytes.
    pub max_entry_bytes: u64,
    /// The maximum number of entries, including folders.
    pub max_entries: usize,
    /// The maximum uncompressed size of all entries in bytes.
    pub max_total_bytes: u64,
}

/// An opened archive. The structure, and the names, kinds and declared sizes of all entries were validated; their content may be
/// damaged.
#[derive(Debug)]
pub(crate) struct CheckedZip<R> {
    archive: ZipArchive<R>,
    pub(crate) entries: EntryList,
}

impl<R: Read + Seek> CheckedZip<R> {
    /// Opens and validates an archive.
    ///
    /// # Errors
    /// [`BarError::NotZip`], [`BarError::TooLarge`], [`BarError::UnsafeName`], [`BarError::InvalidEntry`],
    /// [`BarError::EntryTooLarge`], [`BarError::Io`].
    pub(crate) fn open(mut reader: R, limits: ArchiveLimits) -> Result<Self, BarError> {
        central_directory::check(&mut reader, limits.max_entries)?;
        let config = Config {
            archive_offset: ArchiveOffset::Known(0),
        };
        let mut archive = ZipArchive::with_config(config, reader)?;
        let entries = read_entry_list(&archive, &limits)?;
        archive.validate_header_consistency()?;
        Ok(Self { archive, entries })
    }

    /// Writes the content of an entry of this archive to `out` in chunks of at most 64 KiB; see [`crate::Bar::copy`].
    pub(crate) fn copy(&mut self, entry: &BarEntry, out: &mut impl Write) -> Result<(), ReadError> {
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
