//! The table `[wasm]` of the file that describes a plugin.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use personium_operator_files::read_secret;
use personium_plugin::check_service_url;
use personium_types::Secret;
use serde::Deserialize;
use toml::Table;
use url::Url;

/// The end of the name of a file with a component. Files with compiled code are never read.
const SUFFIX: &str = ".wasm";
/// The default of the time for a call in milliseconds.
const TIMEOUT_MS_DEFAULT: u64 = 5_000;
/// The longest time for a call in milliseconds.
const TIMEOUT_MS_MAX: u64 = 20_000;
/// The default of the memory of a call in MiB.
const MEMORY_MIB_DEFAULT: usize = 64;
/// The largest memory of a call in MiB.
const MEMORY_MIB_MAX: usize = 256;
/// The largest number of granted URLs.
const MAX_URLS: usize = 32;
/// The largest size of names and values of settings together in bytes.
const MAX_SETTING_BYTES: usize = 64 << 10;

/// A part of the unit that the operator can grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Grant {
    /// Requests over HTTP.
    Http,
    /// The wall clock.
    Clock,
    /// Random bytes.
    Random,
    /// The log.
    Log,
}

impl Grant {
    /// The one with this name; `None` for other texts.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [
            ("http", Self::Http),
            ("clock", Self::Clock),
            ("random", Self::Random),
            ("log", Self::Log),
        ]
        .into_iter()
        .find_map(|(known, grant)| (known == name).then_some(grant))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    file: Option<String>,
    #[serde(default)]
    grants: Vec<Grant>,
    #[serde(default)]
    http_urls: Vec<String>,
    timeout_ms: Option<u64>,
    memory_mib: Option<usize>,
    fields: Option<Vec<String>>,
    #[serde(default)]
    settings: BTreeMap<String, String>,
    #[serde(default)]
    secret_files: BTreeMap<String, PathBuf>,
}

/// The settings of a plugin.
pub(crate) struct WasmSettings {
    /// The path of the component.
    pub(crate) path: PathBuf,
    /// The parts of the unit that the plugin may use.
    pub(crate) grants: Vec<Grant>,
    /// The beginnings of URLs that it may send requests to.
    pub(crate) urls: Vec<Url>,
    /// The time for a call, requests included.
    pub(crate) timeout: Duration,
    /// The largest memory of a call in bytes.
    pub(crate) memory_bytes: usize,
    /// The names of the fields that the plugin gets; `None` for all but those that authenticate the client.
    pub(crate) fields: Option<Vec<String>>,
    /// Texts that the operator passes to the plugin, by name.
    pub(crate) settings: Vec<(String, Secret<String>)>,
}

impl WasmSettings {
    /// Reads the table for the plugin of this name.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn read(table: Table, folder: &Path, name: &str) -> Result<Self, String> {
        let source: Source = table.try_into().map_err(|error| format!("{error}"))?;
        let file = source.file.unwrap_or_else(|| format!("{name}{SUFFIX}"));
        // A file elsewhere would be replaced without notice.
        if !file.ends_with(SUFFIX) || file.contains('/') {
            return Err(format!(
                "file must be the name of a file in the folder of plugins that ends with {SUFFIX}"
            ));
        }
        let has_http = source.grants.contains(&Grant::Http);
        if has_http == source.http_urls.is_empty() || source.http_urls.len() > MAX_URLS {
            return Err(format!(
                "http_urls must name 1 to {MAX_URLS} URLs if http is granted, and none otherwise"
            ));
        }
        let urls = source.http_urls.iter().map(|text| granted_url(text));
        let urls = urls.collect::<Result<_, _>>()?;
        let timeout_ms = source.timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT);
        if !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
            return Err(format!("timeout_ms must be from 1 to {TIMEOUT_MS_MAX}"));
        }
        let memory_mib = source.memory_mib.unwrap_or(MEMORY_MIB_DEFAULT);
        if !(1..=MEMORY_MIB_MAX).contains(&memory_mib) {
            return Err(format!("memory_mib must be from 1 to {MEMORY_MIB_MAX}"));
        }
        let mut settings: Vec<(String, Secret<String>)> = Vec::new();
        for (name, value) in source.settings {
            settings.push((name, Secret::new(value)));
        }
        for (name, path) in source.secret_files {
            if settings.iter().any(|(known, _)| *known == name) {
                return Err(format!("{name} is in settings and in secret_files"));
            }
            settings.push((name, read_secret(&folder.join(path))?));
        }
        let sizes = settings
            .iter()
            .map(|(name, value)| name.len() + value.reveal().len());
        if sizes.sum::<usize>() > MAX_SETTING_BYTES {
            return Err(format!("settings have more than {MAX_SETTING_BYTES} bytes"));
        }
        Ok(Self {
            path: folder.join(file),
            grants: source.grants,
            urls,
            timeout: Duration::from_millis(timeout_ms),
            memory_bytes: memory_mib << 20,
            fields: source.fields,
            settings,
        })
    }
}

fn granted_url(text: &str) -> Result<Url, String> {
    let url = check_service_url(text).map_err(|error| format!("http_urls: {error}"))?;
    match url.query() {
        None => Ok(url),
        Some(_) => Err("http_urls: a URL must have no query".to_owned()),
    }
}
