//! The HTTP server: accepts connections, passes requests to the API, and shuts down without aborting requests in flight.

mod accepted;
mod handler;
mod http1_service;
mod http2_service;

use std::sync::Arc;
use std::time::Duration;

use personium_api::ApiService;
use personium_model::AnswerMemory;
use personium_types::error::chain;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use self::accepted::{Accepted, accept, client_stream, close};
use self::handler::Handler;
use self::http1_service::serve_connection;
use self::http2_service::serve_http2;
use crate::access_log::AccessLog;
use crate::graceful_end::GracefulEnd;
use crate::header_names::HeaderNames;
use crate::metrics::Metrics;
use crate::telemetry::Traces;
use crate::tls::HTTP2_ALPN;

/// The time for the first request of a connection that was made just before the listener was closed.
const FIRST_REQUEST_TIME: Duration = Duration::from_millis(200);

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
