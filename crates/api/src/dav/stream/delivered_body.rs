//! The body of a response with a message, which is acknowledged when it was sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use personium_model::stream::{Channel, MessageQueue};
use personium_types::error::chain;
use tokio::runtime::Handle;

use crate::body::{Body, BoxError};

/// The time in which a client must acknowledge a message.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
/// The number of attempts to tell the queue what became of a delivery, and the pause after the first. It doubles with each.
const ATTEMPTS: u32 = 6;
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// The side that acknowledges a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acknowledgement {
    /// The server, when it has passed the whole response to the connection.
    WhenSent,
    /// The client, within a minute.
    ByClient,
}

/// The end of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Acknowledged,
    Released,
    /// Released unless the client has acknowledged it within its time.
    ReleasedLater,
}

/// A delivery for which nobody has decided yet. It is released when it is dropped.
pub(super) struct PendingDelivery {
    queue: Arc<dyn MessageQueue>,
    channel: Channel,
    receipt: String,
    outcome: Outcome,
}

impl PendingDelivery {
    pub(super) fn new(queue: Arc<dyn MessageQueue>, channel: Channel, receipt: String) -> Self {
        Self {
            queue,
            channel,
            receipt,
            outcome: Outcome::Released,
        }
    }

    /// The body of the response with this text. Whether it was sent decides about the delivery.
    pub(super) fn body(self, text: Bytes, acknowledgement: Acknowledgement) -> Body {
        let body = DeliveredBody {
            text: Some(text),
            pending: self,
            when_sent: match acknowledgement {
                Acknowledgement::WhenSent => Outcome::Acknowledged,
                Acknowledgement::ByClient => Outcome::ReleasedLater,
            },
        };
        body.boxed_unsync()
    }
}

impl Drop for PendingDelivery {
    fn drop(&mut self) {
        // Without a runtime the process ends, and other server nodes deliver the message again.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let queue = Arc::clone(&self.queue);
        let (channel, receipt) = (self.channel.clone(), std::mem::take(&mut self.receipt));
        let outcome = self.outcome;
        runtime.spawn(async move {
            if outcome == Outcome::ReleasedLater {
                tokio::time::sleep(CLIENT_TIMEOUT).await;
            }
            conclude(&*queue, &channel, &receipt, outcome).await;
        });
    }
}

/// Tells the queue what became of a delivery.
async fn conclude(queue: &dyn MessageQueue, channel: &Channel, receipt: &str, outcome: Outcome) {
    let mut delay = RETRY_DELAY;
    for attempt in 1..=ATTEMPTS {
        let told = match outcome {
            Outcome::Acknowledged => queue.acknowledge(channel, receipt).await,
            Outcome::Released | Outcome::ReleasedLater => queue.release(channel, receipt).await,
        };
        let Err(error) = told else {
            return;
        };
        if attempt == ATTEMPTS {
            tracing::warn!(
                cell.id = %channel.cell,
                error = %chain(&error),
                "failed to end the delivery of a message, which is delivered again when this server node has ended"
            );
            return;
        }
        tokio::time::sleep(delay).await;
        delay *= 2;
    }
}

/// The body of a response with a message.
struct DeliveredBody {
    text: Option<Bytes>,
    pending: PendingDelivery,
    when_sent: Outcome,
}

impl http_body::Body for DeliveredBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let text = self.text.take();
        if text.is_some() {
            self.pending.outcome = self.when_sent;
        }
        Poll::Ready(text.map(|text| Ok(Frame::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.text.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(length as u64)
    }
}
