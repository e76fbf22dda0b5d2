//! The feed of the events of a cell: over a WebSocket, and as Server-Sent Events.

mod protocol;
mod reader;
mod session;
mod sse;

use personium_types::Result;

use self::session::Session;
pub(crate) use self::sse::{EVENT_STREAM, LAST_EVENT_ID, accepts_event_stream, stream};
use crate::request_context::CellRequest;
use crate::response::Response;
use crate::web_socket;

/// The largest message of a client in bytes: an event with each character escaped.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Answers the request for a WebSocket. The first message of the client must authenticate it.
///
/// # Errors
/// As [`web_socket::upgrade`].
pub(crate) fn upgrade(request: CellRequest) -> Result<Response> {
    web_socket::upgrade(request, MAX_MESSAGE_BYTES, |cell, socket| {
        Session::new(cell, socket).run()
    })
}
