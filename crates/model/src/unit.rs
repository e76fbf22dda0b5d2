//! The unit: its ports, settings and shared state, and the look-up of cells.

use std::sync::Arc;
use std::time::Instant;

use personium_plugin::PluginRegistry;
use personium_store::{BlobStore, Cache, MessageQueue, RecordStore, Space, StoreError};
use personium_types::{CellId, Clock, Code, Random, Result};
use tokio::sync::{RwLock, Semaphore};

use crate::answer_memory::{AnswerMemory, AnswerShare};
use crate::audit_log::AuditLog;
use crate::background_work::BackgroundWork;
use crate::cell_context::{CellContext, CellStructure, CellStructureCache};
use crate::concurrency_limiter::{ConcurrencyLimiter, NodeLocks};
use crate::credentials::{Credentials, UnitKeys};
use crate::event_bus::EventBus;
use crate::event_feed::EventFeed;
use crate::keys::{ControlSet, SetKey};
use crate::known_maintenance::KnownMaintenance;
use crate::known_orphans::KnownOrphans;
use crate::known_quotas::{CellLimit, KnownQuotas, LimitedCell};
use crate::low_space::LowSpace;
use crate::memory_budget::MemoryBudget;
use crate::message_news::MessageNews;
use crate::monotonic_ids::MonotonicIds;
use crate::outbox_queue::OutboxQueue;
use crate::records::{Records, store_error};
use crate::server_node_state::ServerNodeState;
use crate::strangers::Strangers;
use crate::{Cell, ServerAuthority, Settings, UnitUrls, entity};

/// The number of times that the structure of a cell is loaded if it changes meanwhile.
const MAX_LOADS: usize = 8;
/// The largest number of garbage collections that run at the same time.
const MAX_COLLECTIONS: usize = 4;

/// The adapters that a unit works with.
pub struct Ports {
    /// Records.
    pub records: Arc<dyn RecordStore>,
    /// File bodies.
    pub blobs: Arc<dyn BlobStore>,
    /// Short-lived shared state.
    pub cache: Arc<dyn Cache>,
    /// The broker of queues and topics; without one their messages are records.
    pub broker: Option<Arc<dyn MessageQueue>>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

/// A running unit. It has no state that a crash could lose.
pub struct Unit {
    settings: Arc<Settings>,
    shared: Arc<Shared>,
}

/// The state that all units made by [`Unit::with_settings`] share.
struct Shared {
    ports: Ports,
    urls: UnitUrls,
    credentials: Credentials,
    limits: Limits,
    events: EventState,
    structures: CellStructureCache,
    /// Read-locked by each commit with post-commit actions until these are done; write-locked to wait for all of them.
    commits: Arc<RwLock<()>>,
    server_node: ServerNodeState,
    known_orphans: KnownOrphans,
    known_maintenance: KnownMaintenance,
    low_space: LowSpace,
    plugins: PluginRegistry,
    known_quotas: Arc<KnownQuotas>,
    audit_log: AuditLog,
    background_work: BackgroundWork,
}

/// The limits of concurrent work in a process. Several server nodes of a unit have their own each.
#[derive(Debug)]
pub struct Limits {
    /// Uploads of large bodies and of archives.
    pub uploads: ConcurrencyLimiter,
    /// Installations of boxes.
    pub installs: ConcurrencyLimiter,
    /// The memory for request bodies that are read as a whole.
    pub body_memory: MemoryBudget,
    /// The memory for answers.
    pub answer_memory: AnswerMemory,
    /// The part of it, a half, that bodies may use while they arrive.
    pub arriving_bodies: MemoryBudget,
    /// Clients of WebSockets that are not authenticated yet.
    pub strangers: Arc<Strangers>,
    pub(crate) node_locks: NodeLocks,
    /// The permits of garbage collections.
    pub(crate) collections: Arc<Semaphore>,
}

/// The state of event processing.
#[derive(Debug)]
struct EventState {
    outbox: OutboxQueue,
    bus: EventBus,
    ids: MonotonicIds,
    feed: Arc<EventFeed>,
    messages: Arc<MessageNews>,
}

impl Limits {
    fn new(settings: &Settings) -> Self {
        let (dav, bar) = (&settings.dav, &settings.archives);
        Self {
            uploads: ConcurrencyLimiter::new(dav.uploads_max, dav.upload_queue_max),
            installs: ConcurrencyLimiter::new(bar.installs_max, bar.install_queue_max),
            body_memory: MemoryBudget::new(settings.body_memory_max_bytes),
            answer_memory: AnswerMemory::new(settings.answer_memory_max_bytes),
            arriving_bodies: MemoryBudget::new(settings.body_memory_max_bytes / 2),
            strangers: Arc::default(),
            node_locks: NodeLocks::default(),
            collections: Arc::new(Semaphore::new(MAX_COLLECTIONS)),
        }
    }
}

impl Unit {
    /// A unit on these ports, with these secrets, and the authority of the server over it.
    #[must_use]
    pub fn new(
        ports: Ports,
        urls: UnitUrls,
        settings: Settings,
        keys: Arc<UnitKeys>,
    ) -> (Self, ServerAuthority) {
        let shared = Shared {
            urls,
            credentials: Credentials::new(
                keys,
                settings.auth.hash_threads,
                (&settings.auth.login_rate_limit, ports.clock.monotonic()),
                &ports.random,
            ),
            limits: Limits::new(&settings),
            events: EventState {
                outbox: OutboxQueue::default(),
                bus: EventBus::default(),
                ids: MonotonicIds::new(&ports.random),
                feed: Arc::default(),
                messages: Arc::default(),
            },
            structures: CellStructureCache::default(),
            commits: Arc::default(),
            server_node: ServerNodeState::default(),
            known_orphans: KnownOrphans::default(),
            known_maintenance: KnownMaintenance::default(),
            low_space: LowSpace::default(),
            plugins: PluginRegistry::default(),
            known_quotas: Arc::default(),
            audit_log: AuditLog::default(),
            background_work: BackgroundWork::default(),
            ports,
        };
        let unit = Self {
            settings: Arc::new(settings),
            shared: Arc::new(shared),
        };
        (unit, ServerAuthority::new())
    }

