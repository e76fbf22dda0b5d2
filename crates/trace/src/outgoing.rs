//! The context that other servers are told.

use std::sync::Arc;

use crate::remote_context::traceparent;
use crate::scope::current_span;

/// The values of the headers that tell of the current span (W3C Trace Context).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingContext {
    /// `traceparent`
    pub parent: String,
    /// `tracestate`, as it was received.
    pub state: Option<Arc<str>>,
}

impl OutgoingContext {
    /// The headers for a request to a host; `None` if it is not told.
    #[must_use]
    pub fn to(host: &str) -> Option<Self> {
        let span = current_span()?;
        span.local.tracer.propagates_to(host).then(|| Self {
            parent: traceparent(span.local.trace, span.id, span.local.is_sampled),
            state: span.local.state.clone(),
        })
    }
}
