//! Bounds on how long a client may keep the unit waiting.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Bytes that a client must send for each second that the unit waits for them, on average.
///
/// A telephone with 2 KB/s gets eight times as much through, so it may send several files at once.
const BYTES_PER_SECOND: u32 = 256;

/// How long the unit may still wait for the other side. Only the time of waiting counts, not the time between.
pub(crate) struct Patience {
    limit: Duration,
    left: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            left: limit,
            waiting: None,
        }
    }

    /// How long it lasts.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Whether patience is at its end; to be asked while the other side does nothing.
    pub(crate) fn is_up(&mut self, cx: &mut Context<'_>) -> bool {
        let left = self.left;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(left)));
        waiting.as_mut().poll(cx).is_ready()
    }

    /// The other side did something: the unit waits as long as at the beginning.
    pub(crate) fn renew(&mut self) {
        self.waiting = None;
        self.left = self.limit;
    }

    /// The other side sent so many bytes: the unit waits as much longer as they are worth, at most as long as at the
    /// beginning.
    pub(crate) fn earn(&mut self, bytes: usize) {
        if let Some(waiting) = self.waiting.take() {
            self.left = waiting.deadline().saturating_duration_since(Instant::now());
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = Duration::from_secs(1).saturating_mul(bytes) / BYTES_PER_SECOND;
        self.left = self.left.saturating_add(earned).min(self.limit);
    }
}

/// The error of a wait that was too long.
pub(crate) fn late(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("{what} did not go on in time"),
    )
}

/// A connection that fails when the other side does not take what is written to it in time.
pub(crate) struct PatientStream<S> {
    inner: S,
    patience: Patience,
}

impl<S> PatientStream<S> {
    pub(crate) fn new(inner: S, limit: Duration) -> Self {
        Self {
            inner,
            patience: Patience::new(limit),
        }
    }

    fn judge<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(done) => {
                self.patience.renew();
                Poll::Ready(done)
            }
            Poll::Pending if self.patience.is_up(cx) => Poll::Ready(Err(late("the client"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PatientStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, pieces);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Waits for the other side for at most so long; whether patience ended first.
    async fn wait(patience: &mut Patience, seconds: f32) -> bool {
        let is_up = std::future::poll_fn(|cx| match patience.is_up(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        tokio::time::timeout(Duration::from_secs_f32(seconds), is_up)
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_is_not_worth_the_wait() {
        let mut patience = Patience::new(Duration::from_secs(60));
        for _ in 0..5 {
            assert!(!wait(&mut patience, 10.0).await);
            patience.earn(1);
        }
        assert!(wait(&mut patience, 10.1).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_gets_through_with_its_pauses() {
        let mut patience = Patience::new(Duration::from_secs(60));
        for _ in 0..10 {
            assert!(!wait(&mut patience, 58.0).await);
            // Two kilobytes each second for ten seconds.
            for _ in 0..10 {
                patience.earn(2_000);
                assert!(!wait(&mut patience, 1.0).await);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waits_costs_nothing() {
        let mut patience = Patience::new(Duration::from_secs(60));
        for _ in 0..10 {
            assert!(!wait(&mut patience, 5.0).await);
            patience.earn(1);
            tokio::time::sleep(Duration::from_secs(600)).await;
        }
        assert!(!wait(&mut patience, 9.0).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (ours, mut theirs) = tokio::io::duplex(10);
        let mut ours = PatientStream::new(ours, Duration::from_secs(60));
        ours.write_all(b"0123456789").await.unwrap();
        let (written, ()) = tokio::join!(ours.write_all(b"more"), async {
            tokio::time::sleep(Duration::from_secs(50)).await;
            let mut taken = [0; 10];
            theirs.read_exact(&mut taken).await.unwrap();
        });
        written.unwrap();
        ours.write_all(b"6 more").await.unwrap();
        let error = ours.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
