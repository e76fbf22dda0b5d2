//! Settings of the database of records.

use std::path::PathBuf;

use personium_postgres::PostgresHost;
use personium_types::Secret;

use super::config_reader::ConfigReader;
use super::section::section;
use super::value_parser::{
    FilePath, Flag, HostPortList, Number, OneOf, Optional, SecretText, Text,
};

/// The encryption of connections to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostgresTls {
    /// None.
    Off,
    /// TLS to a server that proves its name.
    Verify,
}

section! {
    /// Settings of the database of records, used if store.type is postgres.
    PostgresConfig "PostgreSQL" {
        /// The servers of the database, each with an optional port, separated by commas. The first that accepts writes is
        /// used; after a failover, another one.
        hosts: Vec<PostgresHost> = "store.postgres.hosts", "localhost:5432", HostPortList { default_port: 5432 };
        /// The name of the database.
        database: String = "store.postgres.database", "personium", Text;
        /// The role that logs in.
        user: String = "store.postgres.user", "personium", Text;
        /// The password of the role. Without it and without the file, none is sent.
        password: Option<Secret<String>> = "store.postgres.password", "", Optional(SecretText { min_bytes: 1 });
        /// The file with the password of the role, instead of store.postgres.password.
        password_file: Option<PathBuf> = "store.postgres.passwordFile", "", Optional(FilePath);
        /// The largest number of connections to the database. A quarter of them is kept for reading.
        pool_size: usize = "store.postgres.poolSize", "20", Number(2..=1_000);
        /// The number of seconds that a call waits for a free connection.
        pool_timeout_secs: u64 = "store.postgres.poolTimeoutInSec", "5", Number(1..=600);
        /// The number of seconds in which a server must accept a connection.
        connect_timeout_secs: u64 = "store.postgres.connectTimeoutInSec", "5", Number(1..=600);
        /// The number of seconds in which a statement must end.
        statement_timeout_secs: u64 = "store.postgres.statementTimeoutInSec", "30", Number(1..=3_600);
        /// The encryption of connections. With verify, they use TLS, and the server must prove the name that is in
        /// store.postgres.hosts. With off, there is none: for a database on the same machine.
        tls: PostgresTls = "store.postgres.tls", "verify",
            OneOf(&[("verify", PostgresTls::Verify), ("off", PostgresTls::Off)]);
        /// The certificates of the issuers that are trusted to name servers, in a PEM file; by default, those of the system.
        tls_roots: Option<PathBuf> = "store.postgres.tls.roots", "", Optional(FilePath);
        /// The certificate with which the unit identifies itself, in a PEM file.
        tls_certificate: Option<PathBuf> = "store.postgres.tls.certificate", "", Optional(FilePath);
        /// The private key of that certificate, in a PEM file.
        tls_key: Option<PathBuf> = "store.postgres.tls.key", "", Optional(FilePath);
        /// Whether statements are prepared once for each connection. Set it to false for a pooler in transaction mode, such
        /// as PgBouncer.
        prepared_statements: bool = "store.postgres.preparedStatements", "true", Flag;
        /// The number of parts into which personium init divides the table of records; with 0 it is not divided. Databases
        /// that distribute tables by themselves need 0.
        partitions: u32 = "store.postgres.partitions", "8", Number(0..=1_024);
    }
}

impl PostgresConfig {
    /// Checks conditions on several keys.
    pub(super) fn check(&self, reader: &mut ConfigReader) {
        if self.password.is_some() && self.password_file.is_some() {
            reader.add_key_problem(
                "store.postgres.password",
                "must not be given together with store.postgres.passwordFile",
            );
        }
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            reader.add_key_problem(
                "store.postgres.tls.certificate",
                "must be given together with store.postgres.tls.key",
            );
        }
        let has_files = self.tls_roots.is_some() || self.tls_certificate.is_some();
        if self.tls == PostgresTls::Off && has_files {
            reader.add_key_problem(
                "store.postgres.tls",
                "must be verify if certificates are given",
            );
        }
    }
}
