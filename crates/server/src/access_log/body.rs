//! A response body that counts its bytes for the access log.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use personium_api::{Body, BoxError};

use super::AccessRecord;

/// A body whose end writes the line of its request.
pub(super) struct RecordedBody {
    inner: Body,
    bytes: u64,
    /// The record, until its line is written.
    record: Option<AccessRecord>,
}

impl RecordedBody {
    /// Wraps the body of a response.
    pub(super) fn wrap(inner: Body, record: AccessRecord) -> Body {
        let body = Self {
            inner,
            bytes: 0,
            record: Some(record),
        };
        body.boxed_unsync()
    }
}

impl HttpBody for RecordedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.bytes = self.bytes.saturating_add(data.len() as u64);
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

impl Drop for RecordedBody {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            record.write(self.bytes);
        }
    }
}
