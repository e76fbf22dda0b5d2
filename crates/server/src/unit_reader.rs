//! The stores of a unit, opened to read from them only. The unit may run meanwhile.

use std::sync::Arc;

use personium_model::records::Records;
use personium_postgres::PostgresStore;
use personium_sqlite::{SqliteSettings, SqliteStore};
use personium_store::{BlobStore, RecordStore, Space, StoreError, StoreHealth};
use personium_types::Code;
use personium_types::error::chain;

use crate::command_audit::AuditedCommand;
use crate::components::{BodyUse, body_place, open_files, record_settings};
use crate::config::{Config, RecordStoreKind};
use crate::data_folder::{ADMINISTRATOR_STARTED_FILE, Condition, DataFolder, DataFolderError};
use crate::record_engine::{self, RecordEngine};
use crate::record_socket::{ChangeMark, RemoteRecords};
use crate::{serve, system};

/// A unit that is read.
pub(crate) struct UnitReader {
    pub(crate) records: Arc<dyn RecordStore>,
    pub(crate) bodies: Arc<dyn BlobStore>,
    /// The database of the records, if they are in one.
    database: Option<Arc<PostgresStore>>,
    /// The same records, if a running unit gives them.
    remote: Option<Arc<RemoteRecords>>,
    /// The number of connections to the database; `None` if there is none.
    connections: Option<usize>,
}

/// The number of spaces that are read at the same time.
const SPACES_AT_ONCE: usize = 4;

/// The connections to a database that are not for the spaces that a back-up reads.
const OTHER_CONNECTIONS: usize = 1;

/// The connections to a database that the verification of a space can need.
const CONNECTIONS_OF_VERIFICATION: usize = 2;

impl UnitReader {
    /// Opens the unit of these settings.
    ///
    /// # Errors
    /// A text for the operator if there is no unit, or it is not whole.
    pub(crate) async fn open(config: &Config) -> Result<Self, String> {
        let (clock, random) = (system::clock(), system::random());
        let health = Arc::<StoreHealth>::default();
        let data_dir = &config.store.data_dir;
        if data_dir.join(ADMINISTRATOR_STARTED_FILE).exists() {
            return Err("the first start of the unit was interrupted; start it".to_owned());
        }
        let place = body_place(config, &clock, &random, &health).map_err(|error| chain(&error))?;
        let folder = DataFolder::new(config, place.clone());
        let engine = match config.store.kind {
            RecordStoreKind::Sqlite => match open_record_files(config, &folder, &health)? {
                Some(engine) => engine,
                None => {
                    let records = RemoteRecords::connect(data_dir).await;
                    let bodies = open_files(config, (&place, BodyUse::Read), &random, &health);
                    let records = Arc::new(records.map_err(|error| chain(&error))?);
                    return Ok(Self {
                        records: Arc::<RemoteRecords>::clone(&records),
                        bodies: bodies.map_err(|error| chain(&error))?,
                        database: None,
                        remote: Some(records),
                        connections: None,
                    });
                }
            },
            RecordStoreKind::Postgres => {
                let opened = record_engine::open_database(config, &health, &random).await;
                RecordEngine::Postgres(opened.map_err(|error| chain(&error))?)
            }
        };
        let bodies = open_files(config, (&place, BodyUse::Read), &random, &health);
        let reader = Self {
            records: engine.port(),
            bodies: bodies.map_err(|error| chain(&error))?,
            database: match &engine {
                RecordEngine::Sqlite(_) => None,
                RecordEngine::Postgres(database) => Some(Arc::clone(database)),
            },
            remote: None,
            connections: match config.store.kind {
                RecordStoreKind::Sqlite => None,
                RecordStoreKind::Postgres => Some(config.postgres.pool_size),
            },
        };
        let condition = folder.inspect(Some(&engine)).await;
        let problem = match condition {
            Ok(Condition::Whole(_) | Condition::Joining(_)) => return Ok(reader),
            Ok(_) => format!("{} contains no whole unit", data_dir.display()),
            // Whoever reads finds out what is damaged.
            Err(DataFolderError::Records(error)) if error.code() == Code::StoreCorrupt => {
                return Ok(reader);
            }
            Err(error) => chain(&error),
        };
        reader.close().await;
        Err(problem)
    }

