//! Settings of the requests that the unit sends to other servers.

use personium_types::Secret;

use super::section::section;
use super::value_parser::{Flag, HostName, Number, Optional, SecretText, Text};

section! {
    /// Settings of the requests that the unit sends to other servers.
    OutgoingConfig "Outgoing requests" {
        /// Whether URLs that owners of cells choose may lead to private addresses: other units in the same network, and
        /// servers whose names only the outgoing proxy can resolve. The owner of a cell can then make the unit send
        /// requests to any server there.
        private_networks: bool = "outgoing.privateNetworks.enabled", "false", Flag;
    }
}

section! {
    /// The proxy for requests to other machines. The unit sends CONNECT for https, and the absolute URL for http.
    /// Requests to loopback addresses do not use it.
    ProxyConfig "Outgoing proxy" {
        /// The host of the proxy; by default, there is no proxy.
        host: Option<String> = "proxy.host", "", Optional(HostName);
        /// The port of the proxy.
        port: Option<u16> = "proxy.port", "", Optional(Number(1..=u16::MAX));
        /// The user name at the proxy, if it requires one.
        user: Option<String> = "proxy.user", "", Optional(Text);
        /// The password at the proxy.
        password: Option<Secret<String>> = "proxy.pswd", "", Optional(SecretText { min_bytes: 1 });
    }
}
