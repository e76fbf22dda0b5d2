//! The jobs that nobody runs: those of dead server nodes, of earlier runs, and those whose begin or end could not be stored.

use personium_store::{Batch, StoreError};
use personium_types::error::chain;
use personium_types::{Code, Error, Result};

use super::conclusion::{conclude, ended};
use super::execution::QueuedJob;
use crate::Unit;
use crate::job_records::{ReadJob, StoredFailure, StoredJob};
use crate::keys::{self, JobKey};
use crate::records::store_error;
use crate::server_node::Claim;

/// Takes over the jobs that nobody runs. Those that wait are returned, for this process to run; those that were running have failed.
///
/// # Errors
/// A failure of the store before the first one. Later ones are logged, and tried again by the next call.
pub async fn list_idle(unit: &Unit) -> Result<Vec<QueuedJob>> {
    let mut queued = Vec::new();
    for claim in unit.list_free_claims(&keys::job_claims().range).await? {
        let Some(job) = JobKey::of_claim(&claim.key) else {
            continue;
        };
        if unit.is_active(&claim.key) {
            continue;
        }
        match take_over(unit, &job, &claim).await {
            Ok(taken) => queued.extend(taken),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(cell.id = %job.cell, %error, "failed to take over a job of a service, will retry");
            }
        }
    }
    Ok(queued)
}

/// Takes over a job. Returns it if it waits.
async fn take_over(unit: &Unit, job: &JobKey, claim: &Claim) -> Result<Option<QueuedJob>> {
    let active = unit.activate(claim.key.clone());
    let is_marked = unit.is_marked(&claim.key);
    let Some(claim) = unit.take_over_in_cell(claim, &job.cell).await? else {
        return Ok(None);
    };
    let Some(node) = claim.owner else {
        return Ok(None);
    };
    let records = unit.cell_records(&job.cell).without_limit();
    let found = match ReadJob::find(&records, job).await {
        Err(error) if error.code() == Code::NoSuchCell => None,
        found => found?,
    };
    let Some(found) = found else {
        // The batch that stores it may be on its way.
        if !is_marked {
            unit.release_claim(&claim).await?;
        }
        return Ok(None);
    };
    if let Some(end) = &found.state.end {
        conclude(unit, job, Some(end.expires_at)).await?;
        return Ok(None);
    }
    let (state, expires_at) = match found.state.started_at {
        None => {
            let state = StoredJob {
                node,
                ..found.state.clone()
            };
            (state, None)
        }
        Some(_) => {
            let interrupted = Error::from(Code::JobInterrupted);
            let failure = StoredFailure {
                code: interrupted.code().as_str().to_owned(),
                text: interrupted.message(),
            };
            let (state, expires_at) = ended(unit, &found.state, Some(failure));
            (StoredJob { node, ..state }, Some(expires_at))
        }
    };
    let mut batch = Batch::new();
    found.put_state(&mut batch, job, &state)?;
    if expires_at.is_some() {
        found.delete(&mut batch, job, keys::JobPart::Request);
        batch.add(keys::unfinished_jobs(), -1);
    }
    match records.commit(batch).await {
        Ok(_) => {}
        // It was removed, or the former server node has ended it: the next look decides.
        Err(StoreError::Conflict) => return Ok(None),
        Err(error) => return Err(store_error(error)),
    }
    match expires_at {
        None => Ok(Some(QueuedJob {
            job: *job,
            _active: active,
        })),
        Some(_) => {
            conclude(unit, job, expires_at).await?;
            Ok(None)
        }
    }
}
