//! The outcome of the last request of a rule.

use personium_store::{Batch, Expect};
use personium_types::Result;
use serde::{Deserialize, Serialize};

use crate::keys::{self, ControlSet, SetKey};
use crate::records::{self, Records};

/// The last attempt to send a request of a rule. The names of members are stored: never change one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleState {
    /// When it was concluded, milliseconds since 1970.
    #[serde(rename = "t")]
    pub last_ms: i64,
    /// The status of the response, or a text in its place.
    #[serde(rename = "o")]
    pub outcome: String,
    /// Whether the request has done what it should.
    #[serde(rename = "s")]
    pub is_success: bool,
    /// The number of attempts to send the request.
    #[serde(rename = "n")]
    pub attempts: u32,
    /// When the next attempt is due, milliseconds since 1970; `None` if there is none.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<i64>,
}

/// Adds the state of a rule to a batch, unless the rule was deleted.
pub(super) async fn put(
    records: &Records,
    batch: &mut Batch,
    rule: &str,
    state: &RuleState,
) -> Result<()> {
    let entity = keys::entity(&SetKey::control(ControlSet::Rule), rule);
    if records.find_version(&entity).await?.is_some() {
        batch.assert(entity, Expect::Present);
        records::put(batch, keys::rule_state(rule), state)?;
    }
    Ok(())
}

/// The states of rules, in their order. `None` for one that has sent no request.
///
/// # Errors
/// A failure of the store.
pub async fn list(records: &Records, rules: &[&str]) -> Result<Vec<Option<RuleState>>> {
    let keys: Vec<_> = rules.iter().map(|rule| keys::rule_state(rule)).collect();
    let found = records.find_records(&keys).await?;
    found
        .into_iter()
        .map(|found| {
            found
                .map(|record| records::decode(&record.value))
                .transpose()
        })
        .collect()
}

/// The numbers of requests of the rules of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestCounts {
    /// Those that wait to be sent.
    pub waiting: i64,
    /// Those that were given up and are kept.
    pub failed: i64,
}

/// The numbers of requests of the rules of a cell.
///
/// # Errors
/// A failure of the store.
pub async fn counts(records: &Records) -> Result<RequestCounts> {
    let keys = [keys::outbox_count(), keys::dead_letter_count()];
    let counts = records.counters(&keys).await?;
    let mut counts = counts.into_iter();
    let mut next = || counts.next().unwrap_or_default();
    Ok(RequestCounts {
        waiting: next(),
        failed: next(),
    })
}