    /// The same unit with other settings. The number of hashing threads, the concurrency limits, the memory budgets and the
    /// login rate limit stay as they are.
    #[must_use]
    pub fn with_settings(&self, settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            shared: Arc::clone(&self.shared),
        }
    }

    /// The same unit, for a task of its own.
    pub(crate) fn share(&self) -> Arc<Self> {
        Arc::new(Self {
            settings: Arc::clone(&self.settings),
            shared: Arc::clone(&self.shared),
        })
    }

    /// Its URLs.
    #[must_use]
    pub fn urls(&self) -> &UnitUrls {
        &self.shared.urls
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its secrets and the certificates that it trusts.
    #[must_use]
    pub fn keys(&self) -> &Arc<UnitKeys> {
        &self.shared.credentials.keys
    }

    /// The state of checking credentials: hashing threads, account locks, login rate limiter.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.shared.credentials
    }

    /// The authentication plugins that are loaded.
    #[must_use]
    pub fn plugins(&self) -> &PluginRegistry {
        &self.shared.plugins
    }

    /// The limits of concurrent work.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// The memory of answers from a cell, or from the unit itself.
    #[must_use]
    pub fn answer_share(&self, cell: Option<CellId>) -> AnswerShare {
        let space = cell.map_or(Space::Unit, Space::Cell);
        self.shared.limits.answer_memory.share(space)
    }

    /// The queue of the rules whose requests wait to be sent.
    #[must_use]
    pub fn outbox(&self) -> &OutboxQueue {
        &self.shared.events.outbox
    }

    /// Those who listen to the events of cells in this process.
    #[must_use]
    pub fn event_feed(&self) -> &Arc<EventFeed> {
        &self.shared.events.feed
    }

    /// The state of the publishing of events.
    #[must_use]
    pub fn event_bus(&self) -> &EventBus {
        &self.shared.events.bus
    }

    /// The broker of queues and topics, if there is one.
    pub(crate) fn broker(&self) -> Option<&Arc<dyn MessageQueue>> {
        self.shared.ports.broker.as_ref()
    }

    /// Those who wait for messages in this process.
    #[must_use]
    pub fn message_news(&self) -> &Arc<MessageNews> {
        &self.shared.events.messages
    }

    /// The entries of the audit log that this process is writing.
    #[must_use]
    pub fn audit_log(&self) -> &AuditLog {
        &self.shared.audit_log
    }

    /// The work that goes on beside requests: exports, imports, installations.
    #[must_use]
    pub fn background_work(&self) -> &BackgroundWork {
        &self.shared.background_work
    }

