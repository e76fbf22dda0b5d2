//! Spans that have begun and not ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::ids::{SpanId, TraceId};
use crate::remote_context::RemoteContext;
use crate::span_data::{Attribute, AttributeValue, ERROR_TYPE, FinishedSpan, SpanKind, SpanName};
use crate::trace_time::TraceTime;
use crate::tracer::Tracer;

/// The largest number of spans that one request, or one piece of background work, has.
const SPANS_MAX: u32 = 512;

/// The largest number of attributes of a span.
const ATTRIBUTES_MAX: usize = 32;

/// The part of a trace that is the work of this process: a request, or a piece of background work.
pub(crate) struct LocalTrace {
    pub(crate) tracer: Arc<Tracer>,
    pub(crate) trace: TraceId,
    pub(crate) is_sampled: bool,
    pub(crate) state: Option<Arc<str>>,
    time: TraceTime,
    spans: AtomicU32,
    left_out: AtomicU32,
}

/// A span that has begun.
pub(crate) struct OpenSpan {
    pub(crate) local: Arc<LocalTrace>,
    pub(crate) id: SpanId,
    parent: Option<SpanId>,
    parent_is_remote: bool,
    kind: SpanKind,
    start: Instant,
    details: Mutex<SpanDetails>,
}

struct SpanDetails {
    name: SpanName,
    attributes: Vec<(&'static str, AttributeValue)>,
    has_failed: bool,
}

impl OpenSpan {
    /// The span that begins the work of this process for a trace.
    pub(crate) fn first(
        tracer: &Arc<Tracer>,
        name: &'static str,
        kind: SpanKind,
        parent: Option<RemoteContext>,
    ) -> Arc<Self> {
        let trace = match &parent {
            Some(parent) => parent.trace,
            None => TraceId::random(&*tracer.random),
        };
        let is_sampled = match &parent {
            Some(parent) => parent.is_sampled,
            None => tracer.samples(trace),
        };
        let parent_span = parent.as_ref().map(|parent| parent.span);
        let local = LocalTrace {
            tracer: Arc::clone(tracer),
            trace,
            is_sampled,
            state: parent.and_then(|parent| parent.state),
            time: TraceTime::now(&*tracer.clock),
            spans: 1.into(),
            left_out: 0.into(),
        };
        let is_remote = parent_span.is_some();
        Self::begin(Arc::new(local), (parent_span, is_remote), name, kind)
    }

    /// A child; `None` if the trace is not recorded or has too many spans.
    pub(crate) fn child(&self, name: &'static str, kind: SpanKind) -> Option<Arc<Self>> {
        let local = &self.local;
        if !local.is_sampled {
            return None;
        }
        if local.spans.fetch_add(1, Ordering::Relaxed) >= SPANS_MAX {
            local.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let parent = (Some(self.id), false);
        Some(Self::begin(Arc::clone(local), parent, name, kind))
    }

    fn begin(
        local: Arc<LocalTrace>,
        (parent, parent_is_remote): (Option<SpanId>, bool),
        name: &'static str,
        kind: SpanKind,
    ) -> Arc<Self> {
        let details = SpanDetails {
            name: SpanName::Fixed(name),
            attributes: Vec::new(),
            has_failed: false,
        };
        Arc::new(Self {
            id: SpanId::random(&*local.tracer.random),
            start: local.tracer.clock.monotonic(),
            local,
            parent,
            parent_is_remote,
            kind,
            details: Mutex::new(details),
        })
    }

    /// Adds an attribute, if the trace is recorded.
    pub(crate) fn set(&self, attribute: Attribute) {
        if !self.local.is_sampled {
            return;
        }
        let mut details = self.details.lock();
        match &attribute {
            Attribute::Route(route) => {
                let method = details.attributes.iter().find_map(|pair| match pair {
                    ("http.request.method", AttributeValue::Word(method)) => Some(*method),
                    _ => None,
                });
                details.name = match method {
                    Some(method) => SpanName::Request { method, route },
                    None => SpanName::Fixed(route),
                };
            }
            Attribute::ErrorType(_) => details.has_failed = true,
            _ => {}
        }
        let (name, value) = attribute.into_pair();
        // The first failure is the reason. Of others, the last value counts.
        if name == ERROR_TYPE && details.attributes.iter().any(|(other, _)| *other == name) {
            return;
        }
        details.attributes.retain(|(other, _)| *other != name);
        if details.attributes.len() < ATTRIBUTES_MAX {
            details.attributes.push((name, value));
        }
    }

    /// Hands the span over, if the trace is recorded.
    pub(crate) fn end(&self) {
        let local = &self.local;
        if !local.is_sampled {
            return;
        }
        let is_first = self.parent.is_none() || self.parent_is_remote;
        let left_out = local.left_out.load(Ordering::Relaxed);
        if is_first && left_out > 0 {
            self.set(Attribute::LeftOut(left_out));
        }
        let mut details = self.details.lock();
        let attributes = std::mem::take(&mut details.attributes);
        let span = FinishedSpan {
            trace: local.trace,
            id: self.id,
            parent: self.parent,
            parent_is_remote: self.parent_is_remote,
            state: local.state.clone(),
            name: details.name,
            kind: self.kind,
            start_ns: local.time.unix_ns(self.start),
            end_ns: local.time.unix_ns(local.tracer.clock.monotonic()),
            attributes,
            has_failed: details.has_failed,
        };
        drop(details);
        local.tracer.sink.accept(span);
    }
}
