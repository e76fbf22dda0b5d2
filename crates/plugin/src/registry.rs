//! The set of plugins that a unit uses at a moment.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::loaded::LoadedPlugin;
use crate::loaded_extension::LoadedExtension;

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

/// Plugins, of which no two share a grant type, an account type or a class.
#[derive(Default)]
pub struct PluginSet {
    plugins: Vec<Arc<LoadedPlugin>>,
    extensions: Vec<Arc<LoadedExtension>>,
}

impl PluginSet {
    /// The set of these plugins.
    #[must_use]
    pub fn new(plugins: Vec<Arc<LoadedPlugin>>) -> Self {
        Self {
            plugins,
            extensions: Vec::new(),
        }
    }

    /// The set with these script extensions.
    #[must_use]
    pub fn with_extensions(self, extensions: Vec<Arc<LoadedExtension>>) -> Self {
        Self { extensions, ..self }
    }

    /// The script extensions.
    #[must_use]
    pub fn extensions(&self) -> &[Arc<LoadedExtension>] {
        &self.extensions
    }

    /// The script extension with this class.
    #[must_use]
    pub fn find_extension(&self, class: &str) -> Option<&Arc<LoadedExtension>> {
        let mut extensions = self.extensions.iter();
        extensions.find(|extension| extension.declaration().class == class)
    }

    /// The plugin with this grant type.
    #[must_use]
    pub fn find(&self, grant_type: &str) -> Option<&Arc<LoadedPlugin>> {
        let mut plugins = self.plugins.iter();
        plugins.find(|plugin| plugin.declaration().grant_type == grant_type)
    }

    /// The account types that they declare.
    pub fn account_types(&self) -> impl Iterator<Item = &str> {
        self.plugins
            .iter()
            .flat_map(|plugin| plugin.declaration().account_types.iter())
            .map(String::as_str)
    }
}
