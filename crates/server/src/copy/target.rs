//! The stores that a unit is copied to.

use std::path::PathBuf;
use std::sync::Arc;

use personium_model::unfinished_copy::UnfinishedCopy;
use personium_sqlite::{CommitSync, SqliteSettings, SqliteStore};
use personium_store::{Batch, BlobStore, CommitSeq, RecordStore, Space, StoreError, StoreHealth};
use personium_types::error::chain;
use personium_types::{CellId, Random};

use super::CopyResult;
use super::source::{Source, list_spaces};
use crate::components::{BodyUse, body_place, open_files, record_settings};
use crate::config::{Config, RecordStoreKind};
use crate::data_folder::{BodyPlace, DataFolder, RECORDS_DIR};
use crate::file_system::{self, SyncedFolder};
use crate::record_engine::{self, RecordEngine};
use crate::{serve, system};

/// The stores without a unit, or with an interrupted copy of the source.
pub(super) struct Target {
    pub(super) records: Arc<dyn RecordStore>,
    /// The same, if they are in files.
    sqlite: Option<Arc<SqliteStore>>,
    pub(super) bodies: Arc<dyn BlobStore>,
    folder: DataFolder,
    copy: UnfinishedCopy,
    /// The version of the record of the copy. If it is another one, another process copies too.
    version: CommitSeq,
    /// The last cell that is copied.
    last_cell: Option<CellId>,
    /// The folders whose file systems are synced before a cell counts as copied. What is in them is not synced by itself.
    synced: Vec<SyncedFolder>,
}

