//! RequestKind what rules want to be sent.
//!
//! `model` judges events and stores the requests that rules make of them. Here these are sent: one after the other for
//! each rule, those of different rules at the same time, each at least once. What came of it goes to the event log of the
//! cell. Rules of one cell cannot hold up those of another, but for the number that is sent at once.

mod request;
mod runner;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};

pub use runner::run;

/// The way of requests, to this unit and to others.
#[async_trait]
pub trait RequestSender: Send + Sync {
    /// Sends a request to an absolute URL and gives the answer. Redirects are not followed, and certificates are
    /// checked. `None` if there was no answer.
    async fn send(&self, request: Request<Bytes>) -> Option<Reply>;
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}
