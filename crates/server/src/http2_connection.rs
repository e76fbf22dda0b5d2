//! The limits of connections by HTTP/2 that those by HTTP/1 have by their streams of bytes.
//!
//! A client by HTTP/2 decides for each response how much of it may be sent. One that accepts nothing leaves the connection writable,
//! so that a time-out of writes does not see it. Responses are handed over in small slices, and a slice that the client does not
//! accept in time ends the connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::COOKIE;
use http::{HeaderValue, Request, Response, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use personium_api::{Body, BoxError};
use personium_types::Clock;

/// The largest slice of a response. What the library keeps of a response that is not accepted is at most that.
const SLICE_BYTES: usize = 16 << 10;

/// The largest number of responses of a connection at the same time.
pub(crate) const MAX_STREAMS: u32 = 64;

/// The time between two looks at the responses of a connection.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The headers of a connection, which HTTP/2 does not have (RFC 9113, section 8.2.2).
const CONNECTION_HEADERS: [header::HeaderName; 3] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The state of a connection.
#[derive(Debug)]
struct Streams {
    /// The requests that are answered, and the responses that are sent.
    open: usize,
    /// The times since which the client accepts nothing, by the number of the response.
    waiting: Vec<(u64, Instant)>,
    next_number: u64,
    /// The time of the last begin or end of a request.
    last_event: Instant,
}

/// The requests and responses of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Http2Streams {
    streams: Arc<Mutex<Streams>>,
    clock: Arc<dyn Clock>,
}

/// One request and its response, until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenStream {
    streams: Http2Streams,
    number: u64,
}

impl Http2Streams {
    /// Those of a new connection.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let streams = Streams {
            open: 0,
            waiting: Vec::new(),
            next_number: 0,
            last_event: clock.monotonic(),
        };
        Self {
            streams: Arc::new(Mutex::new(streams)),
            clock,
        }
    }

    /// The time since another one.
    fn since(&self, time: Instant) -> Duration {
        self.clock.monotonic().saturating_duration_since(time)
    }

    /// Notes a request.
    pub(crate) fn begin(&self) -> OpenStream {
        let mut streams = self.streams.lock();
        streams.open += 1;
        streams.next_number += 1;
        streams.last_event = self.clock.monotonic();
        OpenStream {
            number: streams.next_number,
            streams: self.clone(),
        }
    }

    /// Whether there has been no request for so long.
    pub(crate) fn is_idle(&self, limit: Duration) -> bool {
        let streams = self.streams.lock();
        streams.open == 0 && self.since(streams.last_event) >= limit
    }

    /// Whether the client has not accepted a slice of a response for so long.
    pub(crate) fn is_stalled(&self, limit: Duration) -> bool {
        let streams = self.streams.lock();
        let mut waiting = streams.waiting.iter();
        waiting.any(|(_, since)| self.since(*since) >= limit)
    }
}

impl OpenStream {
    /// Notes that the client has to accept a slice.
    fn waits(&self) {
        let mut streams = self.streams.streams.lock();
        streams
            .waiting
            .push((self.number, self.streams.clock.monotonic()));
    }

    /// Notes that it has.
    fn goes_on(&self) {
        let mut streams = self.streams.streams.lock();
        streams.waiting.retain(|(number, _)| *number != self.number);
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.goes_on();
        let mut streams = self.streams.streams.lock();
        streams.open = streams.open.saturating_sub(1);
        streams.last_event = self.streams.clock.monotonic();
    }
}

/// A response body in slices, which knows whether the client accepts them.
struct SlicedBody {
    inner: Body,
    rest: Bytes,
    stream: OpenStream,
}

/// Makes slices of the body of a response, and leaves out the headers of connections.
pub(crate) fn response(response: Response<Body>, stream: OpenStream) -> Response<Body> {
    let mut response = response.map(|inner| {
        let rest = Bytes::new();
        BodyExt::boxed_unsync(SlicedBody {
            inner,
            rest,
            stream,
        })
    });
    for name in CONNECTION_HEADERS {
        response.headers_mut().remove(name);
    }
    response
}

