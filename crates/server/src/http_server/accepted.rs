//! Connections that clients make.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use super::ClientPorts;
use crate::tls::{ACME_ALPN, ClientStream};

/// The pause after a failed accept, which usually means that the system is out of file descriptors or memory.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The time for a handshake of TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes TLS of a connection, if it is one of the TLS port. Returns `None` for one that only answers a challenge of an authority.
///
/// # Errors
/// If the handshake fails or takes longer than 10 seconds.
pub(super) async fn client_stream(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
) -> io::Result<Option<ClientStream>> {
    let Some(acceptor) = acceptor else {
        return Ok(Some(ClientStream::Plain(stream)));
    };
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
    let stream = handshake.await.map_err(|_| io::ErrorKind::TimedOut)??;
    let is_challenge = stream.get_ref().1.alpn_protocol() == Some(ACME_ALPN);
    Ok((!is_challenge).then(|| ClientStream::Tls(Box::new(stream))))
}

/// A new connection and its share of the connection limit.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) permit: OwnedSemaphorePermit,
    /// The TLS of its port.
    pub(super) acceptor: Option<TlsAcceptor>,
}

/// The next connection of any port, and the TLS of that.
async fn next_connection(
    ports: &ClientPorts,
) -> (io::Result<(TcpStream, SocketAddr)>, Option<TlsAcceptor>) {
    let Some(tls) = &ports.tls else {
        return (ports.plain.accept().await, None);
    };
    tokio::select! {
        accepted = ports.plain.accept() => (accepted, None),
        accepted = tls.listener.accept() => (accepted, Some(tls.acceptor.clone())),
    }
}

/// Returns the next connection, once the connection limit permits one more.
pub(super) async fn accept(ports: &ClientPorts, permits: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    let (accepted, acceptor) = next_connection(ports).await;
    match accepted {
        Ok((stream, peer)) => {
            // If the option cannot be set, responses are slower and nothing else.
            let _ = stream.set_nodelay(true);
            Some(Accepted {
                stream,
                peer,
                permit,
                acceptor,
            })
        }
        Err(error) => {
            tracing::warn!(%error, "failed to accept a connection, will retry");
            tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
            None
        }
    }
}

/// Closes a listener. Returns the connections that clients have made and that were not accepted yet.
pub(super) fn close(
    listener: TcpListener,
    permits: &Arc<Semaphore>,
    acceptor: Option<&TlsAcceptor>,
) -> Vec<Accepted> {
    let mut waiting = Vec::new();
    let Ok(listener) = listener.into_std() else {
        return waiting;
    };
    while let Ok(permit) = Arc::clone(permits).try_acquire_owned()
        && let Ok((stream, peer)) = listener.accept()
    {
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            waiting.push(Accepted {
                stream,
                peer,
                permit,
                acceptor: acceptor.cloned(),
            });
        }
    }
    waiting
}
