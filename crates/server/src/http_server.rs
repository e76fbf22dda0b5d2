//! The HTTP server: accepts connections, passes requests to the API, and shuts down without aborting requests in flight.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{CONNECTION, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use personium_api::{ApiService, Body, TargetWithFragment};
use personium_model::AnswerMemory;
use personium_trace::{Attribute, Span};
use personium_types::error::chain;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::access_log::AccessLog;
use crate::graceful_end::{ConnectionEnd, GracefulEnd};
use crate::header_names::HeaderNames;
use crate::http2_connection::{self, Http2Streams, LOOK_INTERVAL, MAX_STREAMS};
use crate::lingering_close::{LingeringStream, Lingers};
use crate::metrics::Metrics;
use crate::request_body::RequestBody;
use crate::request_lines::{RequestLineReader, RequestLines};
use crate::telemetry::{TraceClient, TracedBody, Traces, status_word};
use crate::tls::{ACME_ALPN, ClientStream, HTTP2_ALPN};
use crate::write_timeout::{ResponseMemory, WriteTimeoutStream};

/// The pause after a failed accept, which usually means that the system is out of file descriptors or memory.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The time for the first request of a connection that was made just before the listener was closed.
const FIRST_REQUEST_TIME: Duration = Duration::from_millis(200);

/// The time for a handshake of TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Browsers use TLS for the host during the next year (RFC 6797).
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The headers by which a proxy tells about the client. On the TLS port there is no proxy.
const FORWARDED: [&str; 5] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-path",
    "x-forwarded-proto",
];

/// The open ports of a unit for clients.
pub struct ClientPorts {
    /// The port without TLS.
    pub plain: TcpListener,
    /// The port with TLS.
    pub tls: Option<TlsPort>,
}

/// An open port, and what makes TLS of its connections.
pub struct TlsPort {
    /// The port.
    pub listener: TcpListener,
    /// The TLS.
    pub acceptor: TlsAcceptor,
}

/// Limits on connections and requests.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Connections at the same time.
    pub connections_max: usize,
    /// Size of the head of a request.
    pub header_max_bytes: usize,
    /// Number of headers of a request.
    pub header_max_count: usize,
    /// Time for the head of a request, counted from the end of the previous request.
    pub header_timeout: Duration,
    /// Time for the next chunk of a request body to arrive or of a response to be accepted; see [`RequestBody`] for the
    /// minimum rate.
    pub transfer_timeout: Duration,
    /// Time from the begin of the shutdown until no more connections are accepted.
    pub shutdown_delay: Duration,
    /// Time for requests in flight to finish during shutdown, once no more connections are accepted.
    pub shutdown_timeout: Duration,
}

/// The API, and the records of requests.
#[derive(Clone)]
pub struct RequestHandlers {
    /// The API.
    pub service: ApiService,
    /// The metrics of the unit.
    pub metrics: Arc<Metrics>,
    /// The access log, unless it is off.
    pub access_log: Option<Arc<AccessLog>>,
    /// The traces, unless they are off.
    pub traces: Option<Arc<Traces>>,
    /// The memory of answers.
    pub answer_memory: AnswerMemory,
}

/// Serves until `stop` becomes true and the delay of the shutdown is over, then lets requests in flight finish within their
/// time.
pub async fn serve(
    ports: ClientPorts,
    handlers: RequestHandlers,
    limits: HttpLimits,
    stop: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulEnd::default();
    let handler = Handler {
        handlers: Arc::new(handlers),
        transfer_timeout: limits.transfer_timeout,
        header_max_bytes: limits.header_max_bytes,
        header_names: Arc::new(Box::pin(HeaderNames::receive()).await),
        with_tls: false,
        stop: stop.clone(),
    };
    let closing = stopped(stop, limits.shutdown_delay);
    tokio::pin!(closing);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&ports, &permits) => accepted,
            () = &mut closing => break,
        };
        if let Some(accepted) = accepted {
            spawn_connection(accepted, &handler, &graceful, &limits);
        }
    }
    let ClientPorts { plain, tls } = ports;
    let mut waiting = close(plain, &permits, None);
    if let Some(TlsPort { listener, acceptor }) = tls {
        waiting.extend(close(listener, &permits, Some(&acceptor)));
    }
    for accepted in waiting {
        spawn_connection(accepted, &handler, &graceful, &limits);
    }
    if !limits.shutdown_delay.is_zero() {
        // Otherwise a connection whose first request is under way would be closed as idle.
        tokio::time::sleep(FIRST_REQUEST_TIME).await;
    }
    if tokio::time::timeout(limits.shutdown_timeout, graceful.finish())
        .await
        .is_err()
    {
        tracing::warn!("shutdown timeout reached, in-flight requests aborted");
    }
}

