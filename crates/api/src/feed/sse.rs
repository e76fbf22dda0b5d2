//! The feed as Server-Sent Events (WHATWG HTML, section 9.2).

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use personium_model::event_feed::FeedListener;
use personium_types::{Code, Error, Operation, Result};
use tokio::time::{Interval, interval};

use super::protocol::{Subscription, text_of};
use super::reader::EventReader;
use crate::access;
use crate::body::{self, BoxError};
use crate::request_context::CellRequest;
use crate::response::{self, Response};

/// The media type of the feed.
const EVENT_STREAM: &str = "text/event-stream";
/// The time after which a comment is sent, so that a connection without a client is found.
const COMMENT_INTERVAL: Duration = Duration::from_secs(30);

/// Whether a request asks for Server-Sent Events.
pub(crate) fn accepts_event_stream(request: &CellRequest) -> bool {
    let accept = request.header_lines(header::ACCEPT);
    accept.is_some_and(|accept: String| {
        let mut types = accept.split(',');
        types.any(|media| {
            media
                .split(';')
                .next()
                .is_some_and(|it| it.trim() == EVENT_STREAM)
        })
    })
}

/// A client that reads the feed.
struct EventStreamClient {
    listener: FeedListener,
    reader: EventReader,
    subscription: Subscription,
    comments: Interval,
}

/// Answers a request for the events whose type and object begin with the parameters `type` and `object`.
///
/// # Errors
/// The refusal of the access check; [`Code::FieldFormat`] if a parameter is missing; [`Code::ServerBusy`] if too many listen.
pub(crate) async fn stream(request: CellRequest) -> Result<Response> {
    request.permit(Operation::SubscribeEvents).await?;
    let parameter = |name: &str| {
        let value = request.query_value(name);
        value.ok_or_else(|| Error::new(Code::FieldFormat).with(name))
    };
    let subscription = Subscription {
        kind: parameter("type")?,
        object: parameter("object")?,
    };
    let token = access::authorization(&request);
    let token = token.as_deref().and_then(|it| it.strip_prefix("Bearer "));
    // Other credentials have no privilege of the cell.
    let token = token.ok_or(Code::AuthRequired)?.trim().to_owned();
    let listener = super::listen(&request)?;
    let reader = EventReader::find(&request.unit, request.context.clone(), token).await?;
    let client = EventStreamClient {
        listener,
        reader: reader.ok_or(Code::AuthRequired)?,
        subscription,
        comments: interval(COMMENT_INTERVAL),
    };
    let events = stream::unfold(Some(client), |client| async {
        let mut client = client?;
        let chunk = client.next().await?;
        let is_last = chunk.is_none();
        let chunk = chunk.unwrap_or_else(|| Bytes::from_static(b"event: end\ndata: too slow\n\n"));
        Some((Ok::<_, BoxError>(chunk), (!is_last).then_some(client)))
    });
    let body = body::of_stream(events);
    let mut response = response::with_media_type(StatusCode::OK, EVENT_STREAM, body);
    let not_stored = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, not_stored);
    Ok(response)
}

impl EventStreamClient {
    /// The next bytes to send; `Some(None)` if the client is too slow, and `None` if it may not read any more.
    async fn next(&mut self) -> Option<Option<Bytes>> {
        loop {
            let event = tokio::select! {
                event = self.listener.next() => Some(event),
                _ = self.comments.tick() => None,
            };
            if !matches!(self.reader.may_read().await, Ok(true)) {
                return None;
            }
            let event = match event {
                None => return Some(Some(Bytes::from_static(b":\n\n"))),
                Some(Err(_)) => return Some(None),
                Some(Ok(event)) => event,
            };
            if self.subscription.selects(&event) {
                let text = text_of(&event);
                return Some(Some([b"data: ", &*text, b"\n\n"].concat().into()));
            }
        }
    }
}
