//! The keys of a unit. What its tokens and file bodies are encrypted with must be the same in the copy.

use std::fs;
use std::io;
use std::path::Path;

use personium_types::Secret;
use personium_types::error::chain;
use serde_json::{Value, json};

use super::CopyResult;
use crate::config::Config;
use crate::data_folder::ADMINISTRATOR_FILE;
use crate::key_files::{self, CERTIFICATE_FILE, KEY_FILE, SECRET_FILE};

/// The keys of a unit, and the names of its cells with administrators.
pub(crate) struct KeySet {
    secret: Secret<String>,
    /// The file of the administrators.
    administrators: Option<String>,
    /// The private key and the certificate, if they are in the data folder.
    own: Option<(Secret<String>, String)>,
    /// The certificate that the settings name.
    named_certificate: Option<String>,
    has_previous_secret: bool,
}

impl KeySet {
    /// Reads the keys of a unit.
    ///
    /// # Errors
    /// A text for the operator if a file cannot be read, or the unit has lost one.
    pub(crate) fn read(from: &Config) -> CopyResult<Self> {
        let folder = &from.store.data_dir;
        let (key_path, certificate_path) = key_files::key_and_certificate(from);
        let is_named = from.certificates.key.is_some();
        let certificate = read(&certificate_path)?;
        let own = match (is_named, read(&key_path)?, &certificate) {
            (true, _, _) => None,
            (false, Some(key), Some(certificate)) => Some((Secret::new(key), certificate.clone())),
            (false, None, _) => {
                return Err(format!(
                    "the key of the unit, {}, is missing: restore it from a back-up of the unit",
                    key_path.display()
                ));
            }
            (false, Some(_), None) => {
                return Err(format!(
                    "the certificate of the unit, {}, is missing: restore it from a back-up, or start the unit once, which \
                     makes one with the same key",
                    certificate_path.display()
                ));
            }
        };
        Ok(Self {
            secret: secret(from)?,
            administrators: read(&folder.join(ADMINISTRATOR_FILE))?,
            own,
            named_certificate: certificate.filter(|_| is_named),
            has_previous_secret: from.secrets.previous_secret.is_some(),
        })
    }

    /// The keys as JSON.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "secret": self.secret.reveal(),
            "administrators": self.administrators,
            "key": self.own.as_ref().map(|(key, _)| key.reveal()),
            "certificate": self.own.as_ref().map(|(_, certificate)| certificate),
            "namedCertificate": self.named_certificate,
            "hasPreviousSecret": self.has_previous_secret,
        })
    }

    /// Reads the keys from JSON.
    pub(crate) fn from_json(json: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(json).ok()?;
        let text = |name: &str| json.get(name)?.as_str().map(str::to_owned);
        let key = text("key").map(Secret::new);
        Some(Self {
            secret: Secret::new(text("secret")?),
            administrators: text("administrators"),
            own: key.zip(text("certificate")),
            named_certificate: text("namedCertificate"),
            has_previous_secret: json.get("hasPreviousSecret") == Some(&Value::Bool(true)),
        })
    }

    /// Writes the keys that the settings of the target do not name. Returns what the operator should know.
    ///
    /// # Errors
    /// A text for the operator if the target has other keys, or a file cannot be written.
    pub(crate) fn write(&self, to: &Config) -> CopyResult<Vec<String>> {
        let target = &to.store.data_dir;
        self.write_secret(to)?;
        if let Some(administrators) = &self.administrators {
            put(&target.join(ADMINISTRATOR_FILE), administrators.as_bytes())?;
        }
        let mut notes = Vec::new();
        match (&self.own, &to.certificates.key) {
            (Some((key, certificate)), None) => {
                put(&target.join(KEY_FILE), key.reveal().as_bytes())?;
                put(&target.join(CERTIFICATE_FILE), certificate.as_bytes())?;
            }
            (None, None) if self.named_certificate.is_some() => {
                return Err(
                    "the target: its settings must name x509.key and x509.crt, as those of the source do"
                        .to_owned(),
                );
            }
            // A generation of a version that did not refuse that.
            (None, None) => notes.push(format!(
                "There is no {KEY_FILE}: the start makes a new key, and the units that trust this one must be given its certificate."
            )),
            (own, Some(_)) => {
                let (_, path) = key_files::key_and_certificate(to);
                let own = own.as_ref().map(|(_, certificate)| certificate);
                if read(&path)?.as_ref() != own.or(self.named_certificate.as_ref()) {
                    notes.push(format!(
                        "{} is not the certificate of the source: units that trust that one must trust this one too.",
                        path.display()
                    ));
                }
            }
        }
        if self.has_previous_secret && to.secrets.previous_secret.is_none() {
            notes.push(
                "The settings of the source have security.secret16.previous, those of the target have not."
                    .to_owned(),
            );
        }
        Ok(notes)
    }

    fn write_secret(&self, to: &Config) -> CopyResult {
        match &to.secrets.secret {
            Some(given) if given.reveal() == self.secret.reveal() => Ok(()),
            Some(_) => Err(
                "the target: its security.secret16 is not the secret of the source; tokens and encrypted file bodies \
                 need the same"
                    .to_owned(),
            ),
            None => put(
                &to.store.data_dir.join(SECRET_FILE),
                self.secret.reveal().as_bytes(),
            ),
        }
    }

    /// Checks that the target has the keys of a unit, since they are not given.
    ///
    /// # Errors
    /// A text for the operator if they are missing.
    pub(crate) fn expect_given(to: &Config) -> CopyResult<Vec<String>> {
        let (key, _) = key_files::key_and_certificate(to);
        let has_secret =
            to.secrets.secret.is_some() || to.store.data_dir.join(SECRET_FILE).exists();
        match has_secret && key.exists() {
            true => Ok(Vec::new()),
            false => Err(format!(
                "the generation has no keys: put the files {SECRET_FILE}, {KEY_FILE} and {CERTIFICATE_FILE} of the unit into {}, or name \
                 them in its settings",
                to.store.data_dir.display()
            )),
        }
    }
}

/// The secret of a unit.
fn secret(from: &Config) -> CopyResult<Secret<String>> {
    if let Some(secret) = &from.secrets.secret {
        return Ok(secret.clone());
    }
    let file = from.store.data_dir.join(SECRET_FILE);
    let text = read(&file)?.ok_or_else(|| format!("{} is missing", file.display()))?;
    Ok(Secret::new(text.trim().to_owned()))
}

fn read(path: &Path) -> CopyResult<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// Writes a file for its owner only, unless it is there.
fn put(path: &Path, bytes: &[u8]) -> CopyResult {
    match read(path)? {
        Some(found) if found.trim().as_bytes() == bytes.trim_ascii() => Ok(()),
        Some(_) => {
            let path = path.display();
            Err(format!(
                "the target: {path} is not the one of the source; remove it"
            ))
        }
        None => key_files::write_private(path, bytes).map_err(|error| chain(&error)),
    }
}