/// Waits until `stop` becomes true, and for the delay after that.
async fn stopped(mut stop: watch::Receiver<bool>, delay: Duration) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(delay).await;
}

/// Closes a listener. Returns the connections that clients have made and that were not accepted yet.
fn close(
    listener: TcpListener,
    permits: &Arc<Semaphore>,
    acceptor: Option<&TlsAcceptor>,
) -> Vec<Accepted> {
    let mut waiting = Vec::new();
    let Ok(listener) = listener.into_std() else {
        return waiting;
    };
    while let Ok(permit) = Arc::clone(permits).try_acquire_owned()
        && let Ok((stream, peer)) = listener.accept()
    {
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            waiting.push(Accepted {
                stream,
                peer,
                permit,
                acceptor: acceptor.cloned(),
            });
        }
    }
    waiting
}

/// Spawns a task that serves the requests of a connection.
fn spawn_connection(
    accepted: Accepted,
    handler: &Handler,
    graceful: &GracefulEnd,
    limits: &HttpLimits,
) {
    let Accepted {
        stream,
        peer,
        permit,
        acceptor,
    } = accepted;
    let handler = Handler {
        with_tls: acceptor.is_some(),
        ..handler.clone()
    };
    let limits = limits.clone();
    let mut ending = graceful.watch();
    tokio::spawn(async move {
        let _open = handler.handlers.metrics.connection_opened();
        let stream = tokio::select! {
            stream = client_stream(stream, acceptor) => stream,
            () = ending.begun() => return,
        };
        let stream = match stream {
            Ok(Some(stream)) => stream,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%peer, %error, "TLS handshake failed");
                return;
            }
        };
        let served = match stream.protocol() == Some(HTTP2_ALPN) {
            true => Box::pin(serve_http2(stream, peer, handler.clone(), &limits, ending)).await,
            false => {
                let connection = serve_connection(stream, peer, handler.clone(), &limits);
                let mut connection = std::pin::pin!(connection);
                tokio::select! {
                    served = connection.as_mut() => served,
                    () = ending.begun() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                }
            }
        };
        if let Err(error) = served {
            handler.record_unreadable_request(&error, peer);
            tracing::debug!(peer = %peer, error = %chain(&error), "connection aborted");
        }
        drop(permit);
    });
}

/// Makes TLS of a connection, if it is one of the TLS port. Returns `None` for one that only answers a challenge of an authority.
///
/// # Errors
/// If the handshake fails or takes longer than 10 seconds.
async fn client_stream(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
) -> io::Result<Option<ClientStream>> {
    let Some(acceptor) = acceptor else {
        return Ok(Some(ClientStream::Plain(stream)));
    };
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
    let stream = handshake.await.map_err(|_| io::ErrorKind::TimedOut)??;
    let is_challenge = stream.get_ref().1.alpn_protocol() == Some(ACME_ALPN);
    Ok((!is_challenge).then(|| ClientStream::Tls(Box::new(stream))))
}

/// A new connection and its share of the connection limit.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    /// The TLS of its port.
    acceptor: Option<TlsAcceptor>,
}

/// The next connection of any port, and the TLS of that.
async fn next_connection(
    ports: &ClientPorts,
) -> (io::Result<(TcpStream, SocketAddr)>, Option<TlsAcceptor>) {
    let Some(tls) = &ports.tls else {
        return (ports.plain.accept().await, None);
    };
    tokio::select! {
        accepted = ports.plain.accept() => (accepted, None),
        accepted = tls.listener.accept() => (accepted, Some(tls.acceptor.clone())),
    }
}

/// Returns the next connection, once the connection limit permits one more.
async fn accept(ports: &ClientPorts, permits: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    let (accepted, acceptor) = next_connection(ports).await;
    match accepted {
        Ok((stream, peer)) => {
            // If the option cannot be set, responses are slower and nothing else.
            let _ = stream.set_nodelay(true);
            Some(Accepted {
                stream,
                peer,
                permit,
                acceptor,
            })
        }
        Err(error) => {
            tracing::warn!(%error, "failed to accept a connection, will retry");
            tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
            None
        }
    }
}

/// A connection as hyper reads and writes it.
type ConnectionStream = WriteTimeoutStream<RequestLineReader<LingeringStream<ClientStream>>>;

/// Returns the future that serves the requests of one connection.
fn serve_connection(
    stream: ClientStream,
    peer: SocketAddr,
    handler: Handler,
    limits: &HttpLimits,
) -> http1::UpgradeableConnection<TokioIo<ConnectionStream>, ConnectionService> {
    let (lines, lingers) = (Arc::new(RequestLines::default()), Lingers::default());
    let stream = LingeringStream::new(stream, Arc::clone(&lingers));
    let stream = RequestLineReader::new(stream, Arc::clone(&lines), limits.header_max_bytes);
    let response = ResponseMemory::new(handler.handlers.answer_memory.clone());
    let response = Arc::new(response);
    let timeout = limits.transfer_timeout;
    let io = WriteTimeoutStream::new(stream, timeout, Arc::clone(&response));
    let service = ConnectionService {
        handler,
        peer,
        lines,
        lingers,
        response,
    };
    http1::Builder::new()
        .timer(TokioTimer::new())
        .title_case_headers(true)
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_max_bytes)
        .max_headers(limits.header_max_count)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades()
}

