//! Attempts to deliver a message to a cell, and when the next one is due.

use personium_types::time::iso_time;

use crate::Unit;
use crate::backoff::next_attempt_ms;

/// The code of a result that is not final (RFC 9110, section 15.3.3).
pub const WAITS: &str = "202";
/// The code of a recipient that was not reached.
pub const NOT_REACHED: &str = "500";
/// The reason in a copy of a message that waited for another attempt. Only the cell that was copied makes it: else a recipient could
/// get the message from two cells.
pub const NOT_DELIVERED_BY_COPY: &str =
    "This is a copy of a message that was not delivered yet. A copy is not delivered.";

/// The outcome of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The recipient answered, and would not answer otherwise another time.
    Answered {
        /// The status of the response, as digits.
        code: String,
        /// The reason that it gave.
        reason: String,
    },
    /// No response, or one that says that another attempt may help.
    Failed {
        /// The status of the response, as digits.
        code: Option<String>,
        /// The reason.
        reason: String,
    },
    /// There is no permitted way to the recipient.
    Unreachable {
        /// The reason.
        reason: String,
    },
    /// No attempt was made. One is due now, whatever the settings say, or at a time: milliseconds since 1970.
    Postponed(Option<i64>),
}

/// The result of the delivery to one cell so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryResult {
    /// The URL of the cell.
    pub to: String,
    /// The status of its response, as digits; `202` while the delivery waits for another attempt, `500` without a response.
    pub code: String,
    /// The reason that it gave, or why there is no response.
    pub reason: String,
    /// When the next attempt is due, milliseconds since 1970; `None` if the result is final.
    pub next_ms: Option<i64>,
    /// The number of attempts so far.
    pub attempts: u32,
}

impl DeliveryResult {
    /// The result after an attempt: `attempts` of them were made before. At the time `expires_ms` or later there is no other one.
    #[must_use]
    pub fn after(
        unit: &Unit,
        to: &str,
        (attempts, expires_ms): (u32, i64),
        outcome: AttemptOutcome,
    ) -> Self {
        let now = unit.now_ms();
        let is_over = now >= expires_ms;
        let result = |code: String, reason: String, next_ms, attempts| Self {
            to: to.to_owned(),
            code,
            reason,
            next_ms,
            attempts,
        };
        let made = attempts.saturating_add(1);
        match outcome {
            AttemptOutcome::Answered { code, reason } => result(code, reason, None, made),
            AttemptOutcome::Unreachable { reason } => {
                result(NOT_REACHED.to_owned(), reason, None, made)
            }
            AttemptOutcome::Failed { code, reason } if is_over => {
                let code = code.unwrap_or_else(|| NOT_REACHED.to_owned());
                let reason = format!("Given up after {made} attempts: {reason}");
                result(code, reason, None, made)
            }
            AttemptOutcome::Failed { reason, .. } => {
                let next = next_attempt_ms(unit, made).min(expires_ms);
                let at = iso_time(next);
                let reason = format!("Attempt {made} failed, the next one is at {at}: {reason}");
                result(WAITS.to_owned(), reason, Some(next), made)
            }
            AttemptOutcome::Postponed(Some(_)) if is_over => {
                let reason = format!("Given up after {attempts} attempts.");
                result(NOT_REACHED.to_owned(), reason, None, attempts)
            }
            AttemptOutcome::Postponed(next) => {
                let next = next.unwrap_or(now);
                let reason = format!("The next attempt is at {}.", iso_time(next));
                result(WAITS.to_owned(), reason, Some(next), attempts)
            }
        }
    }

    /// The final result in a copy of a message that waited for another attempt.
    pub(super) fn of_copy(to: &str) -> Self {
        Self {
            to: to.to_owned(),
            code: NOT_REACHED.to_owned(),
            reason: NOT_DELIVERED_BY_COPY.to_owned(),
            next_ms: None,
            attempts: 0,
        }
    }

    /// Whether there will be no other attempt.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.next_ms.is_none()
    }
}
