//! The settings of a running unit: what administrators see of them, and reloading.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use personium_api::AdminHooks;
use personium_model::audit::{AuditActor, AuditEvent, AuditEventKind, NotedPart, NotedState};
use personium_model::credentials::UnitKeys;
use personium_model::{Settings, Unit};
use personium_types::error::chain;
use personium_types::{Clock, Code, Error, Random, Result, Secret};

use crate::components::Components;
use crate::config::{self, Config, ConfigSources, LoadedConfig, reloadable_keys};
use crate::key_files::{self, KeyFileError};
use crate::model_settings::model_settings;
use crate::tls::{ServerCertificate, ServerCertificates};
use crate::{logging, node_settings};

/// The values of keys by name.
type Values = BTreeMap<String, Secret<String>>;

/// The settings of a running unit.
pub struct RunningSettings {
    sources: ConfigSources,
    /// The settings at the start, some of which stay until a restart.
    started_with: Config,
    /// The values at the start.
    initial: Values,
    current: Mutex<CurrentValues>,
    unit: Arc<Unit>,
    certificates: CertificateReload,
    /// The certificate of the TLS port.
    server_certificates: Option<Arc<ServerCertificates>>,
}

/// The values after the last reload.
struct CurrentValues {
    values: Values,
    /// The same with secrets masked.
    shown: BTreeMap<String, String>,
}

/// The parts that are needed to load the certificates again.
struct CertificateReload {
    keys: Arc<UnitKeys>,
    host: String,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl CertificateReload {
    /// Loads key, certificate and roots again. An own certificate is issued again if its validity is over.
    fn apply(&self, config: &Config) -> Result<(), KeyFileError> {
        let now_ms = self.clock.now_ms();
        let prepared = key_files::prepare(config, &self.host, now_ms, &self.random)?;
        if let Some(path) = prepared.new_secret() {
            let path = path.to_owned();
            return Err(KeyFileError::MissingSecret { path });
        }
        prepared.write_files()?;
        for note in &prepared.notes {
            tracing::warn!("{note}");
        }
        self.keys.replace_certificates(prepared.keys.certificates());
        Ok(())
    }
}

/// The settings before they are reloaded for the first time.
pub struct InitialSettings {
    sources: ConfigSources,
    values: Values,
    shown: BTreeMap<String, String>,
}

impl InitialSettings {
    /// Remembers the settings with which a unit starts.
    #[must_use]
    pub fn new(loaded: &LoadedConfig) -> Self {
        Self {
            sources: loaded.sources.clone(),
            values: values(loaded),
            shown: shown_values(loaded),
        }
    }

    /// Digests of the settings that all nodes should have in common.
    #[must_use]
    pub(crate) fn digests(&self, keys: &UnitKeys) -> BTreeMap<String, String> {
        node_settings::digests(&self.values, &keys.local_tokens)
    }

    /// The settings of the unit that runs on these components.
    #[must_use]
    pub(crate) fn running(
        self,
        components: &Components,
        unit: &Arc<Unit>,
        server_certificates: Option<Arc<ServerCertificates>>,
    ) -> RunningSettings {
        RunningSettings {
            server_certificates,
            sources: self.sources,
            started_with: components.config.clone(),
            unit: Arc::clone(unit),
            initial: self.values.clone(),
            current: Mutex::new(CurrentValues {
                values: self.values,
                shown: self.shown,
            }),
            certificates: CertificateReload {
                keys: Arc::clone(&components.keys),
                host: components.urls.host().to_owned(),
                clock: Arc::clone(&components.clock),
                random: Arc::clone(&components.random),
            },
        }
    }
}

/// Returns the value of every key; the default of those that are not given.
fn values(loaded: &LoadedConfig) -> Values {
    let mut values = defaults(Secret::new);
    values.extend(loaded.values.clone());
    values
}

/// Returns the value of every key, with secrets masked.
fn shown_values(loaded: &LoadedConfig) -> BTreeMap<String, String> {
    let mut values = defaults(std::convert::identity);
    let given = loaded.given.iter();
    values.extend(given.map(|setting| (setting.name.clone(), setting.value.clone())));
    values
}

fn defaults<V>(value: impl Fn(String) -> V) -> BTreeMap<String, V> {
    let keys = Config::sections()
        .into_iter()
        .flat_map(|section| section.keys);
    keys.map(|key| (key.name, value(key.default.to_owned())))
        .collect()
}

/// The keys of the unit whose values differ.
fn changed_keys(before: &Values, after: &Values) -> Vec<String> {
    let value = |values: &Values, name: &str| values.get(name).map(|value| value.reveal().clone());
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| name.starts_with(config::PREFIX))
        .filter(|name| value(before, name) != value(after, name))
        .cloned()
        .collect()
}

