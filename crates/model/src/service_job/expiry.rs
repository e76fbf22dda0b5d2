//! The removal of jobs that have ended long ago.

use personium_store::{Batch, Direction, StoreError};
use personium_types::{Code, Result};

use crate::Unit;
use crate::job_records::ReadJob;
use crate::keys::{self, JobKey};
use crate::records::store_error;

/// The number of jobs that are removed at once.
const JOBS_AT_ONCE: usize = 100;

/// Removes jobs whose documents have been kept long enough. Every server node may do so. Returns whether there may be more.
///
/// # Errors
/// A failure of the store.
pub async fn remove_expired(unit: &Unit) -> Result<bool> {
    let range = keys::expired_jobs(unit.now_ms());
    let found = unit.records();
    let found = found.list_keys(&range, Direction::Up, JOBS_AT_ONCE).await?;
    let is_cut = found.len() == JOBS_AT_ONCE;
    for entry in found {
        if let Some(job) = JobKey::of_expiry(&entry) {
            remove_ended(unit, &job).await?;
        }
        let mut batch = Batch::new();
        batch.delete(entry);
        unit.records().commit(batch).await.map_err(store_error)?;
    }
    Ok(is_cut)
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
