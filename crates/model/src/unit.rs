//! The unit: the ports it stands on, its settings, and the way to its cells.

use std::sync::Arc;

use personium_store::{
    Batch, BlobStore, Cache, CommitSeq, ErrorDetail, RecordStore, Space, StoreError,
};
use personium_types::{CellId, Clock, Code, Random, Result};
use tokio::sync::{RwLock, Semaphore};

use crate::cell_context::{CellContext, Views};
use crate::concurrency_limiter::{ConcurrencyLimiter, NodeLocks};
use crate::credentials::UnitKeys;
use crate::credentials::account_locks::AccountLocks;
use crate::credentials::hashing::HashPool;
use crate::credentials::login_rate_limiter::LoginRateLimiter;
use crate::credentials::verified_passwords::VerifiedPasswordCache;
use crate::event::MonotonicIds;
use crate::event::outbox_queue::OutboxQueue;
use crate::file::UnitBodyKey;
use crate::keys::{ControlSet, SetKey};
use crate::memory_budget::MemoryBudget;
use crate::records::{self, Records};
use crate::{Cell, PostCommit, ServerAuthority, Settings, UnitUrls, entity};

/// Sweeps that run at once.
const SWEEPS: usize = 4;

/// What the outside gives to a unit.
pub struct Ports {
    /// Records.
    pub records: Arc<dyn RecordStore>,
    /// File bodies.
    pub blobs: Arc<dyn BlobStore>,
    /// Short-lived shared state.
    pub cache: Arc<dyn Cache>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

/// A running unit. Cheap to share behind an `Arc`; holds no state of its own that a crash could lose.
pub struct Unit {
    settings: Arc<Settings>,
    shared: Arc<Shared>,
}

/// What stays the same for the whole run.
struct Shared {
    ports: Ports,
    urls: UnitUrls,
    keys: Arc<UnitKeys>,
    hashing: HashPool,
    account_locks: AccountLocks,
    login_rate_limiter: LoginRateLimiter,
    verified_passwords: VerifiedPasswordCache,
    views: Views,
    uploads: ConcurrencyLimiter,
    body_memory: MemoryBudget,
    node_locks: NodeLocks,
    sweeps: Arc<Semaphore>,
    outbox: OutboxQueue,
    moments: MonotonicIds,
    installs: ConcurrencyLimiter,
    body_key: UnitBodyKey,
    /// Read by each commit that something follows, until that is done; written by who waits for all of them.
    commits: Arc<RwLock<()>>,
}

/// Which caches a commit makes stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalidation {
    /// Only files' bodies, user data, or what is never cached.
    None,
    /// Control objects, collections, access control, schemas.
    Cell,
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
        let threads = settings
            .auth
            .hash_threads
            .unwrap_or_else(HashPool::default_threads);
        let body_memory = MemoryBudget::new(settings.bodies_max);
        let uploads =
            ConcurrencyLimiter::new(settings.dav.uploads_max, settings.dav.uploads_waiting_max);
        let bar = &settings.bar;
        let installs = ConcurrencyLimiter::new(bar.installs_max, bar.installs_waiting_max);
        let pace = LoginRateLimiter::new(&settings.auth.login_rate_limit);
        let shared = Shared {
            urls,
            keys,
            hashing: HashPool::new(threads),
            account_locks: AccountLocks::default(),
            login_rate_limiter: pace,
            verified_passwords: VerifiedPasswordCache::new(&ports.random),
            views: Views::default(),
            uploads,
            body_memory,
            node_locks: NodeLocks::default(),
            sweeps: Arc::new(Semaphore::new(SWEEPS)),
            outbox: OutboxQueue::default(),
            moments: MonotonicIds::new(&ports.random),
            installs,
            body_key: UnitBodyKey::default(),
            commits: Arc::default(),
            ports,
        };
        let unit = Self {
            settings: Arc::new(settings),
            shared: Arc::new(shared),
        };
        (unit, ServerAuthority::new())
    }

    /// The same unit with other limits and rules. How much is hashed, uploaded and tried at once stays as it is.
    #[must_use]
    pub fn with_settings(&self, settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Its URLs.
    #[must_use]
    pub fn urls(&self) -> &UnitUrls {
        &self.shared.urls
    }

    /// Its limits and rules.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it seals, signs, hashes and believes with.
    #[must_use]
    pub fn keys(&self) -> &Arc<UnitKeys> {
        &self.shared.keys
    }

    /// Where passwords are hashed.
    #[must_use]
    pub fn hashing(&self) -> &HashPool {
        &self.shared.hashing
    }

    pub(crate) fn login_rate_limiter(&self) -> &LoginRateLimiter {
        &self.shared.login_rate_limiter
    }

    pub(crate) fn verified_passwords(&self) -> &VerifiedPasswordCache {
        &self.shared.verified_passwords
    }

    pub(crate) fn account_locks(&self) -> &AccountLocks {
        &self.shared.account_locks
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.shared.ports.clock.now_ms()
    }

    /// Returns the clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.ports.clock
    }

    /// Returns the source of randomness.
    #[must_use]
    pub fn random(&self) -> &Arc<dyn Random> {
        &self.shared.ports.random
    }

    /// The place of file bodies.
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

    /// The memory for request bodies that are read as a whole.
    #[must_use]
    pub fn body_memory(&self) -> &MemoryBudget {
        &self.shared.body_memory
    }

    /// Where uploads of large bodies and of archives wait for their turn.
    #[must_use]
    pub fn uploads(&self) -> &ConcurrencyLimiter {
        &self.shared.uploads
    }

    pub(crate) fn node_locks(&self) -> &NodeLocks {
        &self.shared.node_locks
    }

    /// Where installations of boxes wait for their turn.
    #[must_use]
    pub fn installs(&self) -> &ConcurrencyLimiter {
        &self.shared.installs
    }

    /// What tells that rules have something to send.
    #[must_use]
    pub fn outbox(&self) -> &OutboxQueue {
        &self.shared.outbox
    }

    /// A moment later than all before it; see [`crate::keys::monotonic_ids`].
    pub(crate) fn moment(&self) -> [u8; 16] {
        self.shared.moments.next(self.now_ms())
    }

    pub(crate) fn known_body_key(&self) -> &UnitBodyKey {
        &self.shared.body_key
    }

    pub(crate) fn sweeps(&self) -> &Arc<Semaphore> {
        &self.shared.sweeps
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

    /// The cell of this name, with what is cached about it. `None` if there is none.
    pub async fn find_cell(&self, name: &str) -> Result<Option<Arc<CellContext>>> {
        if let Some(context) = self.shared.views.find(name) {
            return Ok(Some(context));
        }
        let ticket = self.shared.views.ticket(name);
        let set = SetKey::control(ControlSet::Cell);
        let Some((id, stored)) =
            entity::find_unique(&self.records(), &set, 0, &[Some(name)]).await?
        else {
            return Ok(None);
        };
        let Some(cell) = Cell::from_entity(&id, &stored.value, &stored.value.doc) else {
            return Ok(None);
        };
        let records = self.cell_records(&cell.id);
        Ok(Some(self.shared.views.insert(ticket, cell, records)))
    }

    /// The cell with this id. `None` if there is none.
    pub async fn find_cell_by_id(&self, id: &CellId) -> Result<Option<Arc<CellContext>>> {
        let set = SetKey::control(ControlSet::Cell);
        let mut looked_for = None;
        loop {
            let found = entity::find(&self.records(), &set, &id.to_string()).await?;
            let Some(name) = found.and_then(|cell| cell.value.text("Name")) else {
                return Ok(None);
            };
            match self.find_cell(&name).await? {
                Some(context) if context.cell().id == *id => return Ok(Some(context)),
                _ if looked_for.as_ref() == Some(&name) => {
                    return Err(Code::OdataInconsistent.into());
                }
                // It was renamed between the two reads.
                _ => looked_for = Some(name),
            }
        }
    }

    /// Drops what is cached about a cell.
    pub(crate) fn invalidate_cell(&self, cell: &Cell) {
        self.shared.views.invalidate_cell(cell);
    }

    /// Drops what is cached about which cell has this name.
    pub(crate) fn invalidate_cell_name(&self, name: &str) {
        self.shared.views.invalidate_cell_name(name);
    }

    /// Builds a batch for a cell and commits it; see [`Records::transact`]. Afterwards nothing stale is served.
    pub async fn transact<T, F, Fut>(
        &self,
        cell: &CellContext,
        invalidation: Invalidation,
        build: F,
    ) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<(Batch, T)>>,
    {
        let mut build = build;
        let with_follow_up = || {
            let built = build();
            async move {
                let (batch, out) = built.await?;
                Ok((
                    batch,
                    PostCommit::invalidating(cell.cell(), invalidation),
                    out,
                ))
            }
        };
        self.transact_with(cell.records(), with_follow_up).await
    }

    /// Builds a batch with what follows it, commits it and does that; see [`Records::transact`]. If the caller gives up
    /// while the batch is being committed, the rest happens all the same.
    pub(crate) async fn transact_with<T, F, Fut>(&self, records: &Records, build: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<(Batch, PostCommit, T)>>,
    {
        let mut build = build;
        records::retry(|| {
            let built = build();
            async move {
                let (batch, post_commit, out) = built.await?;
                Ok((self.commit(records, batch, post_commit).await, out))
            }
        })
        .await
    }

    async fn commit(
        &self,
        records: &Records,
        batch: Batch,
        post_commit: PostCommit,
    ) -> personium_store::Result<CommitSeq> {
        if batch.is_empty() || post_commit.is_empty() {
            return records.commit(batch).await;
        }
        let (unit, records) = (self.share(), records.clone());
        let in_hand = Arc::clone(&self.shared.commits).read_owned().await;
        let committing = tokio::spawn(async move {
            let fence = post_commit.fence(&unit).await?;
            let done = records.commit(batch).await;
            post_commit.run(&unit, done.is_ok(), fence);
            drop(in_hand);
            done
        });
        committing.await.unwrap_or_else(|error| {
            let detail = ErrorDetail::new("commit task panicked").with_source(error);
            Err(StoreError::Down(detail))
        })
    }

    /// The same unit, for a task of its own.
    fn share(&self) -> Arc<Self> {
        Arc::new(Self {
            settings: Arc::clone(&self.settings),
            shared: Arc::clone(&self.shared),
        })
    }

    /// Waits for the commits on their way that something follows, and for that: to be called before the stores close.
    pub async fn finish_commits(&self) {
        drop(self.shared.commits.write().await);
    }
}
