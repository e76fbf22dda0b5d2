//! The admin listener: health, readiness and metrics, on a loopback address.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use personium_store::RecordStore;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::layers::{Layer, LayerNeed};
use crate::metrics::{self, Metrics};
use crate::storage_watch::StorageWatch;

/// The largest number of connections at the same time.
const MAX_CONNECTIONS: usize = 16;

/// The time for the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after a failed accept.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Responds to requests of the admin listener.
#[derive(Clone)]
pub struct AdminService {
    /// The record store, whose check decides about readiness.
    pub records: Arc<dyn RecordStore>,
    /// The state of the storage.
    pub storage: Arc<StorageWatch>,
    /// The layers outside of the process.
    pub layers: Arc<[Layer]>,
    /// The metrics that are served.
    pub metrics: Arc<Metrics>,
    /// Becomes true when the unit shuts down: then it is healthy and not ready.
    pub stop: watch::Receiver<bool>,
}

/// Listens on `address`, or if that is in use, on any free port of the same host.
///
/// # Errors
/// [`std::io::Error`] if there is no free port.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) => {
            let listener = TcpListener::bind(SocketAddr::new(address.ip(), 0)).await?;
            let used = listener.local_addr()?;
            tracing::warn!(
                admin.listen = %address,
                admin.address = %used,
                %error,
                "admin address is in use, listening on another port"
            );
            Ok(listener)
        }
    }
}

/// Serves until the task is aborted.
pub async fn serve(listener: TcpListener, service: AdminService) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
            continue;
        };
        let service = service.clone();
        tokio::spawn(async move {
            let handle = |request: Request<Incoming>| {
                let service = service.clone();
                async move { Ok::<_, Infallible>(service.handle(request.uri().path()).await) }
            };
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .keep_alive(false);
            if let Err(error) = http
                .serve_connection(TokioIo::new(stream), service_fn(handle))
                .await
            {
                tracing::debug!(%error, "admin connection aborted");
            }
            drop(permit);
        });
    }
}

impl AdminService {
    async fn handle(&self, path: &str) -> Response<Full<Bytes>> {
        match path {
            "/health" => text(StatusCode::OK, "ok\n"),
            "/ready" => self.ready().await,
            "/metrics" => self.metrics(),
            _ => text(
                StatusCode::NOT_FOUND,
                "not found; use /health, /ready or /metrics\n",
            ),
        }
    }

    async fn ready(&self) -> Response<Full<Bytes>> {
        if *self.stop.borrow() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
        }
        let (layers, is_required_missing) = self.layer_states().await;
        if is_required_missing {
            return text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not ready\n{layers}"),
            );
        }
        if let Err(error) = self.records.check().await {
            return text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n"));
        }
        if let Some(failure) = self.storage.failure() {
            return text(StatusCode::SERVICE_UNAVAILABLE, format!("{failure}\n"));
        }
        let degradation = self.storage.degradation();
        if degradation.is_empty() {
            return text(StatusCode::OK, format!("ready\n{layers}"));
        }
        // The status stays: what the unit still does needs clients to be led to it.
        let lines = degradation.join("\ndegraded: ");
        text(StatusCode::OK, format!("degraded: {lines}\n{layers}"))
    }

    /// A line for each layer outside of the process, and whether a required one is missing.
    async fn layer_states(&self) -> (String, bool) {
        let states = join_all(self.layers.iter().map(Layer::state)).await;
        let (mut lines, mut is_required_missing) = (String::new(), false);
        for (layer, state) in self.layers.iter().zip(states) {
            is_required_missing |= state.is_err() && layer.need == LayerNeed::Required;
            let state = state
                .err()
                .map_or("ok".to_owned(), |problem| problem.to_string());
            let _ = writeln!(lines, "{}: {state}", layer.name);
        }
        (lines, is_required_missing)
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let Ok(metrics) = self.metrics.encode() else {
            return text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "metrics cannot be encoded\n",
            );
        };
        let mut response = text(StatusCode::OK, metrics);
        let media_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, media_type);
        response
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    let nosniff = HeaderValue::from_static("nosniff");
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}
