//! The timers of rules: when each is due, and which cells have timers that are due.
//!
//! The records of a cell say when each of its timers is due; the batch of a rule writes them. An index in the space of the unit
//! has one record for each cell and due time. It is written before the batch of the cell, so it may name a cell too much, never
//! one too little: who finds nothing due there in two looks removes it. So a timer that waits costs nothing.

use personium_store::{Batch, Direction, Expect, Key};
use personium_types::{CellId, Result};
use serde::{Deserialize, Serialize};

use crate::records::{self, Records, Versioned};
use crate::{Unit, keys};

/// The type of the events of a timer that fires once.
pub const TIMER_ONESHOT: &str = "timer.oneshot";
/// The type of the events of a timer that fires again and again.
pub const TIMER_PERIODIC: &str = "timer.periodic";
/// The milliseconds of a minute.
const MINUTE_MS: i64 = 60_000;
/// The least time between the batch of a rule and its timer, milliseconds: so nobody looks into the cell before the batch is
/// committed.
const LEAD_MS: i64 = 10_000;
/// The number of timers whose entries of the index are written at once.
const ANNOUNCED_AT_ONCE: usize = 200;
/// The value of an entry of the index for a second look.
const SECOND_LOOK: &str = "2";
/// The beginning of the value of an entry of the index of a cell that could not be looked into; the number of times follows.
const FAILED_LOOKS: &str = "f";
/// The time after which a cell that could not be looked into is looked into again, milliseconds. It doubles with each failure.
const RETRY_MS: i64 = 5_000;
/// The longest such time, milliseconds.
const RETRY_MAX_MS: i64 = 10 * MINUTE_MS;
/// The last time that has a date, milliseconds since 1970.
const LAST_TIME_MS: i64 = 253_402_300_799_999;

/// When a rule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerPlan {
    /// When it fires next, milliseconds since 1970.
    pub due: i64,
    /// The time between two events of it; `None` if it fires once.
    pub interval_ms: Option<i64>,
}

/// The stored form of a [`TimerPlan`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct StoredTimer {
    #[serde(rename = "d")]
    due: i64,
    #[serde(rename = "i", default)]
    interval_ms: Option<i64>,
    /// How often it has fired.
    #[serde(rename = "n", default)]
    fired: u64,
}

/// A timer of a cell.
#[derive(Debug, Clone)]
pub struct Timer {
    /// The entity id of the rule.
    pub rule: String,
    /// When it fires.
    pub plan: TimerPlan,
    /// How often it has fired.
    pub fired: u64,
}

/// Whether events of a type are those of timers.
#[must_use]
pub fn is_timer(kind: &str) -> bool {
    kind == TIMER_ONESHOT || kind == TIMER_PERIODIC
}

/// Whether a process of the unit may fire timers: this one, or another one that shares its store.
#[must_use]
pub fn can_fire(unit: &Unit) -> bool {
    unit.settings().events.fires_timers || unit.store().is_shared()
}

impl TimerPlan {
    /// The plan of a rule with this type and object of events at this time; `None` if it is for no timer, or for one whose time is
    /// over. An interval that ends after the year 9999 ends with it.
    #[must_use]
    pub fn of(kind: &str, object: &str, now: i64) -> Option<Self> {
        let number: i64 = object.parse().ok().filter(|number| *number > 0)?;
        match kind {
            TIMER_ONESHOT => {
                let due = number - number % MINUTE_MS;
                (due + MINUTE_MS > now).then_some(Self {
                    due: due.max(now.saturating_add(LEAD_MS)),
                    interval_ms: None,
                })
            }
            TIMER_PERIODIC => {
                let interval = number.saturating_mul(MINUTE_MS);
                Some(Self {
                    due: now.saturating_add(interval).min(LAST_TIME_MS),
                    interval_ms: Some(interval),
                })
            }
            _ => None,
        }
    }

    /// The plan after it has fired; `None` if it fires once. Times that passed meanwhile are left out.
    #[must_use]
    pub fn after(self, now: i64) -> Option<Self> {
        let interval = self.interval_ms.filter(|interval| *interval > 0)?;
        let missed = now.saturating_sub(self.due).max(0) / interval;
        let due = self
            .due
            .saturating_add((missed + 1).saturating_mul(interval));
        Some(Self { due, ..self })
    }
}

