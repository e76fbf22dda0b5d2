//! The key and the self-signed certificate that the unit keeps in its data folder.

use std::path::{Path, PathBuf};

use personium_token::trust::{UnitKey, generate_self_signed, reissue_self_signed};
use personium_types::time::iso_time;

use super::{CERTIFICATE_FILE, KEY_FILE, KeyFileError, check_certificate, exists, read};

/// How long a certificate is valid from now on, in milliseconds: ten years.
const VALIDITY_MS: i64 = 10 * 365 * 24 * 3600 * 1000;

/// A certificate is valid from this time on (2020-01-01), or from the day before now if that is earlier. The clock may
/// have been wrong.
const VALID_FROM_MS: i64 = 1_577_836_800_000;

/// The time that it is at least when a certificate is issued (2026-01-01). A clock that says less is wrong.
const EARLIEST_NOW_MS: i64 = 1_767_225_600_000;

/// One day in milliseconds.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// The own key with its certificate, and what must be written.
pub(super) struct OwnCertificate {
    pub(super) signing: UnitKey,
    /// Paths and contents.
    pub(super) missing_files: Vec<(PathBuf, String)>,
    /// A note for the operator.
    pub(super) note: Option<String>,
}

/// Loads the key and the certificate for `host` in the data folder, and issues what is missing or of no use any more.
///
/// # Errors
/// [`KeyFileError`] if a file is invalid, the key is lost, or a certificate that is not self-signed is of no use.
pub(super) fn prepare(
    data_dir: &Path,
    host: &str,
    now_ms: i64,
) -> Result<OwnCertificate, KeyFileError> {
    let (key_path, certificate_path) = (data_dir.join(KEY_FILE), data_dir.join(CERTIFICATE_FILE));
    match (exists(&key_path)?, exists(&certificate_path)?) {
        (false, false) => generate(host, now_ms, key_path, certificate_path),
        (false, true) => Err(KeyFileError::Content {
            subject: key_path.display().to_string(),
            reason: format!(
                "the key of the unit is missing, and its certificate {} is there: restore the key from a back-up, or \
                 remove the certificate to get a new key, which units that trust this one must be given",
                certificate_path.display()
            ),
        }),
        (true, false) => reissue(host, now_ms, &key_path, certificate_path),
        (true, true) => {
            let signing = load(&key_path, &read(&key_path)?, &read(&certificate_path)?)?;
            let info = signing.certificate_info();
            if signing.is_for_host(host) && info.is_valid_at(now_ms) {
                return Ok(OwnCertificate {
                    signing,
                    missing_files: Vec::new(),
                    note: None,
                });
            }
            if !signing.is_self_signed() {
                let subject = certificate_path.display().to_string();
                check_certificate(&subject, &signing, host, now_ms)?;
            }
            let note = format!(
                "the certificate of the unit was for {} from {} to {}; it is issued again for {host} now, with the same \
                 key: give {} to the units that trust this one",
                info.subject,
                iso_time(info.not_before_ms),
                iso_time(info.not_after_ms),
                certificate_path.display()
            );
            let issued = reissue(host, now_ms, &key_path, certificate_path)?;
            Ok(OwnCertificate {
                note: Some(note),
                ..issued
            })
        }
    }
}

/// The validity of a certificate that is issued now, in milliseconds since 1970.
fn validity(now_ms: i64) -> (i64, i64) {
    let from_ms = VALID_FROM_MS.min(now_ms.saturating_sub(DAY_MS));
    (
        from_ms,
        now_ms.max(EARLIEST_NOW_MS).saturating_add(VALIDITY_MS),
    )
}

fn generate(
    host: &str,
    now_ms: i64,
    key_path: PathBuf,
    certificate_path: PathBuf,
) -> Result<OwnCertificate, KeyFileError> {
    let (from_ms, to_ms) = validity(now_ms);
    let generated = generate_self_signed(host, from_ms, to_ms)
        .map_err(|error| KeyFileError::content(format!("a certificate for {host}"), &error))?;
    let (key, certificate) = (generated.key_pem, generated.certificate_pem);
    Ok(OwnCertificate {
        signing: load(&key_path, key.as_bytes(), certificate.as_bytes())?,
        missing_files: vec![(key_path, key), (certificate_path, certificate)],
        note: None,
    })
}

fn reissue(
    host: &str,
    now_ms: i64,
    key_path: &Path,
    certificate_path: PathBuf,
) -> Result<OwnCertificate, KeyFileError> {
    let failed = |error: &dyn std::error::Error| {
        KeyFileError::content(format!("a certificate for {host}"), error)
    };
    let key = String::from_utf8(read(key_path)?).map_err(|error| failed(&error))?;
    let (from_ms, to_ms) = validity(now_ms);
    let certificate =
        reissue_self_signed(&key, host, from_ms, to_ms).map_err(|error| failed(&error))?;
    Ok(OwnCertificate {
        signing: load(key_path, key.as_bytes(), certificate.as_bytes())?,
        missing_files: vec![(certificate_path, certificate)],
        note: None,
    })
}

fn load(key_path: &Path, key: &[u8], certificate: &[u8]) -> Result<UnitKey, KeyFileError> {
    UnitKey::load(key, certificate).map_err(|error| {
        let subject = format!("{} or {CERTIFICATE_FILE} beside it", key_path.display());
        KeyFileError::content(subject, &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_covers_now_and_the_right_time_whatever_the_clock_says() {
        for now_ms in [0, VALID_FROM_MS, EARLIEST_NOW_MS, 4_000_000_000_000] {
            let (from_ms, to_ms) = validity(now_ms);
            for time_ms in [now_ms, EARLIEST_NOW_MS, EARLIEST_NOW_MS + VALIDITY_MS - 1] {
                assert!((from_ms..to_ms).contains(&time_ms), "{now_ms}: {time_ms}");
            }
        }
    }
}
