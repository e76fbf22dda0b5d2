//! The unit's secret, private key and certificate: configured ones, or those that the first start generates in the data
//! folder.

mod own_certificate;
pub(crate) mod unit_secret;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use personium_model::credentials::{UnitCertificates, UnitKeys};
use personium_token::local::LocalKeys;
use personium_token::trust::{RootConfigError, TrustRoots, UnitKey};
use personium_types::time::iso_time;
use personium_types::{Random, Secret};

use crate::config::Config;
use crate::written_file::NewFile;

/// The file of the generated unit secret, in the data folder.
pub const SECRET_FILE: &str = "unit.secret";
/// The file of the generated private key, in the data folder.
pub const KEY_FILE: &str = "unit.key";
/// The file of the generated certificate, in the data folder.
pub const CERTIFICATE_FILE: &str = "unit.crt";

/// The number of characters of a generated secret. Each has 5 bits, so it has 160 bits.
const SECRET_CHARS: usize = 32;

/// The characters of generated secrets and passwords: 32 digits and small letters without those that look alike.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The content of a file or setting is invalid.
    #[error("{subject}: {reason}")]
    Content {
        /// The file or setting.
        subject: String,
        /// The reason.
        reason: String,
    },
    /// The secret of a unit with records is lost. A new one would not open what they have.
    #[error(
        "{} is missing: it has the secret of the unit; restore it from a back-up, or give the secret as security.secret16 \
         (all nodes need the same)",
        path.display()
    )]
    MissingSecret {
        /// Its path.
        path: PathBuf,
    },
    /// The records that tell whether there is a secret cannot be read.
    #[error("cannot read the records of the unit")]
    Records(#[source] personium_types::Error),
}

impl KeyFileError {
    fn content(subject: impl Into<String>, reason: &dyn std::error::Error) -> Self {
        Self::Content {
            subject: subject.into(),
            reason: reason.to_string(),
        }
    }

    fn file(path: &Path, source: io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }
}

/// Returns a random text of digits and small letters, 5 bits each.
///
/// # Errors
/// [`KeyFileError::Content`] if the system provides no random bytes.
pub fn random_text(chars: usize, random: &dyn Random) -> Result<String, KeyFileError> {
    let mut bytes = vec![0; chars];
    random
        .fill(&mut bytes)
        .map_err(|error| KeyFileError::content("random bytes", &error))?;
    let character = |byte: &u8| {
        ALPHABET
            .get(usize::from(byte % 32))
            .map(|character| char::from(*character))
    };
    Ok(bytes.iter().filter_map(character).collect())
}

/// The keys of a unit, and the files that must be written before it uses them.
#[derive(Debug)]
pub struct PreparedKeys {
    /// The keys.
    pub keys: UnitKeys,
    /// Notes for the operator: a certificate that was issued again.
    pub notes: Vec<String>,
    /// Paths and contents.
    missing_files: Vec<(PathBuf, String)>,
}

impl PreparedKeys {
    /// Writes the generated files.
    ///
    /// # Errors
    /// [`KeyFileError::File`] if one cannot be written.
    pub fn write_files(&self) -> Result<(), KeyFileError> {
        let mut files = self.missing_files.iter();
        files.try_for_each(|(path, text)| write_private(path, text.as_bytes()))
    }

    /// The path of the secret, if it was generated.
    #[must_use]
    pub fn new_secret(&self) -> Option<&Path> {
        self.missing_files()
            .find(|path| path.ends_with(SECRET_FILE))
    }

    /// The paths of the generated files.
    pub fn missing_files(&self) -> impl Iterator<Item = &Path> {
        self.missing_files.iter().map(|(path, _)| path.as_path())
    }
}

