//! The current span: that of the future which a thread polls.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::open_span::OpenSpan;
use crate::tracer::Tracer;

thread_local! {
    static CURRENT: RefCell<Option<TraceScope>> = const { RefCell::new(None) };
}

/// The span or the tracer that the spans of a future belong to.
#[derive(Clone)]
pub struct TraceScope(Inner);

#[derive(Clone)]
enum Inner {
    /// Spans begin traces.
    Tracer(Arc<Tracer>),
    /// Spans are children.
    Span(Arc<OpenSpan>),
}

impl TraceScope {
    pub(crate) const fn of_tracer(tracer: Arc<Tracer>) -> Self {
        Self(Inner::Tracer(tracer))
    }

    pub(crate) const fn of_span(span: Arc<OpenSpan>) -> Self {
        Self(Inner::Span(span))
    }
}

impl TraceScope {
    /// Makes it the current scope of this thread until the guard is dropped, which must not wait meanwhile.
    #[must_use]
    pub fn enter(&self) -> EnteredScope {
        EnteredScope {
            before: CURRENT.replace(Some(self.clone())),
        }
    }
}

impl fmt::Debug for TraceScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            Inner::Tracer(_) => "tracer",
            Inner::Span(_) => "span",
        };
        f.debug_tuple("TraceScope").field(&kind).finish()
    }
}

/// The current scope; `None` while nothing is traced. For work that goes on in another task.
#[must_use]
pub fn current() -> Option<TraceScope> {
    CURRENT.with_borrow(Clone::clone)
}

/// The scope of work that goes on after the current span: what it does begins traces of its own.
#[must_use]
pub fn background() -> Option<TraceScope> {
    current_tracer().map(TraceScope::of_tracer)
}

/// Runs a future within a scope, or, without one, within that of whoever polls it.
pub const fn within<F>(scope: Option<TraceScope>, future: F) -> Within<F> {
    Within { scope, future }
}

/// The current span.
pub(crate) fn current_span() -> Option<Arc<OpenSpan>> {
    CURRENT.with_borrow(|current| match current {
        Some(TraceScope(Inner::Span(span))) => Some(Arc::clone(span)),
        _ => None,
    })
}

/// The tracer of the current scope.
pub(crate) fn current_tracer() -> Option<Arc<Tracer>> {
    CURRENT.with_borrow(|current| match current {
        None => None,
        Some(TraceScope(Inner::Tracer(tracer))) => Some(Arc::clone(tracer)),
        Some(TraceScope(Inner::Span(span))) => Some(Arc::clone(&span.local.tracer)),
    })
}

pin_project! {
    /// A future that is polled within a scope.
    #[derive(Debug)]
    pub struct Within<F> {
        scope: Option<TraceScope>,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.scope.as_ref().map(TraceScope::enter);
        this.future.poll(cx)
    }
}

/// Restores the scope of before when it is dropped.
#[derive(Debug)]
pub struct EnteredScope {
    before: Option<TraceScope>,
}

impl Drop for EnteredScope {
    fn drop(&mut self) {
        // The inner scope is dropped after the variable is free again.
        drop(CURRENT.replace(self.before.take()));
    }
}
