//! The HTTP server: accepts connections, passes requests to the API, and shuts down without aborting requests in flight.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use personium_api::{ApiService, Body};
use personium_types::error::chain;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::metrics::Metrics;
use crate::request_body::RequestBody;
use crate::write_timeout::WriteTimeoutStream;

/// The pause after a failed accept, which usually means that the system is out of file descriptors or memory.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The header with which every response names the key of its request.
const REQUEST_KEY_HEADER: &str = "x-personium-requestkey";

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
    /// Time for requests in flight to finish during shutdown.
    pub shutdown_timeout: Duration,
}

/// Serves until `stop` becomes true, then lets requests in flight finish within their time.
pub async fn serve(
    listener: TcpListener,
    service: ApiService,
    metrics: Arc<Metrics>,
    limits: HttpLimits,
    mut stop: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    let handler = Handler {
        service,
        metrics,
        transfer_timeout: limits.transfer_timeout,
    };
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits) => accepted,
            () = stopped(&mut stop) => break,
        };
        let Some(Accepted {
            stream,
            peer,
            permit,
        }) = accepted
        else {
            continue;
        };
        let handler = handler.clone();
        let connection = graceful.watch(serve_connection(stream, peer, handler.clone(), &limits));
        tokio::spawn(async move {
            let _open = handler.metrics.connection_opened();
            if let Err(error) = connection.await {
                tracing::debug!(peer = %peer, error = %chain(&error), "connection aborted");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.shutdown_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("shutdown timeout reached, in-flight requests aborted");
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A new connection and its share of the connection limit.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
}

/// Returns the next connection, once the connection limit permits one more.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // If the option cannot be set, responses are slower and nothing else.
            let _ = stream.set_nodelay(true);
            Some(Accepted {
                stream,
                peer,
                permit,
            })
        }
        Err(error) => {
            tracing::warn!(%error, "failed to accept a connection, will retry");
            tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
            None
        }
    }
}

/// Returns the future that serves the requests of one connection.
fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    handler: Handler,
    limits: &HttpLimits,
) -> http1::Connection<TokioIo<WriteTimeoutStream<TcpStream>>, ConnectionService> {
    let io = TokioIo::new(WriteTimeoutStream::new(stream, limits.transfer_timeout));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_max_bytes)
        .max_headers(limits.header_max_count)
        .serve_connection(io, ConnectionService { handler, peer })
}

/// The hyper service of one connection.
struct ConnectionService {
    handler: Handler,
    peer: SocketAddr,
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (handler, peer) = (self.handler.clone(), self.peer);
        async move { Ok(handler.handle(request, peer).await) }.boxed()
    }
}

#[derive(Clone)]
struct Handler {
    service: ApiService,
    metrics: Arc<Metrics>,
    transfer_timeout: Duration,
}

impl Handler {
    /// Passes a request to the API. A panic of its handler becomes a response with status 500.
    async fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let timer = self.metrics.request_started();
        let access_log = AccessLog::of(&request, peer);
        let (request, unread_body) = RequestBody::wrap(request, self.transfer_timeout);
        let request = request.map(RequestBody::boxed_unsync);
        let handling = self.service.handle(request, Some(peer.ip()));
        let mut response = match AssertUnwindSafe(handling).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                self.metrics.handler_panicked();
                tracing::error!(peer = %peer, "request handler panicked");
                internal_error()
            }
        };
        if unread_body.is_set() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        let elapsed = timer.response_started(response.status().as_u16());
        if let Some(access_log) = access_log {
            access_log.write(&response, elapsed);
        }
        response
    }
}

/// The part of a request that is logged with its response, on level debug.
struct AccessLog {
    peer: SocketAddr,
    method: String,
    path: String,
}

impl AccessLog {
    /// Copies method and path of a request; `None` if the level debug is off.
    fn of(request: &Request<Incoming>, peer: SocketAddr) -> Option<Self> {
        tracing::enabled!(tracing::Level::DEBUG).then(|| Self {
            peer,
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
        })
    }

    fn write(&self, response: &Response<Body>, elapsed: Duration) {
        let request_key = response
            .headers()
            .get(REQUEST_KEY_HEADER)
            .and_then(|key| key.to_str().ok())
            .unwrap_or_default();
        tracing::debug!(
            request.key = request_key,
            request.method = self.method,
            request.path = self.path,
            peer = %self.peer.ip(),
            response.status = response.status().as_u16(),
            elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            "request handled"
        );
    }
}

/// Returns the response to a request whose handler panicked.
fn internal_error() -> Response<Body> {
    let empty = http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = Response::new(empty);
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