/// Adds to a batch of a cell that a rule has this timer from now on. Writes the index of the unit.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn put(
    unit: &Unit,
    cell: &CellId,
    batch: &mut Batch,
    timer: &Timer,
) -> Result<()> {
    announce(unit, cell, timer.plan.due).await?;
    put_announced(batch, timer)
}

/// As [`put`], for a timer whose cell is in the index of the unit for that time.
///
/// # Errors
/// A failure of the store.
pub(crate) fn put_announced(batch: &mut Batch, timer: &Timer) -> Result<()> {
    let stored = StoredTimer {
        due: timer.plan.due,
        interval_ms: timer.plan.interval_ms,
        fired: timer.fired,
    };
    batch.put(keys::due_timer(timer.plan.due, &timer.rule), Vec::new());
    records::put(batch, keys::timer(&timer.rule), &stored)
}

/// Adds a cell to the index of the unit.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn announce(unit: &Unit, cell: &CellId, due: i64) -> Result<()> {
    let mut index = Batch::new();
    index.put(keys::cell_with_timer(due, cell), Vec::new());
    let committed = unit.records().commit(index).await;
    committed.map(drop).map_err(records::store_error)
}

/// Adds a cell that is about to be added to the catalogue to the index again, for each of its timers: entries of a cell that is not
/// in the catalogue are removed when they are due.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn announce_all(unit: &Unit, records: &Records, cell: &CellId) -> Result<()> {
    let mut rest = keys::due_timers(None);
    loop {
        let found = records
            .list_keys(&rest, Direction::Up, ANNOUNCED_AT_ONCE)
            .await?;
        let Some(last) = found.last() else {
            return Ok(());
        };
        rest = rest.after(last);
        let earliest = unit.now_ms().saturating_add(LEAD_MS);
        let mut index = Batch::new();
        for (due, _) in found.iter().filter_map(keys::parts_of_due_timer) {
            index.put(keys::cell_with_timer(due.max(earliest), cell), Vec::new());
        }
        let committed = unit.records().commit(index).await;
        committed.map_err(records::store_error)?;
    }
}

/// Adds to a batch of a cell that a rule has no timer any more.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn remove(records: &Records, batch: &mut Batch, rule: &str) -> Result<()> {
    if let Some(found) = records.find::<StoredTimer>(&keys::timer(rule)).await? {
        batch.assert(keys::timer(rule), Expect::Version(found.version));
        batch.delete(keys::timer(rule));
        batch.delete(keys::due_timer(found.value.due, rule));
    }
    Ok(())
}

/// The timer of a rule, with the version of its record.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn find(records: &Records, rule: &str) -> Result<Option<Versioned<Timer>>> {
    let found = records.find::<StoredTimer>(&keys::timer(rule)).await?;
    Ok(found.map(|found| Versioned {
        version: found.version,
        bytes: found.bytes,
        value: Timer {
            rule: rule.to_owned(),
            plan: TimerPlan {
                due: found.value.due,
                interval_ms: found.value.interval_ms,
            },
            fired: found.value.fired,
        },
    }))
}

/// Up to `limit` timers of a cell in the order in which they are due, with their rules and due times. Those due at `until` or
/// before, if there is a time.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn list(
    records: &Records,
    until: Option<i64>,
    limit: usize,
) -> Result<Vec<(i64, String)>> {
    let range = keys::due_timers(until);
    let found = records.list_keys(&range, Direction::Up, limit).await?;
    Ok(found.iter().filter_map(keys::parts_of_due_timer).collect())
}

/// An entry of the index: a cell that may have timers that are due.
pub(crate) struct DueCell {
    key: Key,
    pub(crate) cell: CellId,
    /// Whether nothing was due when the cell was looked into before.
    is_second_look: bool,
    /// The number of times in a row that the cell could not be looked into.
    failed_looks: u32,
}

