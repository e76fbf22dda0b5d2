//! The file that describes a plugin: TOML with its declaration, and a table with the settings of its kind.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use toml::{Table, Value};

use crate::declaration::Declaration;
use crate::identity::AuthPlugin;
use crate::loaded::LoadedPlugin;

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

/// A kind of plugins.
pub trait PluginKind: Send + Sync {
    /// The value of `kind`, which also names the table of its settings.
    fn name(&self) -> &'static str;

    /// Makes a plugin. Nothing is asked over the network yet.
    ///
    /// # Errors
    /// A text for the operator.
    fn load(&self, source: PluginSource<'_>) -> Result<Arc<dyn AuthPlugin>, String>;
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
) -> Result<LoadedPlugin, String> {
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
    let manifest: Manifest = table.try_into().map_err(|error| format!("{error}"))?;
    let calls_max = manifest.calls_max.unwrap_or(CALLS_MAX_DEFAULT);
    if !(1..=CALLS_MAX).contains(&calls_max) {
        return Err(format!("calls_max must be from 1 to {CALLS_MAX}"));
    }
    let declaration = Declaration {
        name: name.to_owned(),
        kind: loader.name(),
        label: manifest.label.unwrap_or(manifest.kind),
        grant_type: manifest.grant_type,
        account_types: manifest.account_types,
    };
    declaration.check()?;
    let source = PluginSource {
        settings,
        folder,
        declaration: &declaration,
    };
    let plugin = loader.load(source)?;
    Ok(LoadedPlugin::new(declaration, plugin, calls_max))
}
