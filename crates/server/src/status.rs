//! What administrators of a running unit see of its settings, and how these are read anew.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use personium_api::AdminHooks;
use personium_model::Settings;
use personium_types::{Code, Error, Result};

use crate::config::{self, Config, Inputs, Loaded};
use crate::{serve, wiring};

/// Sections that a running unit follows.
const FOLLOWED_SECTIONS: &[&str] = &[
    config::Odata::TITLE,
    config::UserSchema::TITLE,
    config::Dav::TITLE,
    config::CellPages::TITLE,
    config::Authentication::TITLE,
    config::Passwords::TITLE,
    config::TokenScopes::TITLE,
    config::Introspect::TITLE,
    config::Outgoing::TITLE,
    config::OutgoingProxy::TITLE,
];
/// Keys (without prefix) of other sections that it follows too.
const FOLLOWED_KEYS: &[&str] = &[
    "masterToken",
    "unitUser.issuers",
    "es.index.maxResultWindow",
    "security.dav.encrypt.enabled",
];
/// Keys (without prefix) of those sections that it does not follow: they size what is made once.
const FIXED_KEYS: &[&str] = &[
    "dav.uploads.max",
    "dav.uploads.maxWaiting",
    "authn.address.burst",
    "authn.address.perMinute",
];

/// The settings of a running unit.
pub struct RunningSettings {
    inputs: Inputs,
    started: BTreeMap<String, String>,
    current: Mutex<BTreeMap<String, String>>,
}

impl RunningSettings {
    /// The settings that a unit starts with.
    #[must_use]
    pub fn new(loaded: &Loaded) -> Self {
        let started = shown(loaded);
        Self {
            inputs: loaded.inputs.clone(),
            current: Mutex::new(started.clone()),
            started,
        }
    }
}

/// Every key with its value, as far as it may be shown.
fn shown(loaded: &Loaded) -> BTreeMap<String, String> {
    let keys = Config::table().into_iter().flat_map(|(_, keys)| keys);
    let mut out: BTreeMap<String, String> =
        keys.map(|key| (key.name, key.default.to_owned())).collect();
    let given = loaded.given.iter();
    out.extend(given.map(|(name, _, value)| (name.clone(), value.clone())));
    out
}

/// The names of the keys that a running unit follows.
fn followed() -> BTreeSet<String> {
    let whole = |key: &&str| format!("{}{key}", config::PREFIX);
    let sections = Config::table().into_iter();
    let mut out: BTreeSet<String> = sections
        .filter(|(title, _)| FOLLOWED_SECTIONS.contains(title))
        .flat_map(|(_, keys)| keys.into_iter().map(|key| key.name))
        .collect();
    out.extend(FOLLOWED_KEYS.iter().map(whole));
    for fixed in FIXED_KEYS.iter().map(whole) {
        out.remove(&fixed);
    }
    out
}

impl AdminHooks for RunningSettings {
    fn settings(&self) -> Vec<(String, String)> {
        self.current.lock().clone().into_iter().collect()
    }

    fn pending_restart(&self) -> Vec<String> {
        let followed = followed();
        let current = self.current.lock();
        let names: BTreeSet<&String> = self.started.keys().chain(current.keys()).collect();
        names
            .into_iter()
            .filter(|name| self.started.get(*name) != current.get(*name))
            .filter(|name| name.starts_with(config::PREFIX) && !followed.contains(*name))
            .cloned()
            .collect()
    }

    fn reload(&self) -> Result<Settings> {
        let loaded = Loaded::from(&self.inputs)
            .map_err(|error| Error::new(Code::SettingsUnusable).with(error.0.join("; ")))?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let mut settings = wiring::settings(&loaded.config);
        serve::issuers(&mut settings, &loaded.config.store.data_dir);
        *self.current.lock() = shown(&loaded);
        Ok(settings)
    }
}