impl SlicedBody {
    /// The next slice of the rest. The last one is a copy, so that the memory of the whole is not kept by it.
    fn next_slice(&mut self) -> Bytes {
        if self.rest.len() > SLICE_BYTES {
            return self.rest.split_to(SLICE_BYTES);
        }
        let last = std::mem::take(&mut self.rest);
        Bytes::copy_from_slice(&last)
    }
}

impl HttpBody for SlicedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = &mut *self;
        body.stream.goes_on();
        while body.rest.is_empty() {
            match ready!(Pin::new(&mut body.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Ok(data) => body.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return Poll::Ready(other),
            }
        }
        let slice = body.next_slice();
        body.stream.waits();
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

/// Makes one header of the cookies, which HTTP/2 may split (RFC 9113, section 8.2.3).
pub(crate) fn join_cookies<B>(request: &mut Request<B>) {
    let headers = request.headers_mut();
    let cookies: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() < 2 {
        return;
    }
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;
    use crate::system;

    const LIMIT: Duration = Duration::from_secs(60);

    /// A clock that goes on when it is told to.
    #[derive(Debug)]
    struct HeldClock {
        start: Instant,
        elapsed: Mutex<Duration>,
    }

    impl HeldClock {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                start: system::clock().monotonic(),
                elapsed: Mutex::default(),
            })
        }

        fn advance(&self, time: Duration) {
            *self.elapsed.lock() += time;
        }
    }

    impl Clock for HeldClock {
        fn now_ms(&self) -> i64 {
            0
        }

        fn monotonic(&self) -> Instant {
            self.start + *self.elapsed.lock()
        }
    }

    fn full(bytes: usize) -> Body {
        let body = Full::new(Bytes::from(vec![7; bytes]));
        body.map_err(|never| match never {}).boxed_unsync()
    }

    #[tokio::test]
    async fn response_that_the_client_does_not_accept_stalls_and_one_that_is_made_slowly_does_not()
    {
        let clock = HeldClock::new();
        let streams = Http2Streams::new(Arc::clone(&clock) as _);
        let mut sent = response(Response::new(full(40_000)), streams.begin());
        clock.advance(LIMIT * 2);
        assert!(!streams.is_stalled(LIMIT) && !streams.is_idle(LIMIT));
        let mut sizes = Vec::new();
        while let Some(frame) = sent.body_mut().frame().await {
            sizes.push(frame.unwrap().into_data().unwrap().len());
            assert!(!streams.is_stalled(LIMIT));
            clock.advance(LIMIT);
            assert!(streams.is_stalled(LIMIT));
        }
        assert_eq!(sizes, [SLICE_BYTES, SLICE_BYTES, 40_000 - 2 * SLICE_BYTES]);
        drop(sent);
        assert!(!streams.is_stalled(LIMIT) && !streams.is_idle(LIMIT));
        clock.advance(LIMIT);
        assert!(streams.is_idle(LIMIT));
    }

    #[test]
    fn size_and_end_of_a_response_stay_and_headers_of_connections_go() {
        let streams = Http2Streams::new(system::clock());
        let mut plain = Response::new(full(5));
        let close = HeaderValue::from_static("close");
        plain.headers_mut().insert(header::CONNECTION, close);
        let sent = response(plain, streams.begin());
        assert_eq!(sent.body().size_hint().exact(), Some(5));
        assert!(sent.headers().is_empty());
        let empty = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let sent = response(Response::new(empty), streams.begin());
        assert!(sent.body().is_end_stream());
    }

    #[test]
    fn cookies_are_joined() {
        let request = Request::builder()
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let mut request = request.body(()).unwrap();
        join_cookies(&mut request);
        let cookies: Vec<&HeaderValue> = request.headers().get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
    }
}
