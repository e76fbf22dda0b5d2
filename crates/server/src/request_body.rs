//! The body of a request: its time-out, and what happens to the unread rest after an early response.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::EXPECT;
use hyper::{Request, Version};
use personium_api::BoxError;
use tokio::runtime::Handle;

use crate::min_rate_timeout::{MinRateTimeout, timed_out};

/// The largest unread rest of a body that is drained, so that the connection can be used for the next request.
const DRAIN_LIMIT_BYTES: u64 = 64 << 10;

/// The time for which the long rest of a body by HTTP/2 is drained. Some clients take the reset of a stream for a failure although the
/// response is complete (RFC 9113, section 8.1).
const HTTP2_DRAIN_TIME: Duration = Duration::from_secs(5);

/// A flag that is set once a request body is dropped without being read to its end or drained. The connection then
/// has to be closed after the response (RFC 9112 section 9.6).
#[derive(Clone, Default)]
pub(crate) struct UnreadBody(Arc<AtomicBool>);

impl UnreadBody {
    /// Whether the response must say `Connection: close`.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A request body with a time-out and a minimum rate; see [`MinRateTimeout`]. Time in which nobody polls it does not
/// count.
///
/// If it is dropped before its end, a short rest is drained in the background. A longer rest, and a body that the client
/// holds back until it receives `100 Continue` (RFC 9110 section 10.1.1), is left unread. By HTTP/2 a longer rest is drained for five
/// seconds.
pub(crate) struct RequestBody {
    /// `None` after its end.
    inner: Option<Incoming>,
    timeout: MinRateTimeout,
    unread: UnreadBody,
    /// Whether the client sends the body without `100 Continue`, or was sent one.
    continue_sent: bool,
    is_http2: bool,
}

impl RequestBody {
    /// Wraps the body of a request. The limit applies to each wait for the next chunk and to draining as a whole.
    pub(crate) fn wrap(request: Request<Incoming>, limit: Duration) -> (Request<Self>, UnreadBody) {
        let continue_sent = !request.headers().contains_key(EXPECT);
        let unread = UnreadBody::default();
        let is_http2 = request.version() == Version::HTTP_2;
        let request = request.map(|body| Self {
            inner: Some(body),
            timeout: MinRateTimeout::new(limit),
            unread: unread.clone(),
            continue_sent,
            is_http2,
        });
        (request, unread)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = &mut *self;
        // hyper sends `100 Continue` when the body is polled for the first time.
        body.continue_sent = true;
        let Some(inner) = body.inner.as_mut() else {
            return Poll::Ready(None);
        };
        let frame = match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                if let Some(Ok(frame)) = &frame {
                    body.timeout.credit(frame.data_ref().map_or(0, Bytes::len));
                }
                frame.map(|frame| frame.map_err(BoxError::from))
            }
            Poll::Pending if body.timeout.poll_expired(cx).is_ready() => {
                body.unread.set();
                Some(Err(timed_out("reading the request body").into()))
            }
            Poll::Pending => return Poll::Pending,
        };
        if !matches!(frame, Some(Ok(_))) {
            body.inner = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take().filter(|inner| !inner.is_end_stream()) else {
            return;
        };
        let rest_bytes = inner.size_hint().upper();
        let is_short = rest_bytes.is_some_and(|bytes| bytes <= DRAIN_LIMIT_BYTES);
        match Handle::try_current() {
            Ok(runtime) if is_short && self.continue_sent => {
                runtime.spawn(tokio::time::timeout(self.timeout.limit(), drain(inner)));
            }
            Ok(runtime) if self.is_http2 && self.continue_sent => {
                runtime.spawn(tokio::time::timeout(HTTP2_DRAIN_TIME, drain(inner)));
            }
            _ => self.unread.set(),
        }
    }
}

async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}
