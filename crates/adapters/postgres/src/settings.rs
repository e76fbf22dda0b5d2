//! The settings of the store.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use personium_operator_files::tls::ClientCertificate;
use personium_store::StoreHealth;
use personium_types::Secret;

/// A server of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresHost {
    /// The name or address, or the absolute path of the folder of a Unix socket.
    pub name: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for PostgresHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// Whether connections are encrypted.
#[derive(Debug, Clone)]
pub enum TlsMode {
    /// They are not.
    Off,
    /// They are, and the server must prove that it has the name under which it is called.
    Verify {
        /// The trusted roots in a PEM file; without it, those of the system.
        roots: Option<PathBuf>,
        /// The certificate of this client.
        client: Option<ClientCertificate>,
    },
}

/// The settings of a store.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    /// The servers, at least one. The first that accepts writes is used.
    pub hosts: Vec<PostgresHost>,
    /// The name of the database.
    pub database: String,
    /// The name of the role.
    pub user: String,
    /// The password of the role.
    pub password: Option<Secret<String>>,
    /// Whether connections are encrypted.
    pub tls: TlsMode,
    /// The name that the database shows for the connections.
    pub application_name: String,
    /// The largest number of connections, at least 2.
    pub pool_size: usize,
    /// The time that a call waits for a free connection.
    pub pool_timeout: Duration,
    /// The time for making a connection to one server.
    pub connect_timeout: Duration,
    /// The time for one round trip. The server ends a statement after this time, and a transaction that is idle for a sixth of it, at
    /// least for half a second.
    pub statement_timeout: Duration,
    /// Whether statements are prepared once for each connection. A pooler in front, in transaction mode, needs `false`.
    pub prepared_statements: bool,
    /// Where the store reports a full disk and damaged data.
    pub health: Arc<StoreHealth>,
}

impl PostgresSettings {
    /// The default settings for a database on one server, without TLS.
    #[must_use]
    pub fn new(host: PostgresHost, database: &str, user: &str) -> Self {
        Self {
            hosts: vec![host],
            database: database.to_owned(),
            user: user.to_owned(),
            password: None,
            tls: TlsMode::Off,
            application_name: "personium".to_owned(),
            pool_size: 20,
            pool_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            prepared_statements: true,
            health: Arc::default(),
        }
    }

    /// Names the database for messages.
    #[must_use]
    pub fn address(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        format!("database {} at {}", self.database, hosts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_and_address_hide_the_password() {
        let host = |name: &str, port| PostgresHost {
            name: name.to_owned(),
            port,
        };
        let settings = PostgresSettings {
            hosts: vec![host("db1", 5432), host("::1", 5433)],
            password: Some(Secret::new("hidden".to_owned())),
            ..PostgresSettings::new(host("db1", 5432), "unit", "personium")
        };
        assert_eq!(settings.address(), "database unit at db1:5432, [::1]:5433");
        assert!(!format!("{settings:?}").contains("hidden"));
    }
}
