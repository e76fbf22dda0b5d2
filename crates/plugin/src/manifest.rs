//! The file that describes a plugin: TOML with its declaration, and a table with the settings of its kind.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use toml::{Table, Value};

use crate::declaration::Declaration;
use crate::extension::ScriptExtension;
use crate::extension_declaration::ExtensionDeclaration;
use crate::identity::AuthPlugin;
use crate::loaded::LoadedPlugin;
use crate::loaded_extension::LoadedExtension;

/// The default of the largest number of calls at once.
const CALLS_MAX_DEFAULT: usize = 64;
/// The largest number of calls at once that can be set.
const CALLS_MAX: usize = 10_000;

/// The settings of a plugin that its kind reads.
pub struct PluginSource<'a> {
    /// The table of the kind.
    pub settings: Table,
    /// The folder that relative paths begin in.
    pub folder: &'a Path,
    /// The declaration of the plugin.
    pub declaration: &'a Declaration,
}

/// The settings of a script extension that its kind reads.
pub struct ExtensionSource<'a> {
    /// The table of the kind.
    pub settings: Table,
    /// The folder that relative paths begin in.
    pub folder: &'a Path,
    /// The declaration of the extension.
    pub declaration: &'a ExtensionDeclaration,
}

/// A kind of plugins.
pub trait PluginKind: Send + Sync {
    /// The value of `kind`, which also names the table of its settings.
    fn name(&self) -> &'static str;

    /// Makes a plugin. Nothing is asked over the network yet.
    ///
    /// # Errors
    /// A text for the operator.
    fn load(&self, source: PluginSource<'_>) -> Result<Arc<dyn AuthPlugin>, String>;

    /// Makes a script extension. Nothing is asked over the network yet.
    ///
    /// # Errors
    /// A text for the operator; so for kinds that have none.
    fn load_extension(&self, _: ExtensionSource<'_>) -> Result<Arc<dyn ScriptExtension>, String> {
        Err(format!("the kind {} has no extensions", self.name()))
    }
}

/// The plugin that a file describes.
pub(crate) enum Described {
    /// An authentication plugin.
    Plugin(LoadedPlugin),
    /// A script extension.
    Extension(LoadedExtension),
}

/// The member of the file of a script extension.
const EXTENSION: &str = "extension";

/// The part of the file of an extension that all kinds have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtensionManifest {
    kind: String,
    label: Option<String>,
    extension: String,
    methods: Vec<String>,
    calls_max: Option<usize>,
}

/// The part of the file that all kinds have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    kind: String,
    label: Option<String>,
    grant_type: String,
    account_types: Vec<String>,
    calls_max: Option<usize>,
}

/// Loads the plugin that a file describes.
///
/// # Errors
/// A text for the operator.
pub(crate) fn load(
    name: &str,
    text: &str,
    folder: &Path,
    kinds: &[Arc<dyn PluginKind>],
) -> Result<Described, String> {
    let mut table: Table = text.parse().map_err(|error| format!("{error}"))?;
    let kind = match table.get("kind") {
        Some(Value::String(kind)) => kind.clone(),
        _ => return Err("kind is missing".to_owned()),
    };
    let Some(loader) = kinds.iter().find(|known| known.name() == kind) else {
        let known: Vec<_> = kinds.iter().map(|known| known.name()).collect();
        return Err(format!("kind must be one of {}", known.join(", ")));
    };
    let settings = match table.remove(&kind) {
        Some(Value::Table(settings)) => settings,
        _ => return Err(format!("the table [{kind}] is missing")),
    };
    let place = Place {
        name,
        folder,
        kind: loader.as_ref(),
        settings,
    };
    match table.contains_key(EXTENSION) {
        true => place.extension(table).map(Described::Extension),
        false => place.plugin(table).map(Described::Plugin),
    }
}

/// The properties of a plugin that are known before its declaration.
struct Place<'a> {
    name: &'a str,
    folder: &'a Path,
    kind: &'a dyn PluginKind,
    settings: Table,
}

impl Place<'_> {
    fn plugin(self, table: Table) -> Result<LoadedPlugin, String> {
        let manifest: Manifest = table.try_into().map_err(|error| format!("{error}"))?;
        let calls_max = calls_max(manifest.calls_max)?;
        let declaration = Declaration {
            name: self.name.to_owned(),
            kind: self.kind.name(),
            label: manifest.label.unwrap_or(manifest.kind),
            grant_type: manifest.grant_type,
            account_types: manifest.account_types,
        };
        declaration.check()?;
        let source = PluginSource {
            settings: self.settings,
            folder: self.folder,
            declaration: &declaration,
        };
        let plugin = self.kind.load(source)?;
        Ok(LoadedPlugin::new(declaration, plugin, calls_max))
    }

    fn extension(self, table: Table) -> Result<LoadedExtension, String> {
        let manifest: ExtensionManifest = table.try_into().map_err(|error| format!("{error}"))?;
        let calls_max = calls_max(manifest.calls_max)?;
        let declaration = ExtensionDeclaration {
            name: self.name.to_owned(),
            kind: self.kind.name(),
            label: manifest.label.unwrap_or(manifest.kind),
            class: manifest.extension,
            methods: manifest.methods,
        };
        declaration.check()?;
        let source = ExtensionSource {
            settings: self.settings,
            folder: self.folder,
            declaration: &declaration,
        };
        let extension = self.kind.load_extension(source)?;
        Ok(LoadedExtension::new(declaration, extension, calls_max))
    }
}

fn calls_max(given: Option<usize>) -> Result<usize, String> {
    let calls_max = given.unwrap_or(CALLS_MAX_DEFAULT);
    match (1..=CALLS_MAX).contains(&calls_max) {
        true => Ok(calls_max),
        false => Err(format!("calls_max must be from 1 to {CALLS_MAX}")),
    }
}
