//! Another certificate for the same key and names, in place of one that expires.

use std::path::{Path, PathBuf};

use personium_token::trust::{Authority, CertificateDetails, CertificatePurpose};
use personium_types::time::iso_time;

use super::{
    CertError, DAY_MS, KeyPairFiles, NewCertificate, certificate_text, description, files,
    load_authority,
};
use crate::config::Config;
use crate::key_files;

/// The longest time that a renewed certificate is valid without a given number of days: ten years.
const MAX_DAYS: u32 = 3650;

/// A certificate that is to be renewed; without files, the certificate of the unit.
#[derive(Debug, Clone, Default)]
pub struct Renewal {
    /// The files of key and certificate.
    pub target: Option<KeyPairFiles>,
    /// The authority that signed it; none for a self-signed certificate.
    pub authority: Option<KeyPairFiles>,
    /// For how many days it is valid; by default as long as the one before, ten years at most.
    pub days: Option<u32>,
}

/// Renews a certificate: same key, same names, new validity. The one before is kept beside it, with `.old` at the end of its
/// name. Returns what was done.
///
/// # Errors
/// [`CertError`] if a file cannot be used, the issuer is somebody else, or the subject has parts that would be lost.
pub fn renew(config: &Config, renewal: &Renewal) -> Result<String, CertError> {
    let target = renewal.target.clone().unwrap_or_else(|| {
        let (key, certificate) = key_files::key_and_certificate(config);
        KeyPairFiles { key, certificate }
    });
    let path = &target.certificate;
    let before = files::read_text(path)?;
    let details = details_of_first(path, &before)?;
    let authority = renewal.authority.as_ref().map(load_authority).transpose()?;
    if !has_same_issuer(&details, authority.as_ref()) {
        return Err(CertError::Refused(format!(
            "{} was issued by {}: renew it there, with a request by `personium cert csr --key {}`",
            path.display(),
            details.info.issuer,
            target.key.display(),
        )));
    }
    let wanted = wanted(&details, renewal.days)?;
    let key = files::read_text(&target.key)?;
    let failed = |error| CertError::issue(target.key.display(), error);
    let text = certificate_text(&key, &wanted.spec()?, authority.as_ref()).map_err(failed)?;
    check_same_subject(&details, &text)?;
    keep_old(path.clone(), &before)?;
    files::replace(path, &text)?;
    Ok(format!(
        "{}the one before was valid until {}\n",
        description(path, &text),
        iso_time(details.info.not_after_ms),
    ))
}

/// Whether a certificate would get the issuer that it has: this authority, or itself.
pub(super) fn has_same_issuer(details: &CertificateDetails, authority: Option<&Authority>) -> bool {
    let issuer = authority.map_or(&details.info.subject, |authority| {
        &authority.certificate_info().subject
    });
    *issuer == details.info.issuer
}

/// The first certificate of a file with this text.
pub(super) fn details_of_first(path: &Path, text: &str) -> Result<CertificateDetails, CertError> {
    CertificateDetails::list_of_file(text.as_bytes())
        .and_then(|list| list.into_iter().next())
        .ok_or_else(|| CertError::Refused(format!("{} contains no certificate", path.display())))
}

/// The certificate that takes the place of another one.
pub(super) fn wanted(
    details: &CertificateDetails,
    days: Option<u32>,
) -> Result<NewCertificate, CertError> {
    let info = &details.info;
    let purpose = if details.is_for_servers {
        CertificatePurpose::Server
    } else if info.is_authority && details.alternative_names.is_empty() {
        CertificatePurpose::Authority
    } else {
        CertificatePurpose::Unit
    };
    let before = (info.not_after_ms - info.not_before_ms).div_euclid(DAY_MS);
    let before = u32::try_from(before).unwrap_or(MAX_DAYS).clamp(1, MAX_DAYS);
    let name = info.common_name.clone().ok_or_else(|| {
        CertError::Refused(format!("{} has no common name of its own", info.subject))
    })?;
    Ok(NewCertificate {
        purpose,
        name,
        organization: details.organization.clone(),
        days: days.unwrap_or(before),
    })
}

/// Checks that the certificate in a text has the subject of another one.
pub(super) fn check_same_subject(before: &CertificateDetails, text: &str) -> Result<(), CertError> {
    let after = CertificateDetails::list_of_file(text.as_bytes());
    let after = after.and_then(|list| list.into_iter().next());
    let is_same = after.is_some_and(|after| after.info.subject == before.info.subject);
    is_same.then_some(()).ok_or_else(|| {
        CertError::Refused(format!(
            "the subject {} has parts that a renewed certificate would not have: make a request for its issuer",
            before.info.subject
        ))
    })
}

fn keep_old(path: PathBuf, text: &str) -> Result<(), CertError> {
    let mut name = path.into_os_string();
    name.push(".old");
    let old = PathBuf::from(name);
    match files::exists(&old)? {
        true => files::replace(&old, text),
        false => files::write_new(&old, text, files::PUBLIC_MODE),
    }
}
