//! Imports of snapshots: the content of a cell is replaced by that of a snapshot, all at once.
//!
//! Everything is created in a new cell that nobody sees, with the functions that requests use, so that nothing in a snapshot
//! is taken without their checks. Then that cell takes the place of the old one ([`CellReplacement`]). If anything
//! fails, or the server stops, the old cell is as it was.

use std::sync::Arc;

use personium_model::cell_replacement::CellReplacement;
use personium_model::transfer::{self, RunningTransfer, TransferFailure, TransferKind};
use personium_model::{CellContext, Permit, ServerAuthority, Unit};
use personium_types::error::chain;
use personium_types::{CellId, Code, Result};

use crate::cell_filling::{CellFilling, Refusals, STEPS};
use crate::cell_source::CellSource;
use crate::request_origin::RequestOrigin;
use crate::snapshot_package::SnapshotPackage;
use crate::{cell_event, own_task, progress};

/// An import that was begun.
pub struct CellImporter {
    transfer: RunningTransfer,
    authority: ServerAuthority,
    context: Arc<CellContext>,
    source: CellSource,
    origin: RequestOrigin,
    properties: CellProperties,
}

/// The properties that a cell has after an import. Only who manages a cell may change them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellProperties {
    /// Those of the snapshot.
    Imported,
    /// Those that it has.
    Kept,
}

impl CellImporter {
    /// Opens a snapshot of a cell and begins to import it. [`Self::run`] does that.
    ///
    /// # Errors
    /// The refusals of [`SnapshotPackage::open`]; [`Code::CellBusyWithJob`] if the cell is exported or imported;
    /// [`Code::CellBusy`] while a box of it is installed; an internal error if the permit is not for it; failures of the
    /// store.
    pub async fn begin(
        unit: &Arc<Unit>,
        context: &Arc<CellContext>,
        authority: &crate::InstallAuthority,
        (permit, name, origin): (&Permit, &str, RequestOrigin),
    ) -> Result<Self> {
        progress::check_not_installing(unit, context).await?;
        let records = unit.cell_records(&context.cell().id);
        let package = SnapshotPackage::open(unit, &records, name).await?;
        let kind = TransferKind::Import;
        Ok(Self {
            transfer: transfer::begin(unit, context, permit, (kind, name)).await?,
            authority: authority.0.clone(),
            context: Arc::clone(context),
            source: CellSource::Snapshot(package),
            origin,
            properties: CellProperties::Kept,
        })
    }

    /// Chooses the properties of the cell; without it, those that it has are kept.
    #[must_use]
    pub fn with_properties(mut self, properties: CellProperties) -> Self {
        self.properties = properties;
        self
    }

    /// Imports the snapshot. If that fails, the cell is as it was, and its state tells why.
    pub async fn run(self) {
        let importer = Arc::new(self);
        let running = Arc::clone(&importer);
        let imported = own_task::run(async move { Box::pin(running.import()).await }).await;
        if let Some(importer) = Arc::into_inner(importer) {
            importer.finish(imported).await;
        }
    }

    async fn finish(self, imported: Result<CellId>) {
        let unit = Arc::clone(self.transfer.unit());
        let old = self.context.cell().id;
        let (cell, failure) = match imported {
            Ok(new) => (new, None),
            Err(error) => {
                tracing::warn!(cell.id = %old, error = %chain(&error), "failed to import a snapshot");
                (old, Some(TransferFailure::of(&error)))
            }
        };
        if failure.is_some()
            && let Err(error) = self.transfer.end(failure).await
        {
            tracing::warn!(cell.id = %old, error = %chain(&error), "failed to end an import");
        }
        let event = ("cell.import", "__import");
        cell_event::post(&unit, &self.authority, &cell, event, &self.origin).await;
    }

    /// Fills a new cell and puts it in the place of the old one. Returns its id.
    async fn import(&self) -> Result<CellId> {
        let unit = self.transfer.unit();
        let new = CellReplacement::begin(unit, &self.context).await?;
        let cell = (new.new_cell(), &self.authority);
        let kept = match self.properties {
            CellProperties::Imported => None,
            CellProperties::Kept => {
                // What has been read before the transfer began may be old.
                let old = unit.find_cell_by_id(&self.context.cell().id).await?;
                let node = old.ok_or(Code::NoSuchCell)?.cell_node().await?;
                Some(node.value.properties.clone())
            }
        };
        let filling = CellFilling::new(cell, &self.source, Some(&self.transfer), Refusals::End);
        let filling = filling.keeping(kept);
        let mut outcome = Box::pin(filling.fill()).await.map(drop);
        if outcome.is_ok() {
            outcome = new.copy_snapshots().await;
        }
        if outcome.is_ok() {
            self.transfer.set_progress(STEPS, STEPS).await;
        }
        if outcome.is_ok() {
            outcome = Box::pin(new.complete(&self.transfer)).await;
        }
        match outcome {
            Ok(()) => Ok(new.new_cell().cell().id),
            Err(error) => {
                new.abandon().await;
                Err(error)
            }
        }
    }
}
