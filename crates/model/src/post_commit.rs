//! What follows a commit, whether or not anybody still waits for its outcome.

use std::sync::Arc;

use personium_store::{KeyRange, Result as StoreResult, Space, WriteFence};
use personium_types::CellId;

use crate::event::outbox_queue::OutboxPartition;
use crate::unit::Invalidation;
use crate::{Cell, Unit, sweep};

/// What follows a commit, and what must hold for it elsewhere. It is decided together with the batch, so that it also happens if the request is given up
/// while the batch is on its way to the disk.
#[derive(Debug, Default)]
pub struct PostCommit {
    /// A cell that must hold nothing in these ranges, and get nothing more, for the batch to be committed.
    empty: Option<(CellId, Vec<KeyRange>)>,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    /// Drop what is cached about a cell.
    InvalidateCell(Cell),
    /// Drop what is cached about which cell has a name.
    InvalidateCellName(String),
    /// Sweep what was unlinked in a cell.
    Sweep(CellId),
    /// Sweep what a removed cell left.
    SweepGone(CellId),
    /// Tell those who send that a rule has something to send.
    Ring(OutboxPartition),
}

impl PostCommit {
    /// Nothing follows.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// What follows a change in a cell.
    #[must_use]
    pub fn invalidating(cell: &Cell, invalidation: Invalidation) -> Self {
        match invalidation {
            Invalidation::None => Self::none(),
            Invalidation::Cell => Self::none().with(Step::InvalidateCell(cell.clone())),
        }
    }

    fn with(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// As well, what is cached about which cell has this name is dropped.
    #[must_use]
    pub fn invalidate_cell_name(self, name: impl Into<String>) -> Self {
        self.with(Step::InvalidateCellName(name.into()))
    }

    /// As well, what was unlinked in a cell is swept.
    #[must_use]
    pub fn sweep(self, cell: CellId) -> Self {
        self.with(Step::Sweep(cell))
    }

    /// The batch is committed only if a cell holds nothing in these ranges. The cell gets nothing more until the batch is
    /// refused, or until what it left is swept.
    #[must_use]
    pub fn if_empty(self, cell: CellId, ranges: Vec<KeyRange>) -> Self {
        Self {
            empty: Some((cell, ranges)),
            ..self
        }
    }

    /// As well, what a removed cell left is swept.
    #[must_use]
    pub fn sweep_gone(self, cell: CellId) -> Self {
        self.with(Step::SweepGone(cell))
    }

    /// As well, those who send are told about a rule.
    #[must_use]
    pub fn ring(self, partition: OutboxPartition) -> Self {
        self.with(Step::Ring(partition))
    }

    /// As well, all of another.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self.empty = self.empty.or(other.empty);
        self
    }

    /// Whether nothing follows, and nothing must hold.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.empty.is_none()
    }

    /// Fences the cell that must be empty, if there is one. To be done before the commit.
    ///
    /// # Errors
    /// A conflict if it is not empty.
    pub(crate) async fn fence(&self, unit: &Unit) -> StoreResult<Option<WriteFence>> {
        let Some((cell, ranges)) = &self.empty else {
            return Ok(None);
        };
        let space = Space::Cell(*cell);
        unit.store().fence(&space, ranges).await.map(Some)
    }

    /// Does it, after a commit that succeeded or not. One that failed may still have changed what is cached.
    pub(crate) fn run(self, unit: &Arc<Unit>, committed: bool, fence: Option<WriteFence>) {
        let mut fence = fence;
        for step in self.steps {
            match step {
                Step::InvalidateCell(cell) => unit.invalidate_cell(&cell),
                Step::InvalidateCellName(name) => unit.invalidate_cell_name(&name),
                _ if !committed => {}
                Step::Sweep(cell) => sweep::start(unit, cell),
                Step::SweepGone(cell) => sweep::start_gone(unit, cell, fence.take()),
                Step::Ring(partition) => unit.outbox().ring(partition),
            }
        }
    }
}
