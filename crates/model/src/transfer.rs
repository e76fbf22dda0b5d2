//! Transfers: exports of a cell into a snapshot, and imports of one. While one runs, requests do not change the cell.
//!
//! The state is a record of the cell. Its begin changes the structure of the cell, so every server node knows of it. It names the
//! server node that works: the transfer ends with that, and its record is of no effect afterwards. An import that has
//! failed leaves its record with the reason.

use std::error::Error as _;
use std::sync::Arc;

use personium_store::Batch;
use personium_types::error::chain;
use personium_types::{CellId, Code, Error, Operation, Result, ServerNodeId};
use serde::{Deserialize, Serialize};

use crate::commit::Invalidation;
use crate::records::{self, Versioned, put_checked, store_error};
use crate::server_node::KeyInUse;
use crate::{CellContext, Permit, PermitTarget, Unit, keys};

/// The text for a transfer whose server is gone.
const SERVER_STOPPED: &str = "The server stopped meanwhile.";

/// The kind of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferKind {
    /// The cell is written into a snapshot.
    Export,
    /// The content of the cell is replaced by that of a snapshot.
    Import,
}

impl TransferKind {
    /// Its name in refusals.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Export => "cell export",
            Self::Import => "cell import",
        }
    }

    /// The operation of requests that begin it and ask for its progress.
    #[must_use]
    pub fn operation(self) -> Operation {
        match self {
            Self::Export => Operation::ExportCell,
            Self::Import => Operation::ImportCell,
        }
    }
}

/// The stored state of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTransfer {
    /// Its kind.
    #[serde(rename = "k")]
    pub kind: TransferKind,
    /// The name of the snapshot.
    #[serde(rename = "n")]
    pub name: String,
    /// The start, milliseconds since 1970.
    #[serde(rename = "s")]
    pub started_at: i64,
    /// The part that is done.
    #[serde(rename = "p")]
    pub percent: u64,
    /// The server node that works on it.
    #[serde(rename = "o")]
    node: ServerNodeId,
    /// Why it failed.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    failure: Option<TransferFailure>,
}

/// Why a transfer failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferFailure {
    /// The code of the error.
    #[serde(rename = "c")]
    pub code: String,
    /// The error, for people.
    #[serde(rename = "t")]
    pub text: String,
}

impl TransferFailure {
    /// The failure of an error.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        let cause = error.source().filter(|_| !error.code().is_server_error());
        let text = match cause {
            Some(cause) => format!("{} {}", error.message(), chain(cause)),
            None => error.message(),
        };
        Self {
            code: error.code().as_str().to_owned(),
            text,
        }
    }
}

/// The state of a cell concerning transfers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferStatus {
    /// None runs.
    Ready,
    /// One runs.
    Running(StoredTransfer),
    /// The last import has failed. The cell is as it was before.
    ImportFailed(TransferFailure),
}

/// A transfer that this process works on. It ends with [`Self::end`], or when it is dropped.
pub struct RunningTransfer {
    unit: Arc<Unit>,
    cell: CellId,
    state: StoredTransfer,
    _active: KeyInUse,
}

async fn find(context: &CellContext) -> Result<Option<Versioned<StoredTransfer>>> {
    context.records().find(&keys::transfer()).await
}

/// Refuses a change of a cell while a transfer of it runs.
///
/// # Errors
/// [`Code::CellBusyWithJob`]; a failure of the store.
pub async fn check_writable(unit: &Unit, context: &CellContext) -> Result<()> {
    let last = context.transfer_record().await?;
    let Some(record) = last.as_ref() else {
        return Ok(());
    };
    let transfer: StoredTransfer = records::decode(record)?;
    match is_running(unit, &context.cell().id, &transfer).await? {
        true => Err(busy(&transfer)),
        false => Ok(()),
    }
}

fn busy(transfer: &StoredTransfer) -> Error {
    Error::new(Code::CellBusyWithJob).with(transfer.kind.name())
}

async fn is_running(unit: &Unit, cell: &CellId, transfer: &StoredTransfer) -> Result<bool> {
    if transfer.failure.is_some() {
        return Ok(false);
    }
    if unit.node_id() == Some(transfer.node) {
        return Ok(unit.is_active(&keys::transfer_in_memory(cell)));
    }
    unit.is_node_alive(&transfer.node).await
}

