//! Requests of rules that were given up: they are kept to be seen, sent again, or removed.

use personium_store::{Batch, Direction, Expect};
use personium_types::{Code, Operation, Result};
use serde::{Deserialize, Serialize};

use super::rule_request::OutboxEntry;
use super::rule_request::stored::StoredOutboxEntry;
use crate::commit::Invalidation;
use crate::keys;
use crate::records::{self, Records};
use crate::{CellContext, Permit, PermitTarget, Unit};

/// The largest number of requests of a page.
const PAGE_MAX: usize = 100;
/// The number of the oldest requests that one batch removes at most when there are too many.
const EVICTED_MAX: usize = 100;
/// The length of an id in bytes.
const ID_BYTES: usize = 16;

/// A request that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The entity id of the rule.
    pub rule: String,
    /// The request.
    pub entry: OutboxEntry,
    /// The status of the last response, or a text in its place.
    pub outcome: String,
    /// When it was given up, milliseconds since 1970.
    pub given_up_ms: i64,
}

/// The stored form of a [`DeadLetter`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredDeadLetter {
    #[serde(rename = "r")]
    rule: String,
    #[serde(rename = "e")]
    entry: StoredOutboxEntry,
    #[serde(rename = "o")]
    outcome: String,
    #[serde(rename = "t")]
    given_up_ms: i64,
}

impl From<StoredDeadLetter> for DeadLetter {
    fn from(stored: StoredDeadLetter) -> Self {
        Self {
            rule: stored.rule,
            entry: stored.entry.into(),
            outcome: stored.outcome,
            given_up_ms: stored.given_up_ms,
        }
    }
}

/// The id of a request that was given up, in hexadecimal digits where it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetterId(pub(super) [u8; ID_BYTES]);

impl std::fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl std::str::FromStr for DeadLetterId {
    type Err = Code;

    fn from_str(text: &str) -> std::result::Result<Self, Code> {
        let is_hex = text.len() == 2 * ID_BYTES && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hex);
        number
            .map(|number| Self(number.to_be_bytes()))
            .ok_or(Code::NoSuchEntity)
    }
}

/// Adds requests to those that were given up, as far as there is room. None is removed.
pub(super) async fn add_if_possible(
    unit: &Unit,
    records: &Records,
    batch: &mut Batch,
    mut letters: Vec<DeadLetter>,
) -> Result<()> {
    let max = i64::try_from(unit.settings().events.dead_letters_max).unwrap_or(i64::MAX);
    let kept = records.counter(&keys::dead_letter_count()).await?;
    let room = usize::try_from(max.saturating_sub(kept)).unwrap_or(0);
    letters.truncate(room);
    if letters.is_empty() {
        return Ok(());
    }
    put(unit, batch, &letters)?;
    batch.add(keys::dead_letter_count(), counted(&letters));
    Ok(())
}

/// Adds requests to those that were given up. If there are too many, the oldest are removed.
pub(super) async fn add(
    unit: &Unit,
    records: &Records,
    batch: &mut Batch,
    letters: &[DeadLetter],
) -> Result<()> {
    let max = i64::try_from(unit.settings().events.dead_letters_max).unwrap_or(i64::MAX);
    if max == 0 || letters.is_empty() {
        return Ok(());
    }
    let kept = records.counter(&keys::dead_letter_count()).await?;
    let mut change = counted(letters);
    let excess = kept.saturating_add(change).saturating_sub(max);
    let excess = usize::try_from(excess).unwrap_or(0);
    if excess > 0 {
        let oldest = records
            .list_keys(
                &keys::dead_letters(),
                Direction::Up,
                excess.min(EVICTED_MAX),
            )
            .await?;
        for key in oldest {
            batch.assert(key.clone(), Expect::Present);
            batch.delete(key);
            change -= 1;
        }
    }
    batch.add(keys::dead_letter_count(), change);
    put(unit, batch, letters)
}

fn counted(letters: &[DeadLetter]) -> i64 {
    i64::try_from(letters.len()).unwrap_or(i64::MAX)
}