    /// Opens the unit of these settings, whose records are in files, if it runs. The files are not locked, so it can be started at any time.
    ///
    /// # Errors
    /// A text for the operator, also if it does not run.
    pub(crate) async fn open_running(config: &Config) -> Result<Self, String> {
        let (clock, random) = (system::clock(), system::random());
        let health = Arc::<StoreHealth>::default();
        let place = body_place(config, &clock, &random, &health).map_err(|error| chain(&error))?;
        let records = RemoteRecords::connect(&config.store.data_dir).await;
        let bodies = open_files(config, (&place, BodyUse::Read), &random, &health);
        let records = Arc::new(records.map_err(|error| chain(&error))?);
        Ok(Self {
            records: Arc::<RemoteRecords>::clone(&records),
            bodies: bodies.map_err(|error| chain(&error))?,
            database: None,
            remote: Some(records),
            connections: None,
        })
    }

    /// The number of spaces whose snapshots a back-up may hold at the same time: with few connections to a database, one would wait for
    /// another.
    pub(crate) fn snapshots_at_once(&self) -> usize {
        let free = |connections: usize| connections.saturating_sub(OTHER_CONNECTIONS);
        self.connections
            .map_or(SPACES_AT_ONCE, free)
            .clamp(1, SPACES_AT_ONCE)
    }

    /// The number of spaces that are verified at the same time.
    pub(crate) fn verified_at_once(&self) -> usize {
        let free = |connections: usize| connections / CONNECTIONS_OF_VERIFICATION;
        self.connections
            .map_or(SPACES_AT_ONCE, free)
            .clamp(1, SPACES_AT_ONCE)
    }

    /// The spaces that were changed after a time, if that is known, and the time of now. `None` if the unit does not run, or its records are in
    /// a database: then all must be looked at, and the next time too.
    ///
    /// # Errors
    /// A text for the operator if the unit does not answer.
    pub(crate) async fn changed_spaces(
        &self,
        since: Option<ChangeMark>,
    ) -> Result<Option<(ChangeMark, Option<Vec<Space>>)>, String> {
        match &self.remote {
            None => Ok(None),
            Some(remote) => {
                let found = remote.changed_spaces(since).await;
                found.map_err(|error| format!("the unit: {}", chain(&error)))
            }
        }
    }

    /// Writes to the audit log of the unit that a command was done.
    ///
    /// # Errors
    /// A text for the operator if it cannot be written.
    pub(crate) async fn note(&self, command: &AuditedCommand) -> Result<(), String> {
        let failed = |error: String| format!("the audit log cannot be written: {error}");
        if let Some(remote) = &self.remote {
            let noted = remote.note(command).await;
            return noted.map_err(|error| failed(chain(&error)));
        }
        let records = Records::new(Arc::clone(&self.records), Space::Unit);
        let noted = command.note(&records, system::clock().now_ms()).await;
        noted.map_err(|error| failed(chain(&error)))
    }

    /// The name of the history of a database: after a restore to a point in time the numbers of its commits may be those of others.
    /// `None` if the records are in files, or the database has none.
    pub(crate) async fn history(&self) -> Option<String> {
        match self.database.as_ref()?.timeline().await {
            Ok(timeline) => Some(timeline),
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the database names no timeline");
                None
            }
        }
    }

    /// Closes the records.
    pub(crate) async fn close(&self) {
        serve::close(&*self.records).await;
    }
}

/// Opens the files of the records. `None` if a unit that runs has locked them.
fn open_record_files(
    config: &Config,
    folder: &DataFolder,
    health: &Arc<StoreHealth>,
) -> Result<Option<RecordEngine>, String> {
    folder.expect_unit_records()?;
    let settings = SqliteSettings {
        health: Arc::clone(health),
        ..record_settings(config)
    };
    match SqliteStore::inspect(settings) {
        Ok(records) => Ok(Some(RecordEngine::Sqlite(Arc::new(records)))),
        Err(StoreError::Busy(_)) => Ok(None),
        Err(error) => Err(chain(&error)),
    }
}
