//! The marks of a unit in files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::written_file::{NewFile, sync_folder_of};

/// The file of a mark.
pub const FILE: &str = "unit.id";
/// The file that exists beside the other parts while the marks are being written.
const STARTED_FILE: &str = "unit.id.started";

/// The text before the id.
const PREFIX: &str = "personium unit ";

/// The largest length of an id.
const MAX_ID_BYTES: usize = 64;

/// Returns the path of the mark in a folder.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Returns the path of the mark that is being written.
pub(super) fn started_path(folder: &Path) -> PathBuf {
    folder.join(STARTED_FILE)
}

/// Reads a mark; `None` if there is no such file.
///
/// # Errors
/// If the file cannot be read or is not a mark.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    parse(&text).map(Some)
}

/// Returns the id in the text of a mark.
///
/// # Errors
/// If it is not a mark.
pub(super) fn parse(text: &str) -> io::Result<String> {
    let id = text.trim_end().strip_prefix(PREFIX);
    let is_id = |id: &&str| {
        let is_part = |c: char| c.is_ascii_hexdigit() || c == '-';
        !id.is_empty() && id.len() <= MAX_ID_BYTES && id.chars().all(is_part)
    };
    match id.filter(is_id) {
        Some(id) => Ok(id.to_owned()),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is not the mark of a unit",
        )),
    }
}

/// Writes a mark durably.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn write(path: &Path, id: &str) -> io::Result<()> {
    write_durably(path, &text(id))
}

/// The text of a mark.
pub(super) fn text(id: &str) -> String {
    format!("{PREFIX}{id}\n")
}

/// Writes a file that is there with its whole content or not at all, also after a power cut.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn write_durably(path: &Path, text: &str) -> io::Result<()> {
    let mut new = NewFile::beside(path)?;
    new.file.write_all(text.as_bytes())?;
    new.put_in_place()
}

/// Renames a file within its folder.
///
/// # Errors
/// If it cannot be renamed.
pub(crate) fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder_of(to)
}

/// Syncs a file to the disk if it exists.
///
/// # Errors
/// If it cannot be synced.
pub(super) fn sync_if_exists(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_is_read_as_it_was_written_and_other_content_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path());
        assert_eq!(read(&path).unwrap(), None);
        write(&path, "0a-1b").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("0a-1b"));
        for text in ["", "personium unit \n", "personium unit x/y\n", "0a-1b\n"] {
            fs::write(&path, text).unwrap();
            assert!(read(&path).is_err(), "{text}");
        }
    }
}