/// Adds the records of requests that were given up.
fn put(unit: &Unit, batch: &mut Batch, letters: &[DeadLetter]) -> Result<()> {
    for letter in letters {
        let stored = StoredDeadLetter {
            rule: letter.rule.clone(),
            entry: StoredOutboxEntry::from(&letter.entry),
            outcome: letter.outcome.clone(),
            given_up_ms: letter.given_up_ms,
        };
        records::put(batch, keys::dead_letter(&unit.next_event_id()), &stored)?;
    }
    Ok(())
}

/// A page of requests that were given up, the oldest first: those after an id, if there is one. `max_bytes` bounds their events; the
/// first one is always there.
///
/// # Errors
/// A failure of the store.
pub async fn list(
    records: &Records,
    after: Option<DeadLetterId>,
    max_bytes: usize,
) -> Result<DeadLetterPage> {
    let range = keys::dead_letters();
    let mut rest = match after {
        Some(id) => range.after(&keys::dead_letter(&id.0)),
        None => range,
    };
    let mut page = DeadLetterPage::default();
    let mut bytes = 0;
    loop {
        let found = records
            .list::<StoredDeadLetter>(&rest, Direction::Up, 1)
            .await?;
        let Some((key, stored)) = found.into_iter().next() else {
            return Ok(page);
        };
        let Some(id) = keys::event_id_of_outbox_entry(&key) else {
            return Ok(page);
        };
        let letter = DeadLetter::from(stored.value);
        bytes += size_of(&letter);
        if page.letters.len() == PAGE_MAX || (bytes > max_bytes && !page.letters.is_empty()) {
            page.has_more = true;
            return Ok(page);
        }
        rest = rest.after(&key);
        page.letters.push((DeadLetterId(id), letter));
    }
}

/// Some requests that were given up.
#[derive(Debug, Default)]
pub struct DeadLetterPage {
    /// They, with their ids.
    pub letters: Vec<(DeadLetterId, DeadLetter)>,
    /// Whether there are more.
    pub has_more: bool,
}

/// The approximate size of a request, in bytes.
fn size_of(letter: &DeadLetter) -> usize {
    let event = &letter.entry.event;
    [
        &event.kind,
        &event.object,
        &event.info,
        &event.subject,
        &event.request_key,
    ]
    .into_iter()
    .flatten()
    .map(String::len)
    .sum::<usize>()
        + letter.entry.target.len()
        + 512
}

/// The request with this id.
///
/// # Errors
/// [`Code::NoSuchEntity`] if there is none; a failure of the store.
pub async fn get(records: &Records, id: DeadLetterId) -> Result<DeadLetter> {
    let key = keys::dead_letter(&id.0);
    let found = records.find::<StoredDeadLetter>(&key).await?;
    let found = found.ok_or(Code::NoSuchEntity)?;
    Ok(found.value.into())
}

/// Removes a request that was given up.
///
/// # Errors
/// [`Code::NoSuchEntity`] if there is none; a failure of the store; an internal error if the permit is not for that.
pub async fn remove(
    unit: &Unit,
    context: &CellContext,
    permit: &Permit,
    id: DeadLetterId,
) -> Result<()> {
    check(context, permit)?;
    let key = keys::dead_letter(&id.0);
    unit.transact(context, Invalidation::None, || async {
        let mut batch = Batch::new();
        if context.records().find_version(&key).await?.is_none() {
            return Err(Code::NoSuchEntity.into());
        }
        batch.assert(key.clone(), Expect::Present);
        batch.delete(key.clone());
        batch.add(keys::dead_letter_count(), -1);
        Ok((batch, ()))
    })
    .await
}

pub(super) fn check(context: &CellContext, permit: &Permit) -> Result<()> {
    let target = PermitTarget::Cell(context.cell().id);
    permit.check(Operation::ManageFailedRequests, &target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_shown_as_hexadecimal_digits_and_read_back() {
        let id = DeadLetterId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "00",
            "+00102030405060708090a0b0c0d0eff",
            "g00102030405060708090a0b0c0d0eff",
        ] {
            assert_eq!(
                bad.parse::<DeadLetterId>(),
                Err(Code::NoSuchEntity),
                "{bad}"
            );
        }
    }
}
