//! Connections that become WebSockets (RFC 6455).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use personium_model::strangers::Stranger;
use personium_model::{CellContext, Unit};
use personium_types::{Code, Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error as SocketError, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use crate::error::{self, Challenge};
use crate::request_context::CellRequest;
use crate::response::{self, Response, WithHeader};

/// The size of the buffer that a connection is read into, in bytes. Clients that listen send little; it grows with a message.
const BUFFER_BYTES: usize = 1 << 10;
/// The version of the protocol.
const VERSION: &str = "13";
/// The largest number of bytes that wait to be sent to a client.
const MAX_UNSENT_BYTES: usize = 2 << 20;

/// The largest number of bytes of a client that are read, and thrown away, after its connection was closed because of an error.
const MAX_DISCARDED_BYTES: u64 = 8 << 20;

/// The time that a client may take for one message.
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection.
pub(crate) type Socket = WebSocketStream<UpgradedStream>;

/// The bytes of a connection. Until its client is authenticated, few are read: any number of strangers could each have begun a large message.
pub(crate) struct UpgradedStream {
    io: TokioIo<Upgraded>,
    /// `None` once the client is authenticated.
    stranger: Option<Box<Stranger>>,
}

impl UpgradedStream {
    /// Lets the client send as much as it wants: it is authenticated.
    pub(crate) fn lift_limit(&mut self) {
        self.stranger = None;
    }
}

impl AsyncRead for UpgradedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut stream.io).poll_read(cx, buffer);
        let bytes = buffer.filled().len() - before;
        let stranger = stream.stranger.as_mut();
        match stranger.is_none_or(|stranger| stranger.count(bytes)) {
            true => read,
            false => Poll::Ready(Err(io::ErrorKind::PermissionDenied.into())),
        }
    }
}

impl AsyncWrite for UpgradedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// The cell of a connection. The request that began it is not kept: its headers are parts of the buffer that they were read into, which would
/// stay as long as they.
pub(crate) struct SocketCell {
    /// The unit.
    pub(crate) unit: Arc<Unit>,
    /// The cell.
    pub(crate) context: Arc<CellContext>,
}

impl SocketCell {
    /// The URL of the cell.
    pub(crate) fn cell_url(&self) -> String {
        self.unit.urls().cell(&self.context.cell().name)
    }
}

/// Whether a request asks for a WebSocket (RFC 6455, section 4.2.1).
pub(crate) fn is_upgrade(request: &CellRequest) -> bool {
    let names = |name, wanted: &str| {
        request.header_lines(name).is_some_and(|value: String| {
            let mut tokens = value.split(',');
            tokens.any(|token| token.trim().eq_ignore_ascii_case(wanted))
        })
    };
    names(header::CONNECTION, "upgrade") && names(header::UPGRADE, "websocket")
}

/// Answers the request for a WebSocket, which `serve` serves. A message of the client has at most so many bytes.
///
/// # Errors
/// [`Code::HeaderInvalid`] if a header of the handshake is missing or wrong, or the connection cannot be one; [`Code::ServerBusy`] if too
/// many clients are not authenticated yet.
pub(crate) fn upgrade<F, Fut>(
    mut request: CellRequest,
    message_max_bytes: usize,
    serve: F,
) -> Result<Response>
where
    F: FnOnce(SocketCell, Socket) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let invalid = |name: header::HeaderName, value: Option<&str>| {
        Error::new(Code::HeaderInvalid)
            .with(name.as_str())
            .with(value.unwrap_or_default())
    };
    let version = request.header(header::SEC_WEBSOCKET_VERSION);
    if version != Some(VERSION) {
        // RFC 6455, section 4.4: the client is told which versions there are.
        let refusal = invalid(header::SEC_WEBSOCKET_VERSION, version);
        let refused = error::render(&refusal, &Challenge::None, &request.request_key);
        return Ok(refused.with_header(header::SEC_WEBSOCKET_VERSION, VERSION));
    }
    let key = request.header(header::SEC_WEBSOCKET_KEY);
    let Some(accept) = key.map(|key| derive_accept_key(key.as_bytes())) else {
        return Err(invalid(header::SEC_WEBSOCKET_KEY, None));
    };
    let on_upgrade = request.upgrade.take();
    let on_upgrade = on_upgrade.ok_or_else(|| invalid(header::UPGRADE, None))?;
    let strangers = &request.unit.limits().strangers;
    let stranger = strangers.admit(request.client_address);
    let stranger = Some(Box::new(stranger.ok_or(Code::ServerBusy)?));
    let cell = SocketCell {
        unit: Arc::clone(&request.unit),
        context: request.context,
    };
    tokio::spawn(async move {
        let Ok(upgraded) = on_upgrade.await else {
            return;
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_UNSENT_BYTES)
            .max_message_size(Some(message_max_bytes))
            .max_frame_size(Some(message_max_bytes));
        let io = UpgradedStream {
            io: TokioIo::new(upgraded),
            stranger,
        };
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Box::pin(serve(cell, socket)).await;
    });
    let mut response = response::status(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    Ok(response)
}

/// Closes a connection, for a reason if it is not a normal end.
pub(crate) async fn close(mut socket: Socket, reason: Option<&'static str>) {
    let frame = CloseFrame {
        code: match reason {
            None => CloseCode::Normal,
            Some(_) => CloseCode::Policy,
        },
        reason: reason.unwrap_or_default().into(),
    };
    let closing = async {
        if socket.close(Some(frame)).await.is_ok() {
            // Until the client has closed it too.
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = timeout(SEND_TIMEOUT, closing).await;
}

/// Answers the close frame of a client, and ends the connection (RFC 6455, section 5.5.1). The answer has the code of the client.
pub(crate) async fn close_after_peer(mut socket: Socket) {
    // The library sends the answer when the socket is read next, and then says that it is closed.
    let answered = async { while let Some(Ok(_)) = socket.next().await {} };
    if timeout(SEND_TIMEOUT, answered).await.is_ok() {
        linger(socket).await;
    }
}

/// Closes a connection that cannot be read: with 1007 for a text that is not UTF-8, 1009 for a message that is too large, 1002 for other
/// violations of the protocol (RFC 6455, section 7.4.1). The client is told nothing if the connection is broken.
pub(crate) async fn close_after_error(mut socket: Socket, error: SocketError) {
    let (code, reason) = match error {
        SocketError::Utf8(_) => (CloseCode::Invalid, "text is not UTF-8"),
        SocketError::Capacity(_) => (CloseCode::Size, "message is too large"),
        SocketError::Protocol(error) if error != ProtocolError::ResetWithoutClosingHandshake => {
            (CloseCode::Protocol, "protocol error")
        }
        _ => return,
    };
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    if let Ok(Ok(())) = timeout(SEND_TIMEOUT, socket.close(Some(frame))).await {
        linger(socket).await;
    }
}

/// Ends the sending side of a connection and reads the rest that the client sends: with unread bytes the connection would be reset, and the
/// client might lose the close frame.
async fn linger(mut socket: Socket) {
    let io = socket.get_mut();
    let discarded = async {
        if io.shutdown().await.is_ok() {
            let _ =
                tokio::io::copy(&mut io.take(MAX_DISCARDED_BYTES), &mut tokio::io::sink()).await;
        }
    };
    let _ = timeout(SEND_TIMEOUT, discarded).await;
}
