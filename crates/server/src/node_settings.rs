//! The settings that all nodes of a unit should have in common: with others, answers depend on the node.

use std::collections::{BTreeMap, BTreeSet};

use personium_model::server_node::SECRET_SETTING;
use personium_token::local::LocalKeys;
use personium_types::Secret;

use crate::config::{self, Config, PREFIX};

/// Sections whose settings should be the same.
const SECTIONS: &[&str] = &[
    config::ODataConfig::TITLE,
    config::SchemaConfig::TITLE,
    config::DavConfig::TITLE,
    config::CellPageConfig::TITLE,
    config::LoginConfig::TITLE,
    config::PasswordConfig::TITLE,
    config::PasswordHashConfig::TITLE,
    config::TokenConfig::TITLE,
    config::IntrospectionConfig::TITLE,
    config::OutgoingConfig::TITLE,
];

/// Keys (without prefix) of other sections that should be the same.
const KEYS: &[&str] = &[
    "masterToken",
    "unitUser.issuers",
    "blobStore.type",
    "blobStore.s3.bucket",
    "blobStore.s3.prefix",
    "security.dav.encrypt.enabled",
    "event.hop.maxnum",
    "bar.file.maxSize",
    "bar.entry.maxSize",
    "cache.type",
    "cache.memcached.host",
    "cache.memcached.port",
];

/// Keys (without prefix) of those sections that depend on the machine.
const KEYS_OF_A_MACHINE: &[&str] = &[
    "dav.uploads.max",
    "dav.uploads.queue.max",
    "security.auth.password.hashThreads",
];

/// The begin of the keys (without prefix) of providers of OpenID Connect.
const PROVIDER_PREFIX: &str = "oidc.";

/// Returns digests of those of these settings that are not the default, by key. The values of all keys are given, secrets
/// included.
pub(crate) fn digests(
    values: &BTreeMap<String, Secret<String>>,
    keys: &LocalKeys,
) -> BTreeMap<String, String> {
    let defaults: BTreeMap<String, &'static str> = common_keys();
    let is_common = |name: &str| {
        defaults.contains_key(name)
            || name
                .strip_prefix(PREFIX)
                .is_some_and(|key| key.starts_with(PROVIDER_PREFIX))
    };
    let is_default = |name: &str, value: &str| defaults.get(name).is_some_and(|d| *d == value);
    let given = values
        .iter()
        .map(|(name, value)| (name, value.reveal().trim()))
        .filter(|(name, value)| is_common(name) && !is_default(name, value));
    let mut digests: BTreeMap<String, String> = given
        .map(|(name, value)| (name.clone(), keys.setting_digest(name, value)))
        .collect();
    // Each digest depends on the secret.
    let secret = format!("{PREFIX}{SECRET_SETTING}");
    let digest = keys.setting_digest(&secret, "");
    digests.insert(secret, digest);
    digests
}

/// The names of the keys that should be the same, with their defaults.
fn common_keys() -> BTreeMap<String, &'static str> {
    let with_prefix = |keys: &[&str]| -> BTreeSet<String> {
        keys.iter().map(|key| format!("{PREFIX}{key}")).collect()
    };
    let (more, of_a_machine) = (with_prefix(KEYS), with_prefix(KEYS_OF_A_MACHINE));
    let mut common = BTreeMap::new();
    for section in Config::sections() {
        let is_common = SECTIONS.contains(&section.title);
        for key in section.keys {
            let is_common = is_common || more.contains(&key.name);
            if is_common && key.has_effect && !of_a_machine.contains(&key.name) {
                common.insert(key.name, key.default);
            }
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests_of(secret: &str, given: &[(&str, &str)]) -> BTreeMap<String, String> {
        let values = given.iter().map(|(key, value)| {
            let value = Secret::new((*value).to_owned());
            (format!("{PREFIX}{key}"), value)
        });
        digests(&values.collect(), &LocalKeys::new(secret).unwrap())
    }

    fn names(digests: &BTreeMap<String, String>) -> Vec<&str> {
        let names = digests.keys().filter_map(|name| name.strip_prefix(PREFIX));
        names.collect()
    }

    #[test]
    fn digests_are_of_common_settings_that_are_not_the_default() {
        let given = [
            ("odata.dialect", "original"),
            ("odata.query.top.maxnum", "7"),
            ("masterToken", "hidden-word"),
            ("oidc.google.trustedClientIds", "x"),
            ("oidc.mine.configURL", "y"),
            ("listen", "127.0.0.1:1"),
            ("dav.uploads.max", "3"),
            ("odata.batch.sleepInMillis", "9"),
        ];
        let found = digests_of("0123456789abcdef", &given);
        let expected = [
            "masterToken",
            "oidc.google.trustedClientIds",
            "oidc.mine.configURL",
            "odata.query.top.maxnum",
            "security.secret16",
        ];
        let expected: BTreeSet<&str> = expected.into_iter().collect();
        assert_eq!(names(&found).into_iter().collect::<BTreeSet<_>>(), expected);
        assert!(!format!("{found:?}").contains("hidden-word"));
    }

    #[test]
    fn digest_depends_on_value_and_secret() {
        let of = |secret: &str, value: &str| digests_of(secret, &[("masterToken", value)]);
        let one = of("0123456789abcdef", "a");
        assert_eq!(one, of("0123456789abcdef", "a"));
        assert_ne!(one, of("0123456789abcdef", "b"));
        let other = of("0123456789abcdeg", "a");
        assert!(
            one.iter()
                .all(|(name, digest)| other.get(name) != Some(digest))
        );
    }

    #[test]
    fn every_named_key_exists() {
        let known: BTreeSet<String> = Config::sections()
            .into_iter()
            .flat_map(|section| section.keys)
            .map(|key| key.name)
            .collect();
        for key in KEYS.iter().chain(KEYS_OF_A_MACHINE) {
            assert!(known.contains(&format!("{PREFIX}{key}")), "{key}");
        }
    }
}
