//! Files that decide who logs in, and files with secrets.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use personium_types::Secret;

/// The permission of all users to write.
pub const WRITABLE_BY_ALL: u32 = 0o002;
/// The largest size of a file with a secret in bytes.
const MAX_SECRET_BYTES: u64 = 4_096;
/// The permissions of others than owner and group, and that of the group to write.
const STRANGERS: u32 = 0o027;

/// Opens a file that only the operator can change. What is no file, such as a pipe, is not opened: that could wait without an end for
/// somebody who writes.
///
/// # Errors
/// A text for the operator: if the file cannot be read, is none, or all users of the machine can change it.
pub fn open_trusted_file(path: &Path) -> Result<File, String> {
    let failed = |error: io::Error| error.to_string();
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err("it is no file".to_owned());
    }
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    match mode & WRITABLE_BY_ALL {
        0 => Ok(file),
        _ => Err("all users of this machine can change it".to_owned()),
    }
}

/// Reads a file of at most so many bytes that only the operator can change.
///
/// # Errors
/// As [`open_trusted_file`], and if the file is larger.
pub fn read_trusted_file(path: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| error.to_string();
    let file = open_trusted_file(path)?;
    if file.metadata().map_err(failed)?.len() > max_bytes {
        return Err(format!("it has more than {max_bytes} bytes"));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

/// Reads a secret: the text of a file without the white space at its end.
///
/// # Errors
/// A text for the operator: if the file cannot be read, is too large, is empty, or is accessible to all users.
pub fn read_secret(path: &Path) -> Result<Secret<String>, String> {
    let shown = path.display();
    let failed = |error: io::Error| format!("{shown}: {error}");
    let file = open_trusted_file(path).map_err(|error| format!("{shown}: {error}"))?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & STRANGERS != 0 {
        return Err(format!(
            "{shown}: other users can read or change it; set its permissions to 0600 or 0640"
        ));
    }
    let mut text = String::new();
    let read = file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text);
    let read = read.map_err(failed)?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_SECRET_BYTES) {
        return Err(format!(
            "{shown}: a secret has at most {MAX_SECRET_BYTES} bytes"
        ));
    }
    let text = text.trim_end();
    match text.is_empty() {
        true => Err(format!("{shown}: it is empty")),
        false => Ok(Secret::new(text.to_owned())),
    }
}
