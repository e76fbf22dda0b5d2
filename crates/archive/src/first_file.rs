//! Archives with one file, such as an archived log.

use std::io::{Read, Seek, Write};

use crate::checked_zip::{ArchiveLimits, CheckedZip};
use crate::error::BoxedError;

/// Writes the content of the first file of a zip archive to `out`, at most `max_bytes` bytes.
///
/// # Errors
/// If it is no valid archive, has no file or a larger one, or `out` fails.
pub fn first_file(
    reader: impl Read + Seek,
    max_bytes: u64,
    out: &mut impl Write,
) -> Result<(), BoxedError> {
    let limits = ArchiveLimits {
        max_entry_bytes: max_bytes,
        max_entries: 100,
        max_total_bytes: max_bytes,
    };
    let mut zip = CheckedZip::open(reader, limits)?;
    let first = zip.entries.files().first().cloned();
    let first = first.ok_or("the archive has no file")?;
    Ok(zip.copy(&first, out)?)
}
