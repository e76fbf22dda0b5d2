//! The keys of a unit. What its tokens and file bodies are encrypted with must be the same in the copy.

use std::fs;
use std::io;
use std::path::Path;

use personium_types::Secret;
use personium_types::error::chain;

use super::CopyResult;
use crate::config::Config;
use crate::data_folder::ADMINISTRATOR_FILE;
use crate::key_files::{self, CERTIFICATE_FILE, KEY_FILE, SECRET_FILE};

/// Copies the files of the data folder beside records and file bodies: those keys that the settings of the target do not name, and
/// the names of the cells with administrators. Returns what the operator should know.
///
/// # Errors
/// A text for the operator if the target has other keys, or a file cannot be copied.
pub(super) fn copy(from: &Config, to: &Config) -> CopyResult<Vec<String>> {
    let (source, target) = (&from.store.data_dir, &to.store.data_dir);
    copy_secret(from, to)?;
    copy_file(
        &source.join(ADMINISTRATOR_FILE),
        &target.join(ADMINISTRATOR_FILE),
    )?;
    let mut notes = Vec::new();
    let (key, certificate) = key_files::key_and_certificate(from);
    let (_, target_certificate) = key_files::key_and_certificate(to);
    match (&from.certificates.key, &to.certificates.key) {
        (Some(_), None) => {
            return Err(
                "the target: its settings must name x509.key and x509.crt, as those of the source do"
                    .to_owned(),
            );
        }
        (None, None) => {
            copy_file(&key, &target.join(KEY_FILE))?;
            copy_file(&certificate, &target.join(CERTIFICATE_FILE))?;
        }
        (_, Some(_)) if read(&certificate)? != read(&target_certificate)? => {
            notes.push(format!(
                "{} is not the certificate of the source: units that trust that one must trust this one too.",
                target_certificate.display()
            ));
        }
        (_, Some(_)) => {}
    }
    if from.secrets.previous_secret.is_some() && to.secrets.previous_secret.is_none() {
        notes.push(
            "The settings of the source have security.secret16.previous, those of the target have not."
                .to_owned(),
        );
    }
    Ok(notes)
}

fn copy_secret(from: &Config, to: &Config) -> CopyResult {
    let secret = match &from.secrets.secret {
        Some(secret) => secret.clone(),
        None => {
            let file = from.store.data_dir.join(SECRET_FILE);
            let text = read(&file)?.and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.ok_or_else(|| format!("{} is missing", file.display()))?;
            Secret::new(text.trim().to_owned())
        }
    };
    match &to.secrets.secret {
        Some(given) if given.reveal() == secret.reveal() => Ok(()),
        Some(_) => Err(
            "the target: its security.secret16 is not the secret of the source; tokens and encrypted file bodies \
             need the same"
                .to_owned(),
        ),
        None => put(&to.store.data_dir.join(SECRET_FILE), secret.reveal().as_bytes()),
    }
}

/// Copies a file, which may be missing.
fn copy_file(from: &Path, to: &Path) -> CopyResult {
    match read(from)? {
        Some(bytes) => put(to, &bytes),
        None => Ok(()),
    }
}

fn read(path: &Path) -> CopyResult<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// Writes a file for its owner only, unless it is there.
fn put(path: &Path, bytes: &[u8]) -> CopyResult {
    match read(path)? {
        Some(found) if found.trim_ascii() == bytes.trim_ascii() => Ok(()),
        Some(_) => {
            let path = path.display();
            Err(format!(
                "the target: {path} is not the one of the source; remove it"
            ))
        }
        None => key_files::write_private(path, bytes).map_err(|error| chain(&error)),
    }
}
