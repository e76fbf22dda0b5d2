//! Reading of entries: chunks, content that differs from its declaration, failing readers and writers.

use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom, Write};

use zip::write::SimpleFileOptions;

use super::hostile::open as open_small;
use super::tests::{LIMITS, V1, open, v1, written};
use super::*;
use crate::zip_builder::{self, ZipEntry, file};

#[test]
fn content_is_written_in_chunks() {
    struct ChunkSizes(Vec<usize>);
    impl Write for ChunkSizes {
        fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
            self.0.push(chunk.len());
            Ok(chunk.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let big = vec![7; 1 << 20];
    let entries: Vec<(&str, &[u8])> = V1
        .iter()
        .copied()
        .chain([("bar/big", big.as_slice())])
        .collect();
    let mut bar = open(written(&entries, SimpleFileOptions::default())).unwrap();
    let entry = bar.find("big").cloned().unwrap();
    let mut chunks = ChunkSizes(Vec::new());
    bar.copy(&entry, &mut chunks).unwrap();
    assert_eq!(chunks.0.iter().sum::<usize>(), big.len());
    assert!(chunks.0.iter().all(|len| *len <= 64 << 10));
}

/// A reader that fails after a number of bytes.
struct Failing(Cursor<Vec<u8>>, usize);

impl Read for Failing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.1 == 0 {
            return Err(io::Error::from(ErrorKind::PermissionDenied));
        }
        let most = out.len().min(self.1);
        let count = self.0.read(&mut out[..most])?;
        self.1 -= count;
        Ok(count)
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn io_errors_differ_from_archive_errors() {
    let bytes = v1(SimpleFileOptions::default());
    for budget in 0..3000 {
        match Bar::open(Failing(Cursor::new(bytes.clone()), budget), LIMITS) {
            Ok(mut bar) => {
                let entries = bar.entries().to_vec();
                let failed = entries.iter().find_map(|entry| bar.read(entry).err());
                assert!(
                    matches!(failed, None | Some(ReadError::Io(_))),
                    "{budget}: {failed:?}"
                );
            }
            Err(error) => assert!(matches!(error, BarError::Io(_)), "{budget}: {error:?}"),
        }
    }
    let mut bar = open(bytes).unwrap();
    let entry = bar.find("90_contents/col1/b.txt").cloned().unwrap();
    let mut full: &mut [u8] = &mut [0; 2];
    assert!(matches!(bar.copy(&entry, &mut full), Err(ReadError::Io(_))));
}

#[test]
fn entry_of_another_archive_is_refused() {
    let first = open(zip_builder::zip(&zip_builder::with_required(&[
        file("a", "1"),
        file("b", "2"),
    ])))
    .unwrap();
    let mut second = open(zip_builder::zip(&zip_builder::with_required(&[file(
        "b", "3",
    )])))
    .unwrap();
    for entry in first.entries().iter().skip(2) {
        assert!(matches!(second.read(entry), Err(ReadError::Damaged { .. })));
    }
}

#[test]
fn wrong_sizes_are_detected() {
    let read = |part: ZipEntry| {
        let mut bar = open_small(zip_builder::zip(&zip_builder::with_required(&[part]))).unwrap();
        let entry = bar.find("a").cloned().unwrap();
        let mut out = Vec::new();
        let result = bar.copy(&entry, &mut out);
        assert!(out.len() as u64 <= entry.size());
        result
    };
    let honest = zip_builder::deflated("a", &"x".repeat(900));
    assert!(read(honest.clone()).is_ok());
    let bomb = zip_builder::deflated("a", &"x".repeat(5_000_000));
    for (size, part) in [
        (0, &honest),
        (899, &honest),
        (901, &honest),
        (1000, &bomb),
        (10, &bomb),
    ] {
        let part = ZipEntry {
            size,
            ..part.clone()
        };
        assert!(
            matches!(read(part), Err(ReadError::Damaged { .. })),
            "{size}"
        );
    }
    let declared = open_small(zip_builder::zip(&zip_builder::with_required(
        std::slice::from_ref(&bomb),
    )));
    assert!(matches!(declared, Err(BarError::EntryTooLarge(name)) if name == "a"));
    for size in [3, 5] {
        let part = ZipEntry {
            size,
            ..file("a", "text")
        };
        assert!(
            matches!(read(part), Err(ReadError::Damaged { .. })),
            "{size}"
        );
    }
    let many: Vec<_> = (0..6)
        .map(|n| file(&format!("f{n}"), &"x".repeat(900)))
        .collect();
    assert!(matches!(
        open_small(zip_builder::zip(&zip_builder::with_required(&many))),
        Err(BarError::TooLarge)
    ));
}

#[test]
fn checksum_and_compression_are_verified() {
    let read = |part: ZipEntry| {
        let mut bar = open_small(zip_builder::zip(&zip_builder::with_required(&[part]))).unwrap();
        let entry = bar.find("a").cloned().unwrap();
        bar.read(&entry)
    };
    let part = file("a", "text");
    assert_eq!(read(part.clone()).unwrap(), b"text");
    let crc = part.crc ^ 0x0100;
    assert!(matches!(
        read(ZipEntry {
            crc,
            ..part.clone()
        }),
        Err(ReadError::Damaged { .. })
    ));
    let data = b"tExt".to_vec();
    assert!(matches!(
        read(ZipEntry {
            data,
            ..part.clone()
        }),
        Err(ReadError::Damaged { .. })
    ));
    let method = 8;
    assert!(matches!(
        read(ZipEntry { method, ..part }),
        Err(ReadError::Damaged { .. })
    ));
}