/// Loads all keys, configured ones or those in the data folder, and generates what is in neither place: a secret, a key,
/// a certificate for `host`. Nothing is written.
///
/// A certificate that the unit has issued itself is issued again, with the same key, if it is for another host or not
/// valid now. A configured one is refused then.
///
/// # Errors
/// [`KeyFileError`] if a file is missing or invalid, the key does not belong to the certificate, the certificate is not
/// for the host or not valid now, or the secret is too short.
pub fn prepare(
    config: &Config,
    host: &str,
    now_ms: i64,
    random: &dyn Random,
) -> Result<PreparedKeys, KeyFileError> {
    let mut missing_files = Vec::new();
    let secret = match &config.secrets.secret {
        Some(secret) => secret.clone(),
        None => stored_secret(config, random, &mut missing_files)?,
    };
    let mut notes = Vec::new();
    let (key_path, certificate_path) = key_and_certificate(config);
    let signing = if config.certificates.key.is_some() {
        let signing = load_unit_key(&read(&key_path)?, &read(&certificate_path)?, config)?;
        check_certificate("x509.crt", &signing, host, now_ms)?;
        signing
    } else {
        let own = own_certificate::prepare(&config.store.data_dir, host, now_ms)?;
        missing_files.extend(own.missing_files);
        notes.extend(own.note);
        own.signing
    };
    let certificates = UnitCertificates {
        trust_roots: load_roots(config, &signing, now_ms)?,
        signing,
    };
    let hashing = config.password_hash.settings(&config.passwords);
    Ok(PreparedKeys {
        keys: UnitKeys::new(local_keys(config, &secret)?, certificates, hashing),
        notes,
        missing_files,
    })
}

/// Returns the secret in the data folder, or a new one.
fn stored_secret(
    config: &Config,
    random: &dyn Random,
    missing_files: &mut Vec<(PathBuf, String)>,
) -> Result<Secret<String>, KeyFileError> {
    let path = config.store.data_dir.join(SECRET_FILE);
    if exists(&path)? {
        return read_secret(&path);
    }
    let secret = random_text(SECRET_CHARS, random)?;
    missing_files.push((path, secret.clone()));
    Ok(Secret::new(secret))
}

/// Checks that a certificate that the unit must not replace is for its host and valid now. `subject` names the file or
/// setting.
fn check_certificate(
    subject: &str,
    signing: &UnitKey,
    host: &str,
    now_ms: i64,
) -> Result<(), KeyFileError> {
    let info = signing.certificate_info();
    let name = &info.subject;
    let reason = if !signing.is_for_host(host) {
        let common_name = info.common_name.as_deref().unwrap_or("its name");
        format!(
            "the certificate is for {name}, and the host of the unit is {host} (unitFqdn): all tokens of unit users would \
             be refused; set unitFqdn={common_name}, or give a certificate for {host}"
        )
    } else if !info.is_valid_at(now_ms) {
        format!(
            "the certificate of {name} is valid from {} to {}, and the clock says {}: renew it, or set the clock",
            iso_time(info.not_before_ms),
            iso_time(info.not_after_ms),
            iso_time(now_ms),
        )
    } else {
        return Ok(());
    };
    Err(KeyFileError::Content {
        subject: subject.to_owned(),
        reason,
    })
}

/// Returns the paths of the unit's key and certificate.
#[must_use]
pub fn key_and_certificate(config: &Config) -> (PathBuf, PathBuf) {
    let (folder, certificates) = (&config.store.data_dir, &config.certificates);
    match (&certificates.key, &certificates.certificate) {
        (Some(key), Some(certificate)) => (key.clone(), certificate.clone()),
        _ => (folder.join(KEY_FILE), folder.join(CERTIFICATE_FILE)),
    }
}