    /// An event id that is greater than all before it; see [`crate::keys::monotonic_id`].
    pub(crate) fn next_event_id(&self) -> [u8; 16] {
        self.shared.events.ids.next(self.now_ms())
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.shared.ports.clock.now_ms()
    }

    /// A time that never goes back, for durations and deadlines.
    #[must_use]
    pub fn monotonic(&self) -> Instant {
        self.shared.ports.clock.monotonic()
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.ports.clock
    }

    /// The source of randomness.
    #[must_use]
    pub fn random(&self) -> &Arc<dyn Random> {
        &self.shared.ports.random
    }

    /// The store of file bodies.
    #[must_use]
    pub fn blobs(&self) -> &Arc<dyn BlobStore> {
        &self.shared.ports.blobs
    }

    /// The short-lived shared state.
    #[must_use]
    pub fn cache(&self) -> &Arc<dyn Cache> {
        &self.shared.ports.cache
    }

    /// The engine of the records, for health checks and for dropping spaces.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn RecordStore> {
        &self.shared.ports.records
    }

    /// The kinds of content for which little space is left on the disks of this process.
    #[must_use]
    pub fn low_space(&self) -> &LowSpace {
        &self.shared.low_space
    }

    /// The state of this process as a server node.
    pub(crate) fn server_node(&self) -> &ServerNodeState {
        &self.shared.server_node
    }

    /// The orphaned file bodies that this process has found.
    pub(crate) fn known_orphans(&self) -> &KnownOrphans {
        &self.shared.known_orphans
    }

    /// The lock of the commits with post-commit actions.
    pub(crate) fn commits(&self) -> &Arc<RwLock<()>> {
        &self.shared.commits
    }

    /// The records of the unit itself.
    #[must_use]
    pub fn records(&self) -> Records {
        Records::new(Arc::clone(&self.shared.ports.records), Space::Unit)
    }

    /// The records of a cell.
    #[must_use]
    pub fn cell_records(&self, cell: &CellId) -> Records {
        Records::new(Arc::clone(&self.shared.ports.records), Space::Cell(*cell))
    }

    /// The limit of the records of a cell.
    pub(crate) fn cell_limit(&self, cell: LimitedCell) -> CellLimit {
        CellLimit {
            quotas: Arc::clone(&self.shared.known_quotas),
            store: Arc::clone(&self.shared.ports.records),
            clock: Arc::clone(&self.shared.ports.clock),
            defaults: self.settings.quotas,
            cell,
        }
    }

    /// Whether it is known that no cell is limited.
    pub(crate) fn is_unlimited(&self) -> bool {
        let known = &self.shared.known_quotas;
        known.is_idle(&**self.store(), self.monotonic(), &self.settings.quotas)
    }

    /// The records of a cell, which may grow as far as its quotas permit.
    pub(crate) fn limited_records(&self, cell: &Cell) -> Records {
        let records = self.cell_records(&cell.id);
        match self.is_unlimited() {
            true => records,
            false => records.with_limit(Some(Arc::new(self.cell_limit(LimitedCell::of(cell))))),
        }
    }

    /// The quotas as this process knows them.
    pub(crate) fn known_quotas(&self) -> &KnownQuotas {
        &self.shared.known_quotas
    }

    /// The context of the cell of this name; `None` if there is none. Its structure is current.
    ///
    /// # Errors
    /// A failure of the store; [`Code::Conflict`] if the structure changes all the time.
    pub async fn find_cell(&self, name: &str) -> Result<Option<Arc<CellContext>>> {
        for _ in 0..MAX_LOADS {
            let Some(context) = self.find_cell_unchecked(name).await? else {
                return Ok(None);
            };
            if self.is_current(&context).await? {
                return Ok(Some(context));
            }
        }
        Err(Code::Conflict.into())
    }

    /// As [`find_cell`](Self::find_cell), but another process may have changed the structure. The first read through the context
    /// finds out, and fails if so. Whoever reads nothing asks [`is_current`](Self::is_current).
    ///
    /// # Errors
    /// A failure of the store; [`Code::Conflict`] if the structure changes all the time.
    pub async fn find_cell_unchecked(&self, name: &str) -> Result<Option<Arc<CellContext>>> {
        if let Some(structure) = self.shared.structures.find(name) {
            let records = self.limited_records(structure.cell());
            return Ok(Some(Arc::new(CellContext::unchecked(structure, records))));
        }
        for _ in 0..MAX_LOADS {
            let Some(cell) = self.find_in_catalogue(name).await? else {
                return Ok(None);
            };
            if let Some(structure) = self.load_structure(name, &cell.id).await? {
                let records = self.limited_records(&cell);
                return Ok(Some(Arc::new(CellContext::validated(structure, records))));
            }
        }
        Err(Code::Conflict.into())
    }

    /// Whether the structure of a context was current at some time since the context was found. If not, it is removed from the
    /// cache.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn is_current(&self, context: &CellContext) -> Result<bool> {
        let is_current = context.validate(&*self.shared.ports.records).await?;
        if !is_current {
            self.shared.structures.remove(context.structure());
        }
        Ok(is_current)
    }

    /// Whether the structure of a context is still the one that this process has cached. Unlike [`Self::is_current`] it reads
    /// nothing.
    #[must_use]
    pub fn is_cached(&self, context: &CellContext) -> bool {
        let cached = self.shared.structures.find(&context.cell().name);
        cached.is_some_and(|cached| Arc::ptr_eq(&cached, context.structure()))
    }

    async fn find_in_catalogue(&self, name: &str) -> Result<Option<Cell>> {
        let set = SetKey::control(ControlSet::Cell);
        let found = entity::find_unique(&self.records(), &set, 0, &[Some(name)]).await?;
        Ok(found.and_then(|(id, stored)| Cell::from_entity(&id, &stored.value, &stored.value.doc)))
    }

    /// Caches the structure of a cell. The catalogue is read after the version of the structure, because whoever changes the
    /// catalogue changes that version afterwards. `None` if the cell has another name now.
    async fn load_structure(&self, name: &str, id: &CellId) -> Result<Option<Arc<CellStructure>>> {
        let pending = self.shared.structures.begin_load(name);
        let version = match self.store().structure(&Space::Cell(*id)).await {
            Ok(version) => version,
            Err(StoreError::SpaceDropped) => return Ok(None),
            // What damages the cell is said by whoever reads from it.
            Err(StoreError::Corrupt(_)) => 0,
            Err(error) => return Err(store_error(error)),
        };
        let set = SetKey::control(ControlSet::Cell);
        let id = id.to_string();
        let found = entity::find(&self.records(), &set, &id).await?;
        let cell = found.and_then(|found| Cell::from_entity(&id, &found.value, &found.value.doc));
        let cell = cell.filter(|cell| cell.name == name);
        Ok(cell.map(|cell| self.shared.structures.insert(pending, cell, version)))
    }

    /// The context of the cell with this id; `None` if there is none.
    ///
    /// # Errors
    /// A failure of the store; [`Code::OdataInconsistent`] if the name of the cell leads to another cell.
    pub async fn find_cell_by_id(&self, id: &CellId) -> Result<Option<Arc<CellContext>>> {
        let set = SetKey::control(ControlSet::Cell);
        let mut tried = None;
        loop {
            let found = entity::find(&self.records(), &set, &id.to_string()).await?;
            let Some(name) = found.and_then(|cell| cell.value.text("Name")) else {
                return Ok(None);
            };
            match self.find_cell(&name).await? {
                Some(context) if context.cell().id == *id => return Ok(Some(context)),
                _ if tried.as_ref() == Some(&name) => {
                    return Err(Code::OdataInconsistent.into());
                }
                // The cell was renamed between the two reads.
                _ => tried = Some(name),
            }
        }
    }

    /// The modes of maintenance as this process knows them.
    pub(crate) fn known_maintenance(&self) -> &KnownMaintenance {
        &self.shared.known_maintenance
    }

    /// A context of a cell that is not in the catalogue yet, with its records. It is made anew after each change of the structure of
    /// the cell.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn detached_context(
        &self,
        cell: &Cell,
        records: Records,
    ) -> Result<Arc<CellContext>> {
        let version = self.store().structure(&Space::Cell(cell.id)).await;
        let version = version.map_err(store_error)?;
        let structure = self.shared.structures.detached(cell.clone(), version);
        Ok(Arc::new(CellContext::validated(structure, records)))
    }

    /// Invalidates the context of a cell.
    pub(crate) fn invalidate_cell(&self, cell: &Cell) {
        self.shared.structures.invalidate_cell(cell);
    }

    /// Invalidates the cached cell of a name.
    pub(crate) fn invalidate_cell_name(&self, name: &str) {
        self.shared.structures.invalidate_cell_name(name);
    }
}
