//! The feed as Server-Sent Events (WHATWG HTML, section 9.2).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use personium_model::event::feed::{self, FeedListener};
use personium_model::event_feed::{FeedEnd, FeedEvent};
use personium_model::{Cell, Unit};
use personium_types::{Code, Error, Operation, Result};
use tokio::time::{Interval, interval};

use super::import_event;
use super::protocol::{Subscription, text_of};
use super::reader::EventReader;
use crate::access;
use crate::body::{self, BoxError};
use crate::request_context::CellRequest;
use crate::response::{self, Response};

/// The media type of the feed.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";
/// The time after which a comment is sent, so that a connection without a client is found.
const COMMENT_INTERVAL: Duration = Duration::from_secs(30);

/// The header with the id of the last event that a client has received.
pub(crate) const LAST_EVENT_ID: &str = "last-event-id";
/// The text that tells a client that events are missing before what follows.
const GAP: &str = "event: gap\ndata: events were missed\n\n";
/// The text that tells a client that it loses the feed because it was too slow.
const TOO_SLOW: &str = "event: end\ndata: too slow\n\n";

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
    unit: Arc<Unit>,
    /// The cell that the listener listens to.
    cell: Cell,
    listener: FeedListener,
    reader: EventReader,
    subscription: Subscription,
    comments: Interval,
    /// Whether the client must be told that events are missing.
    has_gap: bool,
}

/// The next step of the stream.
enum StreamStep {
    Chunk(Bytes),
    /// The last one.
    Last(Bytes),
    /// Nothing: it may not read any more, or the cell is gone.
    End,
}

/// Answers a request for the events whose type and object begin with the parameters `type` and `object`. With the id of an event
/// (`Last-Event-ID`) it begins with the one after that.
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
    let reader = EventReader::find(&request.unit, request.context.clone(), token).await?;
    let reader = reader.ok_or(Code::AuthRequired)?;
    let mut listener = feed::listen(&request.unit, &request.context).await?;
    let has_gap = match request.header_lines(LAST_EVENT_ID) {
        None => false,
        // What is no id of this feed was one of events that are not known.
        Some(id) => match id.trim().parse().ok() {
            Some(position) => !listener.resume(position).await?,
            None => true,
        },
    };
    let client = EventStreamClient {
        unit: Arc::clone(&request.unit),
        cell: request.context.cell().clone(),
        listener,
        reader,
        subscription,
        comments: interval(COMMENT_INTERVAL),
        has_gap,
    };
    let events = stream::unfold(Some(client), |client| async {
        let mut client = client?;
        let (chunk, client) = match client.next().await {
            StreamStep::Chunk(chunk) => (chunk, Some(client)),
            StreamStep::Last(text) => (text, None),
            StreamStep::End => return None,
        };
        Some((Ok::<_, BoxError>(chunk), client))
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
    /// Goes on with the feed of the cell that an import has put in the place of this one. Returns the end if there is none, or if the
    /// client may not read any more: then it is the event of the import.
    async fn go_on_after_import(&mut self) -> Option<StreamStep> {
        let replacement = feed::listen_to_replacement(&self.unit, &self.cell).await;
        let Ok(Some((context, mut listener))) = replacement else {
            return Some(StreamStep::End);
        };
        if matches!(self.reader.may_read().await, Ok(true)) {
            self.cell = context.cell().clone();
            self.listener = listener;
            return None;
        }
        let event = import_event(&mut listener).await;
        let event = event.filter(|event| self.subscription.selects(event));
        Some(event.map_or(StreamStep::End, |event| {
            StreamStep::Last(text_with_id(&event))
        }))
    }

    async fn next(&mut self) -> StreamStep {
        if std::mem::take(&mut self.has_gap) {
            return StreamStep::Chunk(Bytes::from_static(GAP.as_bytes()));
        }
        loop {
            let event = tokio::select! {
                // A client that resumes gets the id of where it is before it is told where the feed is.
                biased;
                event = self.listener.next() => Some(event),
                _ = self.comments.tick() => None,
            };
            let is_over = matches!(event, Some(Err(FeedEnd::Stopped)));
            if is_over || !matches!(self.reader.may_read().await, Ok(true)) {
                match Box::pin(self.go_on_after_import()).await {
                    Some(end) => return end,
                    None if is_over => continue,
                    None => {}
                }
            }
            let event = match event {
                Some(Ok(event)) => event,
                // A block without data sets the id from which the client resumes, and nothing else.
                None => {
                    let id = self.listener.position();
                    return StreamStep::Chunk(format!(":\nid: {id}\n\n").into());
                }
                Some(Err(FeedEnd::TooSlow)) => {
                    return StreamStep::Last(Bytes::from_static(TOO_SLOW.as_bytes()));
                }
                Some(Err(FeedEnd::Missed)) => {
                    return StreamStep::Last(Bytes::from_static(GAP.as_bytes()));
                }
                Some(Err(FeedEnd::Stopped)) => return StreamStep::End,
            };
            if self.subscription.selects(&event) {
                return StreamStep::Chunk(text_with_id(&event));
            }
        }
    }
}

/// An event with the id from which a client resumes after it.
fn text_with_id(event: &FeedEvent) -> Bytes {
    let id = format!("id: {}\ndata: ", event.position);
    [id.as_bytes(), &*text_of(event), b"\n\n"].concat().into()
}