impl Target {
    /// Opens stores without a unit, or those of an interrupted copy of the source.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn open(config: &Config, source: &Source) -> CopyResult<Self> {
        let (clock, random) = (system::clock(), system::random());
        let health = Arc::<StoreHealth>::default();
        let opened = async {
            let place = body_place(config, &clock, &random, &health);
            let place = place.map_err(|error| chain(&error))?;
            let folder = DataFolder::new(config, place.clone());
            folder.prepare().map_err(|error| chain(&error))?;
            let synced = synced_folders(config, &place);
            let mut engine = open_records(config, &health, &random).await?;
            let begun = begin(&folder, &engine, source).await;
            let (copy, version) = match begun {
                Ok(begun) => begun,
                Err(error) => {
                    serve::close(&*engine.port()).await;
                    return Err(error);
                }
            };
            let last_cell = copy.last_cell.as_ref().and_then(|id| id.parse().ok());
            if drop_unsynced(&engine, last_cell).await? {
                // Spaces that were dropped can be created after that.
                serve::close(&*engine.port()).await;
                engine = open_records(config, &health, &random).await?;
            }
            let body_use = match (&place, synced.last()) {
                (BodyPlace::Folder { path, .. }, Some(last)) if path == last => BodyUse::Fill,
                _ => BodyUse::Serve,
            };
            let bodies = open_files(config, (&place, body_use), &random, &health);
            let bodies = bodies.map_err(|error| chain(&error))?;
            forget_unsynced(&place, last_cell).map_err(|error| error.to_string())?;
            let synced = synced.into_iter().map(SyncedFolder::open);
            let synced = synced.collect::<std::io::Result<_>>();
            Ok(Self {
                sqlite: engine.sqlite().cloned(),
                records: engine.port(),
                bodies,
                folder,
                copy,
                version,
                last_cell,
                synced: synced.map_err(|error| error.to_string())?,
            })
        };
        let opened: CopyResult<Self> = opened.await;
        opened.map_err(|error| format!("the target: {error}"))
    }

    /// Removes the cells that an interrupted copy has made and that the source has not any more.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn drop_others(&self, wanted: &[CellId]) -> CopyResult {
        for space in list_spaces(&*self.records).await? {
            let Space::Cell(cell) = space else {
                continue;
            };
            if wanted.binary_search(&cell).is_err() {
                self.bodies.drop_space(&space).await.map_err(failed)?;
                self.records.drop_space(&space).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Creates a space unless it exists.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn create_space(&self, space: &Space) -> CopyResult {
        self.records.create_space(space).await.map_err(failed)
    }

    /// Whether a space was copied before.
    pub(super) fn has_copied(&self, space: &Space) -> bool {
        match space {
            Space::Unit => false,
            Space::Cell(cell) => self.last_cell.is_some_and(|last| *cell <= last),
        }
    }

    /// Remembers that a space is copied, and all before it.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn set_copied(&mut self, space: &Space) -> CopyResult {
        let Space::Cell(cell) = space else {
            return Ok(());
        };
        self.sync().await?;
        self.copy.last_cell = Some(cell.to_string());
        self.last_cell = Some(*cell);
        let batch = self.copy.replace(self.version);
        let batch = batch.map_err(|error| chain(&error))?;
        self.version = self.commit(batch).await?;
        Ok(())
    }

    /// Makes the copy a whole unit.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn finish(&self) -> CopyResult {
        self.sync().await?;
        let marked = self.folder.mark_beside(&self.copy.unit);
        marked.map_err(|error| format!("the target: {}", chain(&error)))?;
        let stores = system::random().uuid().to_string();
        let batch = self.copy.finish(self.version, &stores);
        self.commit(batch).await.map(drop)
    }

    async fn commit(&self, batch: Batch) -> CopyResult<CommitSeq> {
        match self.records.commit(&Space::Unit, batch).await {
            Err(StoreError::Conflict) => Err("the target: another process copies to it".to_owned()),
            other => other.map_err(failed),
        }
    }

    /// Brings to the disk what is not synced by itself.
    async fn sync(&self) -> CopyResult {
        if let Some(records) = self.sqlite.clone().filter(|_| !self.synced.is_empty()) {
            // A log that is moved into its file after the sync would be lost with the power.
            let closed = tokio::task::spawn_blocking(move || records.close_connections()).await;
            closed.map_err(|error| error.to_string())?;
        }
        for folder in self.synced.clone() {
            let place = folder.path.display().to_string();
            let synced = tokio::task::spawn_blocking(move || folder.sync()).await;
            let synced = synced.map_err(|error| error.to_string())?;
            synced.map_err(|error| {
                format!("the target: {place} cannot be written to the disk: {error}")
            })?;
        }
        Ok(())
    }

    /// Closes the records.
    ///
    /// # Errors
    /// A text for the operator if something cannot be written to the disk.
    pub(super) async fn close(&self) -> CopyResult {
        serve::close(&*self.records).await;
        // Closing has moved logs into files.
        self.sync().await
    }
}

/// The folders of the target whose file systems are synced as a whole; that of file bodies is the last one.
fn synced_folders(config: &Config, place: &BodyPlace) -> Vec<PathBuf> {
    let records = matches!(config.store.kind, RecordStoreKind::Sqlite);
    let records = records.then(|| config.store.data_dir.join(RECORDS_DIR));
    let bodies = match place {
        BodyPlace::Folder { path, .. } => Some(path.clone()),
        BodyPlace::Bucket(_) => None,
    };
    let folders = records.into_iter().chain(bodies);
    folders
        .filter(|folder| file_system::can_sync(folder))
        .collect()
}

/// Lets the file bodies of the cells after the last one that counts as copied be read from the disk: in memory, those that could not be written
/// are as if they were.
fn forget_unsynced(place: &BodyPlace, last: Option<CellId>) -> std::io::Result<()> {
    let BodyPlace::Folder { path, .. } = place else {
        return Ok(());
    };
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let cell = entry.file_name().to_str().and_then(|id| id.parse().ok());
        if cell.is_some_and(|cell: CellId| last.is_none_or(|last| cell > last)) {
            file_system::forget_cached(&entry.path())?;
        }
    }
    Ok(())
}

