//! Builds the components of a unit: URLs, keys, stores and cache.

use std::sync::Arc;
use std::time::Duration;

use personium_folder::{BlobSync, FolderSettings, FolderStore};
use personium_model::credentials::UnitKeys;
use personium_model::records::Records;
use personium_model::unit::Ports;
use personium_model::{ServerAuthority, Settings, Unit, UnitUrls};
use personium_object_store::{Addressing, S3BlobStore, S3Credentials, S3Settings};
use personium_sqlite::{CommitSync, JournalSettings, SpaceCreation, SqliteSettings, SqliteStore};
use personium_store::{BlobStore, EventPublisher, RecordStore, Space, StoreError, StoreHealth};
use personium_types::error::chain;
use personium_types::{Clock, Random, Secret};

use crate::administrator_file;
use crate::cache::UnitCache;
use crate::command_audit::AuditedCommand;
use crate::config::{BlobStoreKind, Config, LoadedConfig, RecordStoreKind, RecordSync};
use crate::data_folder::{self, BodyPlace, DataFolder, DataFolderError, RECORDS_DIR};
use crate::key_files::{self, KeyFileError, unit_secret};
use crate::message_broker::{self, BrokerError, StreamQueue};
use crate::model_settings::model_settings;
use crate::record_engine::{self, DatabaseError, RecordEngine};
use crate::system;
use crate::telemetry::{TracedBodies, TracedRecords};
use crate::unit_url::unit_urls;

/// A component that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The data folder cannot be used.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    /// A store could not be opened.
    #[error("cannot open the store of {content}")]
    Store {
        /// The content of the store: records or files.
        content: &'static str,
        /// The cause.
        source: StoreError,
    },
    /// The database of records cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The keys of the unit could not be generated or loaded.
    #[error("cannot load the keys of the unit")]
    Keys(#[from] KeyFileError),
    /// The settings of the message broker cannot be used.
    #[error("cannot use the message broker")]
    Broker(#[from] BrokerError),
}

impl ComponentError {
    /// The text of the error of a command, with this advice if a running unit has locked its records.
    pub(crate) fn for_command(&self, advice: &str) -> String {
        let text = chain(self);
        match self {
            Self::Store {
                source: StoreError::Busy(_),
                ..
            } => format!("{text}\n{advice}"),
            _ => text,
        }
    }
}

/// The components of a unit. Several units can be built on the same ones, with different settings.
pub struct Components {
    /// The settings.
    pub config: Config,
    /// The URLs of the unit.
    pub urls: UnitUrls,
    /// The keys of the unit.
    pub keys: Arc<UnitKeys>,
    /// Whether this start makes the unit.
    pub is_new: bool,
    /// The record store.
    pub records: RecordEngine,
    /// The store of file bodies.
    pub files: Arc<dyn BlobStore>,
    /// The data folder, and the place of the file bodies.
    pub folder: DataFolder,
    /// The state of the storage, as the stores report it.
    pub health: Arc<StoreHealth>,
    /// The cache.
    pub cache: UnitCache,
    /// The broker of queues and topics, if the settings name one.
    pub broker: Option<StreamQueue>,
    /// The publisher of events to other systems, if the settings name a broker.
    pub event_publisher: Option<Arc<dyn EventPublisher>>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
}

/// The fate of files with keys and certificates that are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyFiles {
    Write,
    Leave,
}

