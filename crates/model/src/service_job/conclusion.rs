//! The end of a job.

use std::time::Duration;

use personium_store::{Batch, StoreError};
use personium_types::error::chain;
use personium_types::{Code, Error, Result};

use super::expiry::remove_surplus;
use crate::Unit;
use crate::job_records::{JobResponse, ReadJob, StoredEnd, StoredFailure, StoredJob};
use crate::keys::{JobKey, JobPart};
use crate::records::{self, store_error};

/// The number of attempts to store the end of a job while its state changes.
const MAX_ATTEMPTS: usize = 5;

/// The outcome of a job.
#[derive(Debug)]
pub enum JobOutcome {
    /// The script has answered.
    Answered(JobResponse),
    /// It has not.
    Failed(Error),
}

/// Stores the end of a job of this process, and makes it one that is removed after a time. Does nothing if it was removed or taken over.
///
/// # Errors
/// A failure of the store: then the job has not ended.
pub async fn finish(unit: &Unit, job: &JobKey, outcome: &JobOutcome) -> Result<()> {
    let stored = match outcome {
        JobOutcome::Answered(_) => end(unit, job, outcome).await,
        JobOutcome::Failed(_) => Ok(None),
    };
    let expires_at = match stored {
        Ok(Some(expires_at)) => Some(expires_at),
        Ok(None) => end_without_response(unit, job, outcome).await?,
        // There is no room for the response.
        Err(refusal) if matches!(refusal.code(), Code::OverQuota | Code::RecordTooLarge) => {
            end_without_response(unit, job, &JobOutcome::Failed(refusal)).await?
        }
        Err(error) => return Err(error),
    };
    conclude(unit, job, expires_at).await?;
    if let Err(error) = remove_surplus(unit, &job.cell).await {
        let error = chain(&error);
        tracing::warn!(cell.id = %job.cell, %error, "failed to remove old jobs of a service, the next job will retry");
    }
    Ok(())
}

async fn end_without_response(
    unit: &Unit,
    job: &JobKey,
    outcome: &JobOutcome,
) -> Result<Option<i64>> {
    match outcome {
        JobOutcome::Answered(_) => Ok(None),
        JobOutcome::Failed(_) => end(unit, job, outcome).await,
    }
}

/// Stores the end. Returns when the job is removed; `None` if it is not one of this process any more.
async fn end(unit: &Unit, job: &JobKey, outcome: &JobOutcome) -> Result<Option<i64>> {
    let records = match (outcome, unit.find_cell_by_id(&job.cell).await?) {
        (_, None) => return Ok(None),
        (JobOutcome::Answered(_), Some(found)) => unit.limited_records(found.cell()),
        (JobOutcome::Failed(_), Some(_)) => unit.cell_records(&job.cell).without_limit(),
    };
    for _ in 0..MAX_ATTEMPTS {
        let Some(found) = ReadJob::find(&records, job).await? else {
            return Ok(None);
        };
        if let Some(end) = &found.state.end {
            return Ok(Some(end.expires_at));
        }
        if Some(found.state.node) != unit.node_id() {
            return Ok(None);
        }
        let failure = match outcome {
            JobOutcome::Answered(_) => None,
            JobOutcome::Failed(error) => Some(StoredFailure {
                code: error.code().as_str().to_owned(),
                text: error.message(),
            }),
        };
        let (state, expires_at) = ended(unit, &found.state, failure);
        let mut batch = Batch::new();
        found.put_state(&mut batch, job, &state)?;
        found.delete(&mut batch, job, JobPart::Request);
        if let JobOutcome::Answered(response) = outcome {
            let encoded = records::encode(response)?;
            found.put(&mut batch, job, (JobPart::Response, encoded));
        }
        batch.add(crate::keys::unfinished_jobs(), -1);
        match records.commit(batch).await {
            Ok(_) => return Ok(Some(expires_at)),
            Err(StoreError::Conflict | StoreError::Sealed) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(StoreError::SpaceDropped) => return Ok(None),
            Err(error) => return Err(store_error(error)),
        }
    }
    Err(Code::Conflict.into())
}

/// The state of a job that ends now, and when it is removed.
pub(super) fn ended(
    unit: &Unit,
    state: &StoredJob,
    failure: Option<StoredFailure>,
) -> (StoredJob, i64) {
    let now = unit.now_ms();
    let retention = unit.settings().scripts.jobs.retention.as_millis();
    let retention = i64::try_from(retention).unwrap_or(i64::MAX);
    let expires_at = now.saturating_add(retention);
    let state = StoredJob {
        end: Some(StoredEnd {
            at: now,
            expires_at,
            failure,
        }),
        ..state.clone()
    };
    (state, expires_at)
}

/// Replaces the claim of a job by the entry of the index of those that are to be removed, or removes it.
pub(super) async fn conclude(unit: &Unit, job: &JobKey, expires_at: Option<i64>) -> Result<()> {
    let mut batch = Batch::new();
    let claim = job.claim();
    match unit.find_claim(&claim).await? {
        Some(found) if unit.is_own(&found) => {
            batch.assert(
                claim.clone(),
                personium_store::Expect::Version(found.version),
            );
            batch.delete(claim);
        }
        _ => return Ok(()),
    }
    if let Some(expires_at) = expires_at {
        batch.put(job.expiry(expires_at), Vec::new());
    }
    match unit.records().commit(batch).await {
        // Another server node does it.
        Ok(_) | Err(StoreError::Conflict) => Ok(()),
        Err(error) => Err(store_error(error)),
    }
}
