//! The request of a job, the begin of its script, and whether it goes on.

use personium_store::{Batch, StoreError};
use personium_types::{Code, Error, Result};

use super::request::JobRequest;
use crate::Unit;
use crate::job_records::{ReadJob, StoredJob};
use crate::keys::{JobKey, JobPart};
use crate::records::store_error;
use crate::server_node::KeyInUse;

/// A job that waits for this process to run it. As long as this is kept, nobody takes it for one that nobody runs.
#[derive(Debug)]
pub struct QueuedJob {
    /// The job.
    pub job: JobKey,
    pub(super) _active: KeyInUse,
}

/// The number of attempts to note the begin of a script while the state of its job changes.
const MAX_ATTEMPTS: usize = 5;

/// The request of a job that waits. `None` if it was removed, has begun, or another server node has taken it over: then there is nothing
/// to do.
///
/// # Errors
/// [`Code::StoreCorrupt`] if the request cannot be read; a failure of the store.
pub async fn find_request(unit: &Unit, job: &JobKey) -> Result<Option<JobRequest>> {
    let found = find_own(unit, job).await?;
    let Some(found) = found.filter(|found| found.state.started_at.is_none()) else {
        return Ok(None);
    };
    let missing = || Error::new(Code::StoreCorrupt).with_source("a job without a request");
    let stored = found.value(JobPart::Request).ok_or_else(missing)?;
    let mut request = JobRequest::open(unit, job, stored).await?;
    request.starter.clone_from(&found.state.starter);
    Ok(Some(request))
}

/// Notes that the script of a job of this process begins: from now on the job is not run again. Returns whether it may begin; `false` if the
/// job was removed, or another server node has taken it over.
///
/// # Errors
/// A failure of the store, after which it may have begun.
pub async fn begin(unit: &Unit, job: &JobKey) -> Result<bool> {
    for _ in 0..MAX_ATTEMPTS {
        let Some(found) = find_own(unit, job).await? else {
            return Ok(false);
        };
        if found.state.started_at.is_some() {
            // An earlier attempt was stored although the store has failed.
            return Ok(true);
        }
        let mut batch = Batch::new();
        let state = StoredJob {
            started_at: Some(unit.now_ms()),
            ..found.state.clone()
        };
        found.put_state(&mut batch, job, &state)?;
        let records = unit.cell_records(&job.cell).without_limit();
        match records.commit(batch).await {
            Ok(_) => return Ok(true),
            Err(StoreError::Conflict) => {}
            Err(StoreError::SpaceDropped) => return Ok(false),
            Err(error) => return Err(store_error(error)),
        }
    }
    Err(Code::Conflict.into())
}

/// A job that has not ended and is one of this process.
async fn find_own(unit: &Unit, job: &JobKey) -> Result<Option<ReadJob>> {
    let records = unit.cell_records(&job.cell).without_limit();
    let found = match ReadJob::find(&records, job).await {
        Err(error) if error.code() == Code::NoSuchCell => return Ok(None),
        found => found?,
    };
    match found {
        Some(found) if found.state.end.is_none() => {
            let is_own = unit.confirm_node(&found.state.node).await?;
            Ok(is_own.then_some(found))
        }
        _ => Ok(None),
    }
}

/// Whether this process still runs a job: nobody has cancelled it, removed its service, or taken it over.
///
/// # Errors
/// A failure of the store.
pub async fn is_in_progress(unit: &Unit, job: &JobKey) -> Result<bool> {
    let found = match ReadJob::find_state(&unit.cell_records(&job.cell), job).await {
        Err(error) if error.code() == Code::NoSuchCell => return Ok(false),
        found => found?,
    };
    Ok(found.is_some_and(|state| state.end.is_none() && Some(state.node) == unit.node_id()))
}
