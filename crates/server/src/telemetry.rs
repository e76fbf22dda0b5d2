//! Traces: the spans of requests and of background work, sent to an OpenTelemetry collector.
//!
//! A span that has ended is put into a bounded queue; a task of its own sends what is there. No request waits for the collector, whatever
//! that does: if the queue is full, spans are lost and counted.

mod collector;
mod exporter;
mod header_file;
mod metrics;
mod span_queue;
mod traced_bodies;
mod traced_body;
mod traced_records;

use std::sync::Arc;

use http::{HeaderMap, Request};
use parking_lot::Mutex;
use personium_trace::{
    Attribute, RemoteContext, Span, TRACEPARENT, TRACESTATE, TraceScope, Tracer, TracerSettings,
    method_word,
};
use personium_types::error::chain;
use personium_types::{Clock, Random};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::collector::Collector;
pub(crate) use self::collector::CollectorError;
use self::exporter::Exporter;
pub(crate) use self::metrics::TraceCollector;
use self::span_queue::SpanQueue;
pub(crate) use self::traced_bodies::TracedBodies;
pub(crate) use self::traced_body::TracedBody;
pub(crate) use self::traced_records::TracedRecords;
use crate::config::{TraceConfig, TraceParents};
use crate::{system, system_user};

/// The traces of a running unit.
pub struct Traces {
    tracer: Arc<Tracer>,
    parents: TraceParents,
    queue: Arc<SpanQueue>,
    stop: watch::Sender<bool>,
    exporter: Mutex<Option<JoinHandle<()>>>,
}

/// A client, as the decision needs it whether its requests may belong to a trace of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TraceClient {
    /// Whether it is a trusted proxy.
    pub is_trusted: bool,
    /// Whether its request came by plain HTTP or TLS.
    pub scheme: &'static str,
}

impl Traces {
    /// Starts to send spans; `None` if the settings turn traces off.
    ///
    /// # Errors
    /// [`CollectorError`] if the settings of the collector cannot be used. Whether it answers does not matter.
    pub(crate) fn start(
        config: &TraceConfig,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
    ) -> Result<Option<Arc<Self>>, CollectorError> {
        let Some(collector) = Collector::new(config)? else {
            return Ok(None);
        };
        let queue = Arc::new(SpanQueue::default());
        let settings = TracerSettings {
            ratio: config.ratio,
            propagate_to: config.propagate_to.clone(),
        };
        let sink = Arc::clone(&queue) as _;
        let tracer = Tracer::new(settings, Arc::clone(clock), Arc::clone(random), sink);
        let (stop, stopped) = watch::channel(false);
        let exporter = Exporter::new(collector, Arc::clone(&queue), resource(config, random));
        Ok(Some(Arc::new(Self {
            tracer,
            parents: config.parents,
            queue,
            stop,
            exporter: Mutex::new(Some(tokio::spawn(exporter.run(stopped)))),
        })))
    }

    /// The span of a request.
    pub(crate) fn request<B>(&self, request: &Request<B>, client: TraceClient) -> Span {
        let may_have_parent = match self.parents {
            TraceParents::None => false,
            TraceParents::TrustedProxies => client.is_trusted,
            TraceParents::All => true,
        };
        let parent = match may_have_parent {
            true => parent(request.headers()),
            false => None,
        };
        let span = self
            .tracer
            .request(method_word(request.method().as_str()), parent);
        span.set(Attribute::Scheme(client.scheme));
        span
    }

    /// The scope of background work.
    pub(crate) fn scope(&self) -> TraceScope {
        self.tracer.scope()
    }

    /// Sends what is in the queue, for a few seconds at most. Nothing is sent any more afterwards.
    pub(crate) async fn finish(&self) {
        self.stop.send_replace(true);
        let exporter = self.exporter.lock().take();
        if let Some(exporter) = exporter {
            let _ = exporter.await;
        }
    }

    /// The metrics of the traces.
    pub(crate) fn collector(&self) -> TraceCollector {
        TraceCollector(Arc::clone(&self.queue))
    }
}

/// The traces of a command, each piece of whose work is one.
pub(crate) struct CommandTraces(Option<Arc<Traces>>);

impl CommandTraces {
    /// Starts to send spans, if the settings want traces and are right.
    pub(crate) fn start(config: &TraceConfig) -> Self {
        let started = Traces::start(config, &system::clock(), &system::random());
        Self(started.unwrap_or_else(|error| {
            tracing::warn!(error = %chain(&error), "no traces of this command");
            None
        }))
    }

    /// Runs work as a trace of its own.
    ///
    /// # Errors
    /// That of the work.
    pub(crate) async fn run<T, E>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let span = {
            let _entered = self.0.as_ref().map(|traces| traces.scope().enter());
            personium_trace::work(name)
        };
        let outcome = span.scope(work).await;
        if outcome.is_err() {
            span.fail("failed");
        }
        outcome
    }

    /// Sends what is in the queue, for a few seconds at most.
    pub(crate) async fn finish(self) {
        if let Some(traces) = self.0 {
            traces.finish().await;
        }
    }
}

/// Sends a message without spans to the collector. `Ok(None)` if the settings turn traces off; otherwise the URL.
///
/// # Errors
/// A text for the operator if it does not accept it.
pub(crate) async fn check(config: &TraceConfig) -> Result<Option<String>, String> {
    let collector = Collector::new(config).map_err(|error| chain(&error))?;
    match collector {
        None => Ok(None),
        Some(collector) => collector.check().await.map(Some),
    }
}

/// The span that a client names.
fn parent(headers: &HeaderMap) -> Option<RemoteContext> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let first = parents.next()?.to_str().ok()?;
    if parents.next().is_some() {
        return None;
    }
    let states = headers.get_all(TRACESTATE).iter();
    let states: Option<Vec<&str>> = states.map(|value| value.to_str().ok()).collect();
    RemoteContext::parse(first, states.unwrap_or_default().into_iter())
}

/// The attributes that all spans have in common.
fn resource(config: &TraceConfig, random: &Arc<dyn Random>) -> Vec<(&'static str, String)> {
    vec![
        ("service.name", config.service_name.clone()),
        ("service.version", crate::VERSION.to_owned()),
        ("service.instance.id", random.uuid().to_string()),
        ("host.name", system_user::host_name()),
    ]
}

/// The status of a failed request as a word.
pub(crate) const fn status_word(status: u16) -> &'static str {
    match status {
        500 => "500",
        501 => "501",
        502 => "502",
        503 => "503",
        504 => "504",
        507 => "507",
        _ => "5xx",
    }
}
