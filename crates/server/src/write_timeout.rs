//! A time-out for writes to a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::min_rate_timeout::{MinRateTimeout, timed_out};

/// A connection whose writes fail when the peer accepts no data for a given time. Reads are passed through.
pub(crate) struct WriteTimeoutStream<S> {
    inner: S,
    timeout: MinRateTimeout,
}

impl<S> WriteTimeoutStream<S> {
    /// Wraps a connection.
    pub(crate) fn new(inner: S, limit: Duration) -> Self {
        Self {
            inner,
            timeout: MinRateTimeout::new(limit),
        }
    }

    /// Turns a pending write into an error once the time-out has expired.
    fn apply_timeout<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(result) => {
                self.timeout.reset();
                Poll::Ready(result)
            }
            Poll::Pending => self
                .timeout
                .poll_expired(cx)
                .map(|()| Err(timed_out("writing to the client"))),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeoutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeoutStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.apply_timeout(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.apply_timeout(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.apply_timeout(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn write_fails_when_the_peer_reads_nothing() {
        let (ours, mut theirs) = tokio::io::duplex(10);
        let mut ours = WriteTimeoutStream::new(ours, Duration::from_secs(60));
        ours.write_all(b"0123456789").await.unwrap();
        let (written, ()) = tokio::join!(ours.write_all(b"more"), async {
            tokio::time::sleep(Duration::from_secs(50)).await;
            let mut read = [0; 10];
            theirs.read_exact(&mut read).await.unwrap();
        });
        written.unwrap();
        ours.write_all(b"6 more").await.unwrap();
        let error = ours.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
