//! Keys of the timers of rules.

use personium_store::{Key, KeyRange};
use personium_types::CellId;

use super::last_text;

/// The length of the tag of a table and a due time.
const DUE_BYTES: usize = 9;

/// The timer of a rule.
#[must_use]
pub fn timer(rule: &str) -> Key {
    Key::table(b'P').text(rule).build()
}

/// A timer of a cell, in the order in which they are due: milliseconds since 1970.
#[must_use]
pub fn due_timer(due: i64, rule: &str) -> Key {
    Key::table(b'J').fixed(&time(due)).text(rule).build()
}

/// The timers of a cell; those that are due at a time or before, if there is one.
#[must_use]
pub fn due_timers(until: Option<i64>) -> KeyRange {
    up_to(b'J', until)
}

/// The due time and the rule in a key of [`due_timer`].
#[must_use]
pub fn parts_of_due_timer(key: &Key) -> Option<(i64, String)> {
    let due = key.as_bytes().get(1..DUE_BYTES)?.try_into().ok()?;
    let due = i64::try_from(u64::from_be_bytes(due)).ok()?;
    Some((due, last_text(key, DUE_BYTES)?))
}

/// In the space of the unit: a cell that may have timers that are due at this time.
#[must_use]
pub fn cell_with_timer(due: i64, cell: &CellId) -> Key {
    let id = cell.to_string();
    Key::table(b'Y').fixed(&time(due)).text(&id).build()
}

/// In the space of the unit: the cells with timers that are due at a time or before.
#[must_use]
pub fn cells_with_timers(until: i64) -> KeyRange {
    up_to(b'Y', Some(until))
}

/// The cell in a key of [`cell_with_timer`].
#[must_use]
pub fn cell_of_timer(key: &Key) -> Option<CellId> {
    last_text(key, DUE_BYTES)?.parse().ok()
}

fn time(due: i64) -> [u8; 8] {
    due.max(0).unsigned_abs().to_be_bytes()
}

fn up_to(table: u8, until: Option<i64>) -> KeyRange {
    match until {
        None => KeyRange::prefix(&Key::table(table).build()),
        Some(until) => KeyRange {
            start: Key::table(table).build(),
            end: Some(
                Key::table(table)
                    .fixed(&time(until.saturating_add(1)))
                    .build(),
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_ordered_by_due_time_and_give_back_their_parts() {
        let key = due_timer(1_700_000_000_000, "r\0x");
        assert_eq!(
            parts_of_due_timer(&key),
            Some((1_700_000_000_000, "r\0x".to_owned()))
        );
        assert!(due_timers(Some(1_700_000_000_000)).contains(&key));
        assert!(!due_timers(Some(1_699_999_999_999)).contains(&key));
        assert!(due_timer(9, "z") < due_timer(10, "a"));
        let cell = CellId::from_bytes([7; 16]);
        let key = cell_with_timer(5, &cell);
        assert_eq!(cell_of_timer(&key), Some(cell));
        assert!(cells_with_timers(5).contains(&key) && !cells_with_timers(4).contains(&key));
    }
}
