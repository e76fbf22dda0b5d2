//! A builder for zip archives in tests. Every field can have an invalid value.

use std::io::{Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// An entry. Tests create it with [`file`] or [`folder`] and change its fields.
#[derive(Clone)]
pub(crate) struct ZipEntry {
    pub(crate) name: Vec<u8>,
    /// The name in the local header, if it differs.
    pub(crate) local_name: Option<Vec<u8>>,
    /// The stored data, compressed or not.
    pub(crate) data: Vec<u8>,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) crc: u32,
    pub(crate) size: u32,
    pub(crate) mode: u32,
    pub(crate) extra: Vec<u8>,
    /// The offset in the central directory, if it differs from the real one.
    pub(crate) start: Option<u32>,
}

/// The fields of the end record.
pub(crate) struct EndFields {
    pub(crate) disk: u16,
    pub(crate) entries_here: u16,
    pub(crate) entries: u16,
    pub(crate) directory_bytes: u32,
    pub(crate) directory_offset: u32,
    pub(crate) comment: Vec<u8>,
}

pub(crate) fn file(name: &str, content: &str) -> ZipEntry {
    ZipEntry {
        name: name.into(),
        local_name: None,
        data: content.into(),
        flags: 0,
        method: 0,
        crc: crc(content.as_bytes()),
        size: content.len() as u32,
        mode: 0,
        extra: Vec::new(),
        start: None,
    }
}

/// Creates an entry that is compressed with deflate.
pub(crate) fn deflated(name: &str, content: &str) -> ZipEntry {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .start_file("x", SimpleFileOptions::default())
        .unwrap();
    writer.write_all(content.as_bytes()).unwrap();
    let mut archive = ZipArchive::new(writer.finish().unwrap()).unwrap();
    let mut data = Vec::new();
    archive
        .by_index_raw(0)
        .unwrap()
        .read_to_end(&mut data)
        .unwrap();
    ZipEntry {
        data,
        method: 8,
        ..file(name, content)
    }
}

pub(crate) fn folder(name: &str) -> ZipEntry {
    file(name, "")
}

/// Adds the required files of version 2 before `entries`.
pub(crate) fn with_required(entries: &[ZipEntry]) -> Vec<ZipEntry> {
    let required = [
        file("00_meta/00_manifest.json", r#"{"bar_version":"2"}"#),
        file("00_meta/90_rootprops.xml", "<x/>"),
    ];
    required
        .into_iter()
        .chain(entries.iter().cloned())
        .collect()
}

pub(crate) fn zip(entries: &[ZipEntry]) -> Vec<u8> {
    zip_with(entries, |_| {})
}

pub(crate) fn zip_with(entries: &[ZipEntry], change: impl FnOnce(&mut EndFields)) -> Vec<u8> {
    let (mut bytes, directory) = entries_and_directory(entries);
    let mut end = EndFields {
        disk: 0,
        entries_here: entries.len() as u16,
        entries: entries.len() as u16,
        directory_bytes: directory.len() as u32,
        directory_offset: bytes.len() as u32,
        comment: Vec::new(),
    };
    change(&mut end);
    bytes.extend(directory);
    push_end(&mut bytes, &end);
    bytes
}

/// Builds an archive with ZIP64 records. The numbers are, in the end record, the entries on this disk, all entries, the
/// size and the offset of the central directory; and in the locator, the offset of the end record.
pub(crate) fn zip64_with(entries: &[ZipEntry], change: impl FnOnce(&mut [u64; 5])) -> Vec<u8> {
    let (mut bytes, directory) = entries_and_directory(entries);
    let count = entries.len() as u64;
    let record = (bytes.len() + directory.len()) as u64;
    let mut numbers = [
        count,
        count,
        directory.len() as u64,
        bytes.len() as u64,
        record,
    ];
    change(&mut numbers);
    bytes.extend(directory);
    bytes.extend(b"PK\x06\x06");
    bytes.extend(44u64.to_le_bytes());
    bytes.extend([45, 0, 45, 0]);
    bytes.extend([0; 8]);
    for number in numbers.iter().take(4) {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(b"PK\x06\x07");
    bytes.extend([0; 4]);
    bytes.extend(numbers[4].to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    let end = EndFields {
        disk: 0,
        entries_here: u16::MAX,
        entries: u16::MAX,
        directory_bytes: u32::MAX,
        directory_offset: u32::MAX,
        comment: Vec::new(),
    };
    push_end(&mut bytes, &end);
    bytes
}

fn entries_and_directory(entries: &[ZipEntry]) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let start = entry.start.unwrap_or(bytes.len() as u32);
        let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
        bytes.extend(b"PK\x03\x04\x14\0");
        push_common_fields(&mut bytes, entry, local_name.len());
        bytes.extend(local_name);
        bytes.extend(&entry.extra);
        bytes.extend(&entry.data);
        directory.extend(b"PK\x01\x02\x14\x03\x14\0");
        push_common_fields(&mut directory, entry, entry.name.len());
        directory.extend([0; 6]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(start.to_le_bytes());
        directory.extend(&entry.name);
        directory.extend(&entry.extra);
    }
    (bytes, directory)
}

fn push_common_fields(out: &mut Vec<u8>, entry: &ZipEntry, name_len: usize) {
    out.extend(entry.flags.to_le_bytes());
    out.extend(entry.method.to_le_bytes());
    out.extend([0, 0, 0x21, 0]);
    out.extend(entry.crc.to_le_bytes());
    out.extend((entry.data.len() as u32).to_le_bytes());
    out.extend(entry.size.to_le_bytes());
    out.extend((name_len as u16).to_le_bytes());
    out.extend((entry.extra.len() as u16).to_le_bytes());
}

fn push_end(out: &mut Vec<u8>, end: &EndFields) {
    out.extend(b"PK\x05\x06");
    for number in [end.disk, 0, end.entries_here, end.entries] {
        out.extend(number.to_le_bytes());
    }
    out.extend(end.directory_bytes.to_le_bytes());
    out.extend(end.directory_offset.to_le_bytes());
    out.extend((end.comment.len() as u16).to_le_bytes());
    out.extend(&end.comment);
}

/// Computes the CRC-32 checksum.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let low = crc & 1;
            (crc >> 1) ^ (0xedb8_8320 * low)
        })
    })
}
