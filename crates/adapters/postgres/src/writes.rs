//! The changes of a group as statements.

use personium_store::{CommitSeq, Key, record_checksum};
use tokio_postgres::types::ToSql;

use crate::connections::Parameter;
use crate::group_commit::{Changes, GroupOutcome, SpaceState};
use crate::statement::{self, MAX_PUT_ROWS, PutKind};

/// The size of the values from which on a statement takes no further record. A message has at most 1 GiB.
const MAX_STATEMENT_BYTES: usize = 32 << 20;

/// A record to put.
struct PutRow<'w> {
    key: &'w [u8],
    value: &'w [u8],
    version: i64,
    sum: i64,
}

/// The changes of the second round trip.
pub(crate) struct Writes<'w> {
    space: &'w Vec<u8>,
    deleted: Vec<&'w [u8]>,
    /// Records that are probably new.
    created: Vec<PutRow<'w>>,
    /// Records that may exist.
    replaced: Vec<PutRow<'w>>,
    /// The new state of the space, if that changes.
    state: Option<(i64, bool)>,
}

impl<'w> Writes<'w> {
    /// The changes of a group. `may_create`: what is probably new is created, which fails if it exists.
    pub(crate) fn of(
        space: &'w Vec<u8>,
        outcome: &'w GroupOutcome,
        (before, may_create): (&SpaceState, bool),
    ) -> Self {
        let state = &outcome.state;
        let put = put(&outcome.changes).into_iter();
        let (created, replaced): (Vec<_>, Vec<_>) =
            put.partition(|(key, _)| may_create && outcome.new_keys.contains(*key));
        let is_changed = (state.structure, state.is_sealed) != (before.structure, before.is_sealed);
        Self {
            space,
            deleted: deleted(&outcome.changes),
            created: rows(created),
            replaced: rows(replaced),
            state: is_changed.then(|| (signed(state.structure), state.is_sealed)),
        }
    }

    pub(crate) fn statements(&self) -> Vec<(&'static statement::Statement, Vec<Parameter<'_>>)> {
        let mut statements: Vec<(&'static statement::Statement, Vec<Parameter<'_>>)> = Vec::new();
        for key in &self.deleted {
            statements.push((&statement::DELETE, vec![self.space, key]));
        }
        let kinds = [
            (PutKind::Create, &self.created),
            (PutKind::Replace, &self.replaced),
        ];
        for (kind, rows) in kinds {
            self.add_puts(kind, rows, &mut statements);
        }
        if let Some((structure, is_sealed)) = &self.state {
            statements.push((
                &statement::SET_STATE,
                vec![self.space, structure, is_sealed],
            ));
        }
        statements
    }

    fn add_puts<'s>(
        &'s self,
        kind: PutKind,
        mut rows: &'s [PutRow<'w>],
        statements: &mut Vec<(&'static statement::Statement, Vec<Parameter<'s>>)>,
    ) {
        while !rows.is_empty() {
            let (statement, count) = statement::put(kind, rows_within_bytes(rows));
            let (now, later) = rows.split_at(count.min(rows.len()));
            let mut parameters: Vec<Parameter<'_>> = vec![self.space];
            for row in now {
                let of_row: [&(dyn ToSql + Sync); 4] =
                    [&row.key, &row.value, &row.version, &row.sum];
                parameters.extend(of_row);
            }
            statements.push((statement, parameters));
            rows = later;
        }
    }
}

fn deleted(changes: &Changes) -> Vec<&[u8]> {
    let keys = changes.iter().filter(|(_, change)| change.is_none());
    keys.map(|(key, _)| key.as_bytes()).collect()
}

/// The records that are put.
fn put(changes: &Changes) -> Vec<(&Key, PutRow<'_>)> {
    let rows = changes.iter().filter_map(|(key, change)| {
        let (value, version) = change.as_ref()?;
        let row = PutRow {
            key: key.as_bytes(),
            value,
            version: signed(*version),
            sum: record_checksum::of(key.as_bytes(), *version, value),
        };
        Some((key, row))
    });
    rows.collect()
}

fn rows<'w>(put: Vec<(&'w Key, PutRow<'w>)>) -> Vec<PutRow<'w>> {
    put.into_iter().map(|(_, row)| row).collect()
}

/// The number of records that one statement puts, at least 1.
fn rows_within_bytes(rows: &[PutRow<'_>]) -> usize {
    let mut bytes = 0;
    let fits = rows.iter().take(MAX_PUT_ROWS).take_while(|row| {
        let is_first = bytes == 0;
        bytes += row.key.len() + row.value.len();
        is_first || bytes <= MAX_STATEMENT_BYTES
    });
    fits.count()
}

fn signed(number: CommitSeq) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_bounded_in_rows_and_bytes() {
        let large = vec![0; MAX_STATEMENT_BYTES];
        let row = |value| PutRow {
            key: b"k",
            value,
            version: 1,
            sum: 0,
        };
        let small: Vec<PutRow<'_>> = (0..200).map(|_| row(&[])).collect();
        assert_eq!(rows_within_bytes(&small), MAX_PUT_ROWS);
        let mixed = [row(&large[..]), row(b"x"), row(b"y")];
        assert_eq!(rows_within_bytes(&mixed), 1);
        assert_eq!(rows_within_bytes(&mixed[1..]), 2);
    }
}
