//! Removes what a failed installation has made.
//!
//! Everything that an archive makes belongs to its box, so it goes with the box. An installation is claimed in the space of the
//! unit before anything is made: when its server node is dead, another one takes over the claim and removes the box.

use std::sync::Arc;
use std::time::Duration;

use personium_model::records::{self, store_error};
use personium_model::server_node::Claim;
use personium_model::{CellContext, Permit, PermitTarget, ServerAuthority, Unit, keys, odata};
use personium_store::Batch;
use personium_types::error::chain;
use personium_types::{CellId, Code, NodeId, Operation, Result};

use crate::error::{SERVER_ERROR, SERVER_STOPPED};
use crate::progress::{self, InstallationResult, InstallationWorker, StoredInstallation};

/// The pauses between attempts to remove a box. Afterwards it is left for [`remove_unfinished`].
const RETRY_PAUSES: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
];

/// The box of a failed installation.
#[derive(Clone, Copy)]
pub(crate) struct FailedBox {
    pub cell: CellId,
    pub id: NodeId,
}

/// Removes the box of a failed installation with everything in it. Retries after failures of the store. Returns whether it was
/// removed.
pub(crate) async fn remove_box(
    unit: &Arc<Unit>,
    authority: &ServerAuthority,
    failed: FailedBox,
    state: &StoredInstallation,
) -> bool {
    let mut pauses = RETRY_PAUSES.into_iter();
    while let Err(error) = try_remove_box(unit, authority, failed, state).await {
        tracing::warn!(
            cell.id = %failed.cell,
            box.id = %failed.id,
            error = %chain(&error),
            "failed to remove the box of a failed installation"
        );
        match pauses.next() {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return false,
        }
    }
    true
}

async fn try_remove_box(
    unit: &Arc<Unit>,
    authority: &ServerAuthority,
    failed: FailedBox,
    state: &StoredInstallation,
) -> Result<()> {
    let Some(context) = unit.find_cell_by_id(&failed.cell).await? else {
        return Ok(());
    };
    let permit = removal_permit(authority, &context, failed.id);
    let stored = progress::store_failure(unit, &context, &failed.id, state).await;
    let removed = match stored {
        Ok(()) => odata::remove_box(unit, &context, &permit, &failed.id, None).await,
        refused => refused,
    };
    match removed {
        Err(error) if error.code() == Code::NoSuchBox => Ok(()),
        removed => removed,
    }
}

/// Removes the roles, relations and rules of the box of a failed installation: nothing of it is in force.
///
/// # Errors
/// Failures of the store.
pub(crate) async fn remove_objects(
    unit: &Arc<Unit>,
    authority: &ServerAuthority,
    failed: FailedBox,
) -> Result<()> {
    let Some(context) = unit.find_cell_by_id(&failed.cell).await? else {
        return Ok(());
    };
    let permit = removal_permit(authority, &context, failed.id);
    odata::remove_box_objects(unit, &context, &permit, &failed.id).await
}

fn removal_permit(authority: &ServerAuthority, context: &CellContext, id: NodeId) -> Permit {
    let target = PermitTarget::Node {
        cell: context.cell().id,
        node: id,
    };
    authority.permit(Operation::RemoveBox, target)
}

/// Removes the boxes of installations that nobody works on: those of dead server nodes, and those of this one that it could not
/// remove. Failures are logged, and retried by the next call.
///
/// # Errors
/// Failures of the store before the first one.
pub(crate) async fn remove_unfinished(unit: &Arc<Unit>, authority: &ServerAuthority) -> Result<()> {
    let markers = keys::installation_markers();
    for claim in unit.list_free_claims(&markers.range).await? {
        let Some(cell) = markers.cell_of(&claim.key) else {
            continue;
        };
        // An installation of this process runs.
        if unit.is_active(&claim.key) {
            continue;
        }
        let _active = unit.activate(claim.key.clone());
        if let Err(error) = clean_cell(unit, authority, &cell, &claim).await {
            tracing::warn!(
                cell.id = %cell,
                error = %chain(&error),
                "failed to remove unfinished installations, will retry later"
            );
        }
    }
    Ok(())
}

/// Takes over an unfinished installation, removes its box, then the claim.
async fn clean_cell(
    unit: &Arc<Unit>,
    authority: &ServerAuthority,
    cell: &CellId,
    claim: &Claim,
) -> Result<()> {
    let Some(claim) = unit.take_over_in_cell(claim, cell).await? else {
        return Ok(());
    };
    let Some(node) = claim.owner else {
        return Ok(());
    };
    let id_of_claim = keys::claim_of_installation_marker(&claim.key);
    let records = unit.cell_records(cell);
    for (id, found) in progress::list_unfinished(&records, id_of_claim.as_ref()).await? {
        let mut state = found.value;
        state.worker = id_of_claim.map(|claim| InstallationWorker {
            node,
            claim,
            removes: true,
        });
        // From now on the former server node can store nothing about it.
        let mut batch = Batch::new();
        let key = keys::installation(&id.to_string());
        records::put_checked(&mut batch, key, Some(found.version), &state)?;
        records.commit(batch).await.map_err(store_error)?;
        state.result = Some(InstallationResult::Failed {
            code: SERVER_ERROR.to_owned(),
            text: SERVER_STOPPED.to_owned(),
        });
        let failed = FailedBox { cell: *cell, id };
        try_remove_box(unit, authority, failed, &state).await?;
        tracing::info!(cell.id = %cell, box.id = %id, "unfinished installation removed");
    }
    unit.release_claim(&claim).await.map(drop)
}
