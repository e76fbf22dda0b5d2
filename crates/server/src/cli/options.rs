//! The options that every command has: the sources of settings.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, ConfigError, ConfigSources, LoadedConfig};

/// The settings file in the data folder, which is read unless `--config` names another.
pub(super) const SETTINGS_FILE: &str = "personium-unit-config.properties";

/// The data folder, unless `--data` names another.
const DEFAULT_DATA_DIR: &str = "data";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Settings file [default: personium-unit-config.properties in the data folder, if it exists].
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) config: Option<PathBuf>,
    /// Data folder [default: the setting data.dir, else data].
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// Port to listen on. It also replaces the port in URLs, if the setting unitPort is given.
    #[arg(long, value_name = "N", global = true)]
    port: Option<u16>,
    /// Setting that takes precedence over the file, such as -c unitScheme=http. Can be repeated.
    #[arg(short = 'c', value_name = "KEY=VALUE", value_parser = key_and_value, global = true)]
    set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it must be KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl Options {
    /// The settings file: the given one, else the one in the data folder, whether it exists or not.
    pub(super) fn settings_file(&self, config: &Config) -> PathBuf {
        let default = || config.store.data_dir.join(SETTINGS_FILE);
        self.config.clone().unwrap_or_else(default)
    }

    /// The data folder of a unit without settings.
    pub(super) fn data_dir(&self) -> PathBuf {
        let default = || PathBuf::from(DEFAULT_DATA_DIR);
        self.data.clone().unwrap_or_else(default)
    }

    /// Whether none was given.
    pub(super) fn are_absent(&self) -> bool {
        let Self {
            config,
            data,
            port,
            set,
        } = self;
        config.is_none() && data.is_none() && port.is_none() && set.is_empty()
    }

    /// Returns the sources of settings.
    pub(super) fn sources(&self) -> Result<ConfigSources, ConfigError> {
        let default = self
            .data
            .clone()
            .unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR))
            .join(SETTINGS_FILE);
        let file = self
            .config
            .clone()
            .or_else(|| default.exists().then_some(default));
        let mut sources = ConfigSources {
            file,
            environment: environment(),
            options: self.set.clone(),
        };
        if let Some(data) = &self.data {
            sources
                .options
                .push(("data.dir".into(), data.display().to_string()));
        }
        if let Some(port) = self.port {
            let config = LoadedConfig::load(&sources)?.config;
            sources
                .options
                .push(("listen".into(), format!("{}", with_port(&config, port))));
            if config.unit.port.is_some() {
                sources.options.push(("unitPort".into(), port.to_string()));
            }
        }
        Ok(sources)
    }
}

fn with_port(config: &Config, port: u16) -> std::net::SocketAddr {
    let mut address = config.listen.address;
    address.set_port(port);
    address
}

#[expect(clippy::disallowed_methods, reason = "settings of the process")]
/// Returns the variables of the environment whose names and values are valid UTF-8.
pub(super) fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
