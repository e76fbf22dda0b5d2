//! Scripts, plugins, and connections to the outside.

use std::path::PathBuf;

use personium_types::Secret;

use super::rule::{File, HostName, Maybe, Number, SecretText, Text};
use super::section::section;

section! {
    /// Scripts of cells.
    Engine "Scripts" {
        /// Compiled scripts that are kept.
        _cache_max: usize = "engine.script.cache.maxNum", "100000", Number(1..=10_000_000);
        /// Milliseconds that a script may run.
        _timeout_ms: u64 = "engine.script.connection.timeout", "50000", Number(1..=86_400_000);
        /// Host of a script engine outside of the process; no effect.
        _host: String = "engine.host", "localhost", Text;
        /// Its port; no effect.
        _port: u16 = "engine.port", "8080", Number(1..=u16::MAX);
        /// Its path; no effect.
        _path: String = "engine.path", "personium-engine", Text;
    }
}

section! {
    /// Plugins for logging in.
    Plugins "Plugins" {
        /// The folder of plugins; without a value, there are only the built-in ones.
        _path: Option<PathBuf> = "plugin.path", "", Maybe(File);
        /// The class that loads plugins in other implementations; no effect.
        _default_class: Option<String> = "plugin.defaultClassname", "", Maybe(Text);
        /// Clients whose tokens of one large provider an old plugin accepted; no effect, use a provider of your own.
        _google_clients: String = "oidc.google.trustedClientIds", "*", Text;
    }
}

section! {
    /// The proxy for requests to other machines. For https it is asked to connect (CONNECT), for http it gets the whole
    /// URL. Servers of this machine are asked without it.
    OutgoingProxy "Outgoing proxy" {
        /// Its host; without a value there is none.
        host: Option<String> = "proxy.host", "", Maybe(HostName);
        /// Its port.
        port: Option<u16> = "proxy.port", "", Maybe(Number(1..=u16::MAX));
        /// The user name there, if it wants one.
        user: Option<String> = "proxy.user", "", Maybe(Text);
        /// The password there.
        password: Option<Secret<String>> = "proxy.pswd", "", Maybe(SecretText { min_bytes: 1 });
    }
}
