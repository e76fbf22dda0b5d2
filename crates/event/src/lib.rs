//! Sends the requests of rules, fires their timers, delivers messages that could not be delivered at once, and publishes events to other
//! systems.
//!
//! `model` compares events with rules and stores the requests of the matching ones in the outbox of the cell. This crate sends
//! them: those of one rule one after the other, those of different rules concurrently, each at least once. The outcomes are
//! written to the event log of the cell, those of several requests at once while the next one is sent. Rules of one cell delay those of another only through the limit of concurrent
//! requests.

pub mod delivery;
mod delivery_worker;
mod outbox_worker;
mod owner_sender;
mod publisher;
mod request;
mod rule_turn;
mod signing;
mod timer_worker;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};

pub use outbox_worker::run;
pub use request::send_entry;
pub use timer_worker::fire_timers;

/// The port for requests, to this unit and to other servers.
#[async_trait]
pub trait RequestSender: Send + Sync {
    /// Sends a request to an absolute URL and returns the response. Redirects are not followed, and certificates are verified.
    ///
    /// # Errors
    /// [`NoResponse`]
    async fn send(&self, request: Request<Bytes>) -> Result<ReceivedResponse, NoResponse>;
}

/// There was no response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoResponse {
    /// The reason, for people.
    pub reason: String,
    /// Whether another attempt may help.
    pub is_temporary: bool,
}

/// The response to a request of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedResponse {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}
