//! Archives that lie, are cut or altered.

use std::io::Cursor;

use super::*;
use crate::hand::{self, Part, file, folder};

const LIMITS: ArchiveLimits = ArchiveLimits {
    max_entry_bytes: 1000,
    max_entries: 50,
    max_total_bytes: 5000,
};

/// With small limits.
pub(super) fn open(bytes: Vec<u8>) -> Result<Bar<Cursor<Vec<u8>>>, BarError> {
    Bar::open(Cursor::new(bytes), LIMITS)
}

fn reason(parts: &[Part]) -> Option<EntryError> {
    match open(hand::zip(&hand::with_required(parts))) {
        Ok(_) => None,
        Err(BarError::InvalidEntry { reason, .. }) => Some(reason),
        Err(other) => panic!("{other:?}"),
    }
}

fn is_not_zip(bytes: Vec<u8>) -> bool {
    matches!(open(bytes), Err(BarError::NotZip(_)))
}

#[test]
fn names_that_are_no_plain_paths_are_refused() {
    for name in [
        &b"../a"[..],
        b"a//b",
        b"/a",
        b"a\\b",
        b"c:/a",
        b"a\0",
        b"\xff",
        b"a/./b",
        b"",
        b"a\nb",
    ] {
        let part = Part {
            name: name.to_vec(),
            ..file("", "x")
        };
        let opened = open(hand::zip(&hand::with_required(&[part])));
        assert!(matches!(opened, Err(BarError::UnsafeName(_))), "{name:?}");
    }
}

#[test]
fn names_that_are_not_unique_are_refused() {
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
fn a_name_in_an_extra_field_counts_and_must_be_plain_and_unique() {
    // For programs that do not know the field, the name before it is in an old character set.
    let old = b"caf\x82";
    let renamed = |name: &str| {
        let mut extra = vec![0x75, 0x70, name.len() as u8 + 5, 0, 1];
        extra.extend(hand::crc(old).to_le_bytes());
        extra.extend(name.as_bytes());
        Part {
            name: old.to_vec(),
            extra,
            ..file("", "1")
        }
    };
    let open = |parts: &[Part]| open(hand::zip(&hand::with_required(parts)));
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
fn kinds_that_are_neither_file_nor_folder_are_refused() {
    let with_mode = |name: &str, mode| {
        reason(&[Part {
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
        let part = Part {
            flags,
            ..file("a", "x")
        };
        assert_eq!(reason(&[part]), Some(EntryError::Encrypted), "{flags:x}");
    }
    for method in [1, 6, 9, 12, 14, 93, 95, 98, 99, 0xffff] {
        let part = Part {
            method,
            ..file("a", "x")
        };
        assert_eq!(reason(&[part]), Some(EntryError::Compression), "{method}");
    }
}

#[test]
fn everything_of_version_1_lies_in_its_folder() {
    let v1 = |other: &str| {
        let parts = [
            file("bar/00_meta/00_manifest.json", r#"{"bar_version":"1"}"#),
            file("bar/00_meta/90_rootprops.xml", ""),
            file(other, ""),
        ];
        open(hand::zip(&parts)).map(|_| ())
    };
    assert!(v1("bar/a").is_ok());
    for outside in ["a", "barn", "Bar/a", "00_meta/x", "__MACOSX/bar/a"] {
        let reason = EntryError::OutsideFolder;
        assert!(
            matches!(v1(outside), Err(BarError::InvalidEntry { reason: found, .. }) if found == reason),
            "{outside}"
        );
    }
}

#[test]
fn entries_that_share_bytes_or_contradict_themselves_are_refused() {
    let zip = |parts: &[Part]| hand::zip(&hand::with_required(parts));
    let inner = hand::zip(&[file("b", "x")]);
    let outer = Part {
        data: inner.clone(),
        size: inner.len() as u32,
        ..file("a", "")
    };
    // The list says that b starts inside the data of a.
    let before = hand::zip(&hand::with_required(&[]))
        .windows(4)
        .position(|w| w == b"PK\x01\x02")
        .unwrap();
    let start = Some(before as u32 + 31);
    assert!(is_not_zip(zip(&[
        outer,
        Part {
            start,
            ..file("b", "x")
        }
    ])));
    let start = Some(0);
    assert!(is_not_zip(zip(&[Part {
        start,
        ..file("b", "x")
    }])));
    for start in [7, 1 << 20, u32::MAX] {
        let start = Some(start);
        assert!(is_not_zip(zip(&[Part {
            start,
            ..file("b", "x")
        }])));
    }
    let local_name = Some(b"c".to_vec());
    assert!(is_not_zip(zip(&[Part {
        local_name,
        ..file("b", "x")
    }])));
    let extra = b"xx\0\0".repeat(17);
    assert!(is_not_zip(zip(&[Part {
        extra,
        ..file("b", "x")
    }])));
}

#[test]
fn a_size_for_large_entries_counts() {
    // A size for large entries: all bits set, in a field of its own.
    let mut extra = vec![1, 0, 16, 0];
    extra.extend(u64::MAX.to_le_bytes());
    extra.extend(1u64.to_le_bytes());
    let large = Part {
        size: u32::MAX,
        extra,
        ..file("b", "x")
    };
    let result = open(hand::zip(&hand::with_required(&[large]))).map(|_| ());
    assert!(
        matches!(result, Err(BarError::EntryTooLarge(_))),
        "{result:?}"
    );
}
