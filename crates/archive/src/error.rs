//! What can be wrong with a bar file.

use std::io;

use zip::result::ZipError;

use crate::manifest::BarVersion;

/// Why something failed, for logs.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// Why a bar file was refused before anything was read out of it.
#[derive(Debug, thiserror::Error)]
pub enum BarError {
    /// Not a zip archive, or one whose parts contradict each other.
    #[error("cannot read the file as a zip archive")]
    NotZip(#[source] BoxedError),
    /// More entries, more bytes or a larger list of entries than allowed.
    #[error("the archive has more entries or more bytes than allowed")]
    TooLarge,
    /// The name of an entry is not a plain relative path. Control characters are replaced, long names cut.
    #[error("the name of the entry {0} is not allowed")]
    UnsafeName(String),
    /// An entry of a kind that is not read.
    #[error("the entry {name} is refused: {reason}")]
    InvalidEntry {
        /// The name of the entry, as in the archive; long names are cut.
        name: String,
        /// What is wrong with it.
        reason: EntryError,
    },
    /// The entry declares more bytes than an entry may have.
    #[error("the entry {0} is too large")]
    EntryTooLarge(String),
    /// The names of required entries that are not there.
    #[error("required entries are missing: {}", .0.join(", "))]
    Missing(Vec<String>),
    /// The manifest is damaged, not a JSON object, has a key that is not known or a value of a wrong type.
    #[error("cannot read the manifest")]
    ManifestUnreadable {
        /// How the archive is laid out.
        version: BarVersion,
        /// What is wrong.
        source: BoxedError,
    },
    /// This key of the manifest is missing or no integer.
    #[error("the manifest has no integer {0}")]
    ManifestField(&'static str),
    /// The manifest names a version that does not fit the archive.
    #[error("the version {0} is not supported in this archive")]
    Version(String),
    /// The reader failed; not the archive's fault.
    #[error("cannot read the archive")]
    Io(#[source] io::Error),
}

/// What is wrong with one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Encrypted.
    #[error("it is encrypted")]
    Encrypted,
    /// Compressed in another way than deflate.
    #[error("its compression is not supported")]
    Compression,
    /// A link, a device or another kind that is neither file nor folder.
    #[error("it is neither a file nor a folder")]
    SpecialFile,
    /// Its name says file and its mode folder, or the reverse.
    #[error("its name and its mode contradict each other")]
    AmbiguousKind,
    /// A folder with bytes in it.
    #[error("it is a folder with content")]
    FolderContent,
    /// A second entry of this name.
    #[error("its name is not unique")]
    Duplicate,
    /// A file that is also a folder of other entries.
    #[error("it is both a file and a folder")]
    FileAndFolder,
    /// Not in the folder that holds everything in version 1.
    #[error("it lies outside the folder bar/")]
    OutsideFolder,
}

/// Why an entry could not be read out.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The content is not what the archive declares: another length, another checksum, no valid compression.
    #[error("the entry {name} is damaged")]
    Damaged {
        /// The name of the entry; long names are cut.
        name: String,
        /// What does not fit.
        #[source]
        source: BoxedError,
    },
    /// The reader or the writer failed; not the archive's fault.
    #[error("cannot read out an entry")]
    Io(#[source] io::Error),
}

impl BarError {
    pub(crate) fn not_zip(what: &'static str) -> BarError {
        BarError::NotZip(what.into())
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

/// Whether the bytes are at fault, rather than the reader: they end early, decompress to nothing or point nowhere.
fn is_content_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    )
}

/// A name for messages: without control characters, at most 200 characters.
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
