//! The frame of a zip archive: the record at its end and the list of entries before it.
//!
//! The zip crate repairs what it can, looks for a list elsewhere and keeps one of several entries of the same name. An
//! archive that a client sends is held to one reading instead: the last record ends the file, the list ends at that
//! record, and the list holds as many entries as declared. This also bounds what the zip crate keeps in memory.

use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom};

use crate::error::{BarError, EntryError};

/// The most bytes that the list of entries may take.
const MAX_DIRECTORY_BYTES: u64 = 64 << 20;
/// The most extra fields of one entry.
const MAX_EXTRA_FIELDS: usize = 16;

const END: &[u8; 4] = b"PK\x05\x06";
const END_LEN: usize = 22;
const LOCATOR: &[u8; 4] = b"PK\x06\x07";
const LOCATOR_LEN: usize = 20;
const END64: &[u8; 4] = b"PK\x06\x06";
const END64_LEN: usize = 56;
const HEADER: &[u8; 4] = b"PK\x01\x02";
const HEADER_LEN: usize = 46;

/// Where the list of entries is and how many it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DirectoryLocation {
    entries: u64,
    list_start: u64,
    list_len: u64,
}

/// Checks the frame; the entries themselves are not judged.
///
/// # Errors
/// Fails if the archive can be read in more than one way, if a name is there twice, or above the limits.
pub(crate) fn check<R: Read + Seek>(reader: &mut R, entries_max: usize) -> Result<(), BarError> {
    let frame = locate(reader)?;
    if usize::try_from(frame.entries).map_or(true, |entries| entries > entries_max)
        || frame.list_len > MAX_DIRECTORY_BYTES
    {
        return Err(BarError::TooLarge);
    }
    let list = read_at(reader, frame.list_start, frame.list_len)?;
    check_headers(&list, frame.entries)
}

fn locate<R: Read + Seek>(reader: &mut R) -> Result<DirectoryLocation, BarError> {
    let len = reader.seek(SeekFrom::End(0))?;
    let tail_start = len.saturating_sub((END_LEN + usize::from(u16::MAX)) as u64);
    let tail = read_at(reader, tail_start, len - tail_start)?;
    let at = tail
        .windows(END.len())
        .rposition(|window| window == END)
        .ok_or_else(|| BarError::not_zip("no end record"))?;
    let record = tail.get(at..).unwrap_or_default();
    let end = end_record(record).ok_or_else(|| BarError::not_zip("the end record is cut"))?;
    if record.len() != END_LEN + usize::from(end.comment_len) {
        return Err(BarError::not_zip("the end record does not end the file"));
    }
    if end.disks != [0, 0] || end.entries_here != end.entries {
        return Err(BarError::not_zip("the archive has several parts"));
    }
    let position = tail_start + at as u64;
    let (frame, list_end) = match locate_zip64(reader, position)? {
        Some((frame, position64)) => {
            let agrees = (end.entries == u16::MAX || u64::from(end.entries) == frame.entries)
                && (end.list_len == u32::MAX || u64::from(end.list_len) == frame.list_len)
                && (end.list_start == u32::MAX || u64::from(end.list_start) == frame.list_start);
            if !agrees {
                return Err(BarError::not_zip(
                    "the two end records contradict each other",
                ));
            }
            (frame, position64)
        }
        None => {
            let frame = DirectoryLocation {
                entries: end.entries.into(),
                list_start: end.list_start.into(),
                list_len: end.list_len.into(),
            };
            (frame, position)
        }
    };
    if frame.list_start.checked_add(frame.list_len) != Some(list_end) {
        return Err(BarError::not_zip(
            "the list of entries does not end at the end record",
        ));
    }
    Ok(frame)
}

/// The frame in the records for large archives, and where they start; absent if `end` does not follow a locator.
fn locate_zip64<R: Read + Seek>(
    reader: &mut R,
    end: u64,
) -> Result<Option<(DirectoryLocation, u64)>, BarError> {
    let Some(locator_at) = end.checked_sub(LOCATOR_LEN as u64) else {
        return Ok(None);
    };
    let locator = read_at(reader, locator_at, LOCATOR_LEN as u64)?;
    if !locator.starts_with(LOCATOR) {
        return Ok(None);
    }
    let broken =
        || BarError::not_zip("the end record for large archives is not where it is said to be");
    let at = u64_at(&locator, 8).ok_or_else(broken)?;
    // Disk of the record, number of disks: some writers say that there are none.
    if u32_at(&locator, 4) != Some(0) || u32_at(&locator, 16).is_none_or(|disks| disks > 1) {
        return Err(BarError::not_zip("the archive has several parts"));
    }
    if at.checked_add(END64_LEN as u64) != Some(locator_at) {
        return Err(broken());
    }
    let record = read_at(reader, at, END64_LEN as u64)?;
    if !record.starts_with(END64) || u64_at(&record, 4) != Some(END64_LEN as u64 - 12) {
        return Err(broken());
    }
    if u64_at(&record, 16) != Some(0) || u64_at(&record, 24) != u64_at(&record, 32) {
        return Err(BarError::not_zip("the archive has several parts"));
    }
    let frame = || {
        Some(DirectoryLocation {
            entries: u64_at(&record, 32)?,
            list_len: u64_at(&record, 40)?,
            list_start: u64_at(&record, 48)?,
        })
    };
    Ok(Some((frame().ok_or_else(broken)?, at)))
}

struct EndRecord {
    disks: [u16; 2],
    entries_here: u16,
    entries: u16,
    list_len: u32,
    list_start: u32,
    comment_len: u16,
}

fn end_record(bytes: &[u8]) -> Option<EndRecord> {
    Some(EndRecord {
        disks: [u16_at(bytes, 4)?, u16_at(bytes, 6)?],
        entries_here: u16_at(bytes, 8)?,
        entries: u16_at(bytes, 10)?,
        list_len: u32_at(bytes, 12)?,
        list_start: u32_at(bytes, 16)?,
        comment_len: u16_at(bytes, 20)?,
    })
}

fn check_headers(list: &[u8], entries: u64) -> Result<(), BarError> {
    let mut names = HashSet::new();
    let mut rest = list;
    for _ in 0..entries {
        let (name, extra, next) =
            split_header(rest).ok_or_else(|| BarError::not_zip("the list of entries is cut"))?;
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
            "the list of entries is longer than declared",
        ))
    }
}

/// Name and extra fields of the first entry in the list, and the list after it.
fn split_header(list: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (fixed, rest) = list.split_at_checked(HEADER_LEN)?;
    let is_in_this_file = u16_at(fixed, 34)? == 0;
    if !fixed.starts_with(HEADER) || !is_in_this_file {
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
        Err(BarError::not_zip("the file ends early"))
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
