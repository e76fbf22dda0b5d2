//! The listener: accepts connections, hands requests to the API, and stops without breaking off what is in hand.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
use tokio::sync::{Semaphore, watch};

use crate::figures::Figures;
use crate::patience::PatientStream;
use crate::request_body::RequestBody;

/// How long accepting pauses when the system has no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// The header in which every answer tells the key of its request.
const REQUEST_KEY: &str = "x-personium-requestkey";

/// What is accepted.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Connections at the same time.
    pub connections: usize,
    /// Bytes of the head of a request.
    pub header_bytes: usize,
    /// Headers of a request.
    pub header_count: usize,
    /// Time for the head of a request, from the end of the last one.
    pub header_time: Duration,
    /// Time for the next piece of a body, in either direction; see [`RequestBody`] for small pieces.
    pub body_time: Duration,
    /// Time for requests in hand when the unit stops.
    pub stop_time: Duration,
}

/// Serves until `stop` becomes true; then finishes what is in hand within its time.
pub async fn serve(
    listener: TcpListener,
    service: ApiService,
    figures: Arc<Figures>,
    bounds: Bounds,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let graceful = GracefulShutdown::new();
    let handler = Handler {
        service,
        figures,
        body_time: bounds.body_time,
    };
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = stopped(&mut stop) => break,
        };
        let Some((stream, peer, place)) = accepted else {
            continue;
        };
        let handler = handler.clone();
        let connection = connect(stream, peer, handler.clone(), &bounds);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _open = handler.figures.connection();
            if let Err(error) = connection.await {
                tracing::debug!(peer = %peer, error = %chain(&error), "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(bounds.stop_time, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests in hand were broken off: they took too long");
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<Accepted> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Without this option answers are merely slower.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, place))
        }
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(NO_ROOM).await;
            None
        }
    }
}

/// One connection, answering its requests.
fn connect(
    stream: TcpStream,
    peer: SocketAddr,
    handler: Handler,
    bounds: &Bounds,
) -> http1::Connection<TokioIo<PatientStream<TcpStream>>, Conversation> {
    let io = TokioIo::new(PatientStream::new(stream, bounds.body_time));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_time)
        .max_buf_size(bounds.header_bytes)
        .max_headers(bounds.header_count)
        .serve_connection(io, Conversation { handler, peer })
}

/// The requests of one connection.
struct Conversation {
    handler: Handler,
    peer: SocketAddr,
}

impl hyper::service::Service<Request<Incoming>> for Conversation {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (handler, peer) = (self.handler.clone(), self.peer);
        async move { Ok(handler.answer(request, peer).await) }.boxed()
    }
}

#[derive(Clone)]
struct Handler {
    service: ApiService,
    figures: Arc<Figures>,
    body_time: Duration,
}

impl Handler {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let _in_hand = self.figures.request();
        let start = Instant::now();
        let (method, path) = match tracing::enabled!(tracing::Level::DEBUG) {
            true => (
                request.method().to_string(),
                request.uri().path().to_owned(),
            ),
            false => Default::default(),
        };
        let (request, left) = RequestBody::of(request, self.body_time);
        let request = request.map(RequestBody::boxed_unsync);
        let handling = self.service.handle(request, Some(peer.ip()));
        let mut answer = match AssertUnwindSafe(handling).catch_unwind().await {
            Ok(answer) => answer,
            Err(_) => {
                self.figures.panic();
                tracing::error!(peer = %peer, "the handling of a request broke down");
                broken()
            }
        };
        if left.behind() {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(CONNECTION, close);
        }
        let (status, time) = (answer.status().as_u16(), start.elapsed());
        self.figures.answer(status, time);
        if !method.is_empty() {
            let key = answer
                .headers()
                .get(REQUEST_KEY)
                .and_then(|key| key.to_str().ok())
                .unwrap_or_default();
            let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            tracing::debug!(request.key = key, peer = %peer.ip(), %method, path, status, micros, "answered");
        }
        answer
    }
}

/// The answer to a request whose handling broke down.
fn broken() -> Response<Body> {
    let nothing = http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut answer = Response::new(nothing);
    *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    answer
}