impl RunningSettings {
    /// Writes into the audit log which settings have other values than before, also if a signal reloads them, which no request does.
    fn note_changes(&self, before: &Values) {
        let changed = changed_keys(before, &self.current.lock().values);
        if changed.is_empty() {
            return;
        }
        let event = AuditEvent::new(AuditEventKind::Note, "settings.change")
            .by(AuditActor::unit(), None)
            .with_target(&changed.join(" "));
        self.unit.append_audit_entry_later(event);
        self.unit
            .remember_state_later(NotedPart::Settings, self.noted_state());
    }

    /// Writes into the audit log which settings have other values than when a process of the unit had them last.
    pub(crate) fn note_start(&self) {
        let secret = Some(node_settings::secret_key());
        self.unit
            .note_state_later(NotedPart::Settings, self.noted_state(), secret);
    }

    /// Digests of the settings that concern the unit: all of them, unless it may have several nodes, which have their own.
    fn noted_state(&self) -> NotedState {
        let keys = &self.certificates.keys.local_tokens;
        let values = &self.current.lock().values;
        match self.unit.store().is_shared() {
            true => node_settings::digests(values, keys),
            false => node_settings::all_digests(values, keys),
        }
    }

    /// The new settings with the values that stay until a restart and that what is reloaded depends on.
    fn effective(&self, mut config: Config) -> Config {
        config
            .store
            .data_dir
            .clone_from(&self.started_with.store.data_dir);
        config
            .secrets
            .secret
            .clone_from(&self.started_with.secrets.secret);
        let previous = &self.started_with.secrets.previous_secret;
        config.secrets.previous_secret.clone_from(previous);
        config
    }
}

impl AdminHooks for RunningSettings {
    fn settings(&self) -> Vec<(String, String)> {
        self.current.lock().shown.clone().into_iter().collect()
    }

    fn pending_restart(&self) -> Vec<String> {
        let reloadable = reloadable_keys();
        let mut changed = changed_keys(&self.initial, &self.current.lock().values);
        changed.retain(|name| !reloadable.contains(name));
        changed
    }

    fn reload(&self) -> Result<Settings> {
        let unusable = |reason: String| Error::new(Code::SettingsUnusable).with(reason);
        let loaded =
            LoadedConfig::load(&self.sources).map_err(|error| unusable(error.0.join("; ")))?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let current = CurrentValues {
            values: values(&loaded),
            shown: shown_values(&loaded),
        };
        let config = self.effective(loaded.config);
        let given = match &self.server_certificates {
            Some(_) => ServerCertificate::of_settings(&config),
            None => Ok(None),
        };
        let given = given.map_err(|error| unusable(chain(&error)))?;
        self.certificates
            .apply(&config)
            .map_err(|error| unusable(chain(&error)))?;
        logging::apply_filter(&config.log).map_err(|error| unusable(error.to_string()))?;
        if let Some((certificates, given)) = self.server_certificates.as_ref().zip(given) {
            certificates.replace(given);
        }
        let mut settings = model_settings(&config);
        // The file system of the same folder is that of the start.
        let at_start = &self.unit.settings().archives.temp_dir;
        if settings.archives.temp_dir.path() == at_start.path() {
            settings.archives.temp_dir = at_start.clone();
        }
        let digests = node_settings::digests(&current.values, &self.certificates.keys.local_tokens);
        self.unit.set_node_settings(digests);
        let before = std::mem::replace(&mut *self.current.lock(), current).values;
        self.note_changes(&before);
        Ok(settings)
    }
}
