//! Time-outs for writes to a connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::Body;
use personium_model::AnswerMemory;
use personium_model::answer_memory::UNCOUNTED_ANSWER_BYTES;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::min_rate_timeout::{MinRateTimeout, timed_out};

/// The waiting time after which a large response must have the rate [`LARGE_BYTES_PER_SEC`] while memory is short.
const LARGE_LIMIT: Duration = Duration::from_secs(10);
/// The minimum mean rate of a large response while memory is short.
const LARGE_BYTES_PER_SEC: u32 = 16 << 10;
/// The time after which a connection with a slow response looks again whether memory is short.
const RECHECK: Duration = Duration::from_secs(1);

/// Whether a response that is being sent holds memory that others need.
pub(crate) struct ResponseMemory {
    memory: AnswerMemory,
    is_large: AtomicBool,
}

impl ResponseMemory {
    pub(crate) fn new(memory: AnswerMemory) -> Self {
        Self {
            memory,
            is_large: AtomicBool::new(false),
        }
    }

    /// Notes the response that is sent next.
    pub(crate) fn begin(&self, body: &impl Body) {
        let bytes = body.size_hint().exact();
        let is_large = bytes.is_none_or(|bytes| bytes > UNCOUNTED_ANSWER_BYTES as u64);
        self.is_large.store(is_large, Ordering::Relaxed);
    }

    fn is_large(&self) -> bool {
        self.is_large.load(Ordering::Relaxed)
    }
}

/// A connection whose writes fail when the peer accepts too little in a given time. Reads are passed through.
pub(crate) struct WriteTimeoutStream<S> {
    inner: S,
    timeout: MinRateTimeout,
    /// The time-out that holds while memory is short.
    large_timeout: MinRateTimeout,
    response: Arc<ResponseMemory>,
}

impl<S> WriteTimeoutStream<S> {
    /// Wraps a connection.
    pub(crate) fn new(inner: S, limit: Duration, response: Arc<ResponseMemory>) -> Self {
        Self {
            inner,
            timeout: MinRateTimeout::new(limit),
            large_timeout: MinRateTimeout::with_rate(LARGE_LIMIT, LARGE_BYTES_PER_SEC),
            response,
        }
    }

    /// Turns a pending write into an error once a time-out has expired. `accepted` is the number of bytes of a result.
    fn apply_timeout<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        accepted: impl Fn(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = written {
            let bytes = result.as_ref().map_or(0, accepted);
            self.timeout.credit(bytes);
            self.large_timeout.credit(bytes);
            return Poll::Ready(result);
        }
        let is_expired = self.timeout.poll_expired(cx).is_ready();
        if is_expired || self.poll_large_expired(cx).is_ready() {
            return Poll::Ready(Err(timed_out("writing to the client")));
        }
        Poll::Pending
    }

    fn poll_large_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.response.is_large() {
            self.large_timeout.reset();
            return Poll::Pending;
        }
        while self.large_timeout.poll_expired(cx).is_ready() {
            if self.response.memory.is_short() {
                return Poll::Ready(());
            }
            self.large_timeout.restart(RECHECK);
        }
        Poll::Pending
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
        self.apply_timeout(cx, written, |bytes| *bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.apply_timeout(cx, written, |bytes| *bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.apply_timeout(cx, flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the clock of the timers, which these tests pause"
)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    const MIB: usize = 1 << 20;

    /// A connection that sends a response of so many bytes, its other end, and the budget of 16 MiB.
    fn connection(bytes: usize) -> (WriteTimeoutStream<DuplexStream>, DuplexStream, AnswerMemory) {
        let memory = AnswerMemory::new(16 << 20);
        let response = Arc::new(ResponseMemory::new(memory.clone()));
        response.begin(&Full::new(Bytes::from(vec![0; bytes])));
        let (ours, theirs) = tokio::io::duplex(10);
        let ours = WriteTimeoutStream::new(ours, Duration::from_secs(60), response);
        (ours, theirs, memory)
    }

    #[tokio::test(start_paused = true)]
    async fn write_fails_when_the_peer_reads_nothing() {
        let (mut ours, mut theirs, _) = connection(10);
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

    #[tokio::test(start_paused = true)]
    async fn write_fails_when_the_peer_reads_a_byte_now_and_then() {
        let (mut ours, mut theirs, _) = connection(10);
        let reading = tokio::spawn(async move {
            while theirs.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        });
        let error = ours.write_all(&[b'x'; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        reading.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn slow_large_response_ends_early_when_memory_is_short() {
        for (bytes, is_short, seconds) in [
            (100 << 10, true, 10),
            (100 << 10, false, 60),
            (10 << 10, true, 60),
        ] {
            let (mut ours, _theirs, memory) = connection(bytes);
            let mut others = memory.share(personium_store::Space::Unit).reservation();
            others.hold(if is_short { 9 * MIB } else { MIB }).unwrap();
            let start = tokio::time::Instant::now();
            ours.write_all(&[b'x'; 100]).await.unwrap_err();
            assert_eq!(start.elapsed().as_secs(), seconds, "{bytes} {is_short}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_large_response_ends_when_memory_becomes_short() {
        let (mut ours, _theirs, memory) = connection(100 << 10);
        let start = tokio::time::Instant::now();
        let (written, _others) = tokio::join!(ours.write_all(&[b'x'; 100]), async {
            tokio::time::sleep(Duration::from_millis(20_500)).await;
            let mut others = memory.share(personium_store::Space::Unit).reservation();
            others.hold(9 * MIB).unwrap();
            others
        });
        written.unwrap_err();
        assert_eq!(start.elapsed().as_secs(), 21);
    }
}
