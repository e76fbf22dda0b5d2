//! The acceptance of a job.

use personium_store::Batch;
use personium_types::{Code, Error, NodeId, Operation, Result};

use super::execution::QueuedJob;
use super::request::JobRequest;
use crate::commit::Invalidation;
use crate::job_records::{self, StoredJob};
use crate::keys::{self, JobKey};
use crate::locate::Target;
use crate::{Permit, Unit};

/// Accepts a job of a service, the deepest node of the target. When this returns, it is durable; the caller runs it, or whoever takes over
/// the work of this process.
///
/// # Errors
/// [`Code::JobsTooMany`] if too many jobs of the cell wait or run; [`Code::OverQuota`]; an internal error if the permit is not for
/// executing this service; a failure of the store.
pub async fn submit(
    unit: &Unit,
    target: &Target,
    permit: &Permit,
    request: JobRequest,
) -> Result<QueuedJob> {
    permit.check(Operation::Execute, &target.permit_target())?;
    let context = &target.context;
    let job = JobKey {
        cell: context.cell().id,
        service: target.node().value().id,
        id: NodeId::random(unit.random()),
    };
    let max = unit.settings().scripts.jobs.waiting_of_cell_max;
    check_number(
        context.records().counter(&keys::unfinished_jobs()).await?,
        max,
    )?;
    let sealed = request.seal(unit, &job).await?;
    let claim = job.claim();
    let active = unit.activate(claim.clone());
    let mark = unit.begin_work(&job.cell, claim).await?;
    let state = StoredJob {
        starter: request.starter,
        node: mark.node,
        accepted_at: unit.now_ms(),
        started_at: None,
        end: None,
    };
    let submitted = unit.transact(context, Invalidation::None, || async {
        let unfinished = keys::unfinished_jobs();
        let (number, expected) = context.records().counter_state(&unfinished).await?;
        check_number(number, max)?;
        let mut batch = Batch::new();
        batch.assert(unfinished, expected);
        mark.assert_in(&mut batch);
        target.assert_found(&mut batch);
        job_records::put_new(&mut batch, &job, (&state, &sealed))?;
        Ok((batch, ()))
    });
    if let Err(error) = submitted.await {
        // After a failure of the store it may have been accepted: then it is found by its claim.
        let is_refused = error.code().status() < 500 || error.code() == Code::OverQuota;
        if is_refused
            && let Some(claim) = unit.find_claim(&job.claim()).await?
            && unit.is_own(&claim)
        {
            unit.release_claim(&claim).await?;
        }
        return Err(error);
    }
    Ok(QueuedJob {
        job,
        _active: active,
    })
}

fn check_number(unfinished: i64, max: u32) -> Result<()> {
    match unfinished < i64::from(max) {
        true => Ok(()),
        false => Err(Error::new(Code::JobsTooMany).with(max.to_string())),
    }
}
