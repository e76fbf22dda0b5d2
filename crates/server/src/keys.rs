//! Secrets and keys of a unit: those that are configured, or made at the first start and kept in the data folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use personium_model::auth::UnitKeys;
use personium_token::local::LocalKeys;
use personium_token::random::{Random, SystemRandom};
use personium_token::trust::{TrustRoots, UnitKey, generate_self_signed};
use personium_types::Secret;

use crate::config::Config;

/// Where the unit secret is kept that was made at the first start, in the data folder.
pub const SECRET_FILE: &str = "unit.secret";
/// Where the unit's private key is kept that was made at the first start.
pub const KEY_FILE: &str = "unit.key";
/// Where the unit's certificate is kept that was made at the first start.
pub const CERTIFICATE_FILE: &str = "unit.crt";

/// Characters of a secret that is made: one of 32 each, so 160 bits.
const SECRET_LENGTH: usize = 32;

/// Digits that cannot be mistaken for each other.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// How long a certificate is valid that is made here: ten years, in milliseconds.
const VALIDITY_MS: i64 = 10 * 365 * 24 * 3600 * 1000;

/// How far back its validity begins, for clocks of others that are late, in milliseconds.
const BEFORE_MS: i64 = 24 * 3600 * 1000;

/// Keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file was read and is not what it should be.
    #[error("{what}: {why}")]
    Content {
        /// Which files.
        what: String,
        /// Why.
        why: String,
    },
}

fn content(what: impl Into<String>, why: &dyn std::error::Error) -> KeysError {
    KeysError::Content {
        what: what.into(),
        why: why.to_string(),
    }
}

/// A text that nobody can guess, of digits and small letters.
///
/// # Errors
/// If the system gives no random bytes.
pub fn random_text(length: usize) -> Result<String, KeysError> {
    let mut bytes = vec![0; length];
    SystemRandom
        .fill(&mut bytes)
        .map_err(|error| content("random bytes", &error))?;
    let digit = |byte: &u8| {
        ALPHABET
            .get(usize::from(byte % 32))
            .map(|digit| char::from(*digit))
    };
    Ok(bytes.iter().filter_map(digit).collect())
}

/// Makes what is missing in the data folder: a secret, and a key with a certificate for `host`. What is configured
/// elsewhere is not made.
///
/// # Errors
/// If a file cannot be written.
pub fn make_missing(config: &Config, host: &str, now_ms: i64) -> Result<(), KeysError> {
    let folder = &config.store.data_dir;
    let secret = folder.join(SECRET_FILE);
    if config.security.secret.is_none() && !exists(&secret)? {
        write_private(&secret, random_text(SECRET_LENGTH)?.as_bytes())?;
    }
    let (key, certificate) = (folder.join(KEY_FILE), folder.join(CERTIFICATE_FILE));
    if config.x509.key.is_none() && !(exists(&key)? && exists(&certificate)?) {
        let made = generate_self_signed(host, now_ms - BEFORE_MS, now_ms + VALIDITY_MS);
        let made = made.map_err(|error| content(format!("a certificate for {host}"), &error))?;
        write_private(&key, made.key_pem.as_bytes())?;
        write_private(&certificate, made.certificate_pem.as_bytes())?;
    }
    Ok(())
}

/// Reads all keys; those that are not configured from the data folder.
///
/// # Errors
/// If a file is missing or not usable, key and certificate do not belong together, or the secret is too short.
pub fn load(config: &Config, now_ms: i64) -> Result<UnitKeys, KeysError> {
    let folder = &config.store.data_dir;
    let secret = match &config.security.secret {
        Some(secret) => secret.clone(),
        None => stored_secret(&folder.join(SECRET_FILE))?,
    };
    let mut local =
        LocalKeys::new(secret.reveal()).map_err(|error| content("the unit secret", &error))?;
    if let Some(previous) = &config.security.previous_secret {
        local = local
            .with_previous(previous.reveal())
            .map_err(|error| content("the previous secret", &error))?;
    }
    let (key, certificate) = files(config);
    let unit = UnitKey::load(&read(&key)?, &read(&certificate)?);
    let unit = unit.map_err(|error| {
        content(
            format!("{} and {}", key.display(), certificate.display()),
            &error,
        )
    })?;
    let files = roots(config)
        .iter()
        .map(|path| read(path))
        .collect::<Result<Vec<_>, _>>()?;
    let slices: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let roots = TrustRoots::load(&slices, now_ms).map_err(|error| content("x509.root", &error))?;
    Ok(UnitKeys {
        local_tokens: local,
        signing: unit,
        trust_roots: roots,
        password_hashing: config.hashing.settings(&config.passwords),
    })
}

/// The files of the unit's key and certificate.
#[must_use]
pub fn files(config: &Config) -> (PathBuf, PathBuf) {
    let folder = &config.store.data_dir;
    match (&config.x509.key, &config.x509.certificate) {
        (Some(key), Some(certificate)) => (key.clone(), certificate.clone()),
        _ => (folder.join(KEY_FILE), folder.join(CERTIFICATE_FILE)),
    }
}

