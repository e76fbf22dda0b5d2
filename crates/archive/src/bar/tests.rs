use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::zip_builder::{self, file, folder};
use zip::CompressionMethod;

pub(super) const LIMITS: ArchiveLimits = ArchiveLimits {
    max_entry_bytes: 1 << 20,
    max_entries: 100,
    max_total_bytes: 4 << 20,
};

pub(super) fn open(bytes: Vec<u8>) -> Result<Bar<Cursor<Vec<u8>>>, BarError> {
    Bar::open(Cursor::new(bytes), LIMITS)
}

/// Writes an archive with the zip crate.
pub(super) fn written(entries: &[(&str, &[u8])], options: SimpleFileOptions) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        if let Some(folder) = name.strip_suffix('/') {
            writer.add_directory(folder, options).unwrap();
        } else {
            writer.start_file(*name, options).unwrap();
            writer.write_all(content).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

pub(super) const V1: &[(&str, &[u8])] = &[
    ("bar/", b""),
    ("bar/90_contents/col1/b.txt", b"text"),
    (
        "bar/00_meta/00_manifest.json",
        br#"{"bar_version":"1","DefaultPath":"app"}"#,
    ),
    ("bar/00_meta/90_rootprops.xml", b"<x/>"),
    ("bar/90_contents/empty/", b""),
    ("bar/90_contents/語", b""),
];

pub(super) fn v1(options: SimpleFileOptions) -> Vec<u8> {
    written(V1, options)
}

#[test]
fn inner_paths_of_version_1_omit_the_folder() {
    let mut bar = open(v1(SimpleFileOptions::default())).unwrap();
    assert_eq!(bar.version(), BarVersion::V1);
    assert_eq!(bar.manifest().default_path.as_deref(), Some("app"));
    let paths: Vec<_> = bar.entries().iter().map(BarEntry::path).collect();
    assert_eq!(
        paths,
        [
            "90_contents/col1/b.txt",
            paths::MANIFEST,
            paths::ROOT_PROPS,
            "90_contents/語"
        ]
    );
    let entry = bar.find("90_contents/col1/b.txt").cloned().unwrap();
    assert_eq!(
        (entry.name(), entry.size()),
        ("bar/90_contents/col1/b.txt", 4)
    );
    assert_eq!(bar.read(&entry).unwrap(), b"text");
    assert!(
        bar.has_folder(paths::CONTENTS)
            && bar.has_folder("90_contents/col1")
            && bar.has_folder("90_contents/empty")
    );
    assert!(
        !bar.has_folder("90_contents/col")
            && !bar.has_folder("bar")
            && !bar.has_folder("90_contents/col1/b.txt")
    );
    assert!(
        bar.find("bar/90_contents/col1/b.txt").is_none() && bar.find("90_contents/empty").is_none()
    );
}

#[test]
fn inner_paths_of_version_2_begin_at_the_root() {
    let parts =
        zip_builder::with_required(&[folder("90_contents/"), file("90_contents/bar/a", "x")]);
    let mut bar = open(zip_builder::zip(&parts)).unwrap();
    assert_eq!(bar.version(), BarVersion::V2);
    assert_eq!(bar.entries().len(), 3);
    let mut contents = Vec::new();
    for entry in bar.entries().to_vec() {
        assert_eq!(entry.path(), entry.name());
        contents.push(bar.read(&entry).unwrap());
    }
    assert_eq!(contents.last().map(Vec::as_slice), Some(&b"x"[..]));
}

#[test]
fn archives_of_all_write_options_are_read() {
    let big = "0123456789abcdef".repeat(20_000);
    let entries: Vec<(&str, &[u8])> = V1
        .iter()
        .copied()
        .chain([("bar/big", big.as_bytes())])
        .collect();
    let options = SimpleFileOptions::default();
    for options in [
        options,
        options.compression_method(CompressionMethod::Stored),
        options.large_file(true),
        options.unix_permissions(0o600),
        options.system(zip::System::Dos),
    ] {
        let mut bar = open(written(&entries, options)).unwrap();
        let entry = bar.find("big").cloned().unwrap();
        assert_eq!(bar.read(&entry).unwrap(), big.as_bytes());
    }
    let parts = zip_builder::with_required(&[file("a", "inside")]);
    let mut bar = open(zip_builder::zip64_with(&parts, |_| {})).unwrap();
    let entry = bar.find("a").cloned().unwrap();
    assert_eq!(bar.read(&entry).unwrap(), b"inside");
    assert!(
        open(zip_builder::zip_with(&parts, |end| end.comment = b"made by hand".to_vec())).is_ok()
    );
}

#[test]
fn data_descriptors_are_supported() {
    let mut streamed = ZipWriter::new_stream(Vec::new());
    for (name, content) in V1.iter().filter(|(name, _)| !name.ends_with('/')) {
        streamed
            .start_file(*name, SimpleFileOptions::default())
            .unwrap();
        streamed.write_all(content).unwrap();
    }
    let mut bar = open(streamed.finish().unwrap().into_inner()).unwrap();
    let entry = bar.find("90_contents/col1/b.txt").cloned().unwrap();
    assert_eq!(bar.read(&entry).unwrap(), b"text");
}

#[test]
fn nested_archive_is_a_file() {
    let inner = v1(SimpleFileOptions::default());
    let entries: Vec<(&str, &[u8])> = V1
        .iter()
        .copied()
        .chain([("bar/inner.zip", inner.as_slice())])
        .collect();
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let options = SimpleFileOptions::default().compression_method(method);
        let mut bar = open(written(&entries, options)).unwrap();
        let entry = bar.find("inner.zip").cloned().unwrap();
        assert_eq!(bar.read(&entry).unwrap(), inner);
    }
}