impl Components {
    /// Opens the stores, checks that the data folder has a whole unit or none, creates what is missing in it and loads the
    /// keys. At most `database_files_max` database files are kept open.
    ///
    /// # Errors
    /// [`ComponentError`] if the data folder is damaged, or it, a key file or a store cannot be used.
    pub async fn build(
        loaded: LoadedConfig,
        database_files_max: usize,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, ComponentError> {
        let surroundings = (clock, random);
        let built = Self::build_with(loaded, database_files_max, surroundings, KeyFiles::Write);
        // Boxed, because the future is large.
        Box::pin(built).await
    }

    /// As [`build`](Self::build), for a command that only says what it would do: no file with a key or certificate is written.
    ///
    /// # Errors
    /// The same.
    pub async fn build_for_dry_run(
        loaded: LoadedConfig,
        database_files_max: usize,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, ComponentError> {
        let surroundings = (clock, random);
        let built = Self::build_with(loaded, database_files_max, surroundings, KeyFiles::Leave);
        // Boxed, because the future is large.
        Box::pin(built).await
    }

    async fn build_with(
        loaded: LoadedConfig,
        database_files_max: usize,
        (clock, random): (Arc<dyn Clock>, Arc<dyn Random>),
        key_files_mode: KeyFiles,
    ) -> Result<Self, ComponentError> {
        let urls = unit_urls(&loaded)?;
        let config = loaded.config;
        let prepared = key_files::prepare(&config, urls.host(), clock.now_ms(), &random)?;
        let stores = Stores::open(&config, database_files_max, &clock, &random).await?;
        let wants_administrator = wants_administrator(&config);
        let claimed = stores
            .folder
            .claim(&stores.records, &random, wants_administrator);
        let is_new = claimed.await?;
        let unit_records = Records::new(stores.records.port(), Space::Unit);
        let synchronized = administrator_file::synchronize(&config.store.data_dir, &unit_records);
        synchronized.await.map_err(DataFolderError::Records)?;
        if !is_new {
            unit_secret::refuse_new(&prepared, &unit_records).await?;
        }
        if key_files_mode == KeyFiles::Write {
            prepared.write_files()?;
            for note in &prepared.notes {
                tracing::warn!("{note}");
            }
        }
        Ok(Self {
            is_new,
            records: stores.records,
            files: stores.files,
            folder: stores.folder,
            health: stores.health,
            event_publisher: message_broker::open_publisher(&config.events, &clock, &random)?,
            broker: message_broker::open(&config.stream, &clock, &random)?,
            cache: UnitCache::open(&config.cache, (&urls, &prepared.keys), &clock),
            config,
            urls,
            keys: Arc::new(prepared.keys),
            clock,
            random,
        })
    }

    /// Builds a unit with the configured settings, after `change` has changed them, and returns it with the authority of the
    /// server over it.
    #[must_use]
    pub fn unit(&self, change: impl FnOnce(&mut Settings)) -> (Arc<Unit>, ServerAuthority) {
        let mut settings = model_settings(&self.config);
        change(&mut settings);
        let (records, blobs) = self.stores();
        let ports = Ports {
            records,
            blobs,
            cache: self.cache.port(),
            broker: self.broker.as_ref().map(StreamQueue::port),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
        };
        let (urls, keys) = (self.urls.clone(), Arc::clone(&self.keys));
        let (unit, server) = Unit::new(ports, urls, settings, keys);
        (Arc::new(unit), server)
    }
}

impl Components {
    /// The stores of the unit. Their calls are spans, if the settings want traces.
    fn stores(&self) -> (Arc<dyn RecordStore>, Arc<dyn BlobStore>) {
        let (records, files) = (self.records.port(), Arc::clone(&self.files));
        match self.config.traces.endpoint {
            None => (records, files),
            Some(_) => (
                Arc::new(TracedRecords(records)),
                Arc::new(TracedBodies(files)),
            ),
        }
    }
}

/// Whether a new unit gets an administrator: the settings name none.
#[must_use]
pub fn wants_administrator(config: &Config) -> bool {
    config.unit.master_token.is_none() && config.unit.issuers.is_empty()
}

/// The opened stores of a data folder.
struct Stores {
    folder: DataFolder,
    records: RecordEngine,
    files: Arc<dyn BlobStore>,
    health: Arc<StoreHealth>,
}

impl Stores {
    async fn open(
        config: &Config,
        database_files_max: usize,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
    ) -> Result<Self, ComponentError> {
        let health = Arc::<StoreHealth>::default();
        let bodies = body_place(config, clock, random, &health)?;
        let folder = DataFolder::new(config, bodies.clone());
        folder.prepare()?;
        let records = match config.store.kind {
            RecordStoreKind::Sqlite => {
                let settings = SqliteSettings {
                    open_files: database_files_max,
                    health: Arc::clone(&health),
                    ..record_settings(config)
                };
                let store = SqliteStore::open(settings).map_err(records_error)?;
                RecordEngine::Sqlite(Arc::new(store))
            }
            RecordStoreKind::Postgres => {
                let opened = record_engine::open_database(config, &health, random);
                RecordEngine::Postgres(opened.await?)
            }
        };
        Ok(Self {
            records,
            files: open_files(config, (&bodies, BodyUse::Serve), random, &health)?,
            folder,
            health,
        })
    }
}

/// Marks whatever is in the data folder as one whole unit.
///
/// # Errors
/// [`ComponentError`] if the data folder or a store cannot be used.
pub async fn adopt(
    config: &Config,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<(), ComponentError> {
    if config.store.kind == RecordStoreKind::Sqlite {
        let bodies = body_place(config, clock, random, &Arc::default())?;
        let folder = DataFolder::new(config, bodies);
        folder.expect_part_of_unit().await?;
    }
    let stores = Stores::open(config, config.store.open_files_max, clock, random).await?;
    stores.folder.adopt(&stores.records, random).await?;
    let audited = AuditedCommand {
        operation: "adopt",
        target: config.store.data_dir.display().to_string(),
    };
    let records = Records::new(stores.records.port(), Space::Unit);
    if let Err(error) = audited.note(&records, clock.now_ms()).await {
        // What is there can be damaged too.
        tracing::warn!(error = %chain(&error), "the audit log has no entry of the adoption");
    }
    stores.records.port().close().await.map_err(records_error)
}

fn records_error(source: StoreError) -> ComponentError {
    ComponentError::Store {
        content: "records",
        source,
    }
}

/// Returns the settings of the record store.
#[must_use]
pub fn record_settings(config: &Config) -> SqliteSettings {
    let store = &config.store;
    SqliteSettings {
        sync: match store.sync {
            RecordSync::Full => CommitSync::Full,
            RecordSync::Normal => CommitSync::Normal,
        },
        open_files: store.open_files_max,
        writers: store.writer_threads,
        cache_kib: store.page_cache_kib,
        spaces: SpaceCreation::Explicit,
        reserve_bytes: store.reserve_mib << 20,
        journal: store.journal_time().map(|keep| JournalSettings {
            keep,
            clock: system::clock(),
        }),
        ..SqliteSettings::new(store.data_dir.join(RECORDS_DIR))
    }
}

/// Returns the place of the file bodies. Nothing is sent to an object store yet.
///
/// # Errors
/// [`ComponentError::Store`] if the settings of the object store cannot be used.
pub fn body_place(
    config: &Config,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
    health: &Arc<StoreHealth>,
) -> Result<BodyPlace, ComponentError> {
    if config.files.kind == BlobStoreKind::Folder {
        return Ok(BodyPlace::folder(config));
    }
    let settings = object_store_settings(config, health)?;
    let store = S3BlobStore::new(&settings, Arc::clone(clock), Arc::clone(random));
    store
        .map(|store| BodyPlace::Bucket(Arc::new(store)))
        .map_err(files_error)
}

/// The settings of a store of objects.
///
/// # Errors
/// [`ComponentError`] if the file of a secret cannot be read.
pub(crate) fn object_store_settings(
    config: &Config,
    health: &Arc<StoreHealth>,
) -> Result<S3Settings, ComponentError> {
    let s3 = &config.object_store;
    let secret = match &s3.secret_key_file {
        Some(path) => {
            let read = std::fs::read_to_string(path);
            let text = read.map_err(|source| {
                let path = path.clone();
                DataFolderError::File { path, source }
            })?;
            Some(Secret::new(text.trim().to_owned()))
        }
        None => s3.secret_key.clone(),
    };
    Ok(S3Settings {
        endpoint: s3.endpoint.clone(),
        region: s3.region.clone(),
        bucket: s3.bucket.clone().unwrap_or_default(),
        prefix: s3.prefix.clone(),
        credentials: match (&s3.credentials_file, s3.access_key.clone().zip(secret)) {
            (Some(file), _) => S3Credentials::File(file.clone()),
            (None, Some((access_key, secret_key))) => S3Credentials::Keys {
                access_key,
                secret_key,
                session_token: s3.session_token.clone(),
            },
            (None, None) => S3Credentials::Role,
        },
        tls_roots: s3.tls_roots.clone(),
        addressing: match s3.path_style {
            true => Addressing::Path,
            false => Addressing::VirtualHost,
        },
        part_bytes: s3.part_mib << 20,
        retries: s3.retries,
        timeout: s3.timeout(),
        removal_delay: Duration::from_secs(s3.removal_delay_secs),
        health: Arc::clone(health),
    })
}

/// The purpose for which the bodies of a folder are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyUse {
    /// They belong to this process, or are shared by the nodes of the unit.
    Serve,
    /// As [`Serve`](Self::Serve), by a caller that brings all of them to the disk by a sync of their file system.
    Fill,
    /// A unit that runs may use them at the same time.
    Read,
}

/// Opens the store of file bodies in a place.
///
/// # Errors
/// [`ComponentError::Store`] if a folder cannot be used.
pub(crate) fn open_files(
    config: &Config,
    (place, body_use): (&BodyPlace, BodyUse),
    random: &Arc<dyn Random>,
    health: &Arc<StoreHealth>,
) -> Result<Arc<dyn BlobStore>, ComponentError> {
    let (path, is_own) = match place {
        BodyPlace::Bucket(store) => return Ok(Arc::clone(store) as _),
        BodyPlace::Folder { path, is_own } => (path, *is_own),
    };
    let is_synced = config.files.fsync && body_use != BodyUse::Fill;
    let settings = FolderSettings {
        folder: path.clone(),
        sync: if is_synced {
            BlobSync::Full
        } else {
            BlobSync::None
        },
        exclusive: is_own && body_use != BodyUse::Read,
        witness: Some(data_folder::MARK_FILE.to_owned()),
        health: Arc::clone(health),
        keep_removed: config.store.journal_time(),
    };
    let opened = FolderStore::open(&settings, Arc::clone(random));
    Ok(Arc::new(opened.map_err(files_error)?))
}

fn files_error(source: StoreError) -> ComponentError {
    ComponentError::Store {
        content: "files",
        source,
    }
}

/// Ends the work on a unit: its commits are done, and the record of this process as a server node is removed. If that fails, it
/// is logged, and the record ends with its lease.
pub(crate) async fn leave_unit(unit: &Unit) {
    unit.finish_commits().await;
    if let Err(error) = unit.leave().await {
        tracing::warn!(error = %chain(&error), "failed to remove the record of the server node");
    }
}
