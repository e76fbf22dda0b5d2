//! The settings of a running unit: what administrators see of them, and reloading.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use personium_api::AdminHooks;
use personium_model::Settings;
use personium_types::{Code, Error, Result};

use crate::config::{self, Config, ConfigSources, LoadedConfig};
use crate::first_start;
use crate::model_settings::model_settings;

/// Sections whose changes take effect on reload.
const RELOADABLE_SECTIONS: &[&str] = &[
    config::ODataConfig::TITLE,
    config::SchemaConfig::TITLE,
    config::DavConfig::TITLE,
    config::CellPageConfig::TITLE,
    config::LoginConfig::TITLE,
    config::PasswordConfig::TITLE,
    config::TokenConfig::TITLE,
    config::IntrospectionConfig::TITLE,
    config::OutgoingConfig::TITLE,
    config::ProxyConfig::TITLE,
];
/// Keys (without prefix) of other sections whose changes take effect on reload.
const RELOADABLE_KEYS: &[&str] = &[
    "masterToken",
    "unitUser.issuers",
    "es.index.maxResultWindow",
    "security.dav.encrypt.enabled",
];
/// Keys (without prefix) of those sections whose changes need a restart: they size what is allocated at the start.
const RESTART_KEYS: &[&str] = &[
    "dav.uploads.max",
    "dav.uploads.queue.max",
    "authn.rateLimit.burst",
    "authn.rateLimit.perMinute",
];

/// The settings of a running unit.
pub struct RunningSettings {
    sources: ConfigSources,
    /// The values at the start, by name of the key.
    initial: BTreeMap<String, String>,
    /// The values after the last reload.
    current: Mutex<BTreeMap<String, String>>,
}

impl RunningSettings {
    /// Remembers the settings with which a unit starts.
    #[must_use]
    pub fn new(loaded: &LoadedConfig) -> Self {
        let initial = public_values(loaded);
        Self {
            sources: loaded.sources.clone(),
            current: Mutex::new(initial.clone()),
            initial,
        }
    }
}

/// Returns the value of every key, with secrets masked.
fn public_values(loaded: &LoadedConfig) -> BTreeMap<String, String> {
    let sections = Config::sections().into_iter();
    let mut values: BTreeMap<String, String> = sections
        .flat_map(|section| section.keys)
        .map(|key| (key.name, key.default.to_owned()))
        .collect();
    let given = loaded.given.iter();
    values.extend(given.map(|setting| (setting.name.clone(), setting.value.clone())));
    values
}

/// Returns the names of the keys whose changes take effect on reload.
fn reloadable_keys() -> BTreeSet<String> {
    let with_prefix = |key: &&str| format!("{}{key}", config::PREFIX);
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

impl AdminHooks for RunningSettings {
    fn settings(&self) -> Vec<(String, String)> {
        self.current.lock().clone().into_iter().collect()
    }

    fn pending_restart(&self) -> Vec<String> {
        let reloadable = reloadable_keys();
        let current = self.current.lock();
        let names: BTreeSet<&String> = self.initial.keys().chain(current.keys()).collect();
        names
            .into_iter()
            .filter(|name| self.initial.get(*name) != current.get(*name))
            .filter(|name| name.starts_with(config::PREFIX) && !reloadable.contains(*name))
            .cloned()
            .collect()
    }

    fn reload(&self) -> Result<Settings> {
        let loaded = LoadedConfig::load(&self.sources)
            .map_err(|error| Error::new(Code::SettingsUnusable).with(error.0.join("; ")))?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let mut settings = model_settings(&loaded.config);
        first_start::add_default_issuer(&mut settings, &loaded.config);
        *self.current.lock() = public_values(&loaded);
        Ok(settings)
    }
}
