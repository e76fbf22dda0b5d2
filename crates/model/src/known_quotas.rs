//! The quotas of a unit as a process knows them, and the limit of the records of a cell.
//!
//! A quota is a record of the unit. A store that is not shared belongs to one process, which reads them once. On a shared store a
//! process looks every two seconds whether one was set. The quota of a cell is judged by its counters as they are at the change.
//! That of an owner is judged by a sum over the cells of the owner that is some seconds old, and what this process has changed
//! since; no change is refused by a sum that is older than a second, unless summing takes long.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use personium_store::{
    CommitSeq, Direction, ErrorDetail, Limit, RecordStore, Result, Space, StoreError,
};
use personium_types::error::chain;
use personium_types::{CellId, Clock};
use serde::{Deserialize, Serialize};

use crate::cell::{Cell, OWNER};
use crate::cell_usage;
use crate::entity::EntityPages;
use crate::keys::{self, ControlSet, SetKey};
use crate::records::{self, Records};
use crate::settings::QuotaSettings;
use crate::usage::GrowthLimit;

/// The time after which a process on a shared store looks whether a quota was set.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// The age from which on the sum of an owner is computed again.
pub(crate) const SUM_MAX_AGE: Duration = Duration::from_secs(10);
/// The age from which on no change is refused by a sum.
pub(crate) const REFUSING_SUM_MAX_AGE: Duration = Duration::from_secs(1);
/// A sum is used for at least so many times as long as it took.
const SUM_TIME_FACTOR: u32 = 20;
/// The number of quotas that are read at once.
const QUOTAS_AT_ONCE: usize = 1_000;

/// The stored form of a quota. `None`: as much as there is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredQuota {
    #[serde(rename = "b")]
    pub(crate) max_bytes: Option<u64>,
}

/// All quotas that were set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetQuotas {
    /// Those of cells, in bytes. `None`: as much as there is.
    pub cells: HashMap<CellId, Option<u64>>,
    /// Those of owners for all their cells, in bytes. Owners are in unit-local form if they are of this unit.
    pub owners: HashMap<String, Option<u64>>,
}

/// The quotas as they were read at one time.
struct Known {
    version: Option<CommitSeq>,
    looked_at: Instant,
    quotas: Arc<SetQuotas>,
}

/// The quotas as a process knows them.
#[derive(Default)]
pub(crate) struct KnownQuotas {
    known: RwLock<Option<Known>>,
    owners: Mutex<HashMap<String, Arc<OwnerSum>>>,
    all_counted: AtomicBool,
    /// The number of times that what was known was forgotten.
    forgotten: AtomicU64,
}

/// The bytes that all cells of an owner store.
#[derive(Default)]
struct OwnerSum {
    state: Mutex<Option<SummedBytes>>,
    summing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy)]
struct SummedBytes {
    bytes: i64,
    /// The difference by what this process has changed since.
    changed: i64,
    at: Instant,
    took: Duration,
}

impl SummedBytes {
    fn is_usable(&self, now: Instant, max_age: Duration) -> bool {
        now.saturating_duration_since(self.at) <= max_age.max(self.took * SUM_TIME_FACTOR)
    }
}

/// A cell whose content is limited.
#[derive(Clone)]
pub(crate) struct LimitedCell {
    /// The cell whose records grow.
    pub(crate) space: CellId,
    /// The cell whose quota is meant, with the bytes that it stores, if the records will replace it.
    pub(crate) replaced: Option<(CellId, u64)>,
    /// The owner.
    pub(crate) owner: Option<String>,
}

impl LimitedCell {
    /// A cell of the catalogue.
    pub(crate) fn of(cell: &Cell) -> Self {
        Self {
            space: cell.id,
            replaced: None,
            owner: cell.owner.clone(),
        }
    }
}

/// The quotas of a cell and of its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CellQuotas {
    pub(crate) cell: Option<u64>,
    pub(crate) owner: Option<u64>,
}

/// The limit of the records of a cell.
#[derive(Clone)]
pub(crate) struct CellLimit {
    pub(crate) quotas: Arc<KnownQuotas>,
    pub(crate) store: Arc<dyn RecordStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) defaults: QuotaSettings,
    pub(crate) cell: LimitedCell,
}

