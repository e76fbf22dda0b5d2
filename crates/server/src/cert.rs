//! `personium cert`: keys, requests and certificates of a unit, of the TLS server in front of it, and of an authority of several
//! units.

mod files;
mod list;
mod new_key;
mod renew;
mod trust;

use std::path::{Path, PathBuf};

use personium_token::trust::{
    Authority, CertificateDetails, CertificatePurpose, CertificateSpec, IssuanceError,
    RequestedSubject, RsaBits, certificate_request, generate_rsa_key, self_signed_certificate,
};
use personium_types::time::iso_time;

use crate::config::LoadedConfig;
use crate::key_files::KeyFileError;
use crate::system;
use crate::unit_url::unit_urls;

pub use list::{CertificateRow, list};
pub use new_key::{KeyChange, change_key};
pub use renew::{Renewal, renew};
pub use trust::trust;

/// One day in milliseconds.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// A certificate is valid from this long before now on: clocks of others may be late.
const BACKDATED_MS: i64 = 3600 * 1000;

/// A certificate command that failed.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file that is there already and would be replaced.
    #[error("{} exists already; remove it, or give another name", path.display())]
    Exists {
        /// Its path.
        path: PathBuf,
    },
    /// A key, request or certificate cannot be made.
    #[error("{subject}")]
    Issue {
        /// The file or name.
        subject: String,
        /// The cause.
        source: IssuanceError,
    },
    /// The keys of the unit cannot be used.
    #[error("the keys of the unit cannot be used")]
    Keys(#[from] KeyFileError),
    /// The command does not fit the files or settings.
    #[error("{0}")]
    Refused(String),
}

impl CertError {
    fn issue(subject: impl std::fmt::Display, source: IssuanceError) -> Self {
        Self::Issue {
            subject: subject.to_string(),
            source,
        }
    }
}

/// A key and the certificate that belongs to it.
#[derive(Debug, Clone)]
pub struct KeyPairFiles {
    /// The file of the key.
    pub key: PathBuf,
    /// The file of the certificate.
    pub certificate: PathBuf,
}

/// A certificate that is to be made.
#[derive(Debug, Clone)]
pub struct NewCertificate {
    /// The purpose.
    pub purpose: CertificatePurpose,
    /// The common name.
    pub name: String,
    /// The organization in the subject.
    pub organization: Option<String>,
    /// For how many days it is valid.
    pub days: u32,
}

impl NewCertificate {
    fn spec(&self) -> Result<CertificateSpec, CertError> {
        let now_ms = system::clock().now_ms();
        let mut serial = [0; 16];
        let filled = system::random().fill(&mut serial);
        filled.map_err(|_| CertError::issue(&self.name, IssuanceError::Library))?;
        let spec = CertificateSpec {
            purpose: self.purpose,
            name: self.name.clone(),
            organization: self.organization.clone(),
            not_before_ms: now_ms.saturating_sub(BACKDATED_MS),
            not_after_ms: now_ms.saturating_add(i64::from(self.days) * DAY_MS),
            serial,
        };
        let checked = spec.check();
        checked.map_err(|error| CertError::issue(&self.name, error))?;
        Ok(spec)
    }
}

/// The host name of the unit, which certificates are made for if no name is given.
///
/// # Errors
/// [`CertError::Keys`] if a certificate is configured and cannot be read.
pub fn unit_name(loaded: &LoadedConfig) -> Result<String, CertError> {
    Ok(unit_urls(loaded)?.host().to_owned())
}

/// Makes an RSA key in a new file that only its owner may read. Returns what was done.
///
/// # Errors
/// [`CertError::Exists`], [`CertError::File`].
pub fn make_key(path: &Path, bits: RsaBits) -> Result<String, CertError> {
    let key = generate_rsa_key(bits).map_err(|error| CertError::issue(path.display(), error))?;
    files::write_new(path, &key, files::PRIVATE_MODE)?;
    Ok(format!("{}: a new key\n", path.display()))
}

/// Returns the key in a file, or makes one there if there is no such file. Adds what was done to `notes`.
fn key_or_new(path: &Path, notes: &mut String) -> Result<String, CertError> {
    if !files::exists(path)? {
        notes.push_str(&make_key(path, RsaBits::Bits2048)?);
    }
    files::read_text(path)
}

