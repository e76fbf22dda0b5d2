//! The settings of a broker.

use std::sync::Arc;
use std::time::Duration;

use personium_types::Secret;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

/// The address of a STOMP connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// The host: a name, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether the connection uses TLS.
    pub is_encrypted: bool,
}

impl BrokerAddress {
    /// Reads an address: `tcp://` or `stomp://`, or with TLS `ssl://` or `stomp+ssl://`, then host and port. Options after a `?` or
    /// `/?` are those of clients of ActiveMQ, and left out.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let is_encrypted = match scheme {
            "tcp" | "stomp" => false,
            "ssl" | "stomp+ssl" => true,
            _ => return None,
        };
        let address = rest.split('?').next().unwrap_or_default();
        let (host, port) = address.trim_end_matches('/').rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let port = port.parse().ok().filter(|port| *port > 0)?;
        ServerName::try_from(host).ok()?;
        Some(Self {
            host: host.to_owned(),
            port,
            is_encrypted,
        })
    }

    /// Reads addresses that are separated by commas, also as `failover:(...)` of clients of ActiveMQ.
    #[must_use]
    pub fn parse_list(text: &str) -> Option<Vec<Self>> {
        let text = text.trim();
        let list = match text.strip_prefix("failover:") {
            None => text,
            Some(inner) => {
                let inner = inner.strip_prefix("//").unwrap_or(inner);
                inner.strip_prefix('(')?.split_once(')')?.0
            }
        };
        list.split(',').map(Self::parse).collect()
    }
}

impl std::fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A broker: one or more addresses of the same data, of which the first that accepts a connection is used.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// The addresses.
    pub addresses: Vec<BrokerAddress>,
    /// User name and password, if it needs them.
    pub credentials: Option<(String, Secret<String>)>,
    /// The issuers that are trusted to name it, if a connection uses TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// The time within which an operation must end.
    pub timeout: Duration,
    /// The largest message that is accepted, in bytes.
    pub message_max_bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_clients_of_the_broker() {
        let list = |text: &str| -> Option<Vec<String>> {
            let found = BrokerAddress::parse_list(text)?;
            let shown = |it: &BrokerAddress| format!("{it} {}", it.is_encrypted);
            Some(found.iter().map(shown).collect())
        };
        let of = |expected: &[&str]| Some(expected.iter().map(|it| (*it).to_owned()).collect());
        for (text, expected) in [
            ("tcp://localhost:61613", of(&["localhost:61613 false"])),
            (" stomp://a-b.example:1 ", of(&["a-b.example:1 false"])),
            ("ssl://[::1]:61612/", of(&["[::1]:61612 true"])),
            (
                "stomp+ssl://10.0.0.1:5?verifyHostName=false",
                of(&["10.0.0.1:5 true"]),
            ),
            ("tcp://a:1,ssl://b:2", of(&["a:1 false", "b:2 true"])),
            (
                "failover:(tcp://a:1,tcp://b:2)?randomize=false",
                of(&["a:1 false", "b:2 false"]),
            ),
            ("failover://(tcp://a:1)", of(&["a:1 false"])),
        ] {
            assert_eq!(list(text), expected, "{text}");
        }
        for text in [
            "",
            "localhost:61613",
            "tcp://localhost",
            "tcp://localhost:0",
            "tcp://localhost:65536",
            "tcp://:61613",
            "tcp://a b:1",
            "http://a:1",
            "tcp://a:1,",
            "failover:(tcp://a:1",
            "tcp://::1:1",
            "tcp://user@host:1",
            "nio://a:1",
        ] {
            assert_eq!(list(text), None, "{text}");
        }
    }
}