/// Up to `limit` cells that may have timers due at `until` or before.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn list_cells(unit: &Unit, until: i64, limit: usize) -> Result<Vec<DueCell>> {
    let range = keys::cells_with_timers(until);
    let found = unit.records().list_bytes(&range, limit).await?;
    let due = found.into_iter().filter_map(|(key, value)| {
        Some(DueCell {
            cell: keys::cell_of_timer(&key)?,
            key,
            is_second_look: &value[..] == SECOND_LOOK.as_bytes(),
            failed_looks: failed_looks(&value),
        })
    });
    Ok(due.collect())
}

/// The number in the value of an entry of a cell that could not be looked into.
fn failed_looks(value: &[u8]) -> u32 {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let number = text.strip_prefix(FAILED_LOOKS);
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Postpones the next look into a cell that could not be looked into, so that such cells do not delay others.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn postpone(unit: &Unit, due: &DueCell) -> Result<()> {
    let delay = RETRY_MS << due.failed_looks.min(16);
    let again = unit.now_ms().saturating_add(delay.min(RETRY_MAX_MS));
    let failed = due.failed_looks.saturating_add(1);
    let mut batch = Batch::new();
    batch.delete(due.key.clone());
    let value = format!("{FAILED_LOOKS}{failed}");
    batch.put(keys::cell_with_timer(again, &due.cell), value);
    let committed = unit.records().commit(batch).await;
    committed.map(drop).map_err(records::store_error)
}

/// Removes an entry of the index after its cell was looked into. If nothing was due, the cell is looked into once more, a minute
/// later: the batch of its timer may not have been committed yet, when the clock of its server node is behind or the store is slow.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn remove_cell(unit: &Unit, due: &DueCell, has_fired: bool) -> Result<()> {
    let mut batch = Batch::new();
    batch.delete(due.key.clone());
    if !has_fired && !due.is_second_look {
        let again = unit.now_ms().saturating_add(MINUTE_MS);
        batch.put(keys::cell_with_timer(again, &due.cell), SECOND_LOOK);
    }
    let committed = unit.records().commit(batch).await;
    committed.map(drop).map_err(records::store_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timer_that_fires_once_is_due_at_the_beginning_of_its_minute() {
        let due =
            |object: &str, now| TimerPlan::of(TIMER_ONESHOT, object, now).map(|plan| plan.due);
        assert_eq!(due("120001", 0), Some(120_000));
        assert_eq!(due("179999", 150_000), Some(160_000), "this minute: soon");
        assert_eq!(due("179999", 180_000), None, "the minute is over");
        assert_eq!(due("x", 0), None);
        assert_eq!(TimerPlan::of("timer.", "1", 0), None);
        let plan = TimerPlan::of(TIMER_ONESHOT, "120000", 0).unwrap();
        assert_eq!(plan.after(120_000), None);
    }

    #[test]
    fn periodic_timer_keeps_its_rhythm_and_leaves_out_missed_times() {
        let plan = TimerPlan::of(TIMER_PERIODIC, "5", 1_000).unwrap();
        assert_eq!(plan.due, 301_000);
        let next = |now| plan.after(now).unwrap().due;
        assert_eq!(next(301_000), 601_000);
        assert_eq!(next(302_000), 601_000);
        assert_eq!(next(600_999), 601_000);
        assert_eq!(next(601_000), 901_000);
        assert_eq!(next(0), 601_000, "the clock was set back");
    }

    #[test]
    fn interval_that_ends_after_the_last_date_ends_with_it_and_the_longest_one_does_not_overflow() {
        let longest = LAST_TIME_MS / MINUTE_MS;
        let plan = TimerPlan::of(TIMER_PERIODIC, &longest.to_string(), 1_000).unwrap();
        assert!(plan.after(i64::MAX).unwrap().due > plan.due);
        for number in [longest + 1, 99_999_999_999, i64::MAX] {
            let plan = TimerPlan::of(TIMER_PERIODIC, &number.to_string(), 1_000).unwrap();
            assert_eq!(plan.due, LAST_TIME_MS, "{number}");
            assert!(plan.after(LAST_TIME_MS).unwrap().due > LAST_TIME_MS);
        }
    }
}
