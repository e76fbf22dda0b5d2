use std::io::Cursor;

use crate::hand::{self, End, Part, file, folder};
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
fn a_frame_that_can_be_read_in_two_ways_is_refused() {
    let parts = hand::with_required(&[file("a", "x")]);
    let good = hand::zip(&parts);
    assert!(open(good.clone()).is_ok());
    let with = |change: &dyn Fn(&mut End)| is_not_zip(hand::zip_with(&parts, change));
    assert!(with(&|end| end.disk = 1));
    assert!(with(&|end| end.entries_here = 2));
    assert!(with(&|end| (end.entries, end.entries_here) = (2, 2)));
    assert!(with(&|end| (end.entries, end.entries_here) = (4, 4)));
    assert!(with(&|end| (end.entries, end.entries_here) = (0, 0)));
    assert!(with(&|end| end.list_start += 1));
    assert!(with(&|end| end.list_len -= 1));
    assert!(with(
        &|end| (end.list_start, end.list_len) = (u32::MAX, u32::MAX)
    ));
    assert!(with(&|end| end.comment = b"PK\x05\x06".to_vec()));
    assert!(with(&|end| end.comment = hand::zip(&[])));
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
fn records_for_large_archives_must_fit() {
    let parts = hand::with_required(&[file("a", "x")]);
    let opened =
        |change: &dyn Fn(&mut [u64; 5])| open(hand::zip64_with(&parts, change)).map(|_| ());
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

/// Opens and reads everything; what is read out is at most what is allowed.
fn try_everything(bytes: Vec<u8>) {
    let Ok(mut bar) = open(bytes) else { return };
    for entry in bar.entries().to_vec() {
        if let Ok(content) = bar.read(&entry) {
            assert_eq!(content.len() as u64, entry.size());
            assert!(entry.size() <= LIMITS.max_entry_bytes);
        }
    }
}

#[test]
fn an_altered_archive_never_panics() {
    let streamed = Part {
        flags: 8,
        extra: b"UT\x05\0\x01abcd".to_vec(),
        ..hand::deflated("90_contents/a", &"some text ".repeat(50))
    };
    let parts = hand::with_required(&[
        folder("90_contents/"),
        streamed,
        file("90_contents/b", "stored"),
    ]);
    for good in [hand::zip(&parts), hand::zip64_with(&parts, |_| {})] {
        assert!(open(good.clone()).is_ok());
        for at in 0..good.len() {
            try_everything(good[..at].to_vec());
            try_everything(good[at..].to_vec());
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
                try_everything(altered);
            }
            let mut wider = good.clone();
            wider[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff);
            try_everything(wider);
            let mut shorter = good.clone();
            shorter.remove(at);
            try_everything(shorter);
        }
    }
}