/// Drops the records in files of the cells after the last one that counts as copied: in a power cut, a part of them may not have reached the
/// disk. Returns whether there were any.
async fn drop_unsynced(engine: &RecordEngine, last: Option<CellId>) -> CopyResult<bool> {
    let Some(records) = engine.sqlite() else {
        return Ok(false);
    };
    let mut has_any = false;
    for space in list_spaces(&**records).await? {
        if let Space::Cell(cell) = space
            && last.is_none_or(|last| cell > last)
        {
            records.drop_space(&space).await.map_err(failed)?;
            has_any = true;
        }
    }
    Ok(has_any)
}

fn failed(error: StoreError) -> String {
    format!("the target: {}", chain(&error))
}

async fn open_records(
    config: &Config,
    health: &Arc<StoreHealth>,
    random: &Arc<dyn Random>,
) -> CopyResult<RecordEngine> {
    if config.store.kind == RecordStoreKind::Sqlite {
        let own = record_settings(config);
        let settings = SqliteSettings {
            health: Arc::clone(health),
            sync: match file_system::can_sync(&config.store.data_dir.join(RECORDS_DIR)) {
                true => CommitSync::ByCaller,
                false => own.sync,
            },
            // It begins when the unit is started.
            journal: None,
            ..own
        };
        let records = SqliteStore::open(settings).map_err(|error| chain(&error))?;
        return Ok(RecordEngine::Sqlite(Arc::new(records)));
    }
    let opened = record_engine::open_or_create_database(config, health, random).await;
    let records = opened.map_err(|error| chain(&error))?;
    Ok(RecordEngine::Postgres(records))
}

/// Begins a copy in empty stores, or goes on with one. Returns its record.
async fn begin(
    folder: &DataFolder,
    engine: &RecordEngine,
    source: &Source,
) -> CopyResult<(UnfinishedCopy, CommitSeq)> {
    let unit = &source.unit;
    let found = folder.find_copy(engine).await;
    let begun = match found.map_err(|error| chain(&error))? {
        Some((copy, _)) if copy.unit != *unit => {
            let (unit, from) = (copy.unit, copy.from);
            return Err(format!(
                "it has an unfinished copy of unit {unit} from {from}"
            ));
        }
        Some((copy, version)) => {
            let batch = copy.replace(version).map_err(|error| chain(&error))?;
            let taken_over = engine.port().commit(&Space::Unit, batch).await;
            (copy, taken_over.map_err(|error| chain(&error))?)
        }
        None => begin_new(folder, engine, source).await?,
    };
    // Without it, a missing body is an error and not absent.
    let marked = folder.mark_bodies(unit).await;
    marked.map_err(|error| chain(&error))?;
    Ok(begun)
}

async fn begin_new(
    folder: &DataFolder,
    engine: &RecordEngine,
    source: &Source,
) -> CopyResult<(UnfinishedCopy, CommitSeq)> {
    let not_empty = |what: &str| Err(format!("it is not empty: it has {what}"));
    let found = folder.find_content(&source.unit).await;
    if let Some(what) = found.map_err(|error| chain(&error))? {
        return not_empty(what);
    }
    let records = engine.port();
    let spaces = list_spaces(&*records).await?;
    if spaces.iter().any(|space| *space != Space::Unit) {
        return not_empty("records of cells");
    }
    let copy = UnfinishedCopy {
        unit: source.unit.clone(),
        from: source.place.clone(),
        last_cell: None,
    };
    let batch = copy.begin().map_err(|error| chain(&error))?;
    let created = records.create_space(&Space::Unit).await;
    created.map_err(|error| chain(&error))?;
    match records.commit(&Space::Unit, batch).await {
        Ok(version) => Ok((copy, version)),
        Err(StoreError::Conflict) => not_empty("a unit"),
        Err(error) => Err(chain(&error)),
    }
}
