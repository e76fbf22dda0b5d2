//! The body of a response whose span ends with it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use personium_api::Body;
use personium_trace::Span;

/// Ends a span when the body has been sent or dropped.
pub(crate) struct TracedBody {
    inner: Body,
    span: Span,
}

impl TracedBody {
    /// The response, whose span ends with its body.
    pub(crate) fn wrap(response: Response<Body>, span: Span) -> Response<Body> {
        if !span.is_recorded() || response.body().is_end_stream() {
            return response;
        }
        response.map(|inner| Self { inner, span }.boxed_unsync())
    }
}

impl HttpBody for TracedBody {
    type Data = Bytes;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let _entered = self.span.as_scope().map(|scope| scope.enter());
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.span = Span::none(),
            Poll::Ready(Some(Err(_))) => {
                self.span.fail("body");
                self.span = Span::none();
            }
            _ if self.inner.is_end_stream() => self.span = Span::none(),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for TracedBody {
    fn drop(&mut self) {
        if !self.inner.is_end_stream() {
            self.span.fail("cancelled");
        }
    }
}
