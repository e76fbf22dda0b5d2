//! Quotas of cells and of owners, and what is stored of them.
//!
//! Quotas are records of the unit; see [`SetQuotas`]. Those of owners are for all their cells together. Where none was set, the
//! settings decide.

use std::time::Duration;

use personium_store::{Batch, RecordStore, StoreError};
use personium_types::error::chain;
use personium_types::{CellId, Operation, Result};

use crate::cell_usage;
pub use crate::cell_usage::CellUsage;
use crate::entity::EntityPages;
use crate::keys::{self, ControlSet, SetKey};
pub use crate::known_quotas::SetQuotas;
use crate::known_quotas::{self, LimitedCell, REFUSING_SUM_MAX_AGE, SUM_MAX_AGE, StoredQuota};
use crate::records::{self, store_error};
use crate::{Cell, CellContext, Permit, PermitTarget, Unit};

/// The pause between two cells whose content is counted.
const COUNT_PAUSE: Duration = Duration::from_millis(2);

/// The holder of a quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuotaSubject {
    /// A cell.
    Cell(CellId),
    /// All cells of an owner, in unit-local form if it is of this unit.
    Owner(String),
}

/// A quota to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewQuota {
    /// So many bytes.
    Bytes(u64),
    /// As much as there is.
    Unlimited,
    /// The quota of the settings.
    Default,
}

/// How old the sum over the cells of an owner may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SumAge {
    /// Some seconds, to show it.
    Any,
    /// A second, to refuse something by it.
    Fresh,
}

/// The storage of a cell as its users see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellStorage {
    /// The bytes that it stores.
    pub usage: CellUsage,
    /// The bytes that its quota and that of its owner leave. `None`: they do not limit it.
    pub left: Option<u64>,
}

impl Unit {
    /// The quotas that were set.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn set_quotas(&self) -> Result<std::sync::Arc<SetQuotas>> {
        let known = self.known_quotas();
        let found = known.set_quotas(self.store(), self.monotonic()).await;
        found.map_err(store_error)
    }

    /// Sets a quota. This process honours it at once, others within two seconds.
    ///
    /// # Errors
    /// An internal error if the permit is not for quotas; a failure of the store.
    pub async fn set_quota(
        &self,
        permit: &Permit,
        subject: &QuotaSubject,
        quota: NewQuota,
    ) -> Result<()> {
        permit.check(Operation::WriteQuotas, &PermitTarget::Unit)?;
        let key = match subject {
            QuotaSubject::Cell(cell) => keys::cell_quota(cell),
            QuotaSubject::Owner(owner) => keys::owner_quota(owner),
        };
        let mut batch = Batch::new();
        let put = |batch: &mut Batch, max_bytes| {
            records::put(batch, key.clone(), &StoredQuota { max_bytes })
        };
        match quota {
            NewQuota::Bytes(bytes) => put(&mut batch, Some(bytes))?,
            NewQuota::Unlimited => put(&mut batch, None)?,
            NewQuota::Default => batch.delete(key.clone()),
        }
        batch.put(keys::quotas(), "");
        let committed = self.records().commit(batch).await;
        self.known_quotas().forget();
        committed.map(drop).map_err(store_error)
    }

    /// The bytes that a cell stores.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn usage_of(&self, cell: &Cell) -> Result<CellUsage> {
        let usage = self.cell_limit(LimitedCell::of(cell)).usage().await;
        usage.map_err(store_error)
    }

    /// The bytes that all cells of an owner store, some seconds ago at the earliest.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn usage_of_owner(&self, owner: &str) -> Result<u64> {
        let nowhere = LimitedCell {
            space: CellId::from_bytes([0; 16]),
            replaced: None,
            owner: Some(owner.to_owned()),
        };
        let sum = self.cell_limit(nowhere).owner_usage(0, SUM_MAX_AGE).await;
        sum.map_err(store_error)
    }

    /// The bytes that a cell stores, and those that its quotas leave.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn storage_of(&self, cell: &Cell, age: SumAge) -> Result<CellStorage> {
        let max_age = match age {
            SumAge::Any => SUM_MAX_AGE,
            SumAge::Fresh => REFUSING_SUM_MAX_AGE,
        };
        let limit = self.cell_limit(LimitedCell::of(cell));
        let usage = limit.usage().await.map_err(store_error)?;
        let quotas = limit.quotas().await.map_err(store_error)?;
        let of_cell = quotas.cell.map(|max| max.saturating_sub(usage.total()));
        let of_owner = match quotas.owner {
            Some(max) => {
                let used = limit.owner_usage(usage.total(), max_age).await;
                Some(max.saturating_sub(used.map_err(store_error)?))
            }
            None => None,
        };
        let left = of_cell.into_iter().chain(of_owner).min();
        Ok(CellStorage { usage, left })
    }

    /// The bytes that the quotas leave for a cell. `None`: they do not limit it.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn storage_left(&self, context: &CellContext, age: SumAge) -> Result<Option<u64>> {
        if self.is_unlimited() {
            return Ok(None);
        }
        let cell = context.cell();
        let quotas = self.cell_limit(LimitedCell::of(cell)).quotas().await;
        let quotas = quotas.map_err(store_error)?;
        if quotas.cell.is_none() && quotas.owner.is_none() {
            return Ok(None);
        }
        Ok(self.storage_of(cell, age).await?.left)
    }

    /// Counts the content of the cells that an earlier version has filled. Does nothing if that was done. Counts a cell that cannot
    /// be read when it can.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn count_content(&self) -> Result<()> {
        let store = self.store();
        if cell_usage::all_counted(&**store)
            .await
            .map_err(store_error)?
        {
            return Ok(());
        }
        let mut is_complete = true;
        let mut pages = EntityPages::of(&self.records(), &SetKey::control(ControlSet::Cell));
        loop {
            let page = pages.next_page().await?;
            if page.is_empty() {
                break;
            }
            for cell in page.into_iter().filter_map(|(id, _)| id.parse().ok()) {
                match cell_usage::correct(store, &cell, false).await {
                    Ok(_) | Err(StoreError::SpaceDropped) => {}
                    Err(error) => {
                        is_complete = false;
                        tracing::warn!(
                            cell.id = %cell,
                            error = %chain(&error),
                            "failed to count what a cell stores, will retry"
                        );
                    }
                }
                tokio::time::sleep(COUNT_PAUSE).await;
            }
        }
        if is_complete {
            let mut batch = Batch::new();
            batch.put(keys::bytes_counted(), "");
            self.records().commit(batch).await.map_err(store_error)?;
        }
        Ok(())
    }
}

/// Reads the quotas that were set, from the records of a unit.
///
/// # Errors
/// A failure of the store.
pub async fn read_set_quotas(store: &dyn RecordStore) -> Result<SetQuotas> {
    known_quotas::read_quotas(store).await.map_err(store_error)
}

/// Adds to the batch that replaces a cell by another one that its quota is that of the new cell.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn follow_cell(
    unit: &Unit,
    batch: &mut Batch,
    old: &CellId,
    new: &CellId,
) -> Result<()> {
    let key = keys::cell_quota(old);
    if let Some(quota) = unit.records().find_bytes(&key).await? {
        batch.delete(key);
        batch.put(keys::cell_quota(new), quota);
        batch.put(keys::quotas(), "");
    }
    Ok(())
}
