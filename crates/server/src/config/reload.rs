//! Which settings a running unit takes over, and which need a restart.

use std::collections::BTreeSet;

use super::{
    CellPageConfig, DavConfig, IntrospectionConfig, KeySelection, LoginConfig, ODataConfig,
    OutgoingConfig, PasswordConfig, ProxyConfig, QuotaConfig, SchemaConfig, TokenConfig,
};

/// The settings that take effect on reload.
const RELOADABLE: KeySelection = KeySelection {
    sections: &[
        ODataConfig::TITLE,
        SchemaConfig::TITLE,
        DavConfig::TITLE,
        QuotaConfig::TITLE,
        CellPageConfig::TITLE,
        LoginConfig::TITLE,
        PasswordConfig::TITLE,
        TokenConfig::TITLE,
        IntrospectionConfig::TITLE,
        OutgoingConfig::TITLE,
        ProxyConfig::TITLE,
    ],
    keys: &[
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
        "tls.crt",
        "tls.key",
        "log.filter",
    ],
    // They size what is allocated at the start, or belong to what is loaded only then.
    exceptions: &[
        "dav.uploads.max",
        "dav.uploads.queue.max",
        "authn.rateLimit.burst",
        "authn.rateLimit.perMinute",
        "security.auth.password.salt",
    ],
};

/// Returns the names of the keys whose changes take effect on reload.
#[must_use]
pub fn reloadable_keys() -> BTreeSet<String> {
    RELOADABLE.keys().map(|key| key.name).collect()
}
