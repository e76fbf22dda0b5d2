//! Another key of the unit, with a certificate of its own. Tokens of the key before stay valid until they expire.

use std::path::{Path, PathBuf};

use personium_token::trust::{
    CertificateDetails, IssuanceError, RsaBits, UnitKey, generate_rsa_key,
};

use super::renew::{check_same_subject, details_of_first, has_same_issuer, wanted};
use super::{CertError, KeyPairFiles, certificate_text, description, files, load_authority, trust};
use crate::config::LoadedConfig;
use crate::key_files;
use crate::system;

/// A change of the key of the unit.
#[derive(Debug, Clone, Default)]
pub struct KeyChange {
    /// The authority that signs the certificate; none for a self-signed certificate.
    pub authority: Option<KeyPairFiles>,
    /// For how many days it is valid; by default as long as the one before, ten years at most.
    pub days: Option<u32>,
    /// Whether the pair is only made, so that other units can trust its certificate before it is used.
    pub prepare_only: bool,
}

/// The files of a change, beside those of the unit.
struct ChangedFiles {
    current: KeyPairFiles,
    /// The pair that is prepared: `.next` at the end.
    next: KeyPairFiles,
    /// The certificate before: `.former` at the end.
    former: PathBuf,
}

impl ChangedFiles {
    fn of(loaded: &LoadedConfig) -> Self {
        let (key, certificate) = key_files::key_and_certificate(&loaded.config);
        let next = KeyPairFiles {
            key: with_end(&key, ".next"),
            certificate: with_end(&certificate, ".next"),
        };
        Self {
            former: with_end(&certificate, ".former"),
            current: KeyPairFiles { key, certificate },
            next,
        }
    }

    /// Whether the pair that is prepared, or the certificate that is left of it, is that of the unit.
    fn is_in_place(&self) -> Result<bool, CertError> {
        let (current, next) = (&self.current, &self.next);
        let is_same = |one: &Path, other: &Path| -> Result<bool, CertError> {
            Ok(files::read(one)? == files::read(other)?)
        };
        if !files::exists(&next.certificate)? || !is_same(&next.certificate, &current.certificate)?
        {
            return Ok(false);
        }
        Ok(!files::exists(&next.key)? || is_same(&next.key, &current.key)?)
    }

    /// Removes the pair that was prepared. The certificate is last: it tells what is left.
    fn remove_next(&self) -> Result<(), CertError> {
        for path in [&self.next.key, &self.next.certificate] {
            if files::exists(path)? {
                files::remove(path)?;
            }
        }
        Ok(())
    }

