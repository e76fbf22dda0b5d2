//! Spans as the code that does the work holds them.

use std::sync::Arc;

use crate::open_span::OpenSpan;
use crate::remote_context::RemoteContext;
use crate::scope::{TraceScope, Within, current_span, current_tracer, within};
use crate::span_data::{Attribute, SpanKind};
use crate::tracer::Tracer;

/// A span. It ends when it is dropped. One that is not recorded does nothing.
#[must_use = "a span ends when it is dropped"]
pub struct Span(Option<Arc<OpenSpan>>);

impl Span {
    /// A span that is not recorded.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Runs a future as the work of this span: spans that it begins are children of this one. A span that is not recorded changes
    /// nothing.
    pub fn scope<F: Future>(&self, future: F) -> Within<F> {
        within(self.as_scope(), future)
    }

    /// The scope of the work of this span; `None` if it is not recorded.
    #[must_use]
    pub fn as_scope(&self) -> Option<TraceScope> {
        self.0
            .as_ref()
            .map(|open| TraceScope::of_span(Arc::clone(open)))
    }

    /// Whether the span is recorded, and worth to look for its attributes.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.local.is_sampled)
    }

    /// Adds an attribute.
    pub fn set(&self, attribute: Attribute) {
        if let Some(open) = &self.0 {
            open.set(attribute);
        }
    }

    /// Marks the work as failed, for a reason that is a word of the program.
    pub fn fail(&self, reason: &'static str) {
        self.set(Attribute::ErrorType(reason));
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            open.end();
        }
    }
}

impl Tracer {
    /// The span of a request of a client, which may have named its own span. `method` is the name until the route is known.
    pub fn request(self: &Arc<Self>, method: &'static str, parent: Option<RemoteContext>) -> Span {
        let open = OpenSpan::first(self, method, SpanKind::Server, parent);
        open.set(Attribute::Method(method));
        Span(Some(open))
    }

    /// The scope in which [`work`] makes spans of this tracer.
    #[must_use]
    pub fn scope(self: &Arc<Self>) -> TraceScope {
        TraceScope::of_tracer(Arc::clone(self))
    }
}

/// Begins a span below the current one. Without one, it is not recorded.
pub fn child(name: &'static str) -> Span {
    Span(current_span().and_then(|span| span.child(name, SpanKind::Internal)))
}

/// As [`child`], for work that another program does.
pub fn client(name: &'static str) -> Span {
    Span(current_span().and_then(|span| span.child(name, SpanKind::Client)))
}

/// Begins a span for a piece of work that a request or the background can cause: below the current one, or else a trace, if the
/// scope has a tracer.
pub fn work(name: &'static str) -> Span {
    match (current_span(), current_tracer()) {
        (Some(_), _) => child(name),
        (None, Some(tracer)) => {
            let open = OpenSpan::first(&tracer, name, SpanKind::Internal, None);
            Span(Some(open))
        }
        (None, None) => Span::none(),
    }
}

/// Adds an attribute to the current span, which is only made if there is one that is recorded.
pub fn note(attribute: impl FnOnce() -> Attribute) {
    if let Some(span) = current_span()
        && span.local.is_sampled
    {
        span.set(attribute());
    }
}
