//! The requests of rules, and the outcomes of attempts to send them.

pub(super) mod stored;

use personium_types::Result;

use self::stored::StoredOutboxEntry;
use super::record::Event;
use crate::backoff::next_attempt_ms;
use crate::{Unit, records};

/// The kinds of requests that rules send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// `exec`: sends the event to a service of the cell.
    Exec,
    /// `relay`: sends the event to a URL.
    Relay,
    /// `relay.event`: posts the event to a cell, as an external event.
    RelayEvent,
    /// `relay.data`: copies the entity that the event is about to another entity set.
    RelayData,
    /// The event is published to other systems. It is no request of a rule.
    Publish,
}

impl RequestKind {
    /// Its name in rules and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Relay => "relay",
            Self::RelayEvent => "relay.event",
            Self::RelayData => "relay.data",
            Self::Publish => "publish",
        }
    }
}

/// A request that waits to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The event, as logs and requests show it.
    pub event: Event,
    /// The kind of the request.
    pub kind: RequestKind,
    /// The target of the rule when the event was posted, as an `http(s)` URL.
    pub target: String,
    /// When the event was posted, milliseconds since 1970.
    pub at_ms: i64,
    /// The attempts that were made.
    pub attempts: Attempts,
}

/// The attempts to send a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Their number.
    pub count: u32,
    /// The time of the first one, milliseconds since 1970.
    pub first_ms: i64,
    /// When the next one is due, milliseconds since 1970.
    pub next_ms: i64,
}

/// The outcome of an attempt to send a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestOutcome {
    /// The status of the response, or a text in its place.
    pub text: String,
    /// Its kind.
    pub kind: OutcomeKind,
}

/// The kind of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeKind {
    /// The request has done what it should.
    Success,
    /// It has not, and another attempt may.
    Temporary,
    /// It has not, and another attempt would not.
    Failure,
}

impl OutboxEntry {
    /// Encodes the entry as it is stored.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        records::encode(&StoredOutboxEntry::from(self))
    }
}

impl Attempts {
    /// They and another one.
    pub(super) fn after(self, unit: &Unit, now: i64) -> Self {
        let count = self.count.saturating_add(1);
        let first_ms = match self.count {
            0 => now,
            _ => self.first_ms,
        };
        Self {
            count,
            first_ms,
            next_ms: next_attempt_ms(unit, count).min(expiry(unit, first_ms).max(now)),
        }
    }

    /// Whether there is no other one.
    pub(super) fn is_over(self, unit: &Unit, now: i64) -> bool {
        now >= expiry(unit, self.first_ms)
    }
}

/// When a request whose first attempt was at a time is not tried again any more.
fn expiry(unit: &Unit, first_ms: i64) -> i64 {
    let secs = i64::try_from(unit.settings().events.request_secs).unwrap_or(i64::MAX);
    first_ms.saturating_add(secs.saturating_mul(1000))
}
