//! Removes what a failed installation has made.
//!
//! Everything that an archive makes belongs to its box, so it goes with the box. Cells with installations are marked in the
//! space of the unit before anything is made: a starting unit removes the boxes whose installations the last run did not end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use personium_model::records::store_error;
use personium_model::{CellContext, Permit, PermitTarget, ServerAuthority, Unit, keys, odata};
use personium_store::{Batch, CommitSeq, Expect, StoreError};
use personium_types::error::chain;
use personium_types::{CellId, Code, NodeId, Operation, Result};

use crate::error::SERVER_ERROR;
use crate::progress::{self, InstallationResult, StoredInstallation};

/// The pauses between attempts to remove a box. Afterwards it is left for the next start.
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

/// Marks a cell as one that may have installations which have not ended.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn mark_cell(unit: &Unit, cell: &CellId) -> Result<()> {
    let mut batch = Batch::new();
    batch.put(keys::installation_marker(cell), Bytes::new());
    let committed = unit.records().commit(batch).await;
    committed.map_err(store_error).map(drop)
}

/// Removes the box of a failed installation with everything in it. Retries after failures of the store.
pub(crate) async fn remove_box(
    unit: &Arc<Unit>,
    authority: &ServerAuthority,
    failed: FailedBox,
    state: &StoredInstallation,
) {
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
            None => return,
        }
    }
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
        Ok(()) => odata::remove_box(unit, &context, &permit, &failed.id).await,
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

/// The installations that the last run of the unit began and did not end.
#[derive(Debug, Default)]
pub struct UnfinishedInstallations(Vec<MarkedCell>);

/// A cell that the last run of the unit marked.
#[derive(Debug)]
struct MarkedCell {
    cell: CellId,
    marker_version: Option<CommitSeq>,
    unfinished: Vec<(NodeId, StoredInstallation)>,
}

/// Lists the installations that have not ended. To be called before the unit begins new ones.
///
/// # Errors
/// Failures of the store.
pub(crate) async fn list_unfinished(unit: &Unit) -> Result<UnfinishedInstallations> {
    let mut cells = Vec::new();
    let markers = keys::installation_markers();
    for cell in unit.list_marked_cells(&markers).await? {
        let marker = keys::installation_marker(&cell);
        cells.push(MarkedCell {
            cell,
            marker_version: unit.records().find_version(&marker).await?,
            unfinished: progress::list_unfinished(&unit.cell_records(&cell)).await?,
        });
    }
    Ok(UnfinishedInstallations(cells))
}

/// Removes the boxes of unfinished installations. Failures are logged; the next start of the unit retries.
pub(crate) async fn remove_unfinished(
    unit: &Arc<Unit>,
    authority: &ServerAuthority,
    unfinished: UnfinishedInstallations,
) {
    for marked in unfinished.0 {
        let cell = marked.cell;
        if let Err(error) = clean_cell(unit, authority, marked).await {
            tracing::warn!(
                cell.id = %cell,
                error = %chain(&error),
                "failed to remove unfinished installations, will retry at the next start"
            );
        }
    }
}

/// Removes the unfinished installations of a cell, then its marker.
async fn clean_cell(
    unit: &Arc<Unit>,
    authority: &ServerAuthority,
    marked: MarkedCell,
) -> Result<()> {
    let cell = marked.cell;
    for (id, mut state) in marked.unfinished {
        state.result = Some(InstallationResult::Failed {
            code: SERVER_ERROR.to_owned(),
            text: "the server stopped while it installed the box".to_owned(),
        });
        try_remove_box(unit, authority, FailedBox { cell, id }, &state).await?;
        tracing::info!(cell.id = %cell, box.id = %id, "unfinished installation removed");
    }
    let Some(version) = marked.marker_version else {
        return Ok(());
    };
    // An installation of this run may have marked the cell again.
    let marker = keys::installation_marker(&cell);
    let mut batch = Batch::new();
    batch.assert(marker.clone(), Expect::Version(version));
    batch.delete(marker);
    match unit.records().commit(batch).await {
        Ok(_) | Err(StoreError::Conflict) => Ok(()),
        Err(other) => Err(store_error(other)),
    }
}
