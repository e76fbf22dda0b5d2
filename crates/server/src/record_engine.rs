//! The record store of a unit: files of its own, or a database.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use personium_operator_files::tls::ClientCertificate;
use personium_postgres::{PostgresSettings, PostgresStore, SchemaError, TlsMode};
use personium_sqlite::SqliteStore;
use personium_store::{RecordStore, StoreError, StoreHealth};
use personium_types::{Random, Secret};

use crate::config::{Config, PostgresTls};

/// The record store of a unit.
#[derive(Debug, Clone)]
pub enum RecordEngine {
    /// SQLite files in the data folder.
    Sqlite(Arc<SqliteStore>),
    /// A PostgreSQL database, which other nodes of the unit may share.
    Postgres(Arc<PostgresStore>),
}

impl RecordEngine {
    /// The record port.
    #[must_use]
    pub fn port(&self) -> Arc<dyn RecordStore> {
        match self {
            Self::Sqlite(store) => Arc::clone(store) as _,
            Self::Postgres(store) => Arc::clone(store) as _,
        }
    }

    /// The files, if the records are in files.
    #[must_use]
    pub const fn sqlite(&self) -> Option<&Arc<SqliteStore>> {
        match self {
            Self::Sqlite(store) => Some(store),
            Self::Postgres(_) => None,
        }
    }
}

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file of the password cannot be read.
    #[error("cannot read {} (store.postgres.passwordFile)", path.display())]
    PasswordFile {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The settings cannot be used.
    #[error("cannot use the settings of the database (store.postgres.*)")]
    Settings(#[source] StoreError),
    /// The database did not answer, or has no tables of this version.
    #[error("cannot use the {address}")]
    Unusable {
        /// The database.
        address: String,
        /// The cause.
        source: SchemaError,
    },
}

/// Returns the settings of the database.
///
/// # Errors
/// [`DatabaseError::PasswordFile`] if the password cannot be read.
pub fn database_settings(
    config: &Config,
    health: &Arc<StoreHealth>,
) -> Result<PostgresSettings, DatabaseError> {
    let settings = &config.postgres;
    let password = match &settings.password_file {
        None => settings.password.clone(),
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|source| DatabaseError::PasswordFile {
                path: path.clone(),
                source,
            })?;
            Some(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
    };
    let client = settings
        .tls_certificate
        .clone()
        .zip(settings.tls_key.clone());
    let client = client.map(|(certificate, key)| ClientCertificate { certificate, key });
    Ok(PostgresSettings {
        hosts: settings.hosts.clone(),
        database: settings.database.clone(),
        user: settings.user.clone(),
        password,
        tls: match settings.tls {
            PostgresTls::Off => TlsMode::Off,
            PostgresTls::Verify => TlsMode::Verify {
                roots: settings.tls_roots.clone(),
                client,
            },
        },
        application_name: "personium".to_owned(),
        pool_size: settings.pool_size,
        pool_timeout: Duration::from_secs(settings.pool_timeout_secs),
        connect_timeout: Duration::from_secs(settings.connect_timeout_secs),
        statement_timeout: Duration::from_secs(settings.statement_timeout_secs),
        prepared_statements: settings.prepared_statements,
        health: Arc::clone(health),
    })
}

/// Opens the database.
///
/// # Errors
/// [`DatabaseError`] if it does not answer, or has no tables of this version.
pub async fn open_database(
    config: &Config,
    health: &Arc<StoreHealth>,
    random: &Arc<dyn Random>,
) -> Result<Arc<PostgresStore>, DatabaseError> {
    let settings = database_settings(config, health)?;
    let store =
        PostgresStore::new(&settings, Arc::clone(random)).map_err(DatabaseError::Settings)?;
    let usable = store.check_schema().await;
    usable.map_err(|source| DatabaseError::Unusable {
        address: settings.address(),
        source,
    })?;
    Ok(Arc::new(store))
}

/// Opens the database; one without tables gets them.
///
/// # Errors
/// [`DatabaseError`] if it cannot be used, or refuses.
pub async fn open_or_create_database(
    config: &Config,
    health: &Arc<StoreHealth>,
    random: &Arc<dyn Random>,
) -> Result<Arc<PostgresStore>, DatabaseError> {
    let opened = open_database(config, health, random).await;
    match opened {
        Err(DatabaseError::Unusable {
            source: SchemaError::Missing,
            ..
        }) => {
            create_tables(config, random).await?;
            open_database(config, health, random).await
        }
        opened => opened,
    }
}

/// Makes the tables of the database unless it has them.
///
/// # Errors
/// [`DatabaseError`] if it refuses.
pub async fn create_tables(config: &Config, random: &Arc<dyn Random>) -> Result<(), DatabaseError> {
    let settings = database_settings(config, &Arc::default())?;
    let store =
        PostgresStore::new(&settings, Arc::clone(random)).map_err(DatabaseError::Settings)?;
    let created = store.create_schema(config.postgres.partitions).await;
    created.map_err(|source| DatabaseError::Unusable {
        address: settings.address(),
        source,
    })
}

/// Returns what a database administrator has to run.
///
/// # Errors
/// [`DatabaseError::PasswordFile`] if the password cannot be read.
pub fn administrator_sql(config: &Config) -> Result<String, DatabaseError> {
    let settings = database_settings(config, &Arc::default())?;
    Ok(PostgresStore::administrator_sql(
        &settings,
        config.postgres.partitions,
    ))
}
