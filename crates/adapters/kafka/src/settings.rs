//! The settings of a cluster.

use std::sync::Arc;
use std::time::Duration;

use personium_types::Secret;
use rustls::ClientConfig;

/// The way in which a user proves the password (SASL).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// The password itself is sent (RFC 4616).
    Plain,
    /// A proof of it (RFC 5802) with SHA-256.
    ScramSha256,
    /// A proof of it with SHA-512.
    ScramSha512,
}

impl SaslMechanism {
    /// Its registered name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// The address of a broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BrokerHost {
    /// The name of the host, or an IP address without brackets.
    pub name: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for BrokerHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// A user at the cluster.
#[derive(Debug, Clone)]
pub struct SaslUser {
    /// The mechanism.
    pub mechanism: SaslMechanism,
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret<String>,
}

/// A cluster.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// Some of its brokers, which name the others.
    pub hosts: Vec<BrokerHost>,
    /// The settings of TLS; `None` for connections in clear.
    pub tls: Option<Arc<ClientConfig>>,
    /// The user, if the cluster needs one.
    pub user: Option<SaslUser>,
    /// The time within which an operation must end.
    pub timeout: Duration,
}

impl KafkaSettings {
    /// The addresses, for people.
    pub(crate) fn addresses(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        hosts.join(",")
    }
}
