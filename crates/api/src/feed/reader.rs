//! The right to read the events of a cell, which a listener must keep.

use std::sync::Arc;
use std::time::{Duration, Instant};

use personium_model::auth::bearer;
use personium_model::event::feed;
use personium_model::{Access, CellContext, Permit, Unit};
use personium_types::{CellId, Operation, Result};

/// The time for which a right is relied on without asking the store, if this process knows of no change.
const RECHECK: Duration = Duration::from_secs(1);

/// A token whose bearer may read the events of a cell, as of the last check.
pub(super) struct EventReader {
    unit: Arc<Unit>,
    cell: CellId,
    token: String,
    context: Arc<CellContext>,
    access: Access,
    checked: Instant,
}

impl EventReader {
    /// The reader with a token; `None` if it may not read the events.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn find(
        unit: &Arc<Unit>,
        context: Arc<CellContext>,
        token: String,
    ) -> Result<Option<Self>> {
        let reader = Self {
            unit: Arc::clone(unit),
            cell: context.cell().id,
            access: bearer::cell_access(unit, &context, &token, None).await?,
            checked: unit.monotonic(),
            token,
            context,
        };
        Ok(match reader.permit(Operation::SubscribeEvents).await {
            Ok(_) => Some(reader),
            Err(_) => None,
        })
    }

    /// The cell as of the last check.
    pub(super) fn context(&self) -> &Arc<CellContext> {
        &self.context
    }

    /// The access of the bearer.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// The permit for an operation on the cell.
    ///
    /// # Errors
    /// The refusal of the access check.
    pub(super) async fn permit(&self, operation: Operation) -> Result<Permit> {
        let node = self.context.cell_node().await?;
        let (urls, cell) = (self.unit.urls(), self.context.cell());
        self.access
            .permit_cell(urls, cell, &node.value.acl, operation)
    }

    /// Whether the bearer may still read the events: the token is valid, and nobody has taken the right.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn may_read(&mut self) -> Result<bool> {
        let now = self.unit.monotonic();
        let is_recent = now.saturating_duration_since(self.checked) < RECHECK;
        if is_recent && self.unit.is_cached(&self.context) {
            return Ok(true);
        }
        // Boxed: it would be a part of the future of each listener.
        Box::pin(self.renew()).await
    }

    /// Checks the token again. Whether its bearer may still read the events.
    async fn renew(&mut self) -> Result<bool> {
        let context = match self.unit.find_cell_by_id(&self.cell).await? {
            Some(context) => Some(context),
            // After an import, the cell has another id.
            None => feed::find_replacement(&self.unit, self.context.cell()).await?,
        };
        let Some(context) = context else {
            return Ok(false);
        };
        match Self::find(&self.unit, context, self.token.clone()).await? {
            Some(renewed) => {
                *self = renewed;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}
