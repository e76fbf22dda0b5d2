//! Connections by HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::STRICT_TRANSPORT_SECURITY;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use personium_api::Body;

use super::HttpLimits;
use super::handler::{HSTS, Handler, empty, remove_forwarded};
use crate::graceful_end::ConnectionEnd;
use crate::http2_connection::{self, Http2Streams, LOOK_INTERVAL, MAX_STREAMS};
use crate::tls::ClientStream;
use crate::write_timeout::{ResponseMemory, WriteTimeoutStream};

/// Serves the requests of one connection by HTTP/2, until the client ends it, has not sent a request or accepted a part of a response
/// for too long, or the server ends.
pub(super) async fn serve_http2(
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
