//! The close of a connection whose client may still be sending a request body that nobody reads.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// The time for which what the client sends is read and dropped.
const LINGER_TIME: Duration = Duration::from_secs(5);

/// The size of the pieces in which it is read.
const PIECE_BYTES: usize = 8 << 10;

/// Set if the connection is to be closed while the client may still send.
pub(crate) type Lingers = Arc<AtomicBool>;

/// A connection that, if it is closed early, first ends its sending side and drops what the client still sends, until the
/// client closes it too or a time is over (RFC 9112, section 9.6). Otherwise the system would tell the client by a reset that its
/// data was not read, and the reset would take the place of a response that the client has not read yet. A proxy would take the
/// server for broken.
pub(crate) struct LingeringStream<S> {
    inner: S,
    lingers: Lingers,
    ended: Option<Pin<Box<Sleep>>>,
}

impl<S> LingeringStream<S> {
    /// Wraps a connection.
    pub(crate) fn new(inner: S, lingers: Lingers) -> Self {
        Self {
            inner,
            lingers,
            ended: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LingeringStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LingeringStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &mut *self;
        if stream.ended.is_none() {
            std::task::ready!(Pin::new(&mut stream.inner).poll_shutdown(cx))?;
            if !stream.lingers.load(Ordering::Acquire) {
                return Poll::Ready(Ok(()));
            }
        }
        let timer = stream
            .ended
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER_TIME)));
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut piece = [0; PIECE_BYTES];
        loop {
            let mut buffer = ReadBuf::new(&mut piece);
            match std::task::ready!(Pin::new(&mut stream.inner).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                // The client has closed the connection, or it broke.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test may use the clock of the runtime"
)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn early_close_drops_what_the_client_sends_until_it_closes() {
        let (ours, mut theirs) = tokio::io::duplex(10);
        let mut ours = LingeringStream::new(ours, Arc::new(true.into()));
        ours.write_all(b"answer").await.unwrap();
        let client = async {
            theirs.write_all(&[b'x'; 1000]).await.unwrap();
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).await.unwrap();
            drop(theirs);
            read
        };
        let (closed, read) = tokio::join!(ours.shutdown(), client);
        closed.unwrap();
        assert_eq!(read, b"answer");
    }

    #[tokio::test(start_paused = true)]
    async fn close_ends_after_its_time_and_at_once_without_unread_data() {
        for (lingers, expected) in [(true, LINGER_TIME), (false, Duration::ZERO)] {
            let (ours, _theirs) = tokio::io::duplex(10);
            let mut ours = LingeringStream::new(ours, Arc::new(lingers.into()));
            let start = tokio::time::Instant::now();
            ours.shutdown().await.unwrap();
            let taken = start.elapsed();
            assert!(
                taken >= expected && taken < expected + Duration::from_secs(1),
                "{taken:?}"
            );
        }
    }
}
