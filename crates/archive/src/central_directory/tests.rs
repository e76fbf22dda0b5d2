use std::io::Cursor;

use crate::zip_builder::{self, EndFields, ZipEntry, file, folder};
use crate::{ArchiveLimits, Bar, BarError};

const LIMITS: ArchiveLimits = ArchiveLimits {
    max_entry_bytes: 1000,
    max_entries: 50,
    max_total_bytes: 5000,
};

fn open(bytes: Vec<u8>) -> Result<Bar<Cursor<Vec<u8>>>, BarError> {
    Bar::open(Cursor::new(bytes), LIMITS)
}

fn is_not_zip(bytes: Vec<u8>) -> bool {
    matches!(open(bytes), Err(BarError::NotZip(_)))
}

#[test]
fn archives_with_two_interpretations_are_refused() {
    let parts = zip_builder::with_required(&[file("a", "x")]);
    let good = zip_builder::zip(&parts);
    assert!(open(good.clone()).is_ok());
    let with = |change: &dyn Fn(&mut EndFields)| is_not_zip(zip_builder::zip_with(&parts, change));
    assert!(with(&|end| end.disk = 1));
    assert!(with(&|end| end.entries_here = 2));
    assert!(with(&|end| (end.entries, end.entries_here) = (2, 2)));
    assert!(with(&|end| (end.entries, end.entries_here) = (4, 4)));
    assert!(with(&|end| (end.entries, end.entries_here) = (0, 0)));
    assert!(with(&|end| end.directory_offset += 1));
    assert!(with(&|end| end.directory_bytes -= 1));
    assert!(with(
        &|end| (end.directory_offset, end.directory_bytes) = (u32::MAX, u32::MAX)
    ));
    assert!(with(&|end| end.comment = b"PK\x05\x06".to_vec()));
    assert!(with(&|end| end.comment = zip_builder::zip(&[])));
    assert!(is_not_zip([good.clone(), b"x".to_vec()].concat()));
    assert!(is_not_zip([b"x".to_vec(), good.clone()].concat()));
    assert!(is_not_zip([good.clone(), good].concat()));
    for bytes in [
        Vec::new(),
        b"PK".to_vec(),
        b"PK\x05\x06".to_vec(),
        vec![b'P'; 70_000],
        b"text".repeat(40_000),
    ] {
        assert!(is_not_zip(bytes));
    }
}

#[test]
fn zip64_records_must_be_consistent() {
    let parts = zip_builder::with_required(&[file("a", "x")]);
    let opened =
        |change: &dyn Fn(&mut [u64; 5])| open(zip_builder::zip64_with(&parts, change)).map(|_| ());
    assert!(opened(&|_| {}).is_ok());
    for (at, value) in [
        (0, 2),
        (2, 1),
        (2, u64::MAX),
        (3, 0),
        (3, u64::MAX),
        (4, 0),
        (4, u64::MAX),
        (4, u64::MAX - 20),
    ] {
        let result = opened(&|numbers| numbers[at] = value);
        assert!(matches!(result, Err(BarError::NotZip(_))), "{at} {value}");
    }
    let result = opened(&|numbers| (numbers[0], numbers[1]) = (u64::MAX, u64::MAX));
    assert!(matches!(result, Err(BarError::TooLarge)));
    let result = opened(&|numbers| (numbers[0], numbers[1]) = (4, 4));
    assert!(matches!(result, Err(BarError::NotZip(_))));
}

/// Opens an archive and reads all entries. Their sizes are within the limits.
fn read_all_entries(bytes: Vec<u8>) {
    let Ok(mut bar) = open(bytes) else { return };
    for entry in bar.entries().to_vec() {
        if let Ok(content) = bar.read(&entry) {
            assert_eq!(content.len() as u64, entry.size());
            assert!(entry.size() <= LIMITS.max_entry_bytes);
        }
    }
}

#[test]
fn altered_archives_never_panic() {
    let streamed = ZipEntry {
        flags: 8,
        extra: b"UT\x05\0\x01abcd".to_vec(),
        ..zip_builder::deflated("90_contents/a", &"some text ".repeat(50))
    };
    let parts = zip_builder::with_required(&[
        folder("90_contents/"),
        streamed,
        file("90_contents/b", "stored"),
    ]);
    for good in [
        zip_builder::zip(&parts),
        zip_builder::zip64_with(&parts, |_| {}),
    ] {
        assert!(open(good.clone()).is_ok());
        for at in 0..good.len() {
            read_all_entries(good[..at].to_vec());
            read_all_entries(good[at..].to_vec());
            for value in [
                0,
                0xff,
                0x7f,
                good[at] ^ 1,
                good[at] ^ 0x80,
                good[at].wrapping_add(1),
            ] {
                let mut altered = good.clone();
                altered[at] = value;
                read_all_entries(altered);
            }
            let mut wider = good.clone();
            wider[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff);
            read_all_entries(wider);
            let mut shorter = good.clone();
            shorter.remove(at);
            read_all_entries(shorter);
        }
    }
}
