//! The unit that is copied.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use personium_model::records::{Records, decode};
use personium_model::server_node::{DEAD_AFTER, ServerNodeInfo};
use personium_model::unfinished_copy::UnfinishedCopy;
use personium_model::{keys, unit_mark};
use personium_sqlite::{SqliteSettings, SqliteStore};
use personium_store::{
    Batch, BlobStore, CommitSeq, Direction, Key, Limit, Record, RecordStore, Space, StoreError,
    StoreHealth,
};
use personium_types::CellId;
use personium_types::error::chain;

use super::{CopyResult, name, records};
use crate::components::{BodyUse, body_place, open_files, record_settings};
use crate::config::{Config, RecordStoreKind};
use crate::data_folder::{ADMINISTRATOR_STARTED_FILE, Condition, DataFolder};
use crate::progress::Progress;
use crate::record_engine::{self, RecordEngine};
use crate::{serve, system};

/// The pause between two looks at the records of nodes.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// The number of looks in which no node may be renewed: for longer than one that runs is silent.
const LOOKS: u64 = 2 * (DEAD_AFTER.as_secs() + 1);

/// The largest number of nodes that are looked at.
const NODES_MAX: usize = 1_000;

/// The number of spaces that are listed at once.
const SPACES_AT_ONCE: usize = 1_000;

/// A whole unit that does not run.
pub(crate) struct Source {
    pub(super) records: Arc<dyn RecordStore>,
    pub(super) bodies: Arc<dyn BlobStore>,
    /// The mark of the unit.
    pub(super) unit: String,
    /// Its cells, in the order of their ids.
    pub(super) cells: Vec<CellId>,
    /// The cells of which file bodies may be missing.
    pub(super) incomplete: BTreeSet<CellId>,
    /// Where it is, for people.
    pub(super) place: String,
    /// The name of the operation in the audit log of the copy.
    pub(super) operation: &'static str,
    /// The last commit in the space of the unit when it was opened, if its records are shared. A node that starts makes another
    /// one.
    last_commit: Option<CommitSeq>,
}

impl Source {
    /// Opens a unit.
    ///
    /// # Errors
    /// A text for the operator if it is not whole, runs, or has not finished something.
    pub(super) async fn open(config: &Config, progress: &Progress) -> CopyResult<Self> {
        let opened = Self::open_stores(config).await;
        let (mut source, folder, health) =
            opened.map_err(|error| format!("the source: {error}"))?;
        let checked = source.check(&folder, &health, progress).await;
        if let Err(error) = checked {
            source.close().await;
            return Err(format!("the source: {error}"));
        }
        Ok(source)
    }

    /// A unit in a generation of back-ups.
    pub(crate) fn of_generation(
        records: Arc<dyn RecordStore>,
        bodies: Arc<dyn BlobStore>,
        unit: String,
        cells: Vec<CellId>,
        incomplete: BTreeSet<CellId>,
    ) -> Self {
        Self {
            records,
            bodies,
            unit,
            cells,
            incomplete,
            place: UnfinishedCopy::BACKUP.to_owned(),
            operation: "unit.restore",
            last_commit: None,
        }
    }

    async fn open_stores(
        config: &Config,
    ) -> CopyResult<(Self, (DataFolder, RecordEngine), Arc<StoreHealth>)> {
        let (clock, random) = (system::clock(), system::random());
        let health = Arc::<StoreHealth>::default();
        let place = body_place(config, &clock, &random, &health).map_err(|error| chain(&error))?;
        let data_dir = &config.store.data_dir;
        if data_dir.join(ADMINISTRATOR_STARTED_FILE).exists() {
            return Err("its first start was interrupted; start and stop it".to_owned());
        }
        let folder = DataFolder::new(config, place.clone());
        let engine = match config.store.kind {
            RecordStoreKind::Sqlite => open_record_files(config, &folder, &health)?,
            RecordStoreKind::Postgres => {
                let opened = record_engine::open_database(config, &health, &random).await;
                RecordEngine::Postgres(opened.map_err(|error| chain(&error))?)
            }
        };
        // Opened after the records: those of a running unit are locked.
        let bodies = open_files(config, (&place, BodyUse::Serve), &random, &health);
        let source = Self {
            records: engine.port(),
            bodies: bodies.map_err(|error| chain(&error))?,
            unit: String::new(),
            cells: Vec::new(),
            incomplete: BTreeSet::new(),
            place: data_dir.display().to_string(),
            operation: "unit.copy",
            last_commit: None,
        };
        Ok((source, (folder, engine), health))
    }

