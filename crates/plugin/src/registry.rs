//! The set of plugins that a unit uses at a moment.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::loaded::LoadedPlugin;

/// The plugins of a unit. It is replaced as a whole when the folder of plugins changes; calls that run keep their plugin.
#[derive(Default)]
pub struct PluginRegistry(RwLock<Arc<PluginSet>>);

impl PluginRegistry {
    /// The plugins for a request that begins now.
    #[must_use]
    pub fn current(&self) -> Arc<PluginSet> {
        Arc::clone(&self.0.read())
    }

    /// Replaces all plugins.
    pub fn replace(&self, plugins: PluginSet) {
        *self.0.write() = Arc::new(plugins);
    }
}

/// Plugins, of which no two share a grant type or an account type.
#[derive(Default)]
pub struct PluginSet(Vec<Arc<LoadedPlugin>>);

impl PluginSet {
    /// The set of these plugins.
    #[must_use]
    pub fn new(plugins: Vec<Arc<LoadedPlugin>>) -> Self {
        Self(plugins)
    }

    /// The plugin with this grant type.
    #[must_use]
    pub fn find(&self, grant_type: &str) -> Option<&Arc<LoadedPlugin>> {
        let mut plugins = self.0.iter();
        plugins.find(|plugin| plugin.declaration().grant_type == grant_type)
    }

    /// The account types that they declare.
    pub fn account_types(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .flat_map(|plugin| plugin.declaration().account_types.iter())
            .map(String::as_str)
    }
}
