//! Adding a certificate to the trusted roots in the settings file.

use std::path::{Path, PathBuf};

use personium_token::trust::{CertificateDetails, TrustRoots};

use super::{CertError, description, files};
use crate::config::{LoadedConfig, PREFIX};
use crate::key_files;
use crate::settings_file;
use crate::system;

/// The key of the trusted roots, without prefix.
const KEY: &str = "x509.root";

/// Adds the certificates in a file to `x509.root` in the settings file, which is made if it does not exist. Returns what was
/// done. A running unit takes them over when its settings are reloaded.
///
/// # Errors
/// [`CertError`] if a certificate is not usable as a root, the setting is given elsewhere than in the file, or a file cannot be
/// read or written.
pub fn trust(loaded: &LoadedConfig, file: &Path, certificate: &Path) -> Result<String, CertError> {
    refuse_own(loaded, certificate)?;
    trust_former(loaded, file, certificate)
}

/// The same for the certificate of the unit, which another one is about to replace.
pub(super) fn trust_former(
    loaded: &LoadedConfig,
    file: &Path,
    certificate: &Path,
) -> Result<String, CertError> {
    let certificate = std::path::absolute(certificate).map_err(|source| CertError::File {
        path: certificate.to_owned(),
        source,
    })?;
    let path = path_in_list(&certificate)?;
    let roots = &loaded.config.certificates.roots;
    if roots.contains(&certificate) {
        return Ok(format!("{} is trusted already\n", certificate.display()));
    }
    check_roots(roots, &certificate)?;
    let is_new = !files::exists(file)?;
    let before = match is_new {
        true => String::new(),
        false => files::read_text(file).map_err(|_| by_hand(file, &path))?,
    };
    let given = loaded.values.get(&format!("{PREFIX}{KEY}"));
    let given = given
        .map(|value| value.reveal().as_str())
        .unwrap_or_default();
    let value = longer_list(given, &path);
    let after = settings_file::with_value(&before, KEY, given, Some(&value));
    let after = after.ok_or_else(|| by_hand(file, &path))?;
    match is_new {
        true => files::write_new(file, &after, files::PRIVATE_MODE)?,
        false => files::replace(file, &after)?,
    }
    let pem = files::read_text(&certificate).unwrap_or_default();
    Ok(format!(
        "{}trusted by {}; a running unit takes it over by SIGHUP\n",
        description(&certificate, &pem),
        file.display()
    ))
}

fn by_hand(file: &Path, path: &str) -> CertError {
    CertError::Refused(format!(
        "{} cannot be edited safely, or x509.root is given elsewhere: add {path} to x509.root by hand",
        file.display()
    ))
}

/// The path as a word of the list in the settings.
fn path_in_list(path: &Path) -> Result<String, CertError> {
    let text = path.to_str().filter(|text| {
        let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '\\';
        text.chars().all(is_plain)
    });
    text.map(str::to_owned).ok_or_else(|| {
        CertError::Refused(format!(
            "{} has characters that a list of paths cannot have: rename it",
            path.display()
        ))
    })
}

/// Refuses the certificate of the unit itself.
fn refuse_own(loaded: &LoadedConfig, certificate: &Path) -> Result<(), CertError> {
    let own = key_files::key_and_certificate(&loaded.config).1;
    if !files::exists(&own)? {
        return Ok(());
    }
    let first = |bytes: &[u8]| CertificateDetails::list_of_file(bytes)?.into_iter().next();
    let own = first(&files::read(&own)?);
    if own.is_some() && own == first(&files::read(certificate)?) {
        return Err(CertError::Refused(format!(
            "{} is the certificate of this unit, which it trusts always",
            certificate.display()
        )));
    }
    Ok(())
}

/// Checks that the unit can use the certificates together with the roots that it has.
fn check_roots(roots: &[PathBuf], certificate: &Path) -> Result<(), CertError> {
    let all: Vec<Vec<u8>> = roots
        .iter()
        .map(PathBuf::as_path)
        .chain([certificate])
        .map(files::read)
        .collect::<Result<_, _>>()?;
    let slices: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    let now_ms = system::clock().now_ms();
    // A new one must be valid by itself. Those of before may have expired beside a valid one.
    let new = slices.last().copied().unwrap_or_default();
    match TrustRoots::load(&[new], now_ms).and_then(|_| TrustRoots::load(&slices, now_ms)) {
        Ok(_) => Ok(()),
        Err(error) => Err(CertError::Refused(format!(
            "{} cannot be trusted: {error}",
            certificate.display()
        ))),
    }
}

/// The value of the list with one more path.
fn longer_list(given: &str, path: &str) -> String {
    match given.trim() {
        "" => path.to_owned(),
        given => format!("{given} {path}"),
    }
}