impl KnownQuotas {
    /// Whether it is known that nothing is limited.
    pub(crate) fn is_idle(
        &self,
        store: &dyn RecordStore,
        now: Instant,
        defaults: &QuotaSettings,
    ) -> bool {
        let is_empty =
            |known: &Known| known.quotas.cells.is_empty() && known.quotas.owners.is_empty();
        defaults.cell_max_bytes.is_none()
            && defaults.owner_max_bytes.is_none()
            && self
                .known
                .read()
                .as_ref()
                .is_some_and(|known| is_empty(known) && (!store.is_shared() || known.is_fresh(now)))
    }

    /// Forgets what is known. To be called when a quota was set.
    pub(crate) fn forget(&self) {
        let mut known = self.known.write();
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        *known = None;
    }

    /// The quotas that were set.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn set_quotas(
        &self,
        store: &Arc<dyn RecordStore>,
        now: Instant,
    ) -> Result<Arc<SetQuotas>> {
        let forgotten = self.forgotten.load(Ordering::Acquire);
        let before = match &*self.known.read() {
            Some(known) if !store.is_shared() || known.is_fresh(now) => {
                return Ok(Arc::clone(&known.quotas));
            }
            Some(known) => Some((known.version, Arc::clone(&known.quotas))),
            None => None,
        };
        let found = store.get(&Space::Unit, &[keys::quotas()]).await?.value;
        let version = found
            .into_iter()
            .flatten()
            .map(|record| record.version)
            .next();
        let quotas = match before {
            Some((known, quotas)) if known == version => quotas,
            _ => Arc::new(read_quotas(&**store).await?),
        };
        let mut known = self.known.write();
        // What was read before a quota was set may lack it.
        if self.forgotten.load(Ordering::Acquire) == forgotten {
            *known = Some(Known {
                version,
                looked_at: now,
                quotas: Arc::clone(&quotas),
            });
        }
        Ok(quotas)
    }

    fn owner(&self, owner: &str) -> Arc<OwnerSum> {
        let mut owners = self.owners.lock();
        match owners.get(owner) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(owners.entry(owner.to_owned()).or_default()),
        }
    }

    async fn all_counted(&self, store: &dyn RecordStore) -> Result<bool> {
        if self.all_counted.load(Ordering::Acquire) {
            return Ok(true);
        }
        let all_counted = cell_usage::all_counted(store).await?;
        self.all_counted.store(all_counted, Ordering::Release);
        Ok(all_counted)
    }
}

impl Known {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.looked_at) <= LOOK_INTERVAL
    }
}

/// Reads all quotas that were set.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn read_quotas(store: &dyn RecordStore) -> Result<SetQuotas> {
    let mut quotas = SetQuotas::default();
    for range in [keys::cell_quotas(), keys::owner_quotas()] {
        let mut rest = range;
        loop {
            let page = store.scan(
                &Space::Unit,
                &rest,
                Direction::Up,
                Limit::records(QUOTAS_AT_ONCE),
            );
            let page = page.await?.value;
            let Some((last, _)) = page.last() else {
                break;
            };
            rest = rest.after(last);
            for (key, record) in &page {
                let stored = records::decode::<StoredQuota>(&record.value).map_err(|error| {
                    StoreError::Corrupt(
                        ErrorDetail::new("failed to read a quota").with_source(error),
                    )
                })?;
                if let Some(cell) = keys::cell_of_quota(key) {
                    quotas.cells.insert(cell, stored.max_bytes);
                } else if let Some(owner) = keys::owner_of_quota(key) {
                    quotas.owners.insert(owner, stored.max_bytes);
                }
            }
        }
    }
    Ok(quotas)
}

impl CellLimit {
    fn now(&self) -> Instant {
        self.clock.monotonic()
    }