/// Makes a certificate signing request. Returns what was done.
///
/// # Errors
/// [`CertError`] if the key cannot be used, the name is no host name, or the file exists.
pub fn make_request(
    key: &Path,
    request: &Path,
    wanted: &NewCertificate,
) -> Result<String, CertError> {
    files::refuse_existing(request)?;
    let spec = wanted.spec()?;
    let mut notes = String::new();
    let text = certificate_request(&key_or_new(key, &mut notes)?, &spec)
        .map_err(|error| CertError::issue(format!("{} ({})", wanted.name, key.display()), error))?;
    files::write_new(request, &text, files::PUBLIC_MODE)?;
    let path = request.display();
    notes.push_str(&format!(
        "{path}: a request for {}; send it to the issuer\n",
        wanted.name
    ));
    Ok(notes)
}

/// Makes a certificate, signed by the authority, or by its own key without one. Returns what was done.
///
/// # Errors
/// [`CertError`] if a key or the authority cannot be used, the name does not fit, or the file exists.
pub fn make_certificate(
    target: &KeyPairFiles,
    wanted: &NewCertificate,
    authority: Option<&KeyPairFiles>,
) -> Result<String, CertError> {
    files::refuse_existing(&target.certificate)?;
    let authority = authority.map(load_authority).transpose()?;
    let spec = wanted.spec()?;
    let mut notes = String::new();
    let key = key_or_new(&target.key, &mut notes)?;
    let text = certificate_text(&key, &spec, authority.as_ref()).map_err(|error| {
        CertError::issue(format!("{} ({})", wanted.name, target.key.display()), error)
    })?;
    files::write_new(&target.certificate, &text, files::PUBLIC_MODE)?;
    notes.push_str(&description(&target.certificate, &text));
    Ok(notes)
}

fn certificate_text(
    key: &str,
    spec: &CertificateSpec,
    authority: Option<&Authority>,
) -> Result<String, IssuanceError> {
    match authority {
        Some(authority) => authority.sign_key(key, spec),
        None => self_signed_certificate(key, spec),
    }
}

/// Issues a certificate for a request. Returns what was done.
///
/// # Errors
/// [`CertError`] if the request or the authority cannot be used, or the file exists.
pub fn sign_request(
    request: &Path,
    certificate: &Path,
    authority: &KeyPairFiles,
    kind: (CertificatePurpose, u32),
) -> Result<String, CertError> {
    files::refuse_existing(certificate)?;
    let authority = load_authority(authority)?;
    let failed = |error| CertError::issue(request.display(), error);
    let text = files::read_text(request)?;
    let requested = RequestedSubject::read(&text).map_err(failed)?;
    let wanted = NewCertificate {
        purpose: kind.0,
        name: requested.common_name,
        organization: None,
        days: kind.1,
    };
    let issued = authority.sign_request(&text, &wanted.spec()?);
    let issued = issued.map_err(failed)?;
    files::write_new(certificate, &issued, files::PUBLIC_MODE)?;
    Ok(description(certificate, &issued))
}

fn load_authority(files: &KeyPairFiles) -> Result<Authority, CertError> {
    let key = files::read_text(&files.key)?;
    let certificate = files::read(&files.certificate)?;
    Authority::load(&key, &certificate, system::clock().now_ms())
        .map_err(|error| CertError::issue(files.certificate.display(), error))
}

/// A line about a certificate that was written.
fn description(path: &Path, pem: &str) -> String {
    let details = CertificateDetails::list_of_file(pem.as_bytes());
    let Some(details) = details.and_then(|list| list.into_iter().next()) else {
        return format!("{}: a certificate\n", path.display());
    };
    let names = match details.alternative_names.is_empty() {
        true => String::new(),
        false => format!(" ({})", details.alternative_names.join(", ")),
    };
    let info = &details.info;
    format!(
        "{}: {}{names}, issued by {}, valid until {}\n",
        path.display(),
        info.subject,
        info.issuer,
        iso_time(info.not_after_ms),
    )
}
