//! Health, readiness and figures, on an address of this machine only.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use personium_store::RecordStore;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::figures::Figures;

/// Connections at the same time.
const CONNECTIONS: usize = 16;

/// Time for the head of a request.
const HEADER_TIME: Duration = Duration::from_secs(10);

/// What is told here.
#[derive(Clone)]
pub struct Admin {
    /// The engine, which is asked whether it answers.
    pub records: Arc<dyn RecordStore>,
    /// The figures.
    pub figures: Arc<Figures>,
    /// Becomes true when the unit stops: then it is healthy and not ready.
    pub stop: watch::Receiver<bool>,
}

/// Listens on `address`, or if that is taken, on any free port beside it.
///
/// # Errors
/// If there is no free port.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) => {
            let listener = TcpListener::bind(SocketAddr::new(address.ip(), 0)).await?;
            let used = listener.local_addr()?;
            tracing::warn!(%error, "{address} is not free: health and figures are on {used}");
            Ok(listener)
        }
    }
}

/// Serves as long as the process lives.
pub async fn serve(listener: TcpListener, admin: Admin) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let admin = admin.clone();
        tokio::spawn(async move {
            let answer = |request: Request<Incoming>| {
                let admin = admin.clone();
                async move { Ok::<_, Infallible>(admin.answer(request.uri().path()).await) }
            };
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .keep_alive(false);
            if let Err(error) = http
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await
            {
                tracing::debug!(%error, "a connection for figures ended early");
            }
            drop(place);
        });
    }
}

impl Admin {
    async fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        let (status, text) = match path {
            "/health" => (StatusCode::OK, "ok\n".to_owned()),
            "/ready" => self.ready().await,
            "/metrics" => (StatusCode::OK, self.figures.text()),
            _ => (
                StatusCode::NOT_FOUND,
                "here are /health, /ready and /metrics\n".to_owned(),
            ),
        };
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        let plain = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        response
    }

    async fn ready(&self) -> (StatusCode, String) {
        if *self.stop.borrow() {
            return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".into());
        }
        match self.records.check().await {
            Ok(()) => (StatusCode::OK, "ready\n".into()),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        }
    }
}
