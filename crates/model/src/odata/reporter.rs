//! How the changes below a service root are reported as events.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::PostedEvent;
use crate::event::EventCause;
use crate::url::LOCAL_CELL;

/// The events of changes that are not committed yet.
#[derive(Debug, Clone, Default)]
pub(super) struct StagedEvents(Arc<Mutex<Vec<PostedEvent>>>);

/// How the changes below a service root are reported.
#[derive(Debug, Clone)]
pub(super) struct Reporter {
    /// The cause of the events.
    pub(super) cause: Arc<EventCause>,
    /// The service root as a `personium-localcell:` URL, without slash at its end.
    pub(super) base: Arc<str>,
    /// The query of the request, which the details of creations have.
    pub(super) query: Option<Arc<str>>,
    /// The events of the change set that the changes belong to, if they do.
    staged: Option<StagedEvents>,
}

impl StagedEvents {
    /// Takes the events.
    pub(super) fn take_events(&self) -> Vec<PostedEvent> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Reporter {
    /// A reporter for a path below the cell.
    pub(super) fn new(cause: Arc<EventCause>, path: &str) -> Self {
        Self {
            cause,
            base: format!("{LOCAL_CELL}/{path}").into(),
            query: None,
            staged: None,
        }
    }

    /// The same reporter for the changes of a change set.
    pub(super) fn staging(self, staged: &StagedEvents) -> Self {
        Self {
            staged: Some(staged.clone()),
            ..self
        }
    }

    /// Keeps the events of a change until its change set is committed.
    pub(super) fn keep(&self, events: Vec<PostedEvent>) {
        if let Some(staged) = &self.staged {
            staged.0.lock().extend(events);
        }
    }
}
