//! The client of the collector: OTLP over HTTP/1.1 with Protocol Buffers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use personium_operator_files::tls::{self, TlsError};
use personium_trace::otlp;
use personium_types::error::chain;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use super::header_file;
use crate::config::TraceConfig;

/// The media type of a message.
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// The largest answer that is read.
const ANSWER_MAX_BYTES: usize = 64 << 10;

/// The time for which an unused connection is kept.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A collector that cannot be used, whether it answers or not.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The URL is none of HTTP.
    #[error("telemetry.traces.endpoint is no URL of a collector")]
    Url,
    /// The certificates cannot be used.
    #[error("cannot use the certificates for the collector of traces (telemetry.traces.caFile)")]
    Tls(#[from] TlsError),
    /// The headers cannot be used.
    #[error(
        "cannot use the headers for the collector of traces (telemetry.traces.headersFile): {0}"
    )]
    Headers(String),
}

/// The fate of a message that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SendFailure {
    /// Another attempt may help, after a time that the collector may have named.
    Temporary {
        /// The reason, for the operator.
        reason: String,
        /// The time that the collector asks for.
        retry_after: Option<Duration>,
    },
    /// The collector does not want it.
    Refused(String),
}

/// Sends messages to a collector.
pub(super) struct Collector {
    connections: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    headers_file: Option<PathBuf>,
    timeout: Duration,
}

impl Collector {
    /// The collector of the settings, if they name one. Nothing is sent yet.
    ///
    /// # Errors
    /// [`CollectorError`]
    pub(super) fn new(config: &TraceConfig) -> Result<Option<Self>, CollectorError> {
        let Some(url) = config.target() else {
            return Ok(None);
        };
        let uri: Uri = url.parse().map_err(|_| CollectorError::Url)?;
        if let Some(path) = &config.headers_file {
            header_file::read(path).map_err(CollectorError::Headers)?;
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(config.timeout()));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(match uri.scheme_str() {
                Some("https") => tls::client_config(config.roots.as_deref(), None)?,
                _ => without_tls().map_err(TlsError::Setup)?,
            })
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Some(Self {
            connections: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(POOL_IDLE_TIMEOUT)
                .pool_max_idle_per_host(1)
                .build(connector),
            uri,
            headers_file: config.headers_file.clone(),
            timeout: config.timeout(),
        }))
    }

    /// Sends a message. Returns the number of spans that the collector has refused nevertheless.
    ///
    /// # Errors
    /// [`SendFailure`], within the time that the collector has to answer.
    pub(super) async fn send(&self, message: Vec<u8>) -> Result<u64, SendFailure> {
        let late = || SendFailure::Temporary {
            reason: format!("no answer in {} s", self.timeout.as_secs()),
            retry_after: None,
        };
        let exchange = tokio::time::timeout(self.timeout, self.exchange(message));
        exchange.await.unwrap_or_else(|_| Err(late()))
    }

    /// Sends a message without spans. Returns the URL.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) async fn check(&self) -> Result<String, String> {
        let uri = &self.uri;
        match self.send(Vec::new()).await {
            Ok(_) => Ok(uri.to_string()),
            Err(SendFailure::Temporary { reason, .. } | SendFailure::Refused(reason)) => {
                Err(format!("{uri}: {reason}"))
            }
        }
    }

    async fn exchange(&self, message: Vec<u8>) -> Result<u64, SendFailure> {
        let temporary = |reason| SendFailure::Temporary {
            reason,
            retry_after: None,
        };
        let headers = self.headers().await.map_err(temporary)?;
        let mut request = Request::new(Full::new(Bytes::from(message)));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::CONTENT_TYPE, PROTOBUF);
        let response = self.connections.request(request).await;
        let response = response.map_err(|error| temporary(chain(&error)))?;
        let status = response.status();
        if !status.is_success() {
            return Err(failure(&response));
        }
        // An answer that cannot be read counts as one without a word: the spans were accepted.
        let answer = read(response).await.unwrap_or_default();
        Ok(otlp::rejected_spans(&answer))
    }

    async fn headers(&self) -> Result<HeaderMap, String> {
        let Some(path) = self.headers_file.clone() else {
            return Ok(HeaderMap::new());
        };
        let reading = tokio::task::spawn_blocking(move || header_file::read(&path));
        reading.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

/// The settings of TLS of a client that uses none.
fn without_tls() -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

async fn read(response: Response<Incoming>) -> Option<Bytes> {
    let body = Limited::new(response.into_body(), ANSWER_MAX_BYTES);
    Some(body.collect().await.ok()?.to_bytes())
}

/// The meaning of a status (OTLP specification, section "Failures" of OTLP/HTTP).
fn failure<B>(response: &Response<B>) -> SendFailure {
    let status = response.status();
    let reason = format!("it answers {status}");
    let is_temporary = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    if !is_temporary {
        return SendFailure::Refused(reason);
    }
    let seconds = response.headers().get(header::RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    SendFailure::Temporary {
        reason,
        retry_after: seconds.map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_say_whether_another_attempt_may_help() {
        let of = |status: u16, retry_after: &str| {
            let response = Response::builder().status(status);
            failure(
                &response
                    .header("retry-after", retry_after)
                    .body(())
                    .unwrap(),
            )
        };
        for status in [400, 401, 403, 404, 413, 500, 301] {
            assert!(
                matches!(of(status, "1"), SendFailure::Refused(_)),
                "{status}"
            );
        }
        for status in [429, 502, 503, 504] {
            for (given, expected) in [("7", Some(7)), ("-1", None), ("soon", None)] {
                let SendFailure::Temporary { retry_after, .. } = of(status, given) else {
                    panic!("{status} is temporary");
                };
                assert_eq!(retry_after, expected.map(Duration::from_secs));
            }
        }
    }
}
