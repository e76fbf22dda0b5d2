//! The settings of a unit: read from a properties file, the environment and the command line.
//!
//! Every key has a default. The command line takes precedence over the environment, and the environment over the file.
//! A value that is not permitted prevents the start, an unknown key causes a warning.

mod config_reader;
pub mod example;
mod extension_files;
mod ineffective_keys;
mod key_info;
mod key_selection;
mod nearest_key;
pub mod page;
pub mod properties;
mod quota;
mod reload;
mod section;
pub mod value_parser;

mod archives;
mod background;
mod cache;
mod cell_pages;
mod certificates;
mod dav;
mod events;
mod files;
mod listen;
mod log;
mod logins;
mod messages;
mod object_store;
mod odata;
mod oidc;
mod outgoing_requests;
mod passwords;
mod postgres;
mod sample_secrets;
mod scripts_and_plugins;
mod secrets;
mod store;
mod tls;
mod tokens;
mod traces;
mod unit;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use personium_types::Secret;

pub use archives::ArchiveConfig;
pub use background::BackgroundConfig;
pub use cache::{CacheBackend, CacheConfig, CacheServer, LockConfig};
pub use cell_pages::CellPageConfig;
pub use certificates::CertificateConfig;
pub use config_reader::{AddedValue, ConfigReader, GivenSetting, RawValue, ValueOrigin};
pub use dav::DavConfig;
pub use events::{BrokerKind, EventConfig, StreamConfig};
pub use files::{BlobStoreKind, FileConfig};
pub use ineffective_keys::{explanation as ineffective_key, retired_keys};
pub use key_info::{KeyInfo, PREFIX, SectionInfo};
pub use key_selection::KeySelection;
pub use listen::ListenConfig;
pub use log::{AccessLogFormat, LogConfig, LogFormat};
pub use logins::{IntrospectionConfig, LoginConfig};
pub use messages::MessageConfig;
pub use object_store::ObjectStoreConfig;
pub use odata::{ODataConfig, SchemaConfig};
pub use oidc::OidcProviderConfig;
pub(crate) use oidc::PROVIDER_PREFIX;
pub use outgoing_requests::{OutgoingConfig, ProxyConfig};
pub use passwords::{PasswordConfig, PasswordHashConfig};
pub use postgres::{PostgresConfig, PostgresTls};
pub use quota::QuotaConfig;
pub use reload::reloadable_keys;
pub use scripts_and_plugins::{PluginConfig, ScriptConfig};
pub use secrets::SecretConfig;
pub use store::{RecordStoreKind, RecordSync, SearchEngineConfig, StoreConfig};
pub use tls::{AcmeChallenge, AcmeConfig, TlsConfig};
pub use tokens::TokenConfig;
pub use traces::{TraceConfig, TraceParents};
pub use unit::{Scheme, UnitConfig};

