//! The begin of a job, and whether it goes on.

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

/// Notes that a job begins, and returns its request. `None` if it was removed, or another server node has taken it over: then there is
/// nothing to do.
///
/// # Errors
/// [`Code::StoreCorrupt`] if the request cannot be read; a failure of the store, after which the job may have begun.
pub async fn begin(unit: &Unit, job: &JobKey) -> Result<Option<JobRequest>> {
    let records = unit.cell_records(&job.cell).without_limit();
    let found = match ReadJob::find(&records, job).await {
        Err(error) if error.code() == Code::NoSuchCell => return Ok(None),
        found => found?,
    };
    let Some(found) = found else {
        return Ok(None);
    };
    if found.state.started_at.is_some() || !unit.confirm_node(&found.state.node).await? {
        return Ok(None);
    }
    let missing = || Error::new(Code::StoreCorrupt).with_source("a job without a request");
    let stored = found.value(JobPart::Request).ok_or_else(missing)?;
    let mut request = JobRequest::open(unit, job, stored).await?;
    request.starter.clone_from(&found.state.starter);
    let mut batch = Batch::new();
    let state = StoredJob {
        started_at: Some(unit.now_ms()),
        ..found.state.clone()
    };
    found.put_state(&mut batch, job, &state)?;
    match records.commit(batch).await {
        Ok(_) => Ok(Some(request)),
        Err(StoreError::Conflict | StoreError::SpaceDropped) => Ok(None),
        Err(error) => Err(store_error(error)),
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
