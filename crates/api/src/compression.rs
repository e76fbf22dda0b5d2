//! Compression of responses as the client accepts it (RFC 9110, section 12.5.3).
//!
//! The length of a compressed text tells how much of it repeats. Who can put text of his choice next to a secret, and sees the
//! lengths, can guess the secret (BREACH). So only resources that are marked are compressed: those of boxes and control
//! objects, never tokens, login forms or other pages, and nothing that a cookie opens.
//!
//! A compressed response is another representation than the one with the same strong entity tag, so its tag becomes weak.
//! `If-Match` and `If-None-Match` accept the weak form of a tag.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{self, HeaderMap, HeaderValue};
use http::{Extensions, Method, Request, StatusCode, Version};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::CompressionLevel;
use tower_http::compression::Compression;
use tower_service::Service;

use crate::body::BoxError;
use crate::response::Response;

/// The size from which a body is compressed: a smaller one fits into one packet anyway.
const MIN_BYTES: u64 = 1400;
/// A level that costs little time for most of the gain.
const LEVEL: CompressionLevel = CompressionLevel::Precise(4);

/// The number of responses that are compressed at the same time; further ones are sent as they are. Each needs some hundred
/// kilobytes as long as the client reads it.
const MAX_CONCURRENT: usize = 64;

/// The limiter of compressed responses.
#[derive(Clone)]
pub(crate) struct Compressor(Arc<Semaphore>);

impl Default for Compressor {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_CONCURRENT)))
    }
}

/// The mark of a response that may be compressed.
#[derive(Debug, Clone, Copy)]
struct Compressible;

/// Marks a response as one without secrets next to a text that others choose.
pub(crate) fn allow(response: &mut Response) {
    response.extensions_mut().insert(Compressible);
}

impl Compressor {
    /// The response, compressed if it is marked, of a kind that becomes smaller, and the client accepts it.
    pub(crate) async fn apply(
        &self,
        method: &Method,
        request: &HeaderMap,
        mut response: Response,
    ) -> Response {
        let is_marked = response.extensions_mut().remove::<Compressible>().is_some();
        let is_read = *method == Method::GET || method.as_str() == "PROPFIND";
        if !is_marked || !is_read || !is_text(response.headers()) {
            return response;
        }
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        let accepted = request.get_all(header::ACCEPT_ENCODING).iter();
        let may_accept = accepted
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.contains("gzip") || value.contains('*'));
        if !may_accept || request.contains_key(header::COOKIE) || !is_whole(&response) {
            return response;
        }
        match Arc::clone(&self.0).try_acquire_owned() {
            // Boxed: the future of every request would have its size.
            Ok(permit) => Box::pin(compressed(request, response, permit)).await,
            Err(_) => response,
        }
    }
}

/// Whether the media type is one of text.
fn is_text(headers: &HeaderMap) -> bool {
    const TYPES: &[&str] = &[
        "application/json",
        "application/xml",
        "application/javascript",
        "application/x-javascript",
        "application/ecmascript",
        "application/xhtml+xml",
        "application/manifest+json",
        "image/svg+xml",
    ];
    let media_type = headers.get(header::CONTENT_TYPE);
    let Some(media_type) = media_type.and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence.starts_with("text/")
        || essence.ends_with("+xml")
        || essence.ends_with("+json")
        || TYPES.contains(&essence.as_str())
}

/// Whether a response has a whole body that is worth it and has no encoding yet.
fn is_whole(response: &Response) -> bool {
    let headers = response.headers();
    let length = http_body::Body::size_hint(response.body()).exact();
    let length = length.or_else(|| {
        headers
            .get(header::CONTENT_LENGTH)?
            .to_str()
            .ok()?
            .parse()
            .ok()
    });
    let keeps_form = headers.get_all(header::CACHE_CONTROL).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|value| value.contains("no-transform"))
    });
    matches!(response.status(), StatusCode::OK | StatusCode::MULTI_STATUS)
        && length.is_none_or(|length| length >= MIN_BYTES)
        && !keeps_form
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::CONTENT_RANGE)
        && !headers.contains_key(header::SET_COOKIE)
}

async fn compressed(
    request: &HeaderMap,
    response: Response,
    permit: OwnedSemaphorePermit,
) -> Response {
    let mut wrapped = Request::new(response);
    for value in request.get_all(header::ACCEPT_ENCODING) {
        wrapped
            .headers_mut()
            .append(header::ACCEPT_ENCODING, value.clone());
    }
    let always = |_: StatusCode, _: Version, _: &HeaderMap, _: &Extensions| true;
    let mut service = Compression::new(ResponseInRequest)
        .quality(LEVEL)
        .compress_when(always);
    let Ok(response) = service.call(wrapped).await;
    let mut response = response.map(|body| {
        let held_by_body = move |error: BoxError| {
            let _ = &permit;
            error
        };
        body.map_err(held_by_body).boxed_unsync()
    });
    if response.headers().contains_key(header::CONTENT_ENCODING) {
        weaken_tag(response.headers_mut());
    }
    response
}

fn weaken_tag(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(header::ETAG) else {
        return;
    };
    if tag.as_bytes().starts_with(b"\"") {
        let weak = [b"W/", tag.as_bytes()].concat();
        if let Ok(weak) = HeaderValue::from_bytes(&weak) {
            headers.insert(header::ETAG, weak);
        }
    }
}

/// The service whose response is the body of its request, because the library compresses what a service returns.
#[derive(Clone, Copy)]
struct ResponseInRequest;

impl Service<Request<Response>> for ResponseInRequest {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Response>) -> Self::Future {
        ready(Ok(request.into_body()))
    }
}
