//! Post-commit actions: they run after a commit even if the request that made it was cancelled.

use std::sync::Arc;

use personium_store::{
    Batch, CommitSeq, ErrorDetail, KeyRange, Result as StoreResult, Space, StoreError,
};
use personium_types::{CellId, ServerNodeId};

use crate::cell_deletion::CellDeletion;
use crate::outbox_queue::OutboxPartition;
use crate::posted_event::PostedEvent;
use crate::server_node::WorkMark;
use crate::{Cell, Unit, cell_announcement, garbage_collection};

/// The caches that a commit makes stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalidation {
    /// None: only file bodies, user data, or data that is never cached was changed.
    None,
    /// The context of the cell: control objects, collections, access control or schemas were changed.
    Cell,
}

/// The actions that follow a commit, and a condition on another space. They are decided together with the batch, so that
/// they also run if the request is cancelled during the commit.
#[derive(Debug, Default)]
pub struct PostCommit {
    /// A cell that must have no records in these ranges for the batch to be committed, and that gets no more.
    empty_cell: Option<(CellId, Vec<KeyRange>)>,
    actions: Vec<PostCommitAction>,
    /// The marks of the work that the batch begins. They end with the commit.
    marks: Vec<WorkMark>,
    /// The events that the batch causes. Whoever commits it adds their consequences to it before.
    events: Vec<PostedEvent>,
}

#[derive(Debug)]
enum PostCommitAction {
    /// Invalidates the context of a cell.
    InvalidateCell(Cell),
    /// Invalidates the cached cell of a name.
    InvalidateCellName(String),
    /// Tells other processes that the entry of a cell in the catalogue was changed.
    AnnounceCell(CellId),
    /// Collects the garbage of a cell.
    CollectGarbage(CellId),
    /// Collects the records and bodies of a removed cell.
    CollectRemovedCell(CellId),
    /// Notes that this process owns the outbox of a cell.
    OwnOutbox(CellId, ServerNodeId),
    /// Enqueues a rule with requests to send.
    Enqueue(OutboxPartition),
    /// Wakes those who listen to the events of a cell.
    WakeFeed(CellId),
    /// Lets the feed of a removed cell end.
    EndFeed(CellId),
    /// Wakes those who wait for messages of a cell.
    WakeReceivers(CellId),
}

impl PostCommit {
    /// No actions.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The invalidation after a change in a cell.
    #[must_use]
    pub fn invalidating(cell: &Cell, invalidation: Invalidation) -> Self {
        match invalidation {
            Invalidation::None => Self::none(),
            Invalidation::Cell => Self::none().with(PostCommitAction::InvalidateCell(cell.clone())),
        }
    }

    fn with(mut self, action: PostCommitAction) -> Self {
        self.actions.push(action);
        self
    }

    /// Adds the invalidation of the cached cell of a name.
    #[must_use]
    pub fn invalidate_cell_name(self, name: impl Into<String>) -> Self {
        self.with(PostCommitAction::InvalidateCellName(name.into()))
    }

    /// Adds that other processes are told that the entry of a cell in the catalogue was changed.
    #[must_use]
    pub fn announce_cell(self, cell: CellId) -> Self {
        self.with(PostCommitAction::AnnounceCell(cell))
    }

    /// Adds the garbage collection of a cell that was marked.
    #[must_use]
    pub fn collect_garbage(self, cell: CellId, mark: &WorkMark) -> Self {
        self.with_mark(mark)
            .with(PostCommitAction::CollectGarbage(cell))
    }

    /// Adds the mark of the work that the batch begins.
    #[must_use]
    pub fn with_mark(mut self, mark: &WorkMark) -> Self {
        self.marks.push(mark.clone());
        self
    }

    /// Adds the condition that a cell has no records in these ranges. The cell is sealed until the batch is refused, or until
    /// the removed cell is collected. The batch must remove the cell from the catalogue.
    #[must_use]
    pub fn if_empty(self, cell: CellId, ranges: Vec<KeyRange>) -> Self {
        Self {
            empty_cell: Some((cell, ranges)),
            ..self
        }
    }

    /// Adds the collection of the records and bodies of a removed cell.
    #[must_use]
    pub fn collect_removed_cell(self, cell: CellId) -> Self {
        self.with(PostCommitAction::CollectRemovedCell(cell))
    }

    /// Adds that this process, under this id, owns the outbox of a cell.
    #[must_use]
    pub fn own_outbox(self, cell: CellId, node: ServerNodeId) -> Self {
        self.with(PostCommitAction::OwnOutbox(cell, node))
    }

    /// Adds that a rule with requests to send is enqueued.
    #[must_use]
    pub fn enqueue(self, partition: OutboxPartition) -> Self {
        self.with(PostCommitAction::Enqueue(partition))
    }