#[test]
fn missing_entries_are_listed_in_order() {
    let missing = |parts: &[zip_builder::ZipEntry]| match open(zip_builder::zip(parts)) {
        Err(BarError::Missing(names)) => names,
        Err(other) => panic!("{other}"),
        Ok(_) => Vec::new(),
    };
    let v1 = [
        "bar/",
        "bar/00_meta/",
        "bar/00_meta/00_manifest.json",
        "bar/00_meta/90_rootprops.xml",
    ];
    assert_eq!(missing(&[]), v1);
    assert_eq!(
        missing(&[file("a", ""), file("00_meta/90_rootprops.xml", "")]),
        v1
    );
    assert_eq!(missing(&[file("bar", "")]), v1);
    assert_eq!(missing(&[folder("bar/")]), v1[1..]);
    assert_eq!(missing(&[folder("bar/00_meta/")]), v1[2..]);
    assert_eq!(missing(&[folder("bar/00_meta/00_manifest.json/")]), v1[2..]);
    assert_eq!(
        missing(&[file("bar/00_meta/90_rootprops.xml", "")]),
        v1[2..3]
    );
    assert_eq!(
        missing(&[file("00_meta/00_manifest.json", "")]),
        ["00_meta/90_rootprops.xml"]
    );
    assert_eq!(missing(&zip_builder::with_required(&[])), [""; 0]);
}

#[test]
fn manifest_is_validated_on_opening() {
    let manifest = |text: &str| {
        let parts = [
            file("00_meta/00_manifest.json", text),
            file("00_meta/90_rootprops.xml", ""),
        ];
        open(zip_builder::zip(&parts)).err()
    };
    assert!(matches!(
        manifest("{"),
        Some(BarError::ManifestUnreadable { .. })
    ));
    assert!(matches!(manifest("{}"), Some(BarError::ManifestField(_))));
    assert!(
        matches!(manifest(r#"{"bar_version":"1"}"#), Some(BarError::Version(value)) if value == "1")
    );
    assert!(manifest(r#"{"bar_version":2}"#).is_none());
    let mut damaged = zip_builder::with_required(&[]);
    damaged[0].crc ^= 1;
    assert!(matches!(
        open(zip_builder::zip(&damaged)),
        Err(BarError::ManifestUnreadable { .. })
    ));
}

#[test]
fn limits_are_inclusive() {
    let parts = zip_builder::with_required(&[folder("d/"), file("d/a", "0123456789")]);
    let bytes = zip_builder::zip(&parts);
    let total = parts.iter().map(|part| u64::from(part.size)).sum();
    let exact = ArchiveLimits {
        max_entry_bytes: 19,
        max_entries: 4,
        max_total_bytes: total,
    };
    let open = |limits| Bar::open(Cursor::new(bytes.clone()), limits);
    assert!(open(exact).is_ok());
    let max_entry_bytes = 18;
    assert!(
        matches!(open(ArchiveLimits { max_entry_bytes, ..exact }), Err(BarError::EntryTooLarge(name)) if name == "00_meta/00_manifest.json")
    );
    let max_entries = 3;
    assert!(matches!(
        open(ArchiveLimits {
            max_entries,
            ..exact
        }),
        Err(BarError::TooLarge)
    ));
    let max_total_bytes = total - 1;
    assert!(matches!(
        open(ArchiveLimits {
            max_total_bytes,
            ..exact
        }),
        Err(BarError::TooLarge)
    ));
}
