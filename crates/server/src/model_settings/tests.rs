use super::*;
use crate::config::{self, ConfigSources, KeyInfo, LoadedConfig, PREFIX};

/// Sections whose values the server itself uses. A field that nothing reads is an error of the compiler there.
const SECTIONS_OF_THE_SERVER: &[&str] = &[
    config::UnitConfig::TITLE,
    config::ListenConfig::TITLE,
    config::StoreConfig::TITLE,
    config::PostgresConfig::TITLE,
    config::FileConfig::TITLE,
    config::ObjectStoreConfig::TITLE,
    config::SecretConfig::TITLE,
    config::PasswordConfig::TITLE,
    config::PasswordHashConfig::TITLE,
    config::CertificateConfig::TITLE,
    config::TlsConfig::TITLE,
    config::AcmeConfig::TITLE,
    config::BackgroundConfig::TITLE,
    config::CacheConfig::TITLE,
    config::LogConfig::TITLE,
    config::TraceConfig::TITLE,
];

/// Keys of other sections whose values the server itself uses.
const KEYS_OF_THE_SERVER: &[&str] = &[
    "engine.extensions.dir",
    "plugin.path",
    "eventbus.broker",
    "eventbus.broker.caFile",
    "eventbus.broker.certificateFile",
    "eventbus.broker.keyFile",
    "eventbus.saslMechanism",
    "eventbus.broker.timeoutInSec",
    "eventbus.username",
    "eventbus.password",
    "eventbus.passwordFile",
    "eventbus.topic.all",
    "stream.mq",
    "stream.broker",
    "stream.username",
    "stream.password",
    "stream.passwordFile",
    "stream.broker.caFile",
    "stream.broker.timeoutInSec",
];

/// Keys that must be given together with others, and those.
const COMPANIONS: &[(&str, &[(&str, &str)])] = &[
    (
        "authn.account.lockCount",
        &[("authn.account.lockTime", "60")],
    ),
    (
        "authn.account.lockTime",
        &[("authn.account.lockCount", "5")],
    ),
    ("proxy.host", &[("proxy.port", "8080")]),
    ("proxy.port", &[("proxy.host", "proxy.example")]),
    (
        "proxy.user",
        &[("proxy.host", "proxy.example"), ("proxy.port", "8080")],
    ),
    (
        "proxy.pswd",
        &[
            ("proxy.host", "proxy.example"),
            ("proxy.port", "8080"),
            ("proxy.user", "other"),
        ],
    ),
    ("introspect.username", &[("introspect.password", "one")]),
    ("eventbus.waiting.max", &[("eventbus.mq", "activemq")]),
    ("introspect.password", &[("introspect.username", "one")]),
];

fn settings(options: &[(&str, &str)]) -> Option<String> {
    let options = options
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let loaded = LoadedConfig::load(&ConfigSources {
        options: options.collect(),
        ..ConfigSources::default()
    });
    let settings = model_settings(&loaded.ok()?.config);
    // Debug output masks secrets.
    let auth = &settings.auth;
    let credential = auth.introspection_credential.as_ref();
    let secrets = (
        auth.master_token
            .as_ref()
            .map(|token| token.reveal().clone()),
        credential.map(|(_, password)| password.reveal().clone()),
        settings
            .outgoing_proxy
            .as_ref()
            .and_then(|proxy| Some(proxy.credentials.as_ref()?.1.reveal().clone())),
    );
    Some(format!("{settings:?} {secrets:?}"))
}

/// Values to try instead of the default.
fn other_values(key: &KeyInfo) -> Vec<String> {
    let number = key.default.parse::<i64>().unwrap_or(0);
    let mut values: Vec<String> = [number + 1, number - 1, 8080]
        .iter()
        .map(i64::to_string)
        .collect();
    let words = key.permitted.strip_prefix("one of ").unwrap_or_default();
    values.extend(words.split(", ").map(str::to_owned));
    let texts = [
        "true",
        "false",
        "auth",
        "1,2",
        "^[a-z]{5,9}$",
        "https://unit.example/cell/",
        "192.0.2.0/24",
        "/somewhere/else",
        "a-text-that-is-long-enough",
        "host.example",
    ];
    values.extend(texts.map(str::to_owned));
    values
}

#[test]
fn every_key_has_an_effect_or_says_that_it_has_none() {
    let mut tried = 0;
    for section in Config::sections() {
        for key in section.keys.iter().filter(|key| key.has_effect) {
            let name = key.name.strip_prefix(PREFIX).unwrap();
            let companions = COMPANIONS.iter().find(|(of, _)| *of == name);
            let companions: &[(&str, &str)] = companions.map_or(&[], |(_, companions)| companions);
            let before = settings(companions);
            let has_effect = other_values(key).iter().any(|value| {
                let mut options = companions.to_vec();
                options.push((name, value));
                settings(&options).is_some_and(|after| Some(&after) != before.as_ref())
            });
            tried += usize::from(has_effect);
            let is_of_server = SECTIONS_OF_THE_SERVER.contains(&section.title)
                || KEYS_OF_THE_SERVER.contains(&name);
            assert!(has_effect || is_of_server, "{name} changes nothing");
        }
    }
    assert!(tried > 50, "{tried}");
}
