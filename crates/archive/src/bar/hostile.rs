//! Invalid archives.

use std::io::Cursor;

use super::*;
use crate::error::EntryError;
use crate::zip_builder::{self, ZipEntry, file, folder};

const LIMITS: ArchiveLimits = ArchiveLimits {
    max_entry_bytes: 1000,
    max_entries: 50,
    max_total_bytes: 5000,
};

/// Opens an archive with small limits.
pub(super) fn open(bytes: Vec<u8>) -> Result<Bar<Cursor<Vec<u8>>>, BarError> {
    Bar::open(Cursor::new(bytes), LIMITS)
}

fn reason(parts: &[ZipEntry]) -> Option<EntryError> {
    match open(zip_builder::zip(&zip_builder::with_required(parts))) {
        Ok(_) => None,
        Err(BarError::InvalidEntry { reason, .. }) => Some(reason),
        Err(other) => panic!("{other:?}"),
    }
}

fn is_not_zip(bytes: Vec<u8>) -> bool {
    matches!(open(bytes), Err(BarError::NotZip(_)))
}

#[test]
fn unsafe_names_are_refused() {
    for name in [
        &b"../a"[..],
        b"a//b",
        b"/a",
        b"a\\b",
        b"c:/a",
        b"a\0",
        b"\xff",
        b"..\x5c\x8fd",
        b"\x8fd/../\x8fd",
        b"a/./b",
        b"",
        b"a\nb",
    ] {
        let part = ZipEntry {
            name: name.to_vec(),
            ..file("", "x")
        };
        let opened = open(zip_builder::zip(&zip_builder::with_required(&[part])));
        assert!(matches!(opened, Err(BarError::UnsafeName(_))), "{name:?}");
    }
}

#[test]
fn duplicate_names_are_refused() {
    assert_eq!(
        reason(&[file("a", "1"), file("a", "2")]),
        Some(EntryError::Duplicate)
    );
    assert_eq!(
        reason(&[file("00_meta/00_manifest.json", "{}")]),
        Some(EntryError::Duplicate)
    );
    assert_eq!(
        reason(&[folder("a/"), folder("a/")]),
        Some(EntryError::Duplicate)
    );
    assert_eq!(
        reason(&[file("a", "1"), folder("a/")]),
        Some(EntryError::FileAndFolder)
    );
    assert_eq!(
        reason(&[file("a/b", "1"), file("a", "2")]),
        Some(EntryError::FileAndFolder)
    );
    assert_eq!(reason(&[file("A", "1"), file("a", "2")]), None);
}

#[test]
fn name_in_an_extra_field_is_validated() {
    // The name in the header has an old encoding, for programs that do not support the extra field.
    let old = b"caf\x82";
    let renamed = |name: &str| {
        let mut extra = vec![0x75, 0x70, name.len() as u8 + 5, 0, 1];
        extra.extend(zip_builder::crc(old).to_le_bytes());
        extra.extend(name.as_bytes());
        ZipEntry {
            name: old.to_vec(),
            extra,
            ..file("", "1")
        }
    };
    let open = |parts: &[ZipEntry]| open(zip_builder::zip(&zip_builder::with_required(parts)));
    assert!(
        open(&[renamed("caf\u{e9}")])
            .unwrap()
            .find("caf\u{e9}")
            .is_some()
    );
    assert!(matches!(
        open(&[renamed("../caf\u{e9}")]),
        Err(BarError::UnsafeName(_))
    ));
    assert!(matches!(
        open(&[renamed("other")]),
        Err(BarError::NotZip(_))
    ));
    assert!(open(&[renamed("caf\u{e9}"), file("caf\u{e9}", "2")]).is_err());
}

