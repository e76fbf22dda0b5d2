//! The progress document of a job.

use personium_store::{Batch, StoreError};
use personium_types::{Code, NodeId, Operation, Result};

use crate::job_records::{JobResponse, ReadJob, StoredJob};
use crate::keys::{JobKey, JobPart};
use crate::locate::Target;
use crate::records::{self, store_error};
use crate::{Permit, Unit};

/// The number of attempts to remove a job while its state changes.
const MAX_ATTEMPTS: usize = 20;

/// The progress document of a job.
#[derive(Debug)]
pub struct JobDocument {
    /// When it was accepted, milliseconds since 1970.
    pub accepted_at: i64,
    /// When its script began.
    pub started_at: Option<i64>,
    /// When it ended, and when the document is removed.
    pub ended_at: Option<(i64, i64)>,
    /// Its status.
    pub status: JobStatus,
}

/// The status of a job.
#[derive(Debug)]
pub enum JobStatus {
    /// Its script has not begun.
    Queued,
    /// Its script runs.
    InProgress,
    /// Its script has answered.
    Completed(JobResponse),
    /// It has failed.
    Failed {
        /// The code of the error.
        code: String,
        /// The error, for people.
        text: String,
    },
}

/// Finds a job of a service, the deepest node of the target, that an identity has started. A job of another identity is none.
///
/// # Errors
/// [`Code::NoSuchPath`] if there is none; an internal error if the permit is not for executing this service; a failure of the store.
pub async fn find(
    target: &Target,
    permit: &Permit,
    (id, starter): (&NodeId, &str),
) -> Result<JobDocument> {
    let job = key(target, permit, id)?;
    let found = ReadJob::find_document(target.context.records(), &job).await?;
    let found = own(found, starter)?;
    let StoredJob {
        accepted_at,
        started_at,
        end,
        ..
    } = found.state.clone();
    let ended_at = end.as_ref().map(|end| (end.at, end.expires_at));
    let status = match (end, started_at) {
        (None, None) => JobStatus::Queued,
        (None, Some(_)) => JobStatus::InProgress,
        (Some(end), _) => match end.failure {
            Some(failure) => JobStatus::Failed {
                code: failure.code,
                text: failure.text,
            },
            None => {
                let response = found.value(JobPart::Response);
                let response = response.ok_or_else(|| {
                    let text = format!("job {} has no response", job.id);
                    personium_types::Error::new(Code::StoreCorrupt).with_source(text)
                })?;
                JobStatus::Completed(records::decode(response)?)
            }
        },
    };
    Ok(JobDocument {
        accepted_at,
        started_at,
        ended_at,
        status,
    })
}

/// Removes a job of a service, the deepest node of the target, that an identity has started. One that runs is stopped by the server node that
/// runs it.
///
/// # Errors
/// As [`find`].
pub async fn remove(
    unit: &Unit,
    target: &Target,
    permit: &Permit,
    (id, starter): (&NodeId, &str),
) -> Result<JobKey> {
    let records = unit.cell_records(&target.context.cell().id).without_limit();
    for _ in 0..MAX_ATTEMPTS {
        let job = key(target, permit, id)?;
        let found = own(
            ReadJob::find(target.context.records(), &job).await?,
            starter,
        )?;
        let mut batch = Batch::new();
        found.delete_all(&mut batch, &job);
        match records.commit(batch).await {
            Ok(_) => return Ok(job),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(store_error(error)),
        }
    }
    Err(Code::Conflict.into())
}

/// The key of a job of the service that the permit is for.
fn key(target: &Target, permit: &Permit, id: &NodeId) -> Result<JobKey> {
    permit.check(Operation::Execute, &target.permit_target())?;
    Ok(JobKey {
        cell: target.context.cell().id,
        service: target.node().value().id,
        id: *id,
    })
}

/// A job that was found, if an identity has started it.
fn own(found: Option<ReadJob>, starter: &str) -> Result<ReadJob> {
    let found = found.filter(|found| found.state.starter == starter);
    Ok(found.ok_or(Code::NoSuchPath)?)
}
