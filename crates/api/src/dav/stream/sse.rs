//! Topics as Server-Sent Events (WHATWG HTML, section 9.2).

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use personium_model::Resource;
use personium_model::stream::{Channel, SubscriptionEnd, TopicMessage, TopicSubscription};
use personium_types::{Code, Result};
use tokio::time::{Interval, interval};

use crate::body::{self, BoxError};
use crate::request_context::CellRequest;
use crate::response::{self, Response};
use crate::topic::{TopicReader, text_of};
use crate::{access, feed};

/// The time after which a comment is sent, so that a connection without a client is found.
const COMMENT_INTERVAL: Duration = Duration::from_secs(30);
/// The text that tells a client that messages are missing before what follows.
const GAP: &str = "event: gap\ndata: messages were missed\n\n";

/// A client that reads a topic.
struct TopicClient {
    subscription: Box<dyn TopicSubscription>,
    reader: TopicReader,
    comments: Interval,
    /// Whether the client must be told that messages are missing.
    has_gap: bool,
}

/// Answers a request for the messages of a topic. With the id of a message (`Last-Event-ID`) it begins with the one after that.
///
/// # Errors
/// [`Code::AuthRequired`] if the request has no bearer token that may subscribe; [`Code::ServerBusy`] if too many are subscribed.
pub(super) async fn stream(
    request: CellRequest,
    resource: Resource,
    topic: Channel,
) -> Result<Response> {
    let token = access::authorization(&request);
    let token = token.as_deref().and_then(|it| it.strip_prefix("Bearer "));
    let token = token.ok_or(Code::AuthRequired)?.trim().to_owned();
    let mut path = resource.segments;
    // Without `topic` and its name.
    path.truncate(path.len().saturating_sub(2));
    let place = (resource.box_name, path, topic.name.clone());
    let reader = TopicReader::find(&request.unit, request.context.clone(), (token, place)).await?;
    let reader = reader.ok_or(Code::AuthRequired)?;
    let queue = request.unit.message_queue();
    let last_id = request.header_lines(feed::LAST_EVENT_ID);
    let last_id = last_id.as_deref().map(str::trim);
    let (subscription, has_gap) = match queue.subscribe(&topic, last_id).await {
        Err(error) if error.code() == Code::MessagesMissed => {
            (queue.subscribe(&topic, None).await?, true)
        }
        subscribed => (subscribed?, false),
    };
    let client = TopicClient {
        subscription,
        reader,
        comments: interval(COMMENT_INTERVAL),
        has_gap,
    };
    let messages = stream::unfold(Some(client), |client| async {
        let mut client = client?;
        let (chunk, goes_on) = client.next().await?;
        Some((Ok::<_, BoxError>(chunk), goes_on.then_some(client)))
    });
    let body = body::of_stream(messages);
    let mut response = response::with_media_type(StatusCode::OK, feed::EVENT_STREAM, body);
    let not_stored = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, not_stored);
    Ok(response)
}

impl TopicClient {
    /// The next text, and whether there may be more; `None`: the client may not read any more.
    async fn next(&mut self) -> Option<(Bytes, bool)> {
        if std::mem::take(&mut self.has_gap) {
            return Some((Bytes::from_static(GAP.as_bytes()), true));
        }
        let message = tokio::select! {
            // A client that resumes gets the messages before it is told where the topic is.
            biased;
            message = self.subscription.next() => Some(message),
            _ = self.comments.tick() => None,
        };
        if !matches!(self.reader.may_read().await, Ok(true)) {
            return None;
        }
        Some(match message {
            // A block without data sets the id from which the client resumes, and nothing else.
            None => (
                format!(":\nid: {}\n\n", self.subscription.position()).into(),
                true,
            ),
            Some(Ok(message)) => (block_of(&message), true),
            Some(Err(SubscriptionEnd::Missed)) => (Bytes::from_static(GAP.as_bytes()), false),
            Some(Err(SubscriptionEnd::Stopped)) => return None,
        })
    }
}

fn block_of(message: &TopicMessage) -> Bytes {
    let mut block = format!("id: {}\n", message.position);
    // A line of data for each line of the text.
    for line in text_of(&message.message).split(['\n', '\r']) {
        block.push_str("data: ");
        block.push_str(line);
        block.push('\n');
    }
    block.push('\n');
    block.into()
}