    async fn check(
        &mut self,
        (folder, engine): &(DataFolder, RecordEngine),
        health: &StoreHealth,
        progress: &Progress,
    ) -> CopyResult {
        // Opens each file of records, so that lost and damaged ones are known.
        let condition = folder.inspect(Some(engine)).await;
        self.unit = match condition.map_err(|error| chain(&error))? {
            Condition::Whole(mark) => mark,
            Condition::Joining(_) => {
                let place = &self.place;
                return Err(format!(
                    "{place} is not the data folder of one of its nodes"
                ));
            }
            _ => return Err("it is not a unit that was started before".to_owned()),
        };
        if let Some((space, what)) = health.damaged_spaces().first() {
            let record = records::find_damage(&*self.records, space).await;
            let record = record.map(|text| format!("; {text}")).unwrap_or_default();
            return Err(format!("{}: {what}{record}", name(space)));
        }
        self.check_stopped(progress).await?;
        self.check_no_deletion().await?;
        self.cells = self.list_cells().await?;
        self.last_commit = self.last_commit().await?;
        Ok(())
    }

    /// The deletion of a cell that was interrupted is undone by comparing numbers of commits, which are others in a copy.
    async fn check_no_deletion(&self) -> CopyResult {
        let range = keys::cell_deletions().range;
        let (unit, limit) = (Space::Unit, Limit::records(1));
        let found = self.records.scan(&unit, &range, Direction::Up, limit).await;
        match found.map_err(|error| chain(&error))?.value.is_empty() {
            true => Ok(()),
            false => Err(
                "the deletion of a cell was interrupted; start and stop the unit, which undoes it"
                    .to_owned(),
            ),
        }
    }

    /// Returns the cells of the catalogue. Each must have its records.
    async fn list_cells(&self) -> CopyResult<Vec<CellId>> {
        let unit = Records::new(Arc::clone(&self.records), Space::Unit);
        let cells = unit_mark::list_cells(&unit).await;
        let mut cells = cells.map_err(|error| chain(&error))?;
        cells.sort_unstable();
        let spaces = list_spaces(&*self.records).await?;
        let is_lost = |cell: &&CellId| spaces.binary_search(&Space::Cell(**cell)).is_err();
        match cells.iter().find(is_lost) {
            None => Ok(cells),
            Some(cell) => Err(format!("cell {cell} has lost its records")),
        }
    }

    /// Makes sure that no node of the unit runs. The records of nodes that were killed stay unchanged.
    async fn check_stopped(&self, progress: &Progress) -> CopyResult {
        if !self.records.is_shared() {
            return Ok(());
        }
        let first = self.list_nodes().await?;
        if first.is_empty() {
            return Ok(());
        }
        progress.note("the source has records of nodes; looking whether one of them runs");
        for _ in 0..LOOKS {
            tokio::time::sleep(LOOK_PAUSE).await;
            let nodes = self.list_nodes().await?;
            if let Some((_, record)) = nodes.iter().find(|node| !first.contains(node)) {
                let info = decode::<ServerNodeInfo>(&record.value).unwrap_or_default();
                let (address, host) = (info.address, info.host);
                return Err(format!(
                    "its node at {address} on {host} runs; stop all nodes first"
                ));
            }
        }
        Ok(())
    }

    async fn list_nodes(&self) -> CopyResult<Vec<(Key, Record)>> {
        let (unit, limit) = (Space::Unit, Limit::records(NODES_MAX));
        let nodes = keys::server_nodes();
        let found = self.records.scan(&unit, &nodes, Direction::Up, limit).await;
        Ok(found.map_err(|error| chain(&error))?.value)
    }

    /// The last commit in the space of the unit, if other processes can make one.
    async fn last_commit(&self) -> CopyResult<Option<CommitSeq>> {
        if !self.records.is_shared() {
            return Ok(None);
        }
        let last = self.records.commit(&Space::Unit, Batch::new()).await;
        last.map(Some).map_err(|error| chain(&error))
    }

    /// Makes sure that no node was started since the source was opened.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn check_unchanged(&self) -> CopyResult {
        match self.last_commit().await? == self.last_commit {
            true => Ok(()),
            false => Err(
                "the source was changed meanwhile: a node of it was started; stop it and repeat the copy"
                    .to_owned(),
            ),
        }
    }

    /// Closes the records.
    pub(super) async fn close(&self) {
        serve::close(&*self.records).await;
    }
}

/// Returns all spaces of a store, in their order.
///
/// # Errors
/// A text for the operator.
pub(super) async fn list_spaces(records: &dyn RecordStore) -> CopyResult<Vec<Space>> {
    let mut found: Vec<Space> = Vec::new();
    loop {
        let page = records.list_spaces(found.last(), SPACES_AT_ONCE).await;
        let page = page.map_err(|error| chain(&error))?;
        let is_last = page.len() < SPACES_AT_ONCE;
        found.extend(page);
        if is_last {
            return Ok(found);
        }
    }
}

fn open_record_files(
    config: &Config,
    folder: &DataFolder,
    health: &Arc<StoreHealth>,
) -> CopyResult<RecordEngine> {
    folder.expect_unit_records()?;
    let settings = SqliteSettings {
        health: Arc::clone(health),
        ..record_settings(config)
    };
    match SqliteStore::inspect(settings) {
        Ok(records) => Ok(RecordEngine::Sqlite(Arc::new(records))),
        Err(StoreError::Busy(_)) => {
            Err("it is in use by another process; stop the unit first".to_owned())
        }
        Err(error) => Err(chain(&error)),
    }
}
