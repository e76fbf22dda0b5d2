//! The tracer: makes the first spans of traces, decides which are recorded, and hands over those that have ended.

use std::fmt;
use std::sync::Arc;

use personium_types::{Clock, Random};

use crate::ids::TraceId;
use crate::span_data::FinishedSpan;
use crate::trace_target::TraceTarget;

/// The number of the values of the random part of the id of a trace: 2^56.
const RANDOM_VALUES: f64 = 72_057_594_037_927_936.0;

/// Takes spans that have ended. It must not wait.
pub trait SpanSink: Send + Sync + 'static {
    /// Takes a span, or counts it as lost.
    fn accept(&self, span: FinishedSpan);
}

/// The settings of a tracer.
#[derive(Debug, Clone)]
pub struct TracerSettings {
    /// The share of the traces that begin here which are recorded, from 0 to 1. Of others, their begin decides.
    pub ratio: f64,
    /// The servers that are told of the trace of a request to them.
    pub propagate_to: Vec<TraceTarget>,
}

/// Makes spans.
pub struct Tracer {
    /// From this random part of its id on, a trace is recorded.
    threshold: u64,
    propagate_to: Vec<TraceTarget>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) sink: Arc<dyn SpanSink>,
}

impl Tracer {
    /// A tracer that hands spans over to `sink`.
    #[must_use]
    pub fn new(
        settings: TracerSettings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        sink: Arc<dyn SpanSink>,
    ) -> Arc<Self> {
        Arc::new(Self {
            threshold: threshold(settings.ratio),
            propagate_to: settings.propagate_to,
            clock,
            random,
            sink,
        })
    }

    /// Whether requests to a host tell of their trace.
    pub(crate) fn propagates_to(&self, host: &str) -> bool {
        self.propagate_to.iter().any(|target| target.matches(host))
    }

    /// Whether a trace that begins here is recorded.
    pub(crate) fn samples(&self, trace: TraceId) -> bool {
        trace.randomness() >= self.threshold
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer")
            .field("threshold", &self.threshold)
            .finish_non_exhaustive()
    }
}

/// The random part of an id from which on this share of all traces begins.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number is from 0 to 2^56"
)]
fn threshold(ratio: f64) -> u64 {
    let left_out = 1.0 - ratio.clamp(0.0, 1.0);
    (left_out * RANDOM_VALUES).round() as u64
}