/// Whether a transfer of the cell runs, and how far it is.
///
/// # Errors
/// A failure of the store.
pub async fn status(unit: &Unit, context: &CellContext) -> Result<TransferStatus> {
    let Some(found) = find(context).await? else {
        return Ok(TransferStatus::Ready);
    };
    let transfer = found.value;
    if is_running(unit, &context.cell().id, &transfer).await? {
        return Ok(TransferStatus::Running(transfer));
    }
    Ok(match (transfer.kind, transfer.failure) {
        (TransferKind::Export, _) => TransferStatus::Ready,
        (TransferKind::Import, Some(failure)) => TransferStatus::ImportFailed(failure),
        (TransferKind::Import, None) => TransferStatus::ImportFailed(TransferFailure {
            code: Code::Unknown.as_str().to_owned(),
            text: SERVER_STOPPED.to_owned(),
        }),
    })
}

/// Begins a transfer of a cell. From now on, requests that begin are refused to change it.
///
/// # Errors
/// [`Code::CellBusyWithJob`] if one runs; an internal error if the permit is not for it; a failure of the store.
pub async fn begin(
    unit: &Arc<Unit>,
    context: &CellContext,
    permit: &Permit,
    (kind, name): (TransferKind, &str),
) -> Result<RunningTransfer> {
    let cell = context.cell().id;
    permit.check(kind.operation(), &PermitTarget::Cell(cell))?;
    let state = StoredTransfer {
        kind,
        name: name.to_owned(),
        started_at: unit.now_ms(),
        percent: 0,
        node: unit.register_node().await?,
        failure: None,
    };
    let begun = unit.transact(context, Invalidation::Cell, || async {
        let found = find(context).await?;
        if let Some(found) = &found
            && is_running(unit, &cell, &found.value).await?
        {
            return Err(busy(&found.value));
        }
        let mut batch = Batch::new();
        let version = found.map(|found| found.version);
        put_checked(&mut batch, keys::transfer(), version, &state)?;
        Ok((batch, ()))
    });
    begun.await?;
    Ok(RunningTransfer {
        _active: unit.activate(keys::transfer_in_memory(&cell)),
        unit: Arc::clone(unit),
        cell,
        state,
    })
}

impl RunningTransfer {
    /// The unit.
    #[must_use]
    pub fn unit(&self) -> &Arc<Unit> {
        &self.unit
    }

    /// The name of the snapshot.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// The server node that works on it.
    pub(crate) fn node(&self) -> &ServerNodeId {
        &self.state.node
    }

    /// Whether this process still works on it: others may have found it dead.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn is_own(&self) -> Result<bool> {
        self.unit.confirm_node(&self.state.node).await
    }

    /// Stores that so many of the steps are done. A failure is logged.
    pub async fn set_progress(&self, done: u64, steps: u64) {
        let state = StoredTransfer {
            percent: (done.saturating_mul(100) / steps.max(1)).min(100),
            ..self.state.clone()
        };
        if let Err(error) = self.replace(Some(&state), false).await {
            tracing::warn!(cell.id = %self.cell, %error, "failed to store the progress of a transfer");
        }
    }

    /// Ends the transfer. The reason for which an import failed is kept.
    ///
    /// # Errors
    /// A failure of the store. The transfer ends all the same, for this process and with it.
    pub async fn end(self, failure: Option<TransferFailure>) -> Result<()> {
        let failed = failure
            .filter(|_| self.state.kind == TransferKind::Import)
            .map(|failure| StoredTransfer {
                failure: Some(failure),
                ..self.state.clone()
            });
        let ended = self.replace(failed.as_ref(), true).await;
        if let Ok(Some(context)) = self.unit.find_cell_by_id(&self.cell).await {
            self.unit.invalidate_cell(context.cell());
        }
        ended
    }

    /// Replaces the record of this transfer.
    async fn replace(&self, state: Option<&StoredTransfer>, is_end: bool) -> Result<()> {
        let cell = self.unit.cell_records(&self.cell);
        let key = &keys::transfer();
        cell.transact(|| async {
            let mut batch = Batch::new();
            let Some(found) = cell.find::<StoredTransfer>(key).await? else {
                return Ok((batch, ()));
            };
            let own = (self.state.node, self.state.started_at);
            if (found.value.node, found.value.started_at) != own {
                return Ok((batch, ()));
            }
            match state {
                Some(state) => put_checked(&mut batch, key.clone(), Some(found.version), state)?,
                None => batch.delete(key.clone()),
            }
            if is_end {
                batch.change_structure();
            }
            Ok((batch, ()))
        })
        .await
    }
}

/// As [`records::Records::commit`], with the code of a failure.
pub(crate) async fn commit(records: &records::Records, batch: Batch) -> Result<()> {
    records.commit(batch).await.map_err(store_error).map(drop)
}
