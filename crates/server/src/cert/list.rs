//! The certificates of a unit, as a list.

use std::fmt;
use std::path::PathBuf;

use personium_token::trust::{CertificateDetails, UnitKey};
use personium_types::time::iso_time;
use serde_json::{Value, json};

use super::{CertError, files};
use crate::certificate_expiry::{EXPIRY_WARNING_DAYS, days_left};
use crate::config::LoadedConfig;
use crate::config_report::ReportLine;
use crate::key_files;
use crate::system;

/// A certificate in a file.
#[derive(Debug, Clone)]
pub struct CertificateRow {
    /// Its role: `unit`, `root` or `file`.
    pub role: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The certificate.
    pub details: CertificateDetails,
    /// The number of whole days until it expires.
    pub days_left: i64,
    /// The reason why somebody should look at it.
    pub problem: Option<String>,
}

/// Returns the certificate of the unit, the trusted roots, and the certificates in further files.
///
/// # Errors
/// [`CertError`] if a file cannot be read or contains something else.
pub fn list(loaded: &LoadedConfig, more: &[PathBuf]) -> Result<Vec<CertificateRow>, CertError> {
    let config = &loaded.config;
    let (key, certificate) = key_files::key_and_certificate(config);
    let mut rows = Vec::new();
    if files::exists(&certificate)? {
        let mut own = rows_of("unit", certificate.clone())?;
        own.truncate(1);
        let pair = UnitKey::load(&files::read(&key)?, &files::read(&certificate)?);
        for row in &mut own {
            if let Err(error) = &pair {
                row.problem = Some(format!("{}: {error}", key.display()));
            }
        }
        rows.extend(own);
    }
    for root in &config.certificates.roots {
        rows.extend(rows_of("root", root.clone())?);
    }
    for file in more {
        rows.extend(rows_of("file", file.clone())?);
    }
    Ok(rows)
}

fn rows_of(role: &'static str, path: PathBuf) -> Result<Vec<CertificateRow>, CertError> {
    let now_ms = system::clock().now_ms();
    let bytes = files::read(&path)?;
    let found = CertificateDetails::list_of_file(&bytes)
        .ok_or_else(|| CertError::Refused(format!("{} contains no certificate", path.display())))?;
    let row = |details: CertificateDetails| {
        let days = days_left(&details.info, now_ms);
        let problem = if details.info.is_valid_at(now_ms) {
            (days < EXPIRY_WARNING_DAYS).then(|| "expires soon: renew it".to_owned())
        } else {
            Some("is not valid now: renew it".to_owned())
        };
        CertificateRow {
            role,
            path: path.clone(),
            days_left: days,
            problem,
            details,
        }
    };
    Ok(found.into_iter().map(row).collect())
}

impl fmt::Display for CertificateRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (info, details) = (&self.details.info, &self.details);
        write!(
            f,
            "{:<4} {}: {}, issued by {}, {}, until {} ({} days)",
            self.role,
            self.path.display(),
            info.subject,
            info.issuer,
            details.key,
            iso_time(info.not_after_ms),
            self.days_left,
        )?;
        if !details.alternative_names.is_empty() {
            write!(f, ", for {}", details.alternative_names.join(" "))?;
        }
        match &self.problem {
            Some(problem) => write!(f, "; WARNING: {problem}"),
            None => Ok(()),
        }
    }
}

impl ReportLine for CertificateRow {
    fn json(&self) -> Value {
        let (info, details) = (&self.details.info, &self.details);
        json!({
            "role": self.role,
            "file": self.path.display().to_string(),
            "subject": info.subject,
            "issuer": info.issuer,
            "commonName": info.common_name,
            "alternativeNames": details.alternative_names,
            "key": details.key,
            "authority": info.is_authority,
            "notBefore": iso_time(info.not_before_ms),
            "notAfter": iso_time(info.not_after_ms),
            "daysLeft": self.days_left,
            "sha256": details.sha256,
            "problem": self.problem,
        })
    }
}