/// Checks that the private key and the certificate belong together, and that a certificate that the unit has issued itself is as it was issued.
/// Nothing is made that is missing.
///
/// # Errors
/// [`KeyFileError`] if one of them cannot be read, or was changed.
pub(crate) fn check_signing_key(config: &Config) -> Result<(), KeyFileError> {
    let (key, certificate) = key_and_certificate(config);
    if config.certificates.key.is_none() && !exists(&certificate)? {
        // The next start issues it, with a new key if that is missing too.
        return Ok(());
    }
    let signing = load_unit_key(&read(&key)?, &read(&certificate)?, config)?;
    match signing.has_whole_certificate() {
        true => Ok(()),
        false => Err(KeyFileError::Content {
            subject: certificate.display().to_string(),
            reason: "it is not what its key has signed: restore it from a back-up".to_owned(),
        }),
    }
}

/// Returns the common name of the configured certificate; `None` if no certificate is configured.
///
/// # Errors
/// [`KeyFileError`] if the configured key or certificate cannot be read.
pub fn configured_host(config: &Config) -> Result<Option<String>, KeyFileError> {
    let certificates = &config.certificates;
    let (Some(key), Some(certificate)) = (&certificates.key, &certificates.certificate) else {
        return Ok(None);
    };
    let unit = load_unit_key(&read(key)?, &read(certificate)?, config)?;
    Ok(unit.certificate_info().common_name.clone())
}

/// Returns the common name of the certificate of the unit as it is stored; `None` if there is none that can be read.
pub(crate) fn certified_host(config: &Config) -> Option<String> {
    let (key, certificate) = key_and_certificate(config);
    let unit = load_unit_key(&read(&key).ok()?, &read(&certificate).ok()?, config).ok()?;
    unit.certificate_info().common_name.clone()
}

fn local_keys(config: &Config, secret: &Secret<String>) -> Result<LocalKeys, KeyFileError> {
    let keys = LocalKeys::new(secret.reveal())
        .map_err(|error| KeyFileError::content("the unit secret", &error))?;
    match &config.secrets.previous_secret {
        Some(previous) => keys
            .with_previous(previous.reveal())
            .map_err(|error| KeyFileError::content("the previous secret", &error)),
        None => Ok(keys),
    }
}

fn load_unit_key(key: &[u8], certificate: &[u8], config: &Config) -> Result<UnitKey, KeyFileError> {
    UnitKey::load(key, certificate).map_err(|error| {
        let (key, certificate) = key_and_certificate(config);
        let subject = format!("{} and {}", key.display(), certificate.display());
        KeyFileError::content(subject, &error)
    })
}

/// Loads the trusted certificates, to which the unit's own always belongs.
fn load_roots(config: &Config, own: &UnitKey, now_ms: i64) -> Result<TrustRoots, KeyFileError> {
    let paths = config.certificates.roots.iter();
    let files: Vec<Vec<u8>> = paths.map(|path| read(path)).collect::<Result<_, _>>()?;
    let slices: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    TrustRoots::load_with_own(&slices, own, now_ms).map_err(|error| roots_error(config, &error))
}

/// The roots that cannot be used, and what to do.
fn roots_error(config: &Config, error: &RootConfigError) -> KeyFileError {
    let content = |subject: String, reason: String| KeyFileError::Content { subject, reason };
    let cure = match error {
        RootConfigError::Unreadable { file } => {
            let path = config.certificates.roots.get(*file);
            let path = path.map_or_else(String::new, |path| path.display().to_string());
            let reason = "contains no certificate in PEM or DER".to_owned();
            return content(format!("x509.root: {path}"), reason);
        }
        RootConfigError::NotValidNow { .. } => {
            "get the renewed one of its authority, or remove it from x509.root, or set the clock"
        }
        RootConfigError::Unsupported { .. } => "remove it from x509.root",
    };
    content("x509.root".to_owned(), format!("{error}: {cure}"))
}

fn read_secret(path: &Path) -> Result<Secret<String>, KeyFileError> {
    let text = String::from_utf8(read(path)?)
        .map_err(|error| KeyFileError::content(path.display().to_string(), &error))?;
    Ok(Secret::new(text.trim().to_owned()))
}

fn read(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    fs::read(path).map_err(|source| KeyFileError::file(path, source))
}

