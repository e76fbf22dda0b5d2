//! Writes zip archives entry by entry.

use std::io::{self, Seek, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// The length in bytes from which on an entry is announced as a large one, which old programs cannot read.
const LARGE_BYTES: u64 = u32::MAX as u64;

/// A zip archive that is being written. Entries have no time of modification, so that equal contents give equal archives.
pub struct ArchiveWriter<W: Write + Seek> {
    zip: ZipWriter<W>,
}

impl<W: Write + Seek> ArchiveWriter<W> {
    /// Starts an archive.
    pub fn new(out: W) -> Self {
        Self {
            zip: ZipWriter::new(out),
        }
    }

    /// Adds a folder; `path` has no trailing `/`.
    ///
    /// # Errors
    /// The error of the output.
    pub fn add_folder(&mut self, path: &str) -> io::Result<()> {
        Ok(self.zip.add_directory(path, SimpleFileOptions::default())?)
    }

    /// Starts a file of at most so many bytes. Its content follows by [`Self::write`].
    ///
    /// # Errors
    /// The error of the output.
    pub fn start_file(&mut self, path: &str, max_bytes: u64) -> io::Result<()> {
        let options = SimpleFileOptions::default().large_file(max_bytes >= LARGE_BYTES);
        Ok(self.zip.start_file(path, options)?)
    }

    /// Appends to the content of the last file.
    ///
    /// # Errors
    /// The error of the output.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.zip.write_all(bytes)
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// The error of the output.
    pub fn finish(self) -> io::Result<W> {
        Ok(self.zip.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::{ArchiveLimits, Bar, paths};

    #[test]
    fn written_archive_is_read_with_the_same_content() {
        let write = || {
            let mut writer = ArchiveWriter::new(Cursor::new(Vec::new()));
            writer.add_folder(paths::CONTENTS).unwrap();
            writer.start_file(paths::MANIFEST, 100).unwrap();
            writer.write(br#"{"bar_version""#).unwrap();
            writer.write(br#":"2"}"#).unwrap();
            writer.start_file(paths::ROOT_PROPS, u64::MAX).unwrap();
            writer.write(b"<x/>").unwrap();
            writer.start_file("90_contents/\u{8cc7}", 0).unwrap();
            writer.finish().unwrap().into_inner()
        };
        let limits = ArchiveLimits {
            max_entry_bytes: 100,
            max_entries: 10,
            max_total_bytes: 1_000,
        };
        let mut bar = Bar::open(Cursor::new(write()), limits).unwrap();
        assert!(bar.has_folder(paths::CONTENTS));
        let entry = bar.find(paths::ROOT_PROPS).cloned().unwrap();
        assert_eq!(bar.read(&entry).unwrap(), b"<x/>");
        assert_eq!(bar.find("90_contents/\u{8cc7}").unwrap().size(), 0);
        assert_eq!(write(), write());
    }
}
