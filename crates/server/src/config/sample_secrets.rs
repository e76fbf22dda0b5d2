//! Secrets that are published: in documents, sample settings and set-up scripts of Personium.

use super::{Config, ConfigReader};

/// Published values, of whatever key.
const PUBLISHED: &[&str] = &[
    "gv7hpmmf5siwj5by",
    "secret16abcdefgh",
    "secret16abcdefg",
    "personiumio",
    "personium",
    "unitadmin",
    "abc123",
    "changeme",
    "changemechangeme",
    "token.key",
    "master_token",
    "{master_token}",
    "{{token.key}}",
    "c3s-innov",
    "voAbizvF",
    "saltijkl",
    "password",
    "secret",
];

/// The number of bytes below which a master token can be guessed.
const MIN_MASTER_TOKEN_BYTES: usize = 16;

/// Whether a value is published.
fn is_published(value: &str) -> bool {
    PUBLISHED
        .iter()
        .any(|known| known.eq_ignore_ascii_case(value))
}

/// Adds a problem for each secret that is published, a warning if only this machine can reach the unit.
pub(super) fn check(config: &Config, reader: &mut ConfigReader) {
    let is_local = is_local(config);
    let secrets = [
        ("security.secret16", &config.secrets.secret),
        ("masterToken", &config.unit.master_token),
        ("introspect.password", &config.introspection.password),
    ];
    for (key, value) in secrets {
        if !value
            .as_ref()
            .is_some_and(|value| is_published(value.reveal()))
        {
            continue;
        }
        if is_local {
            reader.add_key_warning(
                key,
                "the value is published in sample settings; replace it before others can reach the unit",
            );
        } else {
            reader.add_key_problem(
                key,
                "the value is published in sample settings: everybody knows it; choose another one",
            );
        }
    }
    let salt = config.passwords.sha256_salt.as_ref();
    if salt.is_some_and(|salt| is_published(salt.reveal())) {
        let warning = "the value is published in sample settings; accounts with hashes of sha-256 should get new passwords";
        reader.add_key_warning("security.auth.password.salt", warning);
    }
    let token = config.unit.master_token.as_ref();
    if !is_local && token.is_some_and(|token| token.reveal().len() < MIN_MASTER_TOKEN_BYTES) {
        let warning = format!("is shorter than {MIN_MASTER_TOKEN_BYTES} bytes: it can be guessed");
        reader.add_key_warning("masterToken", &warning);
    }
}

/// Whether only programs of this machine can reach the unit, as far as the settings tell.
fn is_local(config: &Config) -> bool {
    let host = config.unit.host.as_deref().unwrap_or("localhost");
    let is_local_host = host == "localhost" || host.starts_with("127.");
    is_local_host && config.listen.address.ip().is_loopback()
}