    /// The text for the operator when the pair is in place.
    fn changed(&self) -> String {
        format!(
            "{}: the new key, which a running unit uses after SIGHUP\n\
             remove {} from x509.root when an hour is over, or at once if the key before was stolen\n",
            self.current.key.display(),
            self.former.display()
        )
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Gives the unit another key. The pair that was prepared is used, or one is made: same name, same size of the key. The certificate before
/// is kept in a file that the unit trusts from then on, in `settings`. Whatever interrupts the change, the same command goes on with it.
/// Returns what was done.
///
/// # Errors
/// [`CertError`] if a file cannot be used, the certificate was issued by somebody else, or the settings file cannot be edited.
pub fn change_key(
    loaded: &LoadedConfig,
    settings: &Path,
    change: &KeyChange,
) -> Result<String, CertError> {
    let files = ChangedFiles::of(loaded);
    let next = &files.next;
    if files.is_in_place()? {
        // The change ended before it had removed the pair.
        files.remove_next()?;
        if !change.prepare_only {
            return Ok(files.changed());
        }
    }
    let mut notes = prepare(&files, change)?;
    if change.prepare_only {
        notes.push_str(&format!(
            "give {} to the units that trust the one before (personium cert trust), and run this again without --prepare\n",
            next.certificate.display()
        ));
        return Ok(notes);
    }
    let key = files::read_text(&next.key)?;
    let certificate = files::read_text(&next.certificate)?;
    let current = &files.current;
    let before = files::read_text(&current.certificate)?;
    if before != certificate {
        match files::exists(&files.former)? {
            true => files::replace(&files.former, &before)?,
            false => files::write_new(&files.former, &before, files::PUBLIC_MODE)?,
        }
    }
    // Before the new pair is in place: tokens of the key before are accepted without a gap. Nobody accepts those of an expired certificate.
    let former = files::read_text(&files.former)?;
    let former_details = details_of_first(&files.former, &former)?;
    if former_details.info.is_valid_at(system::clock().now_ms()) {
        notes.push_str(&trust::trust_former(loaded, settings, &files.former)?);
    }
    files::replace(&current.key, &key)?;
    files::replace(&current.certificate, &certificate)?;
    files.remove_next()?;
    notes.push_str(&files.changed());
    Ok(notes)
}

/// Makes the pair, unless there is one.
fn prepare(files: &ChangedFiles, change: &KeyChange) -> Result<String, CertError> {
    let (current, next) = (&files.current, &files.next);
    if files::exists(&next.certificate)? {
        let key = files::read(&next.key)?;
        let certificate = files::read(&next.certificate)?;
        UnitKey::load(&key, &certificate).map_err(|error| {
            CertError::Refused(format!(
                "{} and {} cannot be used: {error}; remove them, and run this again",
                next.key.display(),
                next.certificate.display()
            ))
        })?;
        let text = String::from_utf8_lossy(&certificate).into_owned();
        let now = details_of_first(&next.certificate, &text)?.info.subject;
        let before = details_of_first(
            &current.certificate,
            &files::read_text(&current.certificate)?,
        )?;
        if now != before.info.subject {
            return Err(CertError::Refused(format!(
                "{} is for {now}, and the unit is {}: remove it, and run this again",
                next.certificate.display(),
                before.info.subject
            )));
        }
        return Ok(description(&next.certificate, &text));
    }
    let before = files::read_text(&current.certificate)?;
    let details = details_of_first(&current.certificate, &before)?;
    let authority = change.authority.as_ref().map(load_authority).transpose()?;
    if !has_same_issuer(&details, authority.as_ref()) {
        return Err(CertError::Refused(format!(
            "{} was issued by {}: make a request by `personium cert csr --key {} --request FILE`, have it signed there, and put the certificate \
             into {}; then run this again",
            current.certificate.display(),
            details.info.issuer,
            next.key.display(),
            next.certificate.display(),
        )));
    }
    let spec = wanted(&details, change.days)?.spec()?;
    // A key that an interrupted run, or a request, has left is used.
    if !files::exists(&next.key)? {
        let key = generate_rsa_key(bits_of(&details))
            .map_err(|error| CertError::issue(next.key.display(), error))?;
        files::write_new(&next.key, &key, files::PRIVATE_MODE)?;
    }
    let key = files::read_text(&next.key)?;
    let text = certificate_text(&key, &spec, authority.as_ref()).map_err(|error| match error {
        IssuanceError::Key => CertError::Refused(format!(
            "{}: {error}; remove it, and run this again",
            next.key.display()
        )),
        other => CertError::issue(next.key.display(), other),
    })?;
    check_same_subject(&details, &text)?;
    files::write_new(&next.certificate, &text, files::PUBLIC_MODE)?;
    Ok(description(&next.certificate, &text))
}

/// The size of the key before; of one of another size the next one.
fn bits_of(details: &CertificateDetails) -> RsaBits {
    let bits = details.key.strip_prefix("RSA ");
    match bits.and_then(|bits| bits.parse::<u32>().ok()) {
        Some(..=2048) | None => RsaBits::Bits2048,
        Some(..=3072) => RsaBits::Bits3072,
        Some(_) => RsaBits::Bits4096,
    }
}
