//! The unit's secret, private key and certificate: configured ones, or those that the first start generates in the data
//! folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use personium_model::credentials::UnitKeys;
use personium_token::local::LocalKeys;
use personium_token::trust::{TrustRoots, UnitKey, generate_self_signed};
use personium_types::{Random, Secret};

use crate::config::Config;

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

/// The validity of a generated certificate, in milliseconds: ten years.
const VALIDITY_MS: i64 = 10 * 365 * 24 * 3600 * 1000;

/// How long before its generation a certificate becomes valid, in milliseconds, because clocks of peers may be slow.
const BACKDATING_MS: i64 = 24 * 3600 * 1000;

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

/// Generates what is neither configured nor in the data folder: a secret, and a key with a certificate for `host`.
///
/// # Errors
/// [`KeyFileError`] if a file cannot be written.
pub fn generate_missing(
    config: &Config,
    host: &str,
    now_ms: i64,
    random: &dyn Random,
) -> Result<(), KeyFileError> {
    let folder = &config.store.data_dir;
    let secret = folder.join(SECRET_FILE);
    if config.secrets.secret.is_none() && !exists(&secret)? {
        write_private(&secret, random_text(SECRET_CHARS, random)?.as_bytes())?;
    }
    let (key, certificate) = (folder.join(KEY_FILE), folder.join(CERTIFICATE_FILE));
    if config.certificates.key.is_none() && !(exists(&key)? && exists(&certificate)?) {
        let generated = generate_self_signed(host, now_ms - BACKDATING_MS, now_ms + VALIDITY_MS)
            .map_err(|error| KeyFileError::content(format!("a certificate for {host}"), &error))?;
        write_private(&key, generated.key_pem.as_bytes())?;
        write_private(&certificate, generated.certificate_pem.as_bytes())?;
    }
    Ok(())
}

/// Loads all keys, configured ones or those in the data folder.
///
/// # Errors
/// [`KeyFileError`] if a file is missing or invalid, the key does not belong to the certificate, or the secret is too
/// short.
pub fn load(config: &Config, now_ms: i64) -> Result<UnitKeys, KeyFileError> {
    let (key, certificate) = key_and_certificate(config);
    Ok(UnitKeys {
        local_tokens: load_local_keys(config)?,
        signing: load_unit_key(&key, &certificate)?,
        trust_roots: load_roots(config, now_ms)?,
        password_hashing: config.password_hash.settings(&config.passwords),
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

/// Returns the common name of the configured certificate; `None` if no certificate is configured.
///
/// # Errors
/// [`KeyFileError`] if the configured key or certificate cannot be read.
pub fn configured_host(config: &Config) -> Result<Option<String>, KeyFileError> {
    let certificates = &config.certificates;
    let (Some(key), Some(certificate)) = (&certificates.key, &certificates.certificate) else {
        return Ok(None);
    };
    let unit = load_unit_key(key, certificate)?;
    Ok(unit.certificate_info().common_name.clone())
}

fn load_local_keys(config: &Config) -> Result<LocalKeys, KeyFileError> {
    let secret = match &config.secrets.secret {
        Some(secret) => secret.clone(),
        None => read_secret(&config.store.data_dir.join(SECRET_FILE))?,
    };
    let keys = LocalKeys::new(secret.reveal())
        .map_err(|error| KeyFileError::content("the unit secret", &error))?;
    match &config.secrets.previous_secret {
        Some(previous) => keys
            .with_previous(previous.reveal())
            .map_err(|error| KeyFileError::content("the previous secret", &error)),
        None => Ok(keys),
    }
}

fn load_unit_key(key: &Path, certificate: &Path) -> Result<UnitKey, KeyFileError> {
    UnitKey::load(&read(key)?, &read(certificate)?).map_err(|error| {
        let subject = format!("{} and {}", key.display(), certificate.display());
        KeyFileError::content(subject, &error)
    })
}

/// Loads the trusted certificates; by default, the unit's own.
fn load_roots(config: &Config, now_ms: i64) -> Result<TrustRoots, KeyFileError> {
    let mut paths = config.certificates.roots.clone();
    if paths.is_empty() {
        paths.push(key_and_certificate(config).1);
    }
    let files: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| read(path))
        .collect::<Result<_, _>>()?;
    let slices: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    TrustRoots::load(&slices, now_ms).map_err(|error| KeyFileError::content("x509.root", &error))
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
        let temp_path = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temp_path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temp_path, path)?;
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
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

    fn config(folder: &Path, more: &[(&str, &str)]) -> Config {
        let mut options = vec![("data.dir".to_owned(), folder.display().to_string())];
        options.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        LoadedConfig::load(&ConfigSources {
            options,
            ..ConfigSources::default()
        })
        .unwrap()
        .config
    }

    #[test]
    fn missing_key_files_are_generated_once_with_private_mode() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[]);
        assert!(matches!(
            load(&config, NOW_MS),
            Err(KeyFileError::File { .. })
        ));
        generate_missing(&config, "unit.example", NOW_MS, &system::random()).unwrap();
        let keys = load(&config, NOW_MS).unwrap();
        assert_eq!(
            keys.signing.certificate_info().common_name.as_deref(),
            Some("unit.example")
        );
        assert_eq!(keys.trust_roots.root_infos().count(), 1);
        let mut before = Vec::new();
        for name in [SECRET_FILE, KEY_FILE, CERTIFICATE_FILE] {
            let path = folder.path().join(name);
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600,
                "{name}"
            );
            before.push(fs::read(&path).unwrap());
        }
        assert_eq!(before[0].len(), SECRET_CHARS);
        generate_missing(&config, "other.example", NOW_MS, &system::random()).unwrap();
        assert_eq!(fs::read(folder.path().join(KEY_FILE)).unwrap(), before[1]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn inaccessible_key_file_is_not_replaced() {
        for name in [SECRET_FILE, KEY_FILE, CERTIFICATE_FILE] {
            let folder = tempfile::tempdir().unwrap();
            let config = config(folder.path(), &[]);
            generate_missing(&config, "unit.example", NOW_MS, &system::random()).unwrap();
            // Following a symbolic link to itself is an error other than `NotFound`.
            let path = folder.path().join(name);
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(&path, &path).unwrap();
            let refused = generate_missing(&config, "unit.example", NOW_MS, &system::random());
            assert!(matches!(refused, Err(KeyFileError::File { .. })), "{name}");
            assert!(path.is_symlink(), "{name}");
        }
    }

    #[test]
    fn configured_key_files_are_loaded_and_checked() {
        let (generated, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        generate_missing(
            &config(generated.path(), &[]),
            "unit.example",
            NOW_MS,
            &system::random(),
        )
        .unwrap();
        generate_missing(
            &config(other.path(), &[]),
            "other.example",
            NOW_MS,
            &system::random(),
        )
        .unwrap();
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
        generate_missing(&settings, "unit.example", NOW_MS, &system::random()).unwrap();
        assert_eq!(
            fs::read_dir(empty.path()).unwrap().count(),
            0,
            "configured keys are not generated"
        );
        load(&settings, NOW_MS).unwrap();

        let foreign = name(&other, CERTIFICATE_FILE);
        let mixed = config(
            empty.path(),
            &[("x509.key", &key), ("x509.crt", &foreign), secret],
        );
        assert!(
            load(&mixed, NOW_MS)
                .unwrap_err()
                .to_string()
                .contains("does not belong")
        );
        let late = NOW_MS + 2 * VALIDITY_MS;
        assert!(
            load(&settings, late)
                .unwrap_err()
                .to_string()
                .contains("x509.root")
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
