//! A TCP stream that acknowledges what it has received at once.
//!
//! ActiveMQ leaves Nagle's algorithm (RFC 1122, section 4.2.3.4) on. A message that it sends after a receipt would wait at the broker
//! until the receipt is acknowledged, which systems delay by 40 ms and more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The stream.
pub(crate) struct PromptStream(TcpStream);

impl PromptStream {
    /// Takes a connected stream. It does not delay what it sends either.
    ///
    /// # Errors
    /// If the option cannot be set.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }
}

impl AsyncRead for PromptStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.0).poll_read(cx, buffer));
        // The system forgets the option. Where it cannot be set, messages are slower and nothing else.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = self.0.set_quickack(true);
        Poll::Ready(read)
    }
}

impl AsyncWrite for PromptStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "a test may use the real clock")]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// The shortest time for which a system delays an acknowledgement.
    const DELAY_MIN: Duration = Duration::from_millis(40);
    /// At the beginning of a connection acknowledgements are not delayed.
    const FIRST_ROUNDS: usize = 30;
    /// The quickest of these counts, so that a slow machine does not matter.
    const ROUNDS: usize = 30;

    #[tokio::test]
    async fn second_part_of_an_answer_is_not_delayed_by_the_first() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(false).unwrap();
            let mut request = [0];
            while stream.read_exact(&mut request).await.is_ok() {
                stream.write_all(b"a").await.unwrap();
                stream.write_all(b"b").await.unwrap();
            }
        });
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut stream = PromptStream::new(stream).unwrap();
        let mut times = Vec::new();
        for _ in 0..FIRST_ROUNDS + ROUNDS {
            let start = Instant::now();
            stream.write_all(b"?").await.unwrap();
            stream.read_exact(&mut [0; 2]).await.unwrap();
            times.push(start.elapsed());
        }
        let quickest = times.iter().skip(FIRST_ROUNDS).min().unwrap();
        assert!(*quickest < DELAY_MIN, "{times:?}");
    }
}
