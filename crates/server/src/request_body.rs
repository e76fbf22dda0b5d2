//! The body of a request: it must come in time, and what is left of it when the request is answered early is dealt with.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::EXPECT;
use personium_api::BoxError;
use tokio::runtime::Handle;

use crate::patience::{Patience, late};

/// Bytes of a body nobody wants that are still taken, so that the connection can be used for the next request.
const TAKEN: u64 = 64 << 10;

/// Whether the rest of a body stays where it is, which ends its connection (RFC 9112 section 9.6).
#[derive(Clone, Default)]
pub(crate) struct Left(Arc<AtomicBool>);

impl Left {
    /// True once the body was given up unread; the answer then says `Connection: close`.
    pub(crate) fn behind(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn leave(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A request body. It fails when the unit waited for it too long: for its next piece, or for many small ones (see
/// [`Patience::earn`]). Time in which the unit does not ask for more does not count. If it is dropped before its end, a
/// short rest is read and thrown away; a long one, or one that the client keeps back until it is invited (RFC 9110
/// section 10.1.1), is left behind.
pub(crate) struct RequestBody {
    /// `None` after its end.
    inner: Option<Incoming>,
    patience: Patience,
    left: Left,
    invited: bool,
}

impl RequestBody {
    /// The request with its body; each piece, and a rest nobody wants as a whole, must come within the limit. A piece of
    /// few bytes makes the next one due earlier.
    pub(crate) fn of(request: Request<Incoming>, limit: Duration) -> (Request<Self>, Left) {
        let invited = !request.headers().contains_key(EXPECT);
        let left = Left::default();
        let request = request.map(|body| Self {
            inner: Some(body),
            patience: Patience::new(limit),
            left: left.clone(),
            invited,
        });
        (request, left)
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
        body.invited = true;
        let Some(inner) = body.inner.as_mut() else {
            return Poll::Ready(None);
        };
        let frame = match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                if let Some(Ok(frame)) = &frame {
                    body.patience.earn(frame.data_ref().map_or(0, Bytes::len));
                }
                frame.map(|frame| frame.map_err(BoxError::from))
            }
            Poll::Pending if body.patience.is_up(cx) => {
                body.left.leave();
                Some(Err(late("the request body").into()))
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
        let short = inner.size_hint().upper().is_some_and(|rest| rest <= TAKEN);
        match Handle::try_current() {
            Ok(runtime) if short && self.invited => {
                runtime.spawn(tokio::time::timeout(
                    self.patience.limit(),
                    throw_away(inner),
                ));
            }
            _ => self.left.leave(),
        }
    }
}

async fn throw_away(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}
