//! The central directory of a zip archive and its end records (APPNOTE, sections 4.3.12 to 4.3.16).
//!
//! The zip crate repairs archives, searches for the central directory, and keeps one of several entries with the same name.
//! An archive of a client must have only one interpretation: the last end record ends the file, the central directory ends
//! at that record, and it has as many entries as declared. This also limits the memory of the zip crate.

use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom};

use crate::error::{BarError, EntryError};

/// The maximum size of the central directory in bytes.
const MAX_DIRECTORY_BYTES: u64 = 64 << 20;
/// The maximum number of extra fields of an entry.
const MAX_EXTRA_FIELDS: usize = 16;

const END_SIGNATURE: &[u8; 4] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const LOCATOR_SIGNATURE: &[u8; 4] = b"PK\x06\x07";
const LOCATOR_BYTES: usize = 20;
const END64_SIGNATURE: &[u8; 4] = b"PK\x06\x06";
const END64_BYTES: usize = 56;
const HEADER_SIGNATURE: &[u8; 4] = b"PK\x01\x02";
const HEADER_BYTES: usize = 46;

/// The position and the number of entries of the central directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DirectoryLocation {
    entries: u64,
    offset: u64,
    len: u64,
}

/// Validates the central directory. The entries themselves are not validated.
///
/// # Errors
/// [`BarError::NotZip`] if the archive has more than one interpretation, [`BarError::InvalidEntry`] for a duplicate name,
/// [`BarError::TooLarge`] above a limit, [`BarError::Io`].
pub(crate) fn check<R: Read + Seek>(reader: &mut R, max_entries: usize) -> Result<(), BarError> {
    let location = locate(reader)?;
    if usize::try_from(location.entries).map_or(true, |entries| entries > max_entries)
        || location.len > MAX_DIRECTORY_BYTES
    {
        return Err(BarError::TooLarge);
    }
    let directory = read_at(reader, location.offset, location.len)?;
    check_headers(&directory, location.entries)
}

fn locate<R: Read + Seek>(reader: &mut R) -> Result<DirectoryLocation, BarError> {
    let len = reader.seek(SeekFrom::End(0))?;
    let tail_start = len.saturating_sub((END_BYTES + usize::from(u16::MAX)) as u64);
    let tail = read_at(reader, tail_start, len - tail_start)?;
    let at = tail
        .windows(END_SIGNATURE.len())
        .rposition(|window| window == END_SIGNATURE)
        .ok_or_else(|| BarError::not_zip("the end record is missing"))?;
    let record = tail.get(at..).unwrap_or_default();
    let end = end_record(record).ok_or_else(|| BarError::not_zip("the end record is truncated"))?;
    if record.len() != END_BYTES + usize::from(end.comment_len) {
        return Err(BarError::not_zip("data follows the end record"));
    }
    if end.disks != [0, 0] || end.entries_here != end.entries {
        return Err(BarError::not_zip(
            "archives of several parts are not supported",
        ));
    }
    let position = tail_start + at as u64;
    let (location, end_position) = match locate_zip64(reader, position)? {
        Some((location, position64)) => {
            let agrees = (end.entries == u16::MAX || u64::from(end.entries) == location.entries)
                && (end.len == u32::MAX || u64::from(end.len) == location.len)
                && (end.offset == u32::MAX || u64::from(end.offset) == location.offset);
            if !agrees {
                return Err(BarError::not_zip("the two end records are inconsistent"));
            }
            (location, position64)
        }
        None => {
            let location = DirectoryLocation {
                entries: end.entries.into(),
                offset: end.offset.into(),
                len: end.len.into(),
            };
            (location, position)
        }
    };
    if location.offset.checked_add(location.len) != Some(end_position) {
        return Err(BarError::not_zip(
            "the central directory does not end at the end record",
        ));
    }
    Ok(location)
}

