//! Errors of bar files.

use std::io;

use zip::result::ZipError;

use crate::version::BarVersion;

/// The source of an error.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// An error while a bar file is opened.
#[derive(Debug, thiserror::Error)]
pub enum BarError {
    /// The file is not a zip archive, or its parts are inconsistent.
    #[error("the file is not a valid zip archive")]
    NotZip(#[source] BoxedError),
    /// The archive exceeds a limit for the number of entries, their total size, or the central directory.
    #[error("the archive has too many entries or is too large")]
    TooLarge,
    /// The name of an entry is not a relative path without special segments. Control characters of the text are
    /// replaced, long names are truncated.
    #[error("the name of the entry {0} is not allowed")]
    UnsafeName(String),
    /// An entry is not supported or conflicts with another one.
    #[error("the entry {name} is not valid: {reason}")]
    InvalidEntry {
        /// The name of the entry in the archive; long names are truncated.
        name: String,
        /// The reason.
        reason: EntryError,
    },
    /// The declared size of an entry exceeds the limit.
    #[error("the entry {0} is too large")]
    EntryTooLarge(String),
    /// Required entries are missing. Contains their names.
    #[error("required entries are missing: {}", .0.join(", "))]
    Missing(Vec<String>),
    /// The manifest is damaged, is not a JSON object, or has an unknown key or a value of a wrong type.
    #[error("cannot parse the manifest")]
    ManifestUnreadable {
        /// The version according to the layout of the archive.
        version: BarVersion,
        /// The cause.
        source: BoxedError,
    },
    /// A key of the manifest is missing or not an integer.
    #[error("{0} of the manifest is missing or not an integer")]
    ManifestField(&'static str),
    /// The version in the manifest does not match the layout of the archive.
    #[error("the version {0} does not match the layout of the archive")]
    Version(String),
    /// The underlying reader failed.
    #[error("cannot read the archive")]
    Io(#[source] io::Error),
}

/// The reason why an entry is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The entry is encrypted.
    #[error("it is encrypted")]
    Encrypted,
    /// The compression method is not deflate.
    #[error("its compression is not supported")]
    Compression,
    /// The entry is a link, a device or another special file.
    #[error("it is neither a file nor a folder")]
    SpecialFile,
    /// The name is that of a file and the mode that of a folder, or the reverse.
    #[error("its name and its mode are inconsistent")]
    AmbiguousKind,
    /// The entry is a folder with content.
    #[error("it is a folder with content")]
    FolderContent,
    /// Another entry has the same name.
    #[error("its name is not unique")]
    Duplicate,
    /// The entry is a file, and a folder of other entries.
    #[error("it is both a file and a folder")]
    FileAndFolder,
}

/// An error while an entry is read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The content has another length or checksum than declared, or cannot be decompressed.
    #[error("the entry {name} is damaged")]
    Damaged {
        /// The name of the entry; long names are truncated.
        name: String,
        /// The cause.
        #[source]
        source: BoxedError,
    },
    /// The underlying reader or the writer failed.
    #[error("cannot read an entry")]
    Io(#[source] io::Error),
}

impl BarError {
    pub(crate) fn not_zip(reason: &'static str) -> BarError {
        BarError::NotZip(reason.into())
    }

    pub(crate) fn invalid_entry(name: &str, reason: EntryError) -> BarError {
        BarError::InvalidEntry {
            name: printable_name(name),
            reason,
        }
    }
}

impl From<io::Error> for BarError {
    fn from(error: io::Error) -> BarError {
        if is_content_error(&error) {
            BarError::NotZip(error.into())
        } else {
            BarError::Io(error)
        }
    }
}

impl From<ZipError> for BarError {
    fn from(error: ZipError) -> BarError {
        match error {
            ZipError::Io(error) => error.into(),
            other => BarError::NotZip(other.into()),
        }
    }
}

impl ReadError {
    pub(crate) fn from_read(name: &str, error: io::Error) -> ReadError {
        if is_content_error(&error) {
            ReadError::damaged(name, error)
        } else {
            ReadError::Io(error)
        }
    }

    pub(crate) fn from_zip(name: &str, error: ZipError) -> ReadError {
        match error {
            ZipError::Io(error) => ReadError::from_read(name, error),
            other => ReadError::damaged(name, other),
        }
    }

    pub(crate) fn damaged(name: &str, source: impl Into<BoxedError>) -> ReadError {
        ReadError::Damaged {
            name: printable_name(name),
            source: source.into(),
        }
    }
}

/// Whether the error is caused by the content of the archive rather than by the reader.
fn is_content_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    )
}

/// Returns a name for messages: without control characters, at most 200 characters.
pub(crate) fn printable_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    name.chars().take(200).map(plain).collect()
}