#[test]
fn special_files_are_refused() {
    let with_mode = |name: &str, mode| {
        reason(&[ZipEntry {
            mode,
            ..file(name, "")
        }])
    };
    for special in [0o120_777, 0o010_644, 0o020_644, 0o060_644, 0o140_644] {
        assert_eq!(
            with_mode("a", special),
            Some(EntryError::SpecialFile),
            "{special:o}"
        );
        assert_eq!(
            with_mode("a/", special),
            Some(EntryError::SpecialFile),
            "{special:o}"
        );
    }
    assert_eq!(with_mode("a", 0o040_755), Some(EntryError::AmbiguousKind));
    assert_eq!(with_mode("a/", 0o100_644), Some(EntryError::AmbiguousKind));
    for (name, mode) in [
        ("a", 0o100_644),
        ("a", 0o644),
        ("a/", 0o040_755),
        ("a/", 0o040_000),
        ("a/", 0),
    ] {
        assert_eq!(with_mode(name, mode), None, "{name} {mode:o}");
    }
    assert_eq!(reason(&[file("a/", "x")]), Some(EntryError::FolderContent));
}

#[test]
fn encryption_and_other_compression_are_refused() {
    for flags in [0x0001, 0x0040, 0x2000, 0x0009] {
        let part = ZipEntry {
            flags,
            ..file("a", "x")
        };
        assert_eq!(reason(&[part]), Some(EntryError::Encrypted), "{flags:x}");
    }
    for method in [1, 6, 9, 12, 14, 93, 95, 98, 99, 0xffff] {
        let part = ZipEntry {
            method,
            ..file("a", "x")
        };
        assert_eq!(reason(&[part]), Some(EntryError::Compression), "{method}");
    }
}

#[test]
fn entries_outside_the_folder_of_version_1_are_left_out() {
    let v1 = |other: &str| {
        let parts = [
            file(other, ""),
            file("bar/00_meta/00_manifest.json", r#"{"bar_version":"1"}"#),
            file("bar/00_meta/90_rootprops.xml", ""),
        ];
        open(zip_builder::zip(&parts)).unwrap().entries().len()
    };
    assert_eq!(v1("bar/a"), 3);
    for outside in [
        "a",
        "barn",
        "Bar/a",
        "00_meta/x",
        "__MACOSX/bar/a",
        ".DS_Store",
    ] {
        assert_eq!(v1(outside), 2, "{outside}");
    }
    assert!(matches!(
        open(zip_builder::zip(&[file("../a", "")])),
        Err(BarError::UnsafeName(_))
    ));
}

#[test]
fn overlapping_and_inconsistent_entries_are_refused() {
    let zip = |parts: &[ZipEntry]| zip_builder::zip(&zip_builder::with_required(parts));
    let inner = zip_builder::zip(&[file("b", "x")]);
    let outer = ZipEntry {
        data: inner.clone(),
        size: inner.len() as u32,
        ..file("a", "")
    };
    // The central directory states an offset of b inside the data of a.
    let before = zip_builder::zip(&zip_builder::with_required(&[]))
        .windows(4)
        .position(|w| w == b"PK\x01\x02")
        .unwrap();
    let start = Some(before as u32 + 31);
    assert!(is_not_zip(zip(&[
        outer,
        ZipEntry {
            start,
            ..file("b", "x")
        }
    ])));
    let start = Some(0);
    assert!(is_not_zip(zip(&[ZipEntry {
        start,
        ..file("b", "x")
    }])));
    for start in [7, 1 << 20, u32::MAX] {
        let start = Some(start);
        assert!(is_not_zip(zip(&[ZipEntry {
            start,
            ..file("b", "x")
        }])));
    }
    let local_name = Some(b"c".to_vec());
    assert!(is_not_zip(zip(&[ZipEntry {
        local_name,
        ..file("b", "x")
    }])));
    let extra = b"xx\0\0".repeat(17);
    assert!(is_not_zip(zip(&[ZipEntry {
        extra,
        ..file("b", "x")
    }])));
}

#[test]
fn zip64_size_of_an_entry_is_used() {
    // A size for large entries: all bits set, in a field of its own.
    let mut extra = vec![1, 0, 16, 0];
    extra.extend(u64::MAX.to_le_bytes());
    extra.extend(1u64.to_le_bytes());
    let large = ZipEntry {
        size: u32::MAX,
        extra,
        ..file("b", "x")
    };
    let result = open(zip_builder::zip(&zip_builder::with_required(&[large]))).map(|_| ());
    assert!(
        matches!(result, Err(BarError::EntryTooLarge(_))),
        "{result:?}"
    );
}
