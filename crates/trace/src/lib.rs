//! Spans of the work of a unit: what took how long, what caused what, and what failed (OpenTelemetry).
//!
//! A span has a closed set of attributes, and no text of a client but the request key and `tracestate`: nothing that a client sends, such as a path, a
//! query, a token or a body, can get into one. Spans that are not recorded cost a look at a variable of the thread.
//!
//! ```
//! # use std::sync::Arc;
//! # use personium_types::{SystemClock, SystemRandom};
//! # use personium_trace::{FinishedSpan, SpanSink, Tracer, TracerSettings};
//! # struct Nowhere;
//! # impl SpanSink for Nowhere { fn accept(&self, _: FinishedSpan) {} }
//! # #[expect(clippy::disallowed_methods)]
//! # async fn example() {
//! let settings = TracerSettings { ratio: 1.0, propagate_to: Vec::new() };
//! let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom::new()));
//! let tracer = Tracer::new(settings, clock, random, Arc::new(Nowhere));
//! let request = tracer.request("GET", None);
//! request.scope(async {
//!     let read = personium_trace::child("store.get");
//!     read.scope(async { /* waits for the disk */ }).await;
//! }).await;
//! # }
//! ```

mod ids;
mod open_span;
pub mod otlp;
mod outgoing;
mod remote_context;
mod scope;
mod span;
mod span_data;
mod trace_target;
mod trace_time;
mod tracer;

pub use ids::{SpanId, TraceId};
pub use outgoing::OutgoingContext;
pub use remote_context::{RemoteContext, TRACEPARENT, TRACESTATE};
pub use scope::{EnteredScope, TraceScope, Within, background, current, within};
pub use span::{Span, child, client, note, work};
pub use span_data::{Attribute, AttributeValue, FinishedSpan, SpanKind, SpanName, method_word};
pub use trace_target::TraceTarget;
pub use tracer::{SpanSink, Tracer, TracerSettings};
