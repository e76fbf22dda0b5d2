//! Archives made by hand for tests, so that every field can lie.

use std::io::{Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// One entry; made by [`file`] or [`folder`] and changed from there.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) name: Vec<u8>,
    /// The name in the header before the data, if another.
    pub(crate) local_name: Option<Vec<u8>>,
    /// As stored, compressed or not.
    pub(crate) data: Vec<u8>,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) crc: u32,
    pub(crate) size: u32,
    pub(crate) mode: u32,
    pub(crate) extra: Vec<u8>,
    /// Where the list says that the entry starts, if elsewhere.
    pub(crate) start: Option<u32>,
}

/// The record at the end.
pub(crate) struct End {
    pub(crate) disk: u16,
    pub(crate) entries_here: u16,
    pub(crate) entries: u16,
    pub(crate) list_len: u32,
    pub(crate) list_start: u32,
    pub(crate) comment: Vec<u8>,
}

pub(crate) fn file(name: &str, content: &str) -> Part {
    Part {
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

/// Compressed by deflate.
pub(crate) fn deflated(name: &str, content: &str) -> Part {
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
    Part {
        data,
        method: 8,
        ..file(name, content)
    }
}

pub(crate) fn folder(name: &str) -> Part {
    file(name, "")
}

/// The manifest and the other required file of version 2, then `parts`.
pub(crate) fn with_required(parts: &[Part]) -> Vec<Part> {
    let required = [
        file("00_meta/00_manifest.json", r#"{"bar_version":"2"}"#),
        file("00_meta/90_rootprops.xml", "<x/>"),
    ];
    required.into_iter().chain(parts.iter().cloned()).collect()
}

pub(crate) fn zip(parts: &[Part]) -> Vec<u8> {
    zip_with(parts, |_| {})
}

pub(crate) fn zip_with(parts: &[Part], change: impl FnOnce(&mut End)) -> Vec<u8> {
    let (mut bytes, list) = body(parts);
    let mut end = End {
        disk: 0,
        entries_here: parts.len() as u16,
        entries: parts.len() as u16,
        list_len: list.len() as u32,
        list_start: bytes.len() as u32,
        comment: Vec::new(),
    };
    change(&mut end);
    bytes.extend(list);
    push_end(&mut bytes, &end);
    bytes
}

/// With the records for large archives. The numbers are those in the record: entries here, entries, bytes of the list,
/// start of the list; and in the locator: start of the record.
pub(crate) fn zip64_with(parts: &[Part], change: impl FnOnce(&mut [u64; 5])) -> Vec<u8> {
    let (mut bytes, list) = body(parts);
    let count = parts.len() as u64;
    let record = (bytes.len() + list.len()) as u64;
    let mut numbers = [count, count, list.len() as u64, bytes.len() as u64, record];
    change(&mut numbers);
    bytes.extend(list);
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
    let end = End {
        disk: 0,
        entries_here: u16::MAX,
        entries: u16::MAX,
        list_len: u32::MAX,
        list_start: u32::MAX,
        comment: Vec::new(),
    };
    push_end(&mut bytes, &end);
    bytes
}

fn body(parts: &[Part]) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut list = Vec::new();
    for part in parts {
        let start = part.start.unwrap_or(bytes.len() as u32);
        let local_name = part.local_name.as_ref().unwrap_or(&part.name);
        bytes.extend(b"PK\x03\x04\x14\0");
        push_shared(&mut bytes, part, local_name.len());
        bytes.extend(local_name);
        bytes.extend(&part.extra);
        bytes.extend(&part.data);
        list.extend(b"PK\x01\x02\x14\x03\x14\0");
        push_shared(&mut list, part, part.name.len());
        list.extend([0; 6]);
        list.extend((part.mode << 16).to_le_bytes());
        list.extend(start.to_le_bytes());
        list.extend(&part.name);
        list.extend(&part.extra);
    }
    (bytes, list)
}

fn push_shared(out: &mut Vec<u8>, part: &Part, name_len: usize) {
    out.extend(part.flags.to_le_bytes());
    out.extend(part.method.to_le_bytes());
    out.extend([0, 0, 0x21, 0]);
    out.extend(part.crc.to_le_bytes());
    out.extend((part.data.len() as u32).to_le_bytes());
    out.extend(part.size.to_le_bytes());
    out.extend((name_len as u16).to_le_bytes());
    out.extend((part.extra.len() as u16).to_le_bytes());
}

fn push_end(out: &mut Vec<u8>, end: &End) {
    out.extend(b"PK\x05\x06");
    for number in [end.disk, 0, end.entries_here, end.entries] {
        out.extend(number.to_le_bytes());
    }
    out.extend(end.list_len.to_le_bytes());
    out.extend(end.list_start.to_le_bytes());
    out.extend((end.comment.len() as u16).to_le_bytes());
    out.extend(&end.comment);
}

/// The checksum of zip archives.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let low = crc & 1;
            (crc >> 1) ^ (0xedb8_8320 * low)
        })
    })
}
