//! Sends the requests of rules, and fires their timers.
//!
//! `model` compares events with rules and stores the requests of the matching ones in the outbox of the cell. This crate sends
//! them: those of one rule one after the other, those of different rules concurrently, each at least once. The outcome is
//! written to the event log of the cell. Rules of one cell delay those of another only through the limit of concurrent
//! requests.

mod outbox_worker;
mod request;
mod timer_worker;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};

pub use outbox_worker::run;
pub use timer_worker::fire_timers;

/// The port for requests, to this unit and to other servers.
#[async_trait]
pub trait RequestSender: Send + Sync {
    /// Sends a request to an absolute URL and returns the response. Redirects are not followed, and certificates are verified.
    /// `None` if there was no response.
    async fn send(&self, request: Request<Bytes>) -> Option<ReceivedResponse>;
}

/// The response to a request of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedResponse {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}
