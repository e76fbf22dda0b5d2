//! Events of the unit about requests: their cause, and those that no change comes with.

use std::sync::Arc;

use http::Method;
use personium_model::event::{EventCause, EventSource};
use personium_model::{CellContext, PostedEvent, Unit};
use personium_types::Result;
use personium_types::error::chain;

use crate::event_cause::event_of;
use crate::request_context::CellRequest;
use crate::route::CellRoute;

/// Posts events about a request that changes nothing in the store by itself.
pub(crate) struct EventPoster {
    unit: Arc<Unit>,
    context: Arc<CellContext>,
    pub(crate) cause: Arc<EventCause>,
}

impl EventPoster {
    /// The poster for a request; `None` if nobody listens.
    pub(crate) fn of(request: &CellRequest) -> Option<Self> {
        let cause = request.events.as_ref()?;
        Some(Self::new(&request.unit, &request.context, cause))
    }

    /// The poster for a request with this cause of events.
    pub(crate) fn new(
        unit: &Arc<Unit>,
        context: &Arc<CellContext>,
        cause: &Arc<EventCause>,
    ) -> Self {
        Self {
            unit: Arc::clone(unit),
            context: Arc::clone(context),
            cause: Arc::clone(cause),
        }
    }

    /// Posts an event, if there is one. Failures are logged: the response to the request does not depend on them.
    pub(crate) async fn post(&self, event: Option<PostedEvent>) {
        let Some(event) = event else { return };
        let source = EventSource {
            unit: &self.unit,
            context: &self.context,
            records: self.context.records(),
            cause: &self.cause,
        };
        if let Err(error) = source.post(event).await {
            tracing::warn!(
                cell.id = %self.context.cell().id,
                error = %chain(&error),
                "failed to post an event about a request"
            );
        }
    }
}

/// The cause of the events that a request to a cell may post; `None` if it posts none, or nobody listens to them.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn cause_of(request: &CellRequest) -> Result<Option<Arc<EventCause>>> {
    let first = request.path.decoded.first();
    let may_post = request.method != Method::OPTIONS
        && !request.removes_the_cell()
        && first.is_none_or(|first| {
            matches!(
                CellRoute::of(first),
                CellRoute::Box | CellRoute::Control | CellRoute::Message
            )
        });
    match may_post {
        true => EventCause::find(&request.unit, &request.context, || event_of(request)).await,
        false => Ok(None),
    }
}