/// The files of the certificates that are trusted: without settings, the unit's own.
fn roots(config: &Config) -> Vec<PathBuf> {
    if config.x509.roots.is_empty() {
        vec![files(config).1]
    } else {
        config.x509.roots.clone()
    }
}

/// The common name of the configured certificate, if there is one.
///
/// # Errors
/// If the certificate is configured and cannot be read.
pub fn configured_host(config: &Config) -> Result<Option<String>, KeysError> {
    let (Some(key), Some(certificate)) = (&config.x509.key, &config.x509.certificate) else {
        return Ok(None);
    };
    let unit = UnitKey::load(&read(key)?, &read(certificate)?);
    let unit = unit.map_err(|error| {
        content(
            format!("{} and {}", key.display(), certificate.display()),
            &error,
        )
    })?;
    Ok(unit.facts().common_name.clone())
}

fn stored_secret(path: &Path) -> Result<Secret<String>, KeysError> {
    let text = String::from_utf8(read(path)?)
        .map_err(|error| content(path.display().to_string(), &error))?;
    Ok(Secret::new(text.trim().to_owned()))
}

fn read(path: &Path) -> Result<Vec<u8>, KeysError> {
    fs::read(path).map_err(|source| KeysError::File {
        path: path.to_owned(),
        source,
    })
}

/// Whether there is a file. One that cannot be looked for must not be made anew: it may be there.
fn exists(path: &Path) -> Result<bool, KeysError> {
    path.try_exists().map_err(|source| KeysError::File {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file that only its owner may read, so that after a crash it is there as a whole or not at all.
///
/// # Errors
/// If it cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeysError> {
    let write = || -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    };
    write().map_err(|source| KeysError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::{Inputs, Loaded};

    const NOW: i64 = 1_800_000_000_000;

    fn config(folder: &Path, more: &[(&str, &str)]) -> Config {
        let mut options = vec![("data.dir".to_owned(), folder.display().to_string())];
        options.extend(more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        Loaded::from(&Inputs {
            options,
            ..Inputs::default()
        })
        .unwrap()
        .config
    }

    #[test]
    fn what_is_missing_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &[]);
        assert!(matches!(load(&config, NOW), Err(KeysError::File { .. })));
        make_missing(&config, "unit.example", NOW).unwrap();
        let keys = load(&config, NOW).unwrap();
        assert_eq!(
            keys.signing.facts().common_name.as_deref(),
            Some("unit.example")
        );
        assert_eq!(keys.trust_roots.facts().count(), 1);
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
        assert_eq!(before[0].len(), SECRET_LENGTH);
        make_missing(&config, "other.example", NOW).unwrap();
        assert_eq!(fs::read(folder.path().join(KEY_FILE)).unwrap(), before[1]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_cannot_be_looked_for_is_not_made_anew() {
        for name in [SECRET_FILE, KEY_FILE, CERTIFICATE_FILE] {
            let folder = tempfile::tempdir().unwrap();
            let config = config(folder.path(), &[]);
            make_missing(&config, "unit.example", NOW).unwrap();
            // To look behind a link to itself is an error, and not that nothing is there.
            let path = folder.path().join(name);
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(&path, &path).unwrap();
            let refused = make_missing(&config, "unit.example", NOW);
            assert!(matches!(refused, Err(KeysError::File { .. })), "{name}");
            assert!(path.is_symlink(), "{name}");
        }
    }

    #[test]
    fn configured_keys_are_used_and_checked() {
        let (made, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        make_missing(&config(made.path(), &[]), "unit.example", NOW).unwrap();
        make_missing(&config(other.path(), &[]), "other.example", NOW).unwrap();
        let name =
            |folder: &tempfile::TempDir, file: &str| folder.path().join(file).display().to_string();
        let (key, certificate) = (name(&made, KEY_FILE), name(&made, CERTIFICATE_FILE));
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
        make_missing(&settings, "unit.example", NOW).unwrap();
        assert_eq!(
            fs::read_dir(empty.path()).unwrap().count(),
            0,
            "nothing is made that is configured"
        );
        load(&settings, NOW).unwrap();

        let foreign = name(&other, CERTIFICATE_FILE);
        let mixed = config(
            empty.path(),
            &[("x509.key", &key), ("x509.crt", &foreign), secret],
        );
        assert!(
            load(&mixed, NOW)
                .unwrap_err()
                .to_string()
                .contains("does not belong")
        );
        let late = NOW + 2 * VALIDITY_MS;
        assert!(
            load(&settings, late)
                .unwrap_err()
                .to_string()
                .contains("x509.root")
        );
    }

    #[test]
    fn random_texts_differ() {
        let (a, b) = (random_text(16).unwrap(), random_text(16).unwrap());
        assert_eq!(a.len(), 16);
        assert_ne!(a, b);
    }
}
