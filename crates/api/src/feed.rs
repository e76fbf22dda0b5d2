//! The feed of the events of a cell: over a WebSocket, and as Server-Sent Events.

mod protocol;
mod reader;
mod session;
mod sse;

use std::sync::Arc;
use std::time::Duration;

use personium_model::event::feed::FeedListener;
use personium_model::event_feed::FeedEvent;
use personium_types::Result;
use tokio::time::timeout;

use self::session::Session;
pub(crate) use self::sse::{EVENT_STREAM, LAST_EVENT_ID, accepts_event_stream, stream};
use crate::request_context::CellRequest;
use crate::response::Response;
use crate::web_socket;

/// The largest message of a client in bytes: an event with each character escaped.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// The time within which the event of an import must come when the cell was replaced.
const IMPORT_EVENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The event of the import that has put a cell in the place of another one. All logins of the cell end with it: so it is the last
/// event for most who listened, and tells them why. `None` if it does not come.
async fn import_event(listener: &mut FeedListener) -> Option<Arc<FeedEvent>> {
    let event = async {
        loop {
            let event = listener.next().await.ok()?;
            if event.kind.as_deref() == Some("cell.import") {
                return Some(event);
            }
        }
    };
    timeout(IMPORT_EVENT_TIMEOUT, event).await.ok()?
}

/// Answers the request for a WebSocket. The first message of the client must authenticate it.
///
/// # Errors
/// As [`web_socket::upgrade`].
pub(crate) fn upgrade(request: CellRequest) -> Result<Response> {
    web_socket::upgrade(request, MAX_MESSAGE_BYTES, |cell, socket| {
        Session::new(cell, socket).run()
    })
}
