//! Connections by HTTP/1.1.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{CONNECTION, STRICT_TRANSPORT_SECURITY};
use http::{Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use personium_api::{Body, TargetWithFragment};

use super::HttpLimits;
use super::handler::{HSTS, Handler, remove_forwarded};
use crate::lingering_close::{LingeringStream, Lingers};
use crate::request_lines::{RequestLineReader, RequestLines};
use crate::tls::ClientStream;
use crate::write_timeout::{ResponseMemory, WriteTimeoutStream};

/// A connection as hyper reads and writes it.
pub(super) type ConnectionStream =
    WriteTimeoutStream<RequestLineReader<LingeringStream<ClientStream>>>;

/// Returns the future that serves the requests of one connection.
pub(super) fn serve_connection(
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

/// The hyper service of one connection.
pub(super) struct ConnectionService {
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
