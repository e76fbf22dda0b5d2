//! Topics of stream collections over WebSockets: `__topic/{box}/{collection}.topic.{name}`.

mod place;
mod reader;
mod session;

use personium_model::stream::Message;
use personium_types::{Code, Result};

use self::place::TopicPlace;
pub(crate) use self::reader::TopicReader;
use self::session::TopicSession;
use crate::request_context::CellRequest;
use crate::response::Response;
use crate::{stream_text, web_socket};

/// The largest message of a client in bytes: a token.
const MAX_MESSAGE_BYTES: usize = 256 << 10;

/// Answers the request for a WebSocket with the messages of a topic. The first message of the client must authenticate it.
///
/// # Errors
/// [`Code::NoSuchPath`] if the path cannot be one of a topic; as [`web_socket::upgrade`].
pub(crate) fn handle(request: CellRequest) -> Result<Response> {
    request.require_get()?;
    let segments = request.path.decoded.get(1..).unwrap_or_default();
    let place = TopicPlace::parse(segments).ok_or(Code::NoSuchPath)?;
    web_socket::upgrade(request, MAX_MESSAGE_BYTES, |cell, socket| {
        TopicSession::new(cell, place, socket).run()
    })
}

/// The text of a message for those who are subscribed.
pub(crate) fn text_of(message: &Message) -> String {
    let from = serde_json::Value::from(message.from.as_str());
    let body = stream_text::json_of(&message.body);
    format!("{{\"From\":{from},\"Body\":{body}}}")
}
