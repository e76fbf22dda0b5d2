//! The removal of jobs that have ended long ago, and of those that are too many.

use personium_store::{Batch, Direction, StoreError};
use personium_types::error::chain;
use personium_types::{CellId, Code, Result};

use crate::Unit;
use crate::job_records::{ReadJob, StoredJob};
use crate::keys::{self, JobKey};
use crate::records::{self, store_error};

/// The number of jobs that are removed at once.
const JOBS_AT_ONCE: usize = 100;
/// The number of keys that are read at once.
const KEYS_AT_ONCE: usize = 1_000;

/// Removes jobs whose documents have been kept long enough. Every server node may do so. A job that cannot be removed, since its cell is
/// damaged, is left for the next call.
///
/// # Errors
/// A failure of the store of the unit.
pub async fn remove_expired(unit: &Unit) -> Result<()> {
    let mut range = keys::expired_jobs(unit.now_ms());
    let records = unit.records();
    loop {
        let found = records
            .list_keys(&range, Direction::Up, JOBS_AT_ONCE)
            .await?;
        let Some(last) = found.last() else {
            return Ok(());
        };
        range = range.after(last);
        for entry in found {
            if let Some(job) = JobKey::of_expiry(&entry)
                && let Err(error) = remove_ended(unit, &job).await
            {
                let error = chain(&error);
                tracing::warn!(cell.id = %job.cell, %error, "failed to remove an old job of a service, will retry");
                continue;
            }
            let mut batch = Batch::new();
            batch.delete(entry);
            records.commit(batch).await.map_err(store_error)?;
        }
    }
}

/// Removes the jobs of a cell that have ended first, if more than the limit are kept: so many that this is not needed again soon.
///
/// # Errors
/// A failure of the store.
pub(super) async fn remove_surplus(unit: &Unit, cell: &CellId) -> Result<()> {
    let max = unit.settings().scripts.jobs.kept_of_cell_max;
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let records = unit.cell_records(cell).without_limit();
    let (mut range, mut states) = (keys::all_jobs(), Vec::new());
    loop {
        let found = records
            .list_keys(&range, Direction::Up, KEYS_AT_ONCE)
            .await?;
        let Some(last) = found.last() else {
            break;
        };
        range = range.after(last);
        states.extend(found.into_iter().filter(keys::is_state_of_job));
    }
    if states.len() <= max {
        return Ok(());
    }
    let mut ended = Vec::new();
    for keys in states.chunks(JOBS_AT_ONCE) {
        for (key, record) in keys.iter().zip(records.find_records(keys).await?) {
            let Some(record) = record else {
                continue;
            };
            let state: StoredJob = records::decode(&record.value)?;
            if let (Some(job), Some(end)) = (JobKey::of_state(cell, key), state.end) {
                ended.push((end.at, end.expires_at, job));
            }
        }
    }
    if ended.len() <= max {
        return Ok(());
    }
    ended.sort_by_key(|(at, ..)| *at);
    let kept = max.saturating_sub(max / 10);
    let surplus = ended.len().saturating_sub(kept);
    for (_, expires_at, job) in ended.into_iter().take(surplus) {
        remove_ended(unit, &job).await?;
        let mut batch = Batch::new();
        batch.delete(job.expiry(expires_at));
        unit.records().commit(batch).await.map_err(store_error)?;
    }
    Ok(())
}

/// Removes a job, unless it is gone.
async fn remove_ended(unit: &Unit, job: &JobKey) -> Result<()> {
    let records = unit.cell_records(&job.cell).without_limit();
    let found = match ReadJob::find(&records, job).await {
        Err(error) if error.code() == Code::NoSuchCell => return Ok(()),
        found => found?,
    };
    let Some(found) = found.filter(|found| found.state.end.is_some()) else {
        return Ok(());
    };
    let mut batch = Batch::new();
    found.delete_all(&mut batch, job);
    match records.commit(batch).await {
        // Another server node, or a request, removes it.
        Ok(_) | Err(StoreError::Conflict | StoreError::SpaceDropped) => Ok(()),
        Err(error) => Err(store_error(error)),
    }
}
