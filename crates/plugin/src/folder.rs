//! The folder of plugins: a file for each plugin.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use personium_operator_files::{WRITABLE_BY_ALL, read_trusted_file};
use personium_types::hex;

use crate::loaded::LoadedPlugin;
use crate::loaded_extension::LoadedExtension;
use crate::manifest::{self, Described, PluginKind};
use crate::registry::PluginSet;

/// The end of the name of a file that describes a plugin.
const SUFFIX: &str = ".toml";
/// The end of the name of a file that describes a plugin that is not to be loaded.
const DISABLED_SUFFIX: &str = ".toml.disabled";
/// The end of the name of a plugin for the original unit.
const JAVA_SUFFIX: &str = ".jar";
/// The largest size of such a file in bytes.
const MAX_MANIFEST_BYTES: u64 = 64 << 10;
/// The end of the name of a file with a component of WebAssembly.
const COMPONENT_SUFFIX: &str = ".wasm";
/// The largest size of a file of a plugin in bytes.
const MAX_PART_BYTES: u64 = 32 << 20;
/// The largest number of plugins.
const MAX_PLUGINS: usize = 64;
/// The largest length of the name of a plugin in bytes.
const MAX_NAME_BYTES: usize = 64;

/// A folder of plugins.
pub struct PluginFolder {
    path: PathBuf,
    kinds: Vec<Arc<dyn PluginKind>>,
    /// Grant types that are built in.
    grant_types: Vec<String>,
    /// Account types that are built in.
    account_types: Vec<String>,
}

/// A plugin in the folder.
pub struct FoundPlugin {
    /// Its name, that of its file without the suffix.
    pub name: String,
    /// Its state.
    pub state: PluginState,
}

/// The state of a plugin in the folder.
pub enum PluginState {
    /// It can be called.
    Loaded(Arc<LoadedPlugin>),
    /// It is a script extension, and can be called.
    Extension(Arc<LoadedExtension>),
    /// It is not to be loaded.
    Disabled,
    /// It cannot be loaded, for this reason.
    Broken(String),
}

/// An error of the folder as a whole.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder, or a file in it, cannot be used.
    #[error("{0}")]
    Path(PathBuf, #[source] io::Error),
    /// All users of the machine can change the folder.
    #[error("{0} can be changed by all users of this machine")]
    Writable(PathBuf),
    /// There is no plugin of this name, or none that is enabled, or disabled.
    #[error("there is no {0}")]
    Missing(PathBuf),
    /// There is an enabled and a disabled plugin of this name.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// It is no name of a plugin.
    #[error("{0:?} is not a name of a plugin: letters, digits and ._- are allowed")]
    Name(String),
}

/// The state of the files in the folder, which changes with each of them: size, time of change and number of each file, by name.
pub type Fingerprint = BTreeMap<PathBuf, (u64, i64, i64, u64)>;

impl PluginFolder {
    /// A folder whose plugins are of these kinds.
    #[must_use]
    pub fn new(path: PathBuf, kinds: Vec<Arc<dyn PluginKind>>) -> Self {
        Self {
            path,
            kinds,
            grant_types: Vec::new(),
            account_types: Vec::new(),
        }
    }

