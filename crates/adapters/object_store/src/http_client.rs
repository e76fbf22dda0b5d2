//! Requests of the object store over HTTP/1.1, with time-outs.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use parking_lot::Mutex;
use personium_operator_files::tls::client_config;
use personium_types::Clock;
use personium_types::time::parse_http_date;
use tokio::time::Sleep;

use crate::failure::{self, ErrorResponse};

/// The time for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The time for which an unused connection is kept.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The number of unused connections that are kept.
const MAX_IDLE: usize = 32;
/// The largest error response that is read.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// The largest part of the name of a server that is shown.
const MAX_NAME_CHARS: usize = 100;
/// The slowest upload that does not run into the time-out, in bytes a second.
const MIN_UPLOAD_RATE: u64 = 128 << 10;

/// The time and the name of the server, as its responses say.
#[derive(Debug)]
pub(crate) struct ServerTime {
    clock: Arc<dyn Clock>,
    last: Mutex<Option<(i64, Instant)>>,
    name: Mutex<Option<HeaderValue>>,
}

impl ServerTime {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            last: Mutex::new(None),
            name: Mutex::new(None),
        }
    }

    /// The name by which the server calls itself.
    pub(crate) fn server_name(&self) -> Option<String> {
        let name = self.name.lock();
        let text: String = name
            .as_ref()?
            .to_str()
            .ok()?
            .chars()
            .take(MAX_NAME_CHARS)
            .collect();
        Some(text)
    }

    /// The time in milliseconds since 1970; `None` before the first response with a date.
    pub(crate) fn time_ms(&self) -> Option<i64> {
        let (date_ms, at) = (*self.last.lock())?;
        let since = self.clock.monotonic().saturating_duration_since(at);
        Some(date_ms.saturating_add(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
    }

    fn observe<B>(&self, response: &Response<B>) {
        let name = response.headers().get(header::SERVER);
        let mut known = self.name.lock();
        if name.is_some() && name != known.as_ref() {
            *known = name.cloned();
        }
        drop(known);
        let date = response.headers().get(header::DATE);
        let date = date.and_then(|value| parse_http_date(value.to_str().ok()?));
        if let Some(seconds) = date {
            *self.last.lock() = Some((seconds.saturating_mul(1000), self.clock.monotonic()));
        }
    }
}

/// Makes clients with connections of their own.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    pub(crate) timeout: Duration,
    pub(crate) server_time: Arc<ServerTime>,
    /// Whether the certificates of this machine must be readable.
    pub(crate) needs_tls: bool,
    /// The PEM file of the certificates that are trusted; `None` for those of the system.
    pub(crate) tls_roots: Option<PathBuf>,
}

impl Connector {
    pub(crate) fn client(&self) -> Result<HttpClient, object_store::Error> {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let mut pool = Client::builder(TokioExecutor::new());
        pool.pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(MAX_IDLE);
        let pool = match client_config(self.tls_roots.as_deref(), None) {
            Ok(config) => {
                let https = HttpsConnectorBuilder::new().with_tls_config(config);
                let https = https.https_or_http().enable_http1().wrap_connector(tcp);
                Pool::Tls(pool.build(https))
            }
            Err(_) if !self.needs_tls => Pool::Plain(pool.build(tcp)),
            Err(source) => {
                return Err(object_store::Error::Generic {
                    store: "S3",
                    source: source.into(),
                });
            }
        };
        Ok(HttpClient::new(PooledService {
            pool,
            timeout: self.timeout,
            server_time: Arc::clone(&self.server_time),
        }))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> Result<HttpClient, object_store::Error> {
        self.client()
    }
}

#[derive(Debug)]
enum Pool {
    Tls(Client<HttpsConnector<TcpConnector>, HttpRequestBody>),
    Plain(Client<TcpConnector, HttpRequestBody>),
}

#[derive(Debug)]
struct PooledService {
    pool: Pool,
    timeout: Duration,
    server_time: Arc<ServerTime>,
}

#[async_trait]
impl HttpService for PooledService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let upload = request.body().content_length() as u64 / MIN_UPLOAD_RATE;
        let timeout = self.timeout + Duration::from_secs(upload);
        let response = async {
            match &self.pool {
                Pool::Tls(pool) => pool.request(request).await,
                Pool::Plain(pool) => pool.request(request).await,
            }
        };
        let response = tokio::time::timeout(timeout, response)
            .await
            .map_err(|elapsed| HttpError::new(HttpErrorKind::Timeout, elapsed))?
            .map_err(|error| {
                let kind = match error.is_connect() {
                    true => HttpErrorKind::Connect,
                    false => HttpErrorKind::Interrupted,
                };
                HttpError::new(kind, error)
            })?;
        self.server_time.observe(&response);
        let (head, body) = response.into_parts();
        let body = TimedBody {
            body,
            timeout: self.timeout,
            sleep: None,
        };
        if head.status.is_success() {
            return Ok(Response::from_parts(head, HttpResponseBody::new(body)));
        }
        let body = read_error(body).await?;
        failure::report(ErrorResponse {
            status: head.status,
            code: code(&body).unwrap_or_default().to_owned(),
        });
        Ok(Response::from_parts(head, body.into()))
    }
}

async fn read_error(body: TimedBody) -> Result<Bytes, HttpError> {
    let collected = Limited::new(body, MAX_ERROR_BYTES).collect().await;
    let collected =
        collected.map_err(|error| HttpError::new_boxed(HttpErrorKind::Interrupted, error))?;
    Ok(collected.to_bytes())
}

/// The code in the body of an error response.
fn code(body: &[u8]) -> Option<&str> {
    let text = str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code)
}

/// The body of a response, of which the next piece must arrive in time.
#[derive(Debug)]
struct TimedBody {
    body: Incoming,
    timeout: Duration,
    /// Runs while the caller waits for a piece.
    sleep: Option<Pin<Box<Sleep>>>,
}

/// The next piece of a response did not arrive in time.
#[derive(Debug, thiserror::Error)]
#[error("the response stopped")]
struct StoppedResponse;

impl Body for TimedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.sleep = None;
            let interrupted = |error| HttpError::new(HttpErrorKind::Interrupted, error);
            return Poll::Ready(frame.map(|frame| frame.map_err(interrupted)));
        }
        let timeout = self.timeout;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(sleep.as_mut().poll(cx));
        let stopped = HttpError::new(HttpErrorKind::Timeout, StoppedResponse);
        Poll::Ready(Some(Err(stopped)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_an_error_response_is_found() {
        let body =
            b"<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>m</Message></Error>";
        assert_eq!(code(body), Some("SlowDown"));
        for none in [&b""[..], b"<html>", b"<Code>x", b"\xff<Code>x</Code>"] {
            assert_eq!(code(none), None);
        }
    }
}