    /// The quotas that hold for the cell.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn quotas(&self) -> Result<CellQuotas> {
        let set = self.quotas.set_quotas(&self.store, self.now()).await?;
        let LimitedCell {
            space,
            replaced,
            owner,
        } = &self.cell;
        let cell = replaced.map_or(*space, |(replaced, _)| replaced);
        let owner = owner.as_ref();
        Ok(CellQuotas {
            cell: match set.cells.get(&cell) {
                Some(quota) => *quota,
                None => self.defaults.cell_max_bytes,
            },
            owner: owner.and_then(|owner| match set.owners.get(owner) {
                Some(quota) => *quota,
                None => self.defaults.owner_max_bytes,
            }),
        })
    }

    /// The bytes that the cell stores.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn usage(&self) -> Result<cell_usage::CellUsage> {
        read_usage(&self.quotas, &self.store, &self.cell.space).await
    }

    /// The bytes that the cells of the owner store, with these records in the place of what they will replace.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn owner_usage(&self, own: u64, max_age: Duration) -> Result<u64> {
        let Some(owner) = &self.cell.owner else {
            return Ok(own);
        };
        let sum = self.sum(owner, max_age).await?;
        let sum = match self.cell.replaced {
            Some((_, replaced)) => sum
                .saturating_sub_unsigned(replaced)
                .saturating_add_unsigned(own),
            None => sum,
        };
        Ok(u64::try_from(sum).unwrap_or(0))
    }

    async fn sum(&self, owner: &str, max_age: Duration) -> Result<i64> {
        let known = self.quotas.owner(owner);
        let usable = || {
            let state = *known.state.lock();
            let state = state.filter(|state| state.is_usable(self.now(), max_age));
            state.map(|state| state.bytes.saturating_add(state.changed))
        };
        if let Some(sum) = usable() {
            return Ok(sum);
        }
        let _summing = known.summing.lock().await;
        if let Some(sum) = usable() {
            return Ok(sum);
        }
        // What is changed meanwhile may be counted twice until the next sum, but is not lost.
        if let Some(state) = &mut *known.state.lock() {
            state.changed = 0;
        }
        let begun = self.now();
        let bytes = self.sum_of_cells(owner).await?;
        let at = self.now();
        let mut state = known.state.lock();
        let changed = state.map_or(0, |state| state.changed);
        *state = Some(SummedBytes {
            bytes,
            changed,
            at,
            took: at.saturating_duration_since(begun),
        });
        Ok(bytes.saturating_add(changed))
    }

    async fn sum_of_cells(&self, owner: &str) -> Result<i64> {
        let unit = Records::new(Arc::clone(&self.store), Space::Unit);
        let mut pages = EntityPages::of(&unit, &SetKey::control(ControlSet::Cell));
        let mut sum = 0_i64;
        loop {
            let page = pages
                .next_page()
                .await
                .map_err(|error| StoreError::Busy(ErrorDetail::new(chain(&error))))?;
            if page.is_empty() {
                return Ok(sum);
            }
            for (id, cell) in page {
                let is_own = cell.hidden.get(OWNER).is_some_and(|own| own == owner);
                let Some(id) = id.parse::<CellId>().ok().filter(|_| is_own) else {
                    continue;
                };
                match read_usage(&self.quotas, &self.store, &id).await {
                    Ok(usage) => sum = sum.saturating_add_unsigned(usage.total()),
                    // One that is removed meanwhile, or damaged, limits no other.
                    Err(StoreError::SpaceDropped | StoreError::Corrupt(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

/// Reads what a cell stores. If it was never counted, it is counted now.
async fn read_usage(
    quotas: &KnownQuotas,
    store: &Arc<dyn RecordStore>,
    cell: &CellId,
) -> Result<cell_usage::CellUsage> {
    let all_counted = quotas.all_counted(&**store).await?;
    if !all_counted {
        match cell_usage::correct(store, cell, false).await {
            // A cell that is being removed, or counted by another process, is counted for this look only.
            Ok(_) | Err(StoreError::Sealed | StoreError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    cell_usage::read(&**store, cell, all_counted).await
}

#[async_trait]
impl GrowthLimit for CellLimit {
    async fn admit(&self, bytes: i64) -> Result<()> {
        let quotas = self.quotas().await?;
        if quotas.cell.is_none() && quotas.owner.is_none() {
            return Ok(());
        }
        let added = u64::try_from(bytes).unwrap_or(0);
        let used = self.usage().await?.total();
        if quotas
            .cell
            .is_some_and(|max| used.saturating_add(added) > max)
        {
            return Err(over_quota("The quota of the cell"));
        }
        let Some(max) = quotas.owner else {
            return Ok(());
        };
        for max_age in [SUM_MAX_AGE, REFUSING_SUM_MAX_AGE] {
            let used = self.owner_usage(used, max_age).await?;
            if used.saturating_add(added) <= max {
                return Ok(());
            }
        }
        Err(over_quota("The quota of the unit user"))
    }

    fn note(&self, bytes: i64) {
        let Some(owner) = self
            .cell
            .owner
            .as_ref()
            .filter(|_| self.cell.replaced.is_none())
        else {
            return;
        };
        let known = self.quotas.owners.lock().get(owner).cloned();
        if let Some(known) = known
            && let Some(state) = &mut *known.state.lock()
        {
            state.changed = state.changed.saturating_add(bytes);
        }
    }
}

fn over_quota(text: &'static str) -> StoreError {
    StoreError::OverQuota(ErrorDetail::new(text))
}
