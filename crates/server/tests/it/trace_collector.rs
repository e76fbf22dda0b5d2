//! A collector of traces that decodes what it receives with the official definitions, and that can misbehave.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use personium_testkit::wait_until;
use prost::Message;
use tokio::net::TcpListener;

/// The way in which the collector treats a message.
#[derive(Debug, Clone)]
pub enum CollectorAnswer {
    /// It answers with this status and body.
    Status(u16, Vec<u8>),
    /// It answers with 503 and `retry-after: 0` once, then accepts.
    BusyOnce,
    /// It never answers.
    Never,
}

/// A message, as it was received.
#[derive(Debug, Clone)]
pub struct ReceivedSpans {
    pub path: String,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

#[derive(Debug)]
struct CollectorState {
    answer: CollectorAnswer,
    received: Vec<ReceivedSpans>,
}

/// A collector on a port of this machine.
pub struct TraceCollector {
    port: u16,
    state: Arc<Mutex<CollectorState>>,
}

/// A span, with its service.
#[derive(Debug, Clone)]
pub struct CollectedSpan {
    pub service: String,
    pub span: Span,
}

impl TraceCollector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(CollectorState {
            answer: CollectorAnswer::Status(200, Vec::new()),
            received: Vec::new(),
        }));
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&served);
                let service = service_fn(move |request| answer(request, Arc::clone(&state)));
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { port, state }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn set_answer(&self, answer: CollectorAnswer) {
        self.state.lock().unwrap().answer = answer;
    }

    /// All messages so far.
    pub fn received(&self) -> Vec<ReceivedSpans> {
        self.state.lock().unwrap().received.clone()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<CollectedSpan> {
        let mut spans = Vec::new();
        for message in self.received() {
            let request = ExportTraceServiceRequest::decode(message.bytes).unwrap();
            for of_resource in request.resource_spans {
                let resource = of_resource.resource.unwrap();
                let name = resource
                    .attributes
                    .iter()
                    .find(|it| it.key == "service.name");
                let service = match name.unwrap().value.clone().unwrap().value {
                    Some(Value::StringValue(name)) => name,
                    other => panic!("{other:?}"),
                };
                let of_scopes = of_resource.scope_spans.into_iter();
                spans.extend(
                    of_scopes
                        .flat_map(|scope| scope.spans)
                        .map(|span| CollectedSpan {
                            service: service.clone(),
                            span,
                        }),
                );
            }
        }
        spans
    }

    /// The span of the request with a key, once it is there.
    pub async fn request(&self, key: &str) -> CollectedSpan {
        let find = || {
            let spans = self.spans().into_iter();
            let mut found = spans.filter(|it| it.text("personium.request_key") == key);
            found.find(|it| it.span.kind == 2)
        };
        wait_until(&format!("the span of {key}"), async || find().is_some()).await;
        find().unwrap()
    }

    /// The spans below one, once one of this name is there.
    pub async fn children(&self, of: &CollectedSpan, name: &str) -> Vec<CollectedSpan> {
        let find = || {
            let spans = self.spans().into_iter();
            let below = spans.filter(|it| {
                it.span.parent_span_id == of.span.span_id && it.span.trace_id == of.span.trace_id
            });
            below.collect::<Vec<_>>()
        };
        let has = |found: &[CollectedSpan]| found.iter().any(|it| it.span.name == name);
        wait_until(&format!("{name} below {}", of.span.name), async || {
            has(&find())
        })
        .await;
        find()
    }
}

impl CollectedSpan {
    /// The value of an attribute as a text; empty without it.
    pub fn text(&self, name: &str) -> String {
        let found = self.span.attributes.iter().find(|it| it.key == name);
        match found.and_then(|it| it.value.clone()?.value) {
            None => String::new(),
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            Some(other) => panic!("{other:?}"),
        }
    }

    /// Whether the work has failed.
    pub fn has_failed(&self) -> bool {
        self.span
            .status
            .as_ref()
            .is_some_and(|status| status.code == 2)
    }

    /// The id of the trace.
    pub fn trace(&self) -> String {
        self.span
            .trace_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The id of the parent.
    pub fn parent(&self) -> String {
        let parent = self.span.parent_span_id.iter();
        parent.map(|byte| format!("{byte:02x}")).collect()
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<CollectorState>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let answer = {
        let mut state = state.lock().unwrap();
        let answer = state.answer.clone();
        if matches!(answer, CollectorAnswer::BusyOnce) {
            state.answer = CollectorAnswer::Status(200, Vec::new());
        } else {
            state.received.push(ReceivedSpans {
                path: head.uri.path().to_owned(),
                headers: head.headers,
                bytes,
            });
        }
        answer
    };
    let (status, body) = match answer {
        CollectorAnswer::Status(status, body) => (status, body),
        CollectorAnswer::BusyOnce => (503, Vec::new()),
        CollectorAnswer::Never => std::future::pending().await,
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status.try_into().unwrap();
    if status == 503 {
        let headers = response.headers_mut();
        headers.insert("retry-after", "0".parse().unwrap());
    }
    Ok(response)
}
