//! Settings of a unit: from a properties file, the environment and the command line.
//!
//! Every key has a default. An option of the command line wins over the environment, which wins over the file. All
//! keys are known by name; a wrong value stops the start, an unknown key is named in a warning.

pub mod example;
pub mod properties;
mod retired;
pub mod rule;
mod section;
mod source;

mod authentication;
mod bar;
mod cache;
mod cell;
mod dav;
mod engine;
mod events;
mod files;
mod listen;
mod log;
mod odata;
mod oidc;
mod outgoing;
mod security;
mod store;
mod unit;
mod work;
mod x509;

use std::path::{Path, PathBuf};

pub use authentication::Authentication;
pub use bar::Bar;
pub use cache::Shared;
pub use cache::{CacheSettings, LockSettings};
pub use cell::CellPages;
pub use dav::Dav;
pub use engine::{Engine, OutgoingProxy, Plugins};
pub use events::{Broker, EventBus, Introspect, Stream};
pub use files::Files;
pub use listen::Listen;
pub use log::{Log, LogFormat};
pub use odata::{Odata, UserSchema};
pub use oidc::OidcProvider;
pub use outgoing::Outgoing;
pub use section::KeyInfo;
pub use security::{Hashing, Passwords, Security, TokenScopes};
pub use source::{Given, Origin, Source};
pub use store::{Elastic, RecordSync, Store};
pub use unit::{Scheme, UnitSettings};
pub use work::WorkThreads;
pub use x509::X509;

/// What every key of a unit begins with.
pub const PREFIX: &str = "io.personium.core.";

macro_rules! sections {
    ($($(#[doc = $doc:literal])* $field:ident: $ty:ty,)*) => {
        /// All settings of a unit, valid in themselves.
        #[derive(Debug, Clone)]
        pub struct Config {
            $($(#[doc = $doc])* pub $field: $ty,)*
            /// Providers of OpenID Connect, by id.
            pub oidc: Vec<OidcProvider>,
        }

        impl Config {
            /// Reads every section; problems are noted in `source`, and then there is no result.
            fn read(source: &mut Source) -> Option<Self> {
                $(let $field = <$ty>::read(source);)*
                let oidc = oidc::read(source);
                Some(Self { $($field: $field?,)* oidc: oidc? })
            }

            /// Every key with its description, section by section: title, keys.
            #[must_use]
            pub fn table() -> Vec<(&'static str, Vec<KeyInfo>)> {
                vec![$((<$ty>::TITLE, <$ty>::keys())),*]
            }
        }
    };
}

sections! {
    /// Where the unit is on the web and whom it obeys.
    unit: UnitSettings,
    /// Where it listens and what it accepts.
    listen: Listen,
    /// Where and how records are kept.
    store: Store,
    /// Where and how file bodies are kept.
    files: Files,
    /// Secrets of the unit.
    security: Security,
    /// Which passwords are permitted.
    passwords: Passwords,
    /// How passwords are hashed.
    hashing: Hashing,
    /// Scopes of tokens.
    scopes: TokenScopes,
    /// Locking of accounts.
    authentication: Authentication,
    /// Keys and certificates between units.
    x509: X509,
    /// Limits of OData.
    odata: Odata,
    /// Limits of schemas that people define.
    schema: UserSchema,
    /// Limits of WebDAV.
    dav: Dav,
    /// Pages of cells that have none of their own.
    cell: CellPages,
    /// Events.
    events: EventBus,
    /// Streams.
    stream: Stream,
    /// The unit-wide credential for introspection.
    introspect: Introspect,
    /// Box archives and cell snapshots.
    bar: Bar,
    /// Scripts.
    engine: Engine,
    /// Plugins.
    plugins: Plugins,
    /// Requests of the unit to other servers.
    outgoing: Outgoing,
    /// The proxy for outgoing connections.
    proxy: OutgoingProxy,
    /// Background work.
    work: WorkThreads,
    /// Short-lived shared state.
    cache: CacheSettings,
    /// Locks.
    lock: LockSettings,
    /// The search engine of other implementations.
    elastic: Elastic,
    /// The log.
    log: Log,
}

/// Settings that do not let the unit start: every problem, each naming its key.
#[derive(Debug, thiserror::Error)]
#[error("the settings are not usable:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

/// Settings with what was noticed about them.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What an operator should know: unknown, retired and ineffective keys.
    pub warnings: Vec<String>,
    /// Every key that was given, with where and its value, secrets masked.
    pub given: Vec<(String, String, String)>,
    /// Where they were read from.
    pub inputs: Inputs,
}

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The properties file. Relative paths in it are relative to its folder.
    pub file: Option<PathBuf>,
    /// The environment: name and value.
    pub environment: Vec<(String, String)>,
    /// Options of the command line: key (with or without prefix) and value.
    pub options: Vec<(String, String)>,
}

impl Loaded {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// If the file cannot be read or any value is not permitted; all problems at once.
    pub fn from(inputs: &Inputs) -> Result<Self, ConfigError> {
        let mut source = Source::default();
        if let Some(path) = &inputs.file {
            read_file(&mut source, path).map_err(|problem| ConfigError(vec![problem]))?;
        }
        source.add_environment(&inputs.environment, &Config::table());
        for (key, value) in &inputs.options {
            source.add(key, value.clone(), Origin::Option);
        }
        let config = Config::read(&mut source);
        if let Some(config) = &config {
            config.check(&mut source);
        }
        let warnings = source.leftovers();
        match config {
            Some(config) if source.problems().is_empty() => Ok(Self {
                config,
                warnings,
                given: source.given(&Config::table()),
                inputs: inputs.clone(),
            }),
            _ => Err(ConfigError(source.problems().to_vec())),
        }
    }
}

fn read_file(source: &mut Source, path: &Path) -> Result<(), String> {
    let bytes =
        std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let pairs =
        properties::parse(&bytes).map_err(|error| format!("{}, {error}", path.display()))?;
    for pair in pairs {
        let origin = Origin::File {
            path: path.to_owned(),
            line: pair.line,
        };
        source.add(&pair.key, pair.value, origin);
    }
    Ok(())
}

impl Config {
    /// The settings of an empty file.
    ///
    /// # Errors
    /// Never, as a test shows; a default that breaks its own rule would be one.
    pub fn defaults() -> Result<Self, ConfigError> {
        Ok(Loaded::from(&Inputs::default())?.config)
    }

    /// Checks what concerns several keys.
    fn check(&self, source: &mut Source) {
        if self.odata.top_default > self.odata.top_max {
            source.problem(
                "odata.query.top.default",
                "must not be larger than odata.query.top.maxnum",
            );
        }
        if let Err(error) = self.hashing.settings(&self.passwords).check() {
            source.problem("security.auth.password.scrypt.*", &error.to_string());
        }
        if self.x509.key.is_some() != self.x509.certificate.is_some() {
            source.problem("x509.key", "must be given together with x509.crt");
        }
        if self.proxy.host.is_some() != self.proxy.port.is_some() {
            source.problem("proxy.host", "must be given together with proxy.port");
        }
        if self.proxy.password.is_some() && self.proxy.user.is_none() {
            source.problem("proxy.pswd", "must be given together with proxy.user");
        }
        if self.introspect.username.is_some() != self.introspect.password.is_some() {
            source.problem(
                "introspect.username",
                "must be given together with introspect.password",
            );
        }
    }
}

#[cfg(test)]
mod tests;