    /// Adds that those are woken who listen to the events of a cell.
    #[must_use]
    pub(crate) fn wake_feed(self, cell: CellId) -> Self {
        self.with(PostCommitAction::WakeFeed(cell))
    }

    /// Adds that the feed of a removed cell ends, after what it still has.
    #[must_use]
    pub(crate) fn end_feed(self, cell: CellId) -> Self {
        self.with(PostCommitAction::EndFeed(cell))
    }

    /// Adds that those are woken who wait for messages of a cell.
    #[must_use]
    pub(crate) fn wake_receivers(self, cell: CellId) -> Self {
        self.with(PostCommitAction::WakeReceivers(cell))
    }

    /// Adds an event that the batch causes, if there is one.
    #[must_use]
    pub(crate) fn posting(mut self, event: Option<PostedEvent>) -> Self {
        self.events.extend(event);
        self
    }

    /// Takes the events that the batch causes.
    pub(crate) fn take_events(&mut self) -> Vec<PostedEvent> {
        std::mem::take(&mut self.events)
    }

    /// Adds the actions, the events and the condition of another.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.actions.extend(other.actions);
        self.marks.extend(other.marks);
        self.events.extend(other.events);
        self.empty_cell = self.empty_cell.or(other.empty_cell);
        self
    }

    /// Whether there are no actions and no condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.empty_cell.is_none()
    }

    /// Whether the actions say that what is cached about the cell with this space becomes stale.
    pub(super) fn changes_structure_of(&self, space: &Space) -> bool {
        self.actions.iter().any(|action| match action {
            PostCommitAction::InvalidateCell(cell) => *space == Space::Cell(cell.id),
            _ => false,
        })
    }

    /// Seals the cell that must be empty, if there is one. To be called before the commit.
    ///
    /// # Errors
    /// A conflict if the cell is not empty.
    pub(super) async fn begin_deletion(&self, unit: &Unit) -> StoreResult<Option<CellDeletion>> {
        match &self.empty_cell {
            None => Ok(None),
            Some((cell, ranges)) => CellDeletion::begin(unit.store(), *cell, ranges)
                .await
                .map(Some),
        }
    }

    /// Adds to the batch the markers of the cells of which other processes are told.
    pub(super) fn mark_changed_cells(&self, batch: &mut Batch) {
        for action in &self.actions {
            if let PostCommitAction::AnnounceCell(cell) = action {
                cell_announcement::mark(batch, cell);
            }
        }
    }

    /// Tells other processes of changed and removed cells, after the commit and before it is acknowledged.
    ///
    /// # Errors
    /// A failure of the store: then the commit must not be acknowledged. Another process repeats it.
    pub(super) async fn announce(&self, unit: &Unit, commit: CommitSeq) -> StoreResult<()> {
        for action in &self.actions {
            let announced = match action {
                PostCommitAction::AnnounceCell(cell) => {
                    cell_announcement::announce(unit.store(), cell, commit).await
                }
                PostCommitAction::CollectRemovedCell(cell) => {
                    cell_announcement::announce_removal(unit.store(), cell).await
                }
                _ => continue,
            };
            match announced {
                Err(StoreError::Corrupt(detail)) => {
                    tracing::warn!(error = %detail, "failed to tell other processes of a damaged cell");
                }
                // The batch is committed, so it must not be built again.
                Err(StoreError::Conflict | StoreError::Sealed) => {
                    let text = "failed to tell other processes of a changed cell";
                    return Err(StoreError::Busy(ErrorDetail::new(text)));
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Runs the actions after a commit. After a failed one only the invalidations run: it may still have changed the store.
    pub(super) fn run(self, unit: &Arc<Unit>, committed: bool) {
        if committed {
            self.marks.iter().for_each(WorkMark::end);
        }
        for action in self.actions {
            match action {
                PostCommitAction::InvalidateCell(cell) => unit.invalidate_cell(&cell),
                PostCommitAction::InvalidateCellName(name) => unit.invalidate_cell_name(&name),
                PostCommitAction::AnnounceCell(_) => {}
                _ if !committed => {}
                PostCommitAction::CollectGarbage(cell) => garbage_collection::start(unit, cell),
                PostCommitAction::CollectRemovedCell(cell) => {
                    garbage_collection::start_for_removed_cell(unit, cell);
                }
                PostCommitAction::OwnOutbox(cell, node) => unit.outbox().own(cell, node),
                PostCommitAction::Enqueue(partition) => unit.outbox().enqueue(partition),
                PostCommitAction::WakeFeed(cell) => unit.event_feed().wake(&cell),
                PostCommitAction::EndFeed(cell) => unit.event_feed().end_after_rest(&cell),
                PostCommitAction::WakeReceivers(cell) => unit.message_news().wake(&cell),
            }
        }
    }
}
