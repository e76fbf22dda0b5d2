//! Messages as frames.

use personium_store::{Channel, Message};
use personium_types::Clock;

use crate::frame::Frame;

/// The header with the cell that a message is from.
pub(crate) const FROM: &str = "personium-from";
/// The header with the time when a message was sent.
pub(crate) const SENT: &str = "personium-sent";

/// The header with the id of the collection that a message was sent to.
pub(crate) const COLLECTION: &str = "personium-collection";

/// Whether a message was sent to another collection that had the same path, and was removed: whoever made the new one may not read it.
pub(crate) fn is_of_another(frame: &Frame, channel: &Channel) -> bool {
    let of = frame.header(COLLECTION);
    of.is_some_and(|id| id != channel.collection.to_string())
}

/// Whether a message has expired: the broker may deliver it a little later.
pub(crate) fn is_expired(message: &Message, clock: &dyn Clock) -> bool {
    message.expires_ms <= clock.now_ms()
}

/// The message of a frame. Other systems send messages without the headers of this unit.
pub(crate) fn message_of(frame: &Frame) -> Message {
    let number = |name| frame.header(name).and_then(|it| it.parse::<i64>().ok());
    let sent_ms = number(SENT).or_else(|| number("timestamp"));
    let expires_ms = number("expires").filter(|at| *at > 0);
    Message {
        from: frame.header(FROM).unwrap_or_default().to_owned(),
        body: frame.body.clone(),
        sent_ms: sent_ms.unwrap_or(0),
        expires_ms: expires_ms.unwrap_or(i64::MAX),
    }
}