/// Reads the ZIP64 end record and returns the directory with the position of the record. Returns `None` if there is no
/// ZIP64 locator before the position `end`.
fn locate_zip64<R: Read + Seek>(
    reader: &mut R,
    end: u64,
) -> Result<Option<(DirectoryLocation, u64)>, BarError> {
    let Some(locator_at) = end.checked_sub(LOCATOR_BYTES as u64) else {
        return Ok(None);
    };
    let locator = read_at(reader, locator_at, LOCATOR_BYTES as u64)?;
    if !locator.starts_with(LOCATOR_SIGNATURE) {
        return Ok(None);
    }
    let broken = || BarError::not_zip("the ZIP64 end record is not at the position of its locator");
    let at = u64_at(&locator, 8).ok_or_else(broken)?;
    // The disk of the record, and the number of disks, which some writers set to 0.
    if u32_at(&locator, 4) != Some(0) || u32_at(&locator, 16).is_none_or(|disks| disks > 1) {
        return Err(BarError::not_zip(
            "archives of several parts are not supported",
        ));
    }
    if at.checked_add(END64_BYTES as u64) != Some(locator_at) {
        return Err(broken());
    }
    let record = read_at(reader, at, END64_BYTES as u64)?;
    if !record.starts_with(END64_SIGNATURE) || u64_at(&record, 4) != Some(END64_BYTES as u64 - 12) {
        return Err(broken());
    }
    if u64_at(&record, 16) != Some(0) || u64_at(&record, 24) != u64_at(&record, 32) {
        return Err(BarError::not_zip(
            "archives of several parts are not supported",
        ));
    }
    let location = || {
        Some(DirectoryLocation {
            entries: u64_at(&record, 32)?,
            len: u64_at(&record, 40)?,
            offset: u64_at(&record, 48)?,
        })
    };
    Ok(Some((location().ok_or_else(broken)?, at)))
}

struct EndRecord {
    disks: [u16; 2],
    entries_here: u16,
    entries: u16,
    len: u32,
    offset: u32,
    comment_len: u16,
}

fn end_record(bytes: &[u8]) -> Option<EndRecord> {
    Some(EndRecord {
        disks: [u16_at(bytes, 4)?, u16_at(bytes, 6)?],
        entries_here: u16_at(bytes, 8)?,
        entries: u16_at(bytes, 10)?,
        len: u32_at(bytes, 12)?,
        offset: u32_at(bytes, 16)?,
        comment_len: u16_at(bytes, 20)?,
    })
}

fn check_headers(directory: &[u8], entries: u64) -> Result<(), BarError> {
    let mut names = HashSet::new();
    let mut rest = directory;
    for _ in 0..entries {
        let (name, extra, next) = split_header(rest)
            .ok_or_else(|| BarError::not_zip("the central directory is truncated"))?;
        if count_extra_fields(extra) > MAX_EXTRA_FIELDS {
            return Err(BarError::not_zip("an entry has too many extra fields"));
        }
        if !names.insert(name) {
            return Err(BarError::invalid_entry(
                &String::from_utf8_lossy(name),
                EntryError::Duplicate,
            ));
        }
        rest = next;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(BarError::not_zip(
            "the central directory is longer than declared",
        ))
    }
}

/// Splits the first header off the central directory. Returns its name, its extra fields and the rest.
fn split_header(directory: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (fixed, rest) = directory.split_at_checked(HEADER_BYTES)?;
    let is_in_this_file = u16_at(fixed, 34)? == 0;
    if !fixed.starts_with(HEADER_SIGNATURE) || !is_in_this_file {
        return None;
    }
    let (name, rest) = rest.split_at_checked(u16_at(fixed, 28)?.into())?;
    let (extra, rest) = rest.split_at_checked(u16_at(fixed, 30)?.into())?;
    let (_comment, rest) = rest.split_at_checked(u16_at(fixed, 32)?.into())?;
    Some((name, extra, rest))
}

fn count_extra_fields(mut extra: &[u8]) -> usize {
    let mut count = 0;
    while let Some(len) = u16_at(extra, 2) {
        count += 1;
        extra = extra.get(4 + usize::from(len)..).unwrap_or_default();
    }
    count
}

fn read_at<R: Read + Seek>(reader: &mut R, start: u64, len: u64) -> Result<Vec<u8>, BarError> {
    reader.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    reader.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == len {
        Ok(bytes)
    } else {
        Err(BarError::not_zip("the file is truncated"))
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests;
