//! The plugins of a node, script extensions included: loads those in the folder of the settings, and follows changes of the folder.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use personium_ldap::LdapPluginKind;
use personium_model::Unit;
use personium_model::audit::{NotedPart, NotedState};
use personium_model::credentials::UnitKeys;
use personium_plugin::{
    Fingerprint, FolderError, FoundPlugin, HttpPluginKind, PluginFolder, PluginKind, PluginState,
};
use personium_types::error::chain;
use personium_wasm::WasmPluginKind;

use crate::config::Config;

/// The setting with the folder.
const FOLDER_SETTING: &str = "plugin.path";
/// The time between two looks at the folder.
const PERIOD: Duration = Duration::from_secs(2);
/// The largest number of looks after which a plugin that could not be loaded is tried again: about five minutes.
const MAX_LOOKS: u32 = 150;

/// Returns the folder of plugins; `None` if the settings name none.
#[must_use]
pub(crate) fn folder(config: &Config) -> Option<PluginFolder> {
    let path = config.plugins.dir.clone()?;
    let kinds: Vec<Arc<dyn PluginKind>> = vec![
        Arc::new(HttpPluginKind),
        Arc::new(LdapPluginKind),
        Arc::new(WasmPluginKind::default()),
    ];
    let grant_types = config
        .oidc
        .iter()
        .map(|provider| provider.grant_type.clone());
    let account_types = config
        .oidc
        .iter()
        .map(|provider| provider.account_type.clone());
    let folder = PluginFolder::new(path, kinds);
    Some(folder.without_types(grant_types.collect(), account_types.collect()))
}

/// Digests of the files of the plugins, by name, which nodes with the same secret compare. A folder that cannot be read has none.
pub(crate) fn digests(config: &Config, keys: &UnitKeys) -> BTreeMap<String, String> {
    let found = folder(config).and_then(|folder| folder.digests().ok());
    keyed(found.unwrap_or_default(), keys)
}

fn keyed(files: BTreeMap<String, Option<String>>, keys: &UnitKeys) -> BTreeMap<String, String> {
    let keyed = files.into_iter().map(|(file, hash)| {
        let name = format!("{FOLDER_SETTING}/{file}");
        let digest = keys
            .local_tokens
            .setting_digest(&name, &hash.unwrap_or_default());
        (name, digest)
    });
    keyed.collect()
}

/// Keeps the plugins of a unit as they are in a folder.
pub(crate) struct PluginLoader {
    folder: Arc<PluginFolder>,
    unit: Arc<Unit>,
    /// The folder when it was read last.
    fingerprint: Option<Fingerprint>,
    /// The state of each plugin that was logged last.
    logged: BTreeMap<String, String>,
    /// The last error of the folder as a whole that was logged.
    logged_error: Option<String>,
    /// When plugins that could not be loaded are tried again.
    retry: Retry,
    /// The number of plugins that could not be loaded.
    broken: usize,
}

/// The looks at an unchanged folder until it is read again, because a plugin could not be loaded: the reason may lie outside of the folder,
/// or have passed. Each time twice as many, up to [`MAX_LOOKS`].
#[derive(Debug, Default)]
struct Retry {
    looks_left: u32,
    /// 0: all plugins are loaded.
    pause: u32,
}

impl Retry {
    /// Counts a look. Returns whether the folder is to be read.
    fn is_due(&mut self) -> bool {
        if self.pause == 0 {
            return false;
        }
        self.looks_left = self.looks_left.saturating_sub(1);
        self.looks_left == 0
    }

    /// Takes note of what was read from a folder that has changed, or has not.
    fn note(&mut self, has_changed: bool, has_broken: bool) {
        self.pause = match (has_broken, has_changed) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => self.pause.saturating_mul(2).clamp(1, MAX_LOOKS),
        };
        self.looks_left = self.pause;
    }
}

impl PluginLoader {
    /// Loads the plugins for the first time. What cannot be loaded is logged.
    pub(crate) fn start(folder: PluginFolder, unit: Arc<Unit>) -> Self {
        let mut loader = Self {
            folder: Arc::new(folder),
            unit,
            fingerprint: None,
            logged: BTreeMap::new(),
            logged_error: None,
            retry: Retry::default(),
            broken: 0,
        };
        let read = read(&loader.folder, None);
        loader.apply(read);
        loader
    }