    /// The same folder, whose plugins may not have these types, because they are built in.
    #[must_use]
    pub fn without_types(self, grant_types: Vec<String>, account_types: Vec<String>) -> Self {
        Self {
            grant_types,
            account_types,
            ..self
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The state of the files, which changes with each of them.
    ///
    /// # Errors
    /// [`FolderError::Path`]
    pub fn fingerprint(&self) -> Result<Fingerprint, FolderError> {
        let mut files = Fingerprint::new();
        for path in self.paths()? {
            // A file that was removed meanwhile is not there.
            if let Ok(found) = fs::metadata(&path) {
                let state = (found.len(), found.ctime(), found.ctime_nsec(), found.ino());
                files.insert(path, state);
            }
        }
        Ok(files)
    }

    /// SHA-256 of each file that makes a plugin what it is: its description, and components. `None` for those that cannot be read.
    ///
    /// # Errors
    /// [`FolderError::Path`]
    pub fn digests(&self) -> Result<BTreeMap<String, Option<String>>, FolderError> {
        let mut digests = BTreeMap::new();
        for path in self.paths()? {
            let name = path.file_name().and_then(|name| name.to_str());
            let is_part = |name: &&str| name.ends_with(SUFFIX) || name.ends_with(COMPONENT_SUFFIX);
            if let Some(name) = name.filter(is_part) {
                let read = read_trusted_file(&path, MAX_PART_BYTES).ok();
                let hash = read.map(|bytes| hex::encode(digest(&SHA256, &bytes).as_ref()));
                digests.insert(name.to_owned(), hash);
            }
        }
        Ok(digests)
    }

    /// Loads all plugins, in the order of their names. Those that cannot be loaded do not hinder others. Of two plugins with
    /// the same grant type, account type or class the first one is loaded.
    ///
    /// # Errors
    /// [`FolderError`] if the folder cannot be read, or all users of the machine can write to it.
    pub fn load(&self) -> Result<Vec<FoundPlugin>, FolderError> {
        let mut plugins = Vec::new();
        for path in self.paths()? {
            let file_name = path.file_name().and_then(|name| name.to_str());
            let Some((name, suffix)) = file_name.and_then(split_name) else {
                continue;
            };
            let state = match suffix {
                DISABLED_SUFFIX => PluginState::Disabled,
                JAVA_SUFFIX => PluginState::Broken(
                    "plugins in Java cannot be loaded; docs/plugins.md says what to use instead"
                        .to_owned(),
                ),
                _ => match self.load_one(name, &path, &plugins) {
                    Ok(Described::Plugin(plugin)) => PluginState::Loaded(Arc::new(plugin)),
                    Ok(Described::Extension(extension)) => {
                        PluginState::Extension(Arc::new(extension))
                    }
                    Err(reason) => PluginState::Broken(reason),
                },
            };
            let name = name.to_owned();
            plugins.push(FoundPlugin { name, state });
        }
        Ok(plugins)
    }

    fn load_one(
        &self,
        name: &str,
        path: &Path,
        others: &[FoundPlugin],
    ) -> Result<Described, String> {
        if !is_name(name) {
            return Err(FolderError::Name(name.to_owned()).to_string());
        }
        let is_loaded =
            |found: &&FoundPlugin| found.loaded().is_some() || found.extension().is_some();
        if others.iter().filter(is_loaded).count() >= MAX_PLUGINS {
            return Err(format!("there are more than {MAX_PLUGINS} plugins"));
        }
        let text = read_manifest(path)?;
        let described = manifest::load(name, &text, &self.path, &self.kinds)?;
        match &described {
            Described::Plugin(plugin) => self.check_types(plugin, others)?,
            Described::Extension(extension) => check_class(extension, others)?,
        }
        Ok(described)
    }

    /// Checks that nothing and nobody else has the types of a plugin.
    fn check_types(&self, plugin: &LoadedPlugin, others: &[FoundPlugin]) -> Result<(), String> {
        let loaded = others.iter().filter_map(FoundPlugin::loaded);
        let declared = plugin.declaration();
        let grant_type = &declared.grant_type;
        if self.grant_types.contains(grant_type) {
            return Err(format!("the grant type {grant_type} is built in"));
        }
        let built_in = &self.account_types;
        if let Some(used) = declared
            .account_types
            .iter()
            .find(|name| built_in.contains(name))
        {
            return Err(format!("the account type {used} is built in"));
        }
        for other in loaded.map(LoadedPlugin::declaration) {
            if other.grant_type == *grant_type {
                return Err(format!(
                    "the grant type {grant_type} is that of {}",
                    other.name
                ));
            }
            // One of the two could log in users of the other.
            let types = &other.account_types;
            if let Some(used) = declared
                .account_types
                .iter()
                .find(|name| types.contains(name))
            {
                return Err(format!("the account type {used} is that of {}", other.name));
            }
        }
        Ok(())
    }

    /// Lets a plugin be loaded, or not.
    ///
    /// # Errors
    /// [`FolderError`] if there is no such plugin, or its file cannot be renamed.
    pub fn set_enabled(&self, name: &str, is_enabled: bool) -> Result<(), FolderError> {
        if !is_name(name) {
            return Err(FolderError::Name(name.to_owned()));
        }
        let file = |suffix: &str| self.path.join(format!("{name}{suffix}"));
        let (from, to) = match is_enabled {
            true => (file(DISABLED_SUFFIX), file(SUFFIX)),
            false => (file(SUFFIX), file(DISABLED_SUFFIX)),
        };
        if to.exists() && !from.exists() {
            return Ok(());
        }
        if !from.exists() {
            return Err(FolderError::Missing(from));
        }
        if to.exists() {
            return Err(FolderError::Exists(to));
        }
        fs::rename(&from, &to).map_err(|error| FolderError::Path(from, error))?;
        let synchronized = File::open(&self.path).and_then(|folder| folder.sync_all());
        synchronized.map_err(|error| FolderError::Path(self.path.clone(), error))
    }

    /// The paths of the files, in the order of their names.
    fn paths(&self) -> Result<Vec<PathBuf>, FolderError> {
        let failed = |error| FolderError::Path(self.path.clone(), error);
        let mode = fs::metadata(&self.path)
            .map_err(failed)?
            .permissions()
            .mode();
        if mode & WRITABLE_BY_ALL != 0 {
            return Err(FolderError::Writable(self.path.clone()));
        }
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            paths.push(entry.map_err(failed)?.path());
        }
        paths.sort();
        Ok(paths)
    }
}

impl FoundPlugin {
    /// The plugin, if it is loaded.
    #[must_use]
    pub fn loaded(&self) -> Option<&LoadedPlugin> {
        match &self.state {
            PluginState::Loaded(plugin) => Some(plugin),
            PluginState::Extension(_) | PluginState::Disabled | PluginState::Broken(_) => None,
        }
    }

