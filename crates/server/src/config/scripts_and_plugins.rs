//! Settings of scripts and plugins, which have no effect in this version.

use std::path::PathBuf;

use super::section::section;
use super::value_parser::{FilePath, Number, Optional, Text};

section! {
    /// Settings of the scripts of cells. They have no effect: this version runs no scripts.
    ScriptConfig "Scripts (no effect)" {
        /// The largest number of compiled scripts in the cache.
        _cache_capacity: usize = "engine.script.cache.maxNum", "100000", Number(1..=10_000_000);
        /// The number of milliseconds for which a script may run.
        _timeout_ms: u64 = "engine.script.connection.timeout", "50000", Number(1..=86_400_000);
        /// The host of an external script engine.
        _host: String = "engine.host", "localhost", Text;
        /// The port of an external script engine.
        _port: u16 = "engine.port", "8080", Number(1..=u16::MAX);
        /// The path of an external script engine.
        _path: String = "engine.path", "personium-engine", Text;
    }
}

section! {
    /// Settings of authentication plugins. They have no effect: OpenID Connect is built in.
    PluginConfig "Plugins (no effect)" {
        /// The folder of plugins.
        _dir: Option<PathBuf> = "plugin.path", "", Optional(FilePath);
        /// The Java class that loads plugins.
        _default_class: Option<String> = "plugin.defaultClassname", "", Optional(Text);
        /// The client ids that the plugin for Google accepted. Describe the provider with plugin.oidc.* instead.
        _google_clients: String = "oidc.google.trustedClientIds", "*", Text;
    }
}