macro_rules! sections {
    ($($(#[doc = $doc:literal])* $field:ident: $ty:ty,)*) => {
        /// All settings of a unit.
        #[derive(Debug, Clone)]
        pub struct Config {
            $($(#[doc = $doc])* pub $field: $ty,)*
            /// Providers of OpenID Connect, by id.
            pub oidc: Vec<OidcProviderConfig>,
        }

        impl Config {
            /// Reads every section. Adds problems to `reader`; returns `None` if there is any.
            fn read(reader: &mut ConfigReader) -> Option<Self> {
                $(let $field = <$ty>::read(reader);)*
                let oidc = oidc::read(reader);
                Some(Self { $($field: $field?,)* oidc: oidc? })
            }

            /// Returns all sections with their keys, in the order of the example file.
            #[must_use]
            pub fn sections() -> Vec<SectionInfo> {
                vec![$(<$ty>::info()),*]
            }
        }
    };
}

sections! {
    /// The unit: its URL and its administrators.
    unit: UnitConfig,
    /// The listeners, and limits on connections and requests.
    listen: ListenConfig,
    /// The record store.
    store: StoreConfig,
    /// The database of records.
    postgres: PostgresConfig,
    /// File bodies.
    files: FileConfig,
    /// The object store of file bodies.
    object_store: ObjectStoreConfig,
    /// Secrets.
    secrets: SecretConfig,
    /// Passwords.
    passwords: PasswordConfig,
    /// Password hashes.
    password_hash: PasswordHashConfig,
    /// Tokens.
    tokens: TokenConfig,
    /// Logins.
    logins: LoginConfig,
    /// The unit's key and certificates.
    certificates: CertificateConfig,
    /// TLS in this process.
    tls: TlsConfig,
    /// The certificate of the TLS port from an authority.
    acme: AcmeConfig,
    /// Limits of OData requests.
    odata: ODataConfig,
    /// Limits of the schemas that users define.
    schema: SchemaConfig,
    /// Limits of WebDAV.
    dav: DavConfig,
    /// Quotas.
    quotas: QuotaConfig,
    /// The pages of cells that configure none of their own.
    cell_pages: CellPageConfig,
    /// Events and rules.
    events: EventConfig,
    /// Messages between cells.
    messages: MessageConfig,
    /// Stream collections.
    stream: StreamConfig,
    /// The credential for token introspection in every cell.
    introspection: IntrospectionConfig,
    /// Box archives and cell snapshots.
    archives: ArchiveConfig,
    /// Scripts.
    scripts: ScriptConfig,
    /// Plugins.
    plugins: PluginConfig,
    /// Requests to other servers.
    outgoing: OutgoingConfig,
    /// The proxy for requests to other machines.
    proxy: ProxyConfig,
    /// Background work.
    background: BackgroundConfig,
    /// The cache.
    cache: CacheConfig,
    /// Locks.
    lock: LockConfig,
    /// The search engine of other implementations.
    search_engine: SearchEngineConfig,
    /// The log.
    log: LogConfig,
    /// Traces.
    traces: TraceConfig,
}

/// Settings with which the unit cannot start: a list of problems, each of which names its key.
#[derive(Debug, thiserror::Error)]
#[error("invalid settings:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

/// The sources of settings.
#[derive(Debug, Clone, Default)]
pub struct ConfigSources {
    /// The properties file. Paths in it are relative to its folder.
    pub file: Option<PathBuf>,
    /// The environment: names and values.
    pub environment: Vec<(String, String)>,
    /// Options of the command line: keys (with or without prefix) and values.
    pub options: Vec<(String, String)>,
}

/// Settings together with what an operator wants to know about them.
#[derive(Debug)]
pub struct LoadedConfig {
    /// The settings.
    pub config: Config,
    /// Warnings about unknown keys and keys without effect.
    pub warnings: Vec<String>,
    /// The settings that were given.
    pub given: Vec<GivenSetting>,
    /// The values of all keys that were given, to find those that change.
    pub values: BTreeMap<String, Secret<String>>,
    /// The sources that they were read from.
    pub sources: ConfigSources,
}

/// The problems and the doubtful values of settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFindings {
    /// Problems that prevent a start, each with its key.
    pub problems: Vec<String>,
    /// Warnings about unknown keys, keys without effect, and doubtful values.
    pub warnings: Vec<String>,
    /// The number of settings that were given.
    pub given: usize,
}

impl LoadedConfig {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// [`ConfigError`] with all problems if the file cannot be read or a value is not permitted.
    pub fn load(sources: &ConfigSources) -> Result<Self, ConfigError> {
        let (config, reader) = read_sources(sources)?;
        match config {
            Some(config) if reader.problems().is_empty() => Ok(Self {
                config,
                warnings: reader.warnings(),
                given: reader.given(&Config::sections()),
                values: reader.values(),
                sources: sources.clone(),
            }),
            _ => Err(ConfigError(reader.problems().to_vec())),
        }
    }
}

impl ConfigFindings {
    /// Reads and checks all settings. Unlike [`LoadedConfig::load`], it returns the warnings besides the problems.
    #[must_use]
    pub fn of(sources: &ConfigSources) -> Self {
        match read_sources(sources) {
            Ok((_, reader)) => Self {
                problems: reader.problems().to_vec(),
                warnings: reader.warnings(),
                given: reader.values().len(),
            },
            Err(error) => Self {
                problems: error.0,
                ..Self::default()
            },
        }
    }
}

/// Reads all sources. Problems of single keys are in the reader.
fn read_sources(sources: &ConfigSources) -> Result<(Option<Config>, ConfigReader), ConfigError> {
    let mut reader = ConfigReader::default();
    if let Some(path) = &sources.file {
        read_file(&mut reader, path).map_err(|problem| ConfigError(vec![problem]))?;
    }
    reader.add_environment(&sources.environment, &Config::sections());
    for (key, value) in &sources.options {
        reader.add(key, value.clone(), ValueOrigin::CommandLine);
    }
    let config = Config::read(&mut reader);
    if let Some(config) = &config {
        config.check(&mut reader);
    }
    Ok((config, reader))
}

fn read_file(reader: &mut ConfigReader, path: &Path) -> Result<(), String> {
    let bytes =
        std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let properties =
        properties::parse(&bytes).map_err(|error| format!("{}, {error}", path.display()))?;
    let (mut given, mut ignored) = (0, 0);
    for property in properties {
        let origin = ValueOrigin::File {
            path: path.to_owned(),
            line: property.line,
        };
        match reader.add(&property.key, property.value, origin) {
            AddedValue::Taken => given += 1,
            AddedValue::Ignored => ignored += 1,
        }
    }
    // With the defaults a unit would be open for what its settings forbid.
    if given == 0 && ignored > 0 {
        let path = path.display();
        return Err(format!(
            "{path} is no settings file of a unit: none of its {ignored} lines is a setting of one"
        ));
    }
    Ok(())
}

impl Config {
    /// Returns the default settings.
    ///
    /// # Errors
    /// [`ConfigError`] if a default is not permitted, which a test excludes.
    pub fn defaults() -> Result<Self, ConfigError> {
        Ok(LoadedConfig::load(&ConfigSources::default())?.config)
    }

    /// Checks conditions on several keys.
    fn check(&self, reader: &mut ConfigReader) {
        if self.odata.top_default > self.odata.top_max {
            reader.add_key_problem(
                "odata.query.top.default",
                "must not be larger than odata.query.top.maxnum",
            );
        }
        self.check_logins(reader);
        self.store.check(&self.files, reader);
        self.postgres.check(reader);
        self.events.check(reader);
        self.stream.check(reader);
        self.traces.check(reader);
        self.check_log(reader);
        self.object_store.check(&self.files, reader);
        self.check_tls(reader);
        sample_secrets::check(self, reader);
        if let Err(error) = self.password_hash.settings(&self.passwords).check() {
            reader.add_key_problem("security.auth.password.scrypt.*", &error.to_string());
        }
        if self.certificates.key.is_some() != self.certificates.certificate.is_some() {
            reader.add_key_problem("x509.key", "must be given together with x509.crt");
        }
        if self.proxy.host.is_some() != self.proxy.port.is_some() {
            reader.add_key_problem("proxy.host", "must be given together with proxy.port");
        }
        if self.proxy.password.is_some() && self.proxy.user.is_none() {
            reader.add_key_problem("proxy.pswd", "must be given together with proxy.user");
        }
        if self.introspection.username.is_some() != self.introspection.password.is_some() {
            reader.add_key_problem(
                "introspect.username",
                "must be given together with introspect.password",
            );
        }
    }

    fn check_logins(&self, reader: &mut ConfigReader) {
        let logins = &self.logins;
        match (logins.lock_after_failures, logins.lock_secs) {
            (1.., 0) => reader.add_key_problem(
                "authn.account.lockCount",
                "locks nothing without authn.account.lockTime; give both, or neither",
            ),
            (0, 1..) => reader.add_key_problem(
                "authn.account.lockTime",
                "locks nothing without authn.account.lockCount; give both, or neither",
            ),
            _ => {}
        }
        if self.passwords.pattern.is_match("a") {
            reader.add_key_warning(
                "security.auth.password.regex",
                "permits passwords of one character",
            );
        }
        let secrets = &self.secrets;
        let is_same = |(new, old): (&Secret<String>, &Secret<String>)| new.reveal() == old.reveal();
        if secrets
            .secret
            .as_ref()
            .zip(secrets.previous_secret.as_ref())
            .is_some_and(is_same)
        {
            reader.add_key_warning(
                "security.secret16.previous",
                "is the same as security.secret16",
            );
        }
    }

    fn check_log(&self, reader: &mut ConfigReader) {
        let directives = value_parser::LogFilter::directives(&self.log.filter).unwrap_or_default();
        let is_known = |module: &str| {
            let of = module.split(':').next().unwrap_or_default();
            LOGGING_CRATES.contains(&of)
        };
        for (module, _) in &directives {
            if let Some(module) = module.filter(|module| !is_known(module)) {
                let warning = format!("no crate that logs is called {module}");
                reader.add_key_warning("log.filter", &warning);
            }
        }
        let whole = directives.iter().rev().find(|(module, _)| module.is_none());
        match whole {
            None => reader.add_key_warning(
                "log.filter",
                "names no level for all other crates: only errors of these are logged",
            ),
            Some((_, level)) if level.eq_ignore_ascii_case("off") => {
                reader.add_key_warning("log.filter", "turns the log off, errors included");
            }
            Some(_) => {}
        }
        if self.log.access_file.is_some() && self.log.access == AccessLogFormat::Off {
            reader.add_key_warning("log.access.file", "has no effect while log.access is off");
        }
    }
}

/// The crates of the program that log.
const LOGGING_CRATES: &[&str] = &[
    "personium",
    "personium_activemq",
    "personium_api",
    "personium_event",
    "personium_folder",
    "personium_install",
    "personium_kafka",
    "personium_ldap",
    "personium_memcached",
    "personium_model",
    "personium_object_store",
    "personium_postgres",
    "personium_script",
    "personium_server",
    "personium_sqlite",
    "personium_wasm",
    "deadpool",
    "hyper",
    "hyper_util",
    "instant_acme",
    "object_store",
    "rustls",
    "tokio",
];

#[cfg(test)]
mod tests;
