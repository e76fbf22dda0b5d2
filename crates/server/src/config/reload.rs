//! Which settings a running unit takes over, and which need a restart.

use std::collections::BTreeSet;

use super::{
    CellPageConfig, Config, DavConfig, IntrospectionConfig, LoginConfig, ODataConfig,
    OutgoingConfig, PREFIX, PasswordConfig, ProxyConfig, SchemaConfig, TokenConfig,
};

/// Sections whose changes take effect on reload.
const RELOADABLE_SECTIONS: &[&str] = &[
    ODataConfig::TITLE,
    SchemaConfig::TITLE,
    DavConfig::TITLE,
    CellPageConfig::TITLE,
    LoginConfig::TITLE,
    PasswordConfig::TITLE,
    TokenConfig::TITLE,
    IntrospectionConfig::TITLE,
    OutgoingConfig::TITLE,
    ProxyConfig::TITLE,
];
/// Keys (without prefix) of other sections whose changes take effect on reload.
const RELOADABLE_KEYS: &[&str] = &[
    "masterToken",
    "unitUser.issuers",
    "security.dav.encrypt.enabled",
    "server.trustedProxies",
    "event.hop.maxnum",
    "bar.file.maxSize",
    "bar.entry.maxSize",
    "bar.userdata.linksOutputStreamSize",
    "bar.userdata.bulkSize",
    "bar.tmp.dir",
    "x509.key",
    "x509.crt",
    "x509.root",
    "log.filter",
];
/// Keys (without prefix) of those sections whose changes need a restart: they size what is allocated at the start, or
/// belong to what is loaded only then.
const RESTART_KEYS: &[&str] = &[
    "dav.uploads.max",
    "dav.uploads.queue.max",
    "authn.rateLimit.burst",
    "authn.rateLimit.perMinute",
    "security.auth.password.salt",
];

/// Returns the names of the keys whose changes take effect on reload.
#[must_use]
pub fn reloadable_keys() -> BTreeSet<String> {
    let with_prefix = |key: &&str| format!("{}{key}", PREFIX);
    let sections = Config::sections().into_iter();
    let mut names: BTreeSet<String> = sections
        .filter(|section| RELOADABLE_SECTIONS.contains(&section.title))
        .flat_map(|section| section.keys)
        .map(|key| key.name)
        .collect();
    names.extend(RELOADABLE_KEYS.iter().map(with_prefix));
    for name in RESTART_KEYS.iter().map(with_prefix) {
        names.remove(&name);
    }
    names
}
