//! The removal of jobs that have ended long ago.

use personium_store::{Batch, Direction, StoreError};
use personium_types::error::chain;
use personium_types::{Code, Result};

use crate::Unit;
use crate::job_records::ReadJob;
use crate::keys::{self, JobKey};
use crate::records::store_error;

/// The number of jobs that are removed at once.
const JOBS_AT_ONCE: usize = 100;

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
