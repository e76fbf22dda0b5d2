//! Spans as an official decoder reads them.

#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::sync::{Arc, Mutex};
use std::time::Instant;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span as DecodedSpan;
use personium_trace::{
    Attribute, FinishedSpan, OutgoingContext, RemoteContext, SpanSink, TraceTarget, Tracer,
    TracerSettings, child, client, current, note, otlp, within, work,
};
use personium_types::{Clock, SystemClock, SystemRandom};
use prost::Message;

#[derive(Default)]
struct Collected(Mutex<Vec<FinishedSpan>>);

impl SpanSink for Collected {
    fn accept(&self, span: FinishedSpan) {
        self.0.lock().unwrap().push(span);
    }
}

impl Collected {
    fn decoded(&self) -> Vec<DecodedSpan> {
        let spans = std::mem::take(&mut *self.0.lock().unwrap());
        let bytes = otlp::request(&[("service.name", "unit".to_owned())], "1", &spans);
        let mut request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
        if spans.is_empty() {
            assert!(request.resource_spans.is_empty());
            return Vec::new();
        }
        let mut of_resource = request.resource_spans.remove(0);
        let resource = of_resource.resource.unwrap();
        assert_eq!(resource.attributes[0].key, "service.name");
        let of_scope = of_resource.scope_spans.remove(0);
        assert_eq!(of_scope.scope.unwrap().name, "personium");
        of_scope.spans
    }
}

fn tracer(ratio: f64, clock: Arc<dyn Clock>) -> (Arc<Tracer>, Arc<Collected>) {
    let sink = Arc::<Collected>::default();
    let settings = TracerSettings {
        ratio,
        propagate_to: vec![TraceTarget::parse("unit.example").unwrap()],
    };
    let random = Arc::new(SystemRandom::new());
    (Tracer::new(settings, clock, random, sink.clone()), sink)
}

fn real(ratio: f64) -> (Arc<Tracer>, Arc<Collected>) {
    tracer(ratio, Arc::new(SystemClock::new()))
}

fn attribute(span: &DecodedSpan, name: &str) -> Option<Value> {
    let found = span.attributes.iter().find(|it| it.key == name)?;
    found.value.clone()?.value
}

fn text(value: &str) -> Option<Value> {
    Some(Value::StringValue(value.to_owned()))
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn remote(parent: &str) -> Option<RemoteContext> {
    RemoteContext::parse(parent, ["a=1"].into_iter())
}

#[test]
fn children_have_the_ids_of_their_parents_also_in_other_tasks() {
    let (tracer, sink) = real(1.0);
    let request = tracer.request("GET", remote(PARENT));
    futures_util::future::FutureExt::now_or_never(request.scope(async {
        note(|| Attribute::Route("/{cell}"));
        note(|| Attribute::RequestKey("key".into()));
        let read = child("store.get");
        read.scope(async { drop(client("GET")) }).await;
        let other_task = within(current(), async { drop(child("store.commit")) });
        std::thread::spawn(|| futures_util::future::FutureExt::now_or_never(other_task))
            .join()
            .unwrap();
        read.fail("busy");
        read.fail("later");
    }));
    request.set(Attribute::Status(200));
    drop(request);
    let spans = sink.decoded();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["GET", "store.commit", "store.get", "GET /{cell}"]);
    let [outgoing, commit, read, server] = &spans[..] else {
        panic!("{names:?}");
    };
    assert_eq!(
        server.parent_span_id,
        [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]
    );
    assert_eq!(server.trace_state, "a=1");
    assert_eq!((server.kind, outgoing.kind, read.kind), (2, 3, 1));
    assert_eq!(read.parent_span_id, server.span_id);
    assert_eq!(commit.parent_span_id, server.span_id);
    assert_eq!(outgoing.parent_span_id, read.span_id);
    for span in &spans {
        assert_eq!(span.trace_id, server.trace_id);
        assert_eq!(span.trace_id[..4], [0x4b, 0xf9, 0x2f, 0x35]);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(span.start_time_unix_nano >= server.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= server.end_time_unix_nano);
        let flags = if span.span_id == server.span_id {
            0x301
        } else {
            0x101
        };
        assert_eq!(span.flags, flags, "{}", span.name);
    }
    assert_eq!(attribute(server, "http.route"), text("/{cell}"));
    assert_eq!(attribute(server, "personium.request_key"), text("key"));
    let status = attribute(server, "http.response.status_code");
    assert_eq!(status, Some(Value::IntValue(200)));
    assert!(server.status.is_none());
    assert_eq!(attribute(read, "error.type"), text("busy"));
    assert_eq!(read.status.as_ref().unwrap().code, 2);
}

