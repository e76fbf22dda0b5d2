//! Builds the components of a unit: URLs, keys, stores and cache.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use personium_folder::{BlobSync, FolderSettings, FolderStore};
use personium_model::credentials::UnitKeys;
use personium_model::unit::Ports;
use personium_model::{ServerAuthority, Settings, Unit, UnitUrls};
use personium_sqlite::{CommitSync, SqliteSettings, SqliteStore};
use personium_store::memory::MemoryCache;
use personium_store::{BlobStore, Cache, RecordStore, StoreError};
use personium_types::{Clock, Random};

use crate::config::{Config, LoadedConfig, RecordSync};
use crate::key_files::{self, KeyFileError};
use crate::model_settings::model_settings;
use crate::unit_url::unit_urls;

/// The folder of records in the data folder.
pub const RECORDS_DIR: &str = "records";

/// The folder of file bodies in the data folder, unless the settings name another.
const FILES_DIR: &str = "files";

/// A component that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The data folder could not be created.
    #[error("cannot create the data folder {}", path.display())]
    DataDir {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A store could not be opened.
    #[error("cannot open the store of {content}")]
    Store {
        /// The content of the store: records or files.
        content: &'static str,
        /// The cause.
        source: StoreError,
    },
    /// The keys of the unit could not be generated or loaded.
    #[error("cannot load the keys of the unit")]
    Keys(#[from] KeyFileError),
}

/// The components of a unit. Several units can be built on the same ones, with different settings.
pub struct Components {
    /// The settings.
    pub config: Config,
    /// The URLs of the unit.
    pub urls: UnitUrls,
    /// The keys of the unit.
    pub keys: Arc<UnitKeys>,
    /// The record store.
    pub records: Arc<SqliteStore>,
    /// The store of file bodies.
    pub files: Arc<FolderStore>,
    /// The cache.
    pub cache: Arc<MemoryCache>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
}

impl Components {
    /// Creates what is missing in the data folder, loads the keys and opens the stores. At most `database_files_max`
    /// database files are kept open.
    ///
    /// # Errors
    /// [`ComponentError`] if the data folder, a key file or a store cannot be used.
    pub fn build(
        loaded: LoadedConfig,
        database_files_max: usize,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, ComponentError> {
        let urls = unit_urls(&loaded)?;
        let config = loaded.config;
        let prepared = key_files::prepare(&config, urls.host(), clock.now_ms(), &random)?;
        create_data_dir(&config.store.data_dir)?;
        prepared.write_files()?;
        for note in &prepared.notes {
            tracing::warn!("{note}");
        }
        Ok(Self {
            records: Arc::new(open_records(&config, database_files_max)?),
            files: Arc::new(open_files(&config, Arc::clone(&random))?),
            cache: Arc::new(MemoryCache::new(config.cache.max_bytes)),
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
        let ports = Ports {
            records: Arc::clone(&self.records) as Arc<dyn RecordStore>,
            blobs: Arc::clone(&self.files) as Arc<dyn BlobStore>,
            cache: Arc::clone(&self.cache) as Arc<dyn Cache>,
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
        };
        let (urls, keys) = (self.urls.clone(), Arc::clone(&self.keys));
        let (unit, server) = Unit::new(ports, urls, settings, keys);
        (Arc::new(unit), server)
    }
}

/// Returns the folder of file bodies.
#[must_use]
pub fn files_dir(config: &Config) -> PathBuf {
    let configured = config.files.root.clone();
    configured.unwrap_or_else(|| config.store.data_dir.join(FILES_DIR))
}

fn create_data_dir(path: &Path) -> Result<(), ComponentError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| ComponentError::DataDir {
            path: path.to_owned(),
            source,
        })
}

fn open_records(config: &Config, open_files: usize) -> Result<SqliteStore, ComponentError> {
    let store = &config.store;
    let settings = SqliteSettings {
        sync: match store.sync {
            RecordSync::Full => CommitSync::Full,
            RecordSync::Normal => CommitSync::Normal,
        },
        open_files,
        writers: store.writer_threads,
        cache_kib: store.page_cache_kib,
        ..SqliteSettings::new(store.data_dir.join(RECORDS_DIR))
    };
    SqliteStore::open(settings).map_err(|source| ComponentError::Store {
        content: "records",
        source,
    })
}

fn open_files(config: &Config, random: Arc<dyn Random>) -> Result<FolderStore, ComponentError> {
    let settings = FolderSettings {
        folder: files_dir(config),
        sync: if config.files.fsync {
            BlobSync::Full
        } else {
            BlobSync::None
        },
        exclusive: config.files.root.is_none(),
    };
    FolderStore::open(&settings, random).map_err(|source| ComponentError::Store {
        content: "files",
        source,
    })
}
