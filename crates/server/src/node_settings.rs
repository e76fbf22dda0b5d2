//! The settings that all nodes of a unit should have in common: with others, answers depend on the node.

use std::collections::BTreeMap;

use personium_model::server_node::SECRET_SETTING;
use personium_token::local::LocalKeys;
use personium_types::Secret;

use crate::config::{self, KeySelection, PREFIX, PROVIDER_PREFIX};

/// The settings that should be the same. The exceptions depend on the machine.
const COMMON: KeySelection = KeySelection {
    sections: &[
        config::ODataConfig::TITLE,
        config::SchemaConfig::TITLE,
        config::DavConfig::TITLE,
        config::QuotaConfig::TITLE,
        config::CellPageConfig::TITLE,
        config::LoginConfig::TITLE,
        config::PasswordConfig::TITLE,
        config::PasswordHashConfig::TITLE,
        config::TokenConfig::TITLE,
        config::IntrospectionConfig::TITLE,
        config::OutgoingConfig::TITLE,
    ],
    keys: &[
        "masterToken",
        "unitUser.issuers",
        "blobStore.type",
        "blobStore.s3.bucket",
        "blobStore.s3.prefix",
        "security.dav.encrypt.enabled",
        "event.hop.maxnum",
        "eventbus.mq",
        "eventbus.broker",
        "eventbus.topic.all",
        "stream.mq",
        "stream.broker",
        "bar.file.maxSize",
        "bar.entry.maxSize",
        "cache.type",
        "cache.memcached.host",
        "cache.memcached.port",
    ],
    exceptions: &[
        "dav.uploads.max",
        "dav.uploads.queue.max",
        "security.auth.password.hashThreads",
    ],
};

/// Returns digests of those of these settings that are not the default, by key. The values of all keys are given, secrets
/// included.
pub(crate) fn digests(
    values: &BTreeMap<String, Secret<String>>,
    keys: &LocalKeys,
) -> BTreeMap<String, String> {
    let defaults: BTreeMap<String, &'static str> = common_keys();
    let is_common = |name: &str| defaults.contains_key(name) || name.starts_with(PROVIDER_PREFIX);
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

/// The key that each digest depends on.
pub(crate) fn secret_key() -> String {
    format!("{PREFIX}{SECRET_SETTING}")
}

/// Returns digests of all settings of the unit that are not the default, by key, as [`digests`] does for those of all nodes.
pub(crate) fn all_digests(
    values: &BTreeMap<String, Secret<String>>,
    keys: &LocalKeys,
) -> BTreeMap<String, String> {
    let sections = config::Config::sections().into_iter();
    let defaults: BTreeMap<String, &'static str> = sections
        .flat_map(|section| section.keys)
        .map(|key| (key.name, key.default))
        .collect();
    let given = values
        .iter()
        .map(|(name, value)| (name, value.reveal().trim()))
        .filter(|(name, _)| name.starts_with(PREFIX) || name.starts_with(PROVIDER_PREFIX))
        .filter(|(name, value)| defaults.get(*name).is_none_or(|default| default != value));
    let mut digests: BTreeMap<String, String> = given
        .map(|(name, value)| (name.clone(), keys.setting_digest(name, value)))
        .collect();
    let secret = secret_key();
    let digest = keys.setting_digest(&secret, "");
    digests.insert(secret, digest);
    digests
}

/// The names of the keys that should be the same, with their defaults.
fn common_keys() -> BTreeMap<String, &'static str> {
    let keys = COMMON.keys().filter(|key| key.has_effect);
    keys.map(|key| (key.name, key.default)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Config;

    fn digests_of(secret: &str, given: &[(&str, &str)]) -> BTreeMap<String, String> {
        let values = given.iter().map(|(key, value)| {
            let value = Secret::new((*value).to_owned());
            let provider = key.starts_with("io.personium.");
            let prefix = if provider { "" } else { PREFIX };
            (format!("{prefix}{key}"), value)
        });
        digests(&values.collect(), &LocalKeys::new(secret).unwrap())
    }

    fn names(digests: &BTreeMap<String, String>) -> Vec<&str> {
        let short = |name| str::strip_prefix(name, PREFIX).unwrap_or(name);
        digests.keys().map(|name| short(name.as_str())).collect()
    }

    #[test]
    fn digests_are_of_common_settings_that_are_not_the_default() {
        let given = [
            ("odata.dialect", "original"),
            ("odata.query.top.maxnum", "7"),
            ("masterToken", "hidden-word"),
            ("io.personium.plugin.oidc.google.trustedClientIds", "x"),
            ("io.personium.plugin.oidc.mine.configURL", "y"),
            ("oidc.mine.configURL", "unknown key"),
            ("listen", "127.0.0.1:1"),
            ("dav.uploads.max", "3"),
            ("odata.batch.sleepInMillis", "9"),
        ];
        let found = digests_of("0123456789abcdef", &given);
        let expected = [
            "masterToken",
            "io.personium.plugin.oidc.google.trustedClientIds",
            "io.personium.plugin.oidc.mine.configURL",
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
        for key in COMMON.keys.iter().chain(COMMON.exceptions) {
            assert!(known.contains(&format!("{PREFIX}{key}")), "{key}");
        }
    }
}