#[test]
fn ratio_decides_about_new_traces_and_the_parent_about_others() {
    for (ratio, parent, expected) in [
        (0.0, None, false),
        (1.0, None, true),
        (0.0, remote(PARENT), true),
        (1.0, remote(&PARENT.replace("-01", "-00")), false),
    ] {
        let (tracer, sink) = real(ratio);
        let request = tracer.request("GET", parent);
        assert_eq!(request.is_recorded(), expected);
        futures_util::future::FutureExt::now_or_never(request.scope(async {
            drop(child("store.get"));
            // It is told whether the trace is recorded.
            let told = OutgoingContext::to("unit.example").unwrap();
            let flags = if expected { "-01" } else { "-00" };
            assert!(told.parent.ends_with(flags), "{}", told.parent);
            assert_eq!(OutgoingContext::to("other.example"), None);
        }));
        drop(request);
        assert_eq!(sink.decoded().len(), if expected { 2 } else { 0 });
    }
    let (tracer, sink) = real(0.25);
    for _ in 0..4_000 {
        drop(tracer.request("GET", None));
    }
    let recorded = sink.decoded().len();
    // 15 standard deviations.
    assert!((600..1_400).contains(&recorded), "{recorded}");
}

#[test]
fn nothing_is_recorded_without_a_scope() {
    drop((child("a"), client("b"), work("c")));
    note(|| unreachable!("there is no span"));
    assert!(current().is_none() && OutgoingContext::to("unit.example").is_none());
    let (tracer, sink) = real(1.0);
    futures_util::future::FutureExt::now_or_never(within(Some(tracer.scope()), async {
        drop(child("below nothing"));
        drop(work("in the background"));
    }));
    assert!(current().is_none());
    let spans = sink.decoded();
    assert_eq!(spans.len(), 1);
    assert!(spans[0].parent_span_id.is_empty());
    assert_eq!(spans[0].flags, 0x101);
}

#[test]
fn scope_ends_with_a_panic() {
    let (tracer, _) = real(1.0);
    let request = tracer.request("GET", None);
    let future = request.scope(async { panic!("expected") });
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        futures_util::future::FutureExt::now_or_never(future)
    }));
    assert!(caught.is_err() && current().is_none());
}

#[test]
fn spans_of_one_request_are_bounded_and_the_others_counted() {
    let (tracer, sink) = real(1.0);
    let request = tracer.request("GET", None);
    futures_util::future::FutureExt::now_or_never(request.scope(async {
        for _ in 0..600 {
            drop(child("store.get"));
        }
    }));
    drop(request);
    let spans = sink.decoded();
    assert_eq!(spans.len(), 512);
    let left_out = attribute(spans.last().unwrap(), "personium.spans.left_out");
    assert_eq!(left_out, Some(Value::IntValue(89)));
}

/// A clock whose wall time is far before 1970, and whose monotonic time stands still.
#[derive(Debug)]
struct OddClock(Instant);

impl Clock for OddClock {
    fn now_ms(&self) -> i64 {
        i64::MIN
    }

    fn monotonic(&self) -> Instant {
        self.0
    }
}

#[test]
fn odd_time_makes_no_odd_span() {
    let (tracer, sink) = tracer(1.0, Arc::new(OddClock(SystemClock::new().monotonic())));
    drop(tracer.request("GET", None));
    let span = sink.decoded().remove(0);
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (0, 0));
}

#[test]
fn refused_spans_are_read_from_an_answer_and_any_answer_is_read_without_a_panic() {
    let answer = |rejected_spans| {
        ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans,
                error_message: "too many".to_owned(),
            }),
        }
        .encode_to_vec()
    };
    assert_eq!(otlp::rejected_spans(&[]), 0);
    assert_eq!(otlp::rejected_spans(&answer(0)), 0);
    assert_eq!(otlp::rejected_spans(&answer(7)), 7);
    assert_eq!(otlp::rejected_spans(&answer(-7)), 0);
    let whole = answer(300);
    for length in 0..whole.len() {
        let _ = otlp::rejected_spans(&whole[..length]);
    }
    for bad in [
        &b"<html>"[..],
        &[0xff; 40],
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
    ] {
        assert_eq!(otlp::rejected_spans(bad), 0);
    }
}