    /// The script extension, if it is one and is loaded.
    #[must_use]
    pub fn extension(&self) -> Option<&LoadedExtension> {
        match &self.state {
            PluginState::Extension(extension) => Some(extension),
            PluginState::Loaded(_) | PluginState::Disabled | PluginState::Broken(_) => None,
        }
    }
}

impl FromIterator<FoundPlugin> for PluginSet {
    fn from_iter<I: IntoIterator<Item = FoundPlugin>>(found: I) -> Self {
        let (mut plugins, mut extensions) = (Vec::new(), Vec::new());
        for found in found {
            match found.state {
                PluginState::Loaded(plugin) => plugins.push(plugin),
                PluginState::Extension(extension) => extensions.push(extension),
                PluginState::Disabled | PluginState::Broken(_) => {}
            }
        }
        Self::new(plugins).with_extensions(extensions)
    }
}

/// Checks that no other extension has the class of one.
fn check_class(extension: &LoadedExtension, others: &[FoundPlugin]) -> Result<(), String> {
    let class = &extension.declaration().class;
    let mut loaded = others.iter().filter_map(FoundPlugin::extension);
    match loaded.find(|other| other.declaration().class == *class) {
        Some(other) => Err(format!(
            "the extension {class} is that of {}",
            other.declaration().name
        )),
        None => Ok(()),
    }
}

/// The name of a plugin and the suffix, from the name of its file; `None` for other files.
fn split_name(file_name: &str) -> Option<(&str, &'static str)> {
    let suffixes = [DISABLED_SUFFIX, SUFFIX, JAVA_SUFFIX];
    let mut names = suffixes
        .into_iter()
        .filter_map(|suffix| Some((file_name.strip_suffix(suffix)?, suffix)));
    names.next()
}

fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.len() <= MAX_NAME_BYTES
        && name.bytes().all(is_allowed)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn read_manifest(path: &Path) -> Result<String, String> {
    let bytes = read_trusted_file(path, MAX_MANIFEST_BYTES)?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