    /// Follows changes of the folder.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::time::sleep(PERIOD).await;
            let folder = Arc::clone(&self.folder);
            let known = self.fingerprint.clone();
            let known = known.filter(|_| !self.retry.is_due());
            let reading = tokio::task::spawn_blocking(move || read(&folder, known.as_ref()));
            match reading.await {
                Ok(read) => self.apply(read),
                Err(error) => tracing::error!(%error, "reading the folder of plugins failed"),
            }
        }
    }

    /// Applies what was read. While the folder cannot be read, all plugins stay as they are.
    fn apply(&mut self, read: Result<Option<FolderContent>, FolderError>) {
        let error = match read {
            Ok(None) => None,
            Ok(Some(content)) => {
                let has_changed = self.fingerprint.as_ref() != Some(&content.fingerprint);
                let states = content.plugins.iter().map(|found| &found.state);
                let is_broken = |state: &&PluginState| matches!(state, PluginState::Broken(_));
                let broken = states.filter(is_broken).count();
                self.retry.note(has_changed, broken > 0);
                // Another attempt at an unchanged folder may only help: otherwise what is loaded goes on.
                if has_changed || broken < self.broken {
                    self.broken = broken;
                    self.use_content(content);
                }
                None
            }
            Err(error) => Some(chain(&error)),
        };
        if error != self.logged_error {
            if let Some(error) = &error {
                let folder = self.folder.path().display();
                tracing::error!(%folder, error, "the folder of plugins cannot be used");
            }
            self.logged_error = error;
        }
    }

    fn use_content(&mut self, content: FolderContent) {
        self.log(&content.plugins);
        let state = content.noted_state();
        self.unit.note_state_later(NotedPart::Plugins, state, None);
        let keys = &self.unit.credentials().keys;
        self.unit.set_node_plugins(keyed(content.digests, keys));
        self.fingerprint = Some(content.fingerprint);
        self.unit
            .plugins()
            .replace(content.plugins.into_iter().collect());
    }

    /// Logs what is new since the last time.
    fn log(&mut self, plugins: &[FoundPlugin]) {
        let now = states_of(plugins);
        for found in plugins {
            let name = &found.name;
            if self.logged.get(name) == now.get(name) {
                continue;
            }
            match &found.state {
                PluginState::Loaded(plugin) => {
                    let declared = plugin.declaration();
                    tracing::info!(
                        plugin.name = name,
                        plugin.kind = declared.kind,
                        grant.type = declared.grant_type,
                        account.types = declared.account_types.join(" "),
                        "authentication plugin loaded"
                    );
                }
                PluginState::Extension(extension) => {
                    let declared = extension.declaration();
                    tracing::info!(
                        plugin.name = name,
                        plugin.kind = declared.kind,
                        extension.class = declared.class,
                        extension.methods = declared.methods.join(" "),
                        "script extension loaded"
                    );
                }
                PluginState::Disabled => {
                    tracing::info!(plugin.name = name, "plugin is disabled");
                }
                PluginState::Broken(reason) => {
                    tracing::error!(plugin.name = name, reason, "plugin not loaded");
                }
            }
        }
        for name in self.logged.keys().filter(|name| !now.contains_key(*name)) {
            tracing::info!(plugin.name = name, "plugin removed");
        }
        self.logged = now;
    }
}

/// The content of the folder at a moment.
struct FolderContent {
    fingerprint: Fingerprint,
    digests: BTreeMap<String, Option<String>>,
    plugins: Vec<FoundPlugin>,
}

impl FolderContent {
    /// The state that the audit log knows: the files that make plugins what they are, and plugins that are not to be loaded.
    fn noted_state(&self) -> NotedState {
        let digests = self.digests.iter().map(|(file, hash)| {
            let hash = hash.clone().unwrap_or_else(|| "unreadable".to_owned());
            (file.clone(), hash)
        });
        let disabled = self
            .plugins
            .iter()
            .filter(|found| matches!(found.state, PluginState::Disabled));
        let disabled = disabled.map(|found| (format!("{} (disabled)", found.name), String::new()));
        digests.chain(disabled).collect()
    }
}

/// Reads the folder; `None` if it is as it was known.
fn read(
    folder: &PluginFolder,
    known: Option<&Fingerprint>,
) -> Result<Option<FolderContent>, FolderError> {
    // What changes after this is read the next time.
    let fingerprint = folder.fingerprint()?;
    if Some(&fingerprint) == known {
        return Ok(None);
    }
    Ok(Some(FolderContent {
        digests: folder.digests()?,
        plugins: folder.load()?,
        fingerprint,
    }))
}

/// The state of each plugin as text, by name.
fn states_of(plugins: &[FoundPlugin]) -> BTreeMap<String, String> {
    let states = plugins
        .iter()
        .map(|found| (found.name.clone(), state_text(found)));
    states.collect()
}

/// The state of a plugin as text.
fn state_text(found: &FoundPlugin) -> String {
    match &found.state {
        PluginState::Loaded(plugin) => {
            let declared = plugin.declaration();
            let types = declared.account_types.join(" ");
            format!("{} {} {types}", declared.kind, declared.grant_type)
        }
        PluginState::Extension(extension) => {
            let declared = extension.declaration();
            let methods = declared.methods.join(" ");
            format!("{} {} {methods}", declared.kind, declared.class)
        }
        PluginState::Disabled => "disabled".to_owned(),
        PluginState::Broken(reason) => reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_plugin_is_tried_again_after_ever_more_looks() {
        let mut retry = Retry::default();
        let looks = |retry: &mut Retry| (1..1_000).find(|_| retry.is_due());
        retry.note(true, false);
        assert_eq!(looks(&mut retry), None);
        retry.note(true, true);
        let mut found = Vec::new();
        for _ in 0..10 {
            found.push(looks(&mut retry).unwrap());
            retry.note(false, true);
        }
        assert_eq!(found, [1, 2, 4, 8, 16, 32, 64, 128, 150, 150]);
        retry.note(true, true);
        assert_eq!(looks(&mut retry), Some(1));
        retry.note(false, false);
        assert_eq!(looks(&mut retry), None);
    }
}