/// Whether there is a file. An error must not be taken for a missing file: generating a new one would replace it.
fn exists(path: &Path) -> Result<bool, KeyFileError> {
    path.try_exists()
        .map_err(|source| KeyFileError::file(path, source))
}

/// Writes a file that only its owner may read. After a crash it is there with its whole content or not at all.
///
/// # Errors
/// [`KeyFileError::File`] if it cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyFileError> {
    let write = || -> io::Result<()> {
        let mut new = NewFile::beside(path)?;
        new.file.write_all(bytes)?;
        new.put_in_place()
    };
    write().map_err(|source| KeyFileError::file(path, source))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::{ConfigSources, LoadedConfig};
    use crate::system;

    const NOW_MS: i64 = 1_800_000_000_000;

    pub(super) fn config(folder: &Path, more: &[(&str, &str)]) -> Config {
        let mut options = vec![("data.dir".to_owned(), folder.display().to_string())];
        options.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        LoadedConfig::load(&ConfigSources {
            options,
            ..ConfigSources::default()
        })
        .unwrap()
        .config
    }

    /// Prepares the keys of a unit with this host and writes what is missing, as a start does.
    fn start(config: &Config, host: &str, now_ms: i64) -> Result<PreparedKeys, KeyFileError> {
        let prepared = prepare(config, host, now_ms, &system::random())?;
        prepared.write_files()?;
        Ok(prepared)
    }

    fn common_name(prepared: &PreparedKeys) -> Option<String> {
        let certificates = prepared.keys.certificates();
        certificates.signing.certificate_info().common_name.clone()
    }

    fn files(folder: &Path) -> Vec<Vec<u8>> {
        [SECRET_FILE, KEY_FILE, CERTIFICATE_FILE]
            .map(|name| fs::read(folder.join(name)).unwrap())
            .into()
    }

    #[test]
    fn missing_key_files_are_generated_once_with_private_mode() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[]);
        prepare(&config, "unit.example", NOW_MS, &system::random()).unwrap();
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            0,
            "nothing is written yet"
        );
        let first = start(&config, "unit.example", NOW_MS).unwrap();
        assert_eq!(common_name(&first).as_deref(), Some("unit.example"));
        assert_eq!(
            first.keys.certificates().trust_roots.root_infos().count(),
            1
        );
        for name in [SECRET_FILE, KEY_FILE, CERTIFICATE_FILE] {
            let mode = fs::metadata(folder.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let before = files(folder.path());
        assert_eq!(before[0].len(), SECRET_CHARS);
        let again = start(&config, "unit.example", NOW_MS).unwrap();
        assert_eq!((again.missing_files().count(), again.notes.len()), (0, 0));
        assert_eq!(files(folder.path()), before);
    }

    #[test]
    fn own_certificate_is_issued_again_for_another_host_or_time_with_the_same_key() {
        const DAY_MS: i64 = 24 * 3_600_000;
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[]);
        // A board without a clock.
        start(&config, "localhost", 1_000).unwrap();
        let first = files(folder.path());
        for (host, now_ms, is_issued) in [
            ("localhost", NOW_MS, false),
            ("localhost", 2_000, false),
            ("unit.example", NOW_MS, true),
            ("cell.unit.example", NOW_MS, false),
            ("unit.example", NOW_MS + 30 * 365 * DAY_MS, true),
            ("unit.example", NOW_MS, false),
            ("localhost", NOW_MS, true),
        ] {
            let prepared = start(&config, host, now_ms).unwrap();
            let case = format!("{host} at {now_ms}");
            assert_eq!(
                prepared.missing_files().count(),
                usize::from(is_issued),
                "{case}"
            );
            assert_eq!(prepared.notes.len(), usize::from(is_issued), "{case}");
            let certificates = prepared.keys.certificates();
            assert!(certificates.signing.is_for_host(host), "{case}");
            assert!(
                certificates.signing.certificate_info().is_valid_at(now_ms),
                "{case}"
            );
            assert_eq!(files(folder.path())[..2], first[..2], "{case}");
        }
    }

    #[test]
    fn certificate_that_is_lost_is_issued_again_and_a_lost_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[]);
        start(&config, "unit.example", NOW_MS).unwrap();
        let first = files(folder.path());
        fs::remove_file(folder.path().join(CERTIFICATE_FILE)).unwrap();
        start(&config, "unit.example", NOW_MS).unwrap();
        assert_eq!(files(folder.path())[..2], first[..2]);
        fs::remove_file(folder.path().join(KEY_FILE)).unwrap();
        let refused = start(&config, "unit.example", NOW_MS)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains(KEY_FILE) && refused.contains("back-up"),
            "{refused}"
        );
        assert!(!folder.path().join(KEY_FILE).exists());
    }

    #[test]
    fn inaccessible_key_file_is_not_replaced() {
        for name in [SECRET_FILE, KEY_FILE, CERTIFICATE_FILE] {
            let folder = tempfile::tempdir().unwrap();
            let config = config(folder.path(), &[]);
            start(&config, "unit.example", NOW_MS).unwrap();
            // Following a symbolic link to itself is an error other than `NotFound`.
            let path = folder.path().join(name);
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(&path, &path).unwrap();
            let refused = start(&config, "unit.example", NOW_MS);
            assert!(matches!(refused, Err(KeyFileError::File { .. })), "{name}");
            assert!(path.is_symlink(), "{name}");
        }
    }

    #[test]
    fn configured_key_files_are_loaded_and_checked() {
        let (generated, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        start(&config(generated.path(), &[]), "unit.example", NOW_MS).unwrap();
        start(&config(other.path(), &[]), "other.example", NOW_MS).unwrap();
        let name =
            |folder: &tempfile::TempDir, file: &str| folder.path().join(file).display().to_string();
        let (key, certificate) = (
            name(&generated, KEY_FILE),
            name(&generated, CERTIFICATE_FILE),
        );
        let empty = tempfile::tempdir().unwrap();
        let secret = ("security.secret16", "0123456789abcdef");

        let given = [
            ("x509.key", key.as_str()),
            ("x509.crt", certificate.as_str()),
            secret,
        ];
        let settings = config(empty.path(), &given);
        assert_eq!(
            configured_host(&settings).unwrap().as_deref(),
            Some("unit.example")
        );
        start(&settings, "unit.example", NOW_MS).unwrap();
        assert_eq!(
            fs::read_dir(empty.path()).unwrap().count(),
            0,
            "configured keys are not generated"
        );

        let foreign = name(&other, CERTIFICATE_FILE);
        let mixed = config(
            empty.path(),
            &[("x509.key", &key), ("x509.crt", &foreign), secret],
        );
        let late = NOW_MS + 30 * 365 * 24 * 3_600_000;
        for (settings, host, now_ms, part) in [
            (&mixed, "unit.example", NOW_MS, "does not belong"),
            (
                &settings,
                "another.example",
                NOW_MS,
                "set unitFqdn=unit.example",
            ),
            (&settings, "unit.example", late, "renew it"),
        ] {
            let refused = start(settings, host, now_ms).unwrap_err().to_string();
            assert!(refused.contains(part), "{refused}");
        }

        // The unit trusts its own certificate, whatever else it trusts.
        let mut with_roots = given.to_vec();
        with_roots.push(("x509.root", &foreign));
        let trusting = start(&config(empty.path(), &with_roots), "unit.example", NOW_MS).unwrap();
        assert_eq!(
            trusting
                .keys
                .certificates()
                .trust_roots
                .root_infos()
                .count(),
            2
        );
    }

    #[test]
    fn random_texts_have_the_length_and_differ() {
        let (a, b) = (
            random_text(16, &system::random()).unwrap(),
            random_text(16, &system::random()).unwrap(),
        );
        assert_eq!(a.len(), 16);
        assert_ne!(a, b);
    }
}