/// Serves the requests of one connection by HTTP/2, until the client ends it, has not sent a request or accepted a part of a response
/// for too long, or the server ends.
async fn serve_http2(
    stream: ClientStream,
    peer: SocketAddr,
    handler: Handler,
    limits: &HttpLimits,
    mut ending: ConnectionEnd,
) -> hyper::Result<()> {
    let memory = Arc::new(ResponseMemory::new(handler.handlers.answer_memory.clone()));
    let io = WriteTimeoutStream::new(stream, limits.transfer_timeout, Arc::clone(&memory));
    let streams = Http2Streams::new(handler.handlers.metrics.clock());
    let service = Http2Service {
        handler,
        peer,
        streams: streams.clone(),
        header_max_count: limits.header_max_count,
    };
    let header_max = u32::try_from(limits.header_max_bytes).unwrap_or(u32::MAX);
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(header_max)
        .max_concurrent_streams(MAX_STREAMS)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    let (mut is_ending, mut is_idle) = (false, false);
    loop {
        tokio::select! {
            served = connection.as_mut() => return served,
            () = ending.begun(), if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = looks.tick() => {
                let is_over = streams.is_idle(limits.header_timeout + limits.transfer_timeout);
                if is_over || streams.is_stalled(limits.transfer_timeout) {
                    tracing::debug!(%peer, "the client accepts nothing, connection closed");
                    return Ok(());
                }
                if !is_idle && streams.is_idle(limits.header_timeout) {
                    is_idle = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// The hyper service of one connection by HTTP/2.
struct Http2Service {
    handler: Handler,
    peer: SocketAddr,
    streams: Http2Streams,
    header_max_count: usize,
}

impl hyper::service::Service<Request<Incoming>> for Http2Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let (handler, peer) = (self.handler.clone(), self.peer);
        let stream = self.streams.begin();
        let is_too_large = request.headers().len() > self.header_max_count;
        http2_connection::join_cookies(&mut request);
        remove_forwarded(request.headers_mut());
        async move {
            let mut response = match is_too_large {
                true => empty(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
                false => handler.handle(request, peer).await,
            };
            let headers = response.headers_mut();
            headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
            Ok(http2_connection::response(response, stream))
        }
        .boxed()
    }
}

/// Removes what a proxy would tell.
fn remove_forwarded(headers: &mut HeaderMap) {
    for name in FORWARDED {
        headers.remove(name);
    }
}

/// The hyper service of one connection.
struct ConnectionService {
    handler: Handler,
    peer: SocketAddr,
    lines: Arc<RequestLines>,
    lingers: Lingers,
    response: Arc<ResponseMemory>,
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let (handler, peer) = (self.handler.clone(), self.peer);
        let with_tls = handler.with_tls;
        let (lines, lingers) = (Arc::clone(&self.lines), Arc::clone(&self.lingers));
        let memory = Arc::clone(&self.response);
        let has_body = !request.body().is_end_stream();
        if with_tls {
            remove_forwarded(request.headers_mut());
        }
        if lines.begin_request(request.method(), request.uri(), has_body) {
            request.extensions_mut().insert(TargetWithFragment);
        }
        async move {
            let mut response = handler.handle(request, peer).await;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                lines.end_requests();
            } else if has_body {
                lines.end_body();
                let is_last = response.headers().contains_key(CONNECTION);
                lingers.store(is_last, Ordering::Release);
            }
            if with_tls {
                let headers = response.headers_mut();
                headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
            }
            handler.header_names.add_to(&mut response);
            memory.begin(response.body());
            Ok(response)
        }
        .boxed()
    }
}

#[derive(Clone)]
struct Handler {
    handlers: Arc<RequestHandlers>,
    transfer_timeout: Duration,
    header_max_bytes: usize,
    header_names: Arc<HeaderNames>,
    /// Whether the connection uses TLS.
    with_tls: bool,
    stop: watch::Receiver<bool>,
}

impl Handler {
    /// Passes a request to the API. A panic of its handler becomes a response with status 500.
    async fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
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
    fn record_unreadable_request(&self, error: &hyper::Error, peer: SocketAddr) {
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
fn empty(status: StatusCode) -> Response<Body> {
    let empty = http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = Response::new(empty);
    *response.status_mut() = status;
    response
}
