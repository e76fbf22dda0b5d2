//! Passes requests to the API, and records them.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use personium_api::Body;
use personium_trace::{Attribute, Span};
use tokio::sync::watch;

use super::RequestHandlers;
use crate::header_names::HeaderNames;
use crate::request_body::RequestBody;
use crate::telemetry::{TraceClient, TracedBody, status_word};

/// Browsers use TLS for the host during the next year (RFC 6797).
pub(super) const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The headers by which a proxy tells about the client. On the TLS port there is no proxy.
const FORWARDED: [&str; 5] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-path",
    "x-forwarded-proto",
];

/// The handling of the requests of a connection.
#[derive(Clone)]
pub(super) struct Handler {
    pub(super) handlers: Arc<RequestHandlers>,
    pub(super) transfer_timeout: Duration,
    pub(super) header_max_bytes: usize,
    pub(super) header_names: Arc<HeaderNames>,
    /// Whether the connection uses TLS.
    pub(super) with_tls: bool,
    pub(super) stop: watch::Receiver<bool>,
}

impl Handler {
    /// Passes a request to the API. A panic of its handler becomes a response with status 500.
    pub(super) async fn handle(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Body> {
        let RequestHandlers {
            service,
            metrics,
            access_log,
            ..
        } = &*self.handlers;
        let timer = metrics.request_started();
        let record = access_log.as_ref().map(|log| {
            let client = service.client_address(request.headers(), peer.ip());
            log.request(&request, client)
        });
        let span = self.span(&request, peer);
        let mut unanswered = UnansweredSpan(span);
        let responding = unanswered.0.scope(self.respond(request, peer));
        let response = responding.await;
        let status = response.status().as_u16();
        timer.response_started(status);
        let response = match record {
            Some(record) => record.attach(response),
            None => response,
        };
        let span = std::mem::replace(&mut unanswered.0, Span::none());
        span.set(Attribute::Status(status));
        if response.status().is_server_error() {
            span.fail(status_word(status));
        }
        TracedBody::wrap(response, span)
    }

    /// The span of a request, if there are traces.
    fn span(&self, request: &Request<Incoming>, peer: SocketAddr) -> Span {
        let Some(traces) = &self.handlers.traces else {
            return Span::none();
        };
        let client = match self.with_tls {
            // There is no proxy.
            true => TraceClient {
                is_trusted: false,
                scheme: "https",
            },
            false => TraceClient {
                is_trusted: self.handlers.service.is_trusted_proxy(peer.ip()),
                scheme: "http",
            },
        };
        traces.request(request, client)
    }

    async fn respond(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        if head_bytes(&request) > self.header_max_bytes {
            return closing(empty(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        let is_stopping = *self.stop.borrow();
        if is_stopping
            && let Some(response) = self.handlers.service.stopping_response(&request, peer.ip())
        {
            return closing(response);
        }
        let (request, unread_body) = RequestBody::wrap(request, self.transfer_timeout);
        let request = request.map(RequestBody::boxed_unsync);
        let handling = self.handlers.service.handle(request, Some(peer.ip()));
        let response = match AssertUnwindSafe(handling).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                self.handlers.metrics.handler_panicked();
                tracing::error!(peer = %peer, "request handler panicked");
                personium_trace::note(|| Attribute::ErrorType("panic"));
                empty(StatusCode::INTERNAL_SERVER_ERROR)
            }
        };
        if unread_body.is_set() || is_stopping {
            return closing(response);
        }
        response
    }

    /// Writes the access line of a request that the HTTP library refused.
    pub(super) fn record_unreadable_request(&self, error: &hyper::Error, peer: SocketAddr) {
        let status = if error.is_parse_too_large() {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        } else if error.is_parse() {
            StatusCode::BAD_REQUEST
        } else {
            return;
        };
        if let Some(log) = &self.handlers.access_log {
            log.unreadable_request(peer.ip(), status);
        }
    }
}

/// The span of a request whose client may go away before it is answered.
struct UnansweredSpan(Span);

impl Drop for UnansweredSpan {
    fn drop(&mut self) {
        self.0.fail("cancelled");
    }
}

/// The size of the head of a request as it is usually written: `method target version`, a line `name: value` for each
/// header, and an empty line.
///
/// The HTTP library bounds what it reads by the same limit, but only between two reads.
fn head_bytes<B>(request: &Request<B>) -> usize {
    const REQUEST_LINE_EXTRA: usize = "  HTTP/1.1\r\n".len();
    const HEADER_LINE_EXTRA: usize = ": \r\n".len();
    let uri = request.uri();
    let target = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    let authority = uri
        .authority()
        .map_or(0, |authority| authority.as_str().len());
    let headers = request.headers().iter();
    let headers =
        headers.map(|(name, value)| name.as_str().len() + value.len() + HEADER_LINE_EXTRA);
    let request_line = request.method().as_str().len() + authority + target + REQUEST_LINE_EXTRA;
    request_line + headers.sum::<usize>() + "\r\n".len()
}

/// A response after which the connection is closed.
fn closing(mut response: Response<Body>) -> Response<Body> {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

/// A response without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let empty = http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = Response::new(empty);
    *response.status_mut() = status;
    response
}

/// Removes what a proxy would tell.
pub(super) fn remove_forwarded(headers: &mut HeaderMap) {
    for name in FORWARDED {
        headers.remove(name);
    }
}
