//! The transaction of a group of batches: two round trips.
//!
//! The first takes the lock of the space and then reads what the assertions need, so that nothing can change until the end. The
//! second writes and commits.
//!
//! If the connection is lost while committing, the outcome is unknown. The space keeps the ids of its last transactions. The next
//! attempt takes the lock, which the lost transaction held until it ended, and finds its id there if it was committed.

use std::collections::HashMap;

use bytes::Bytes;
use personium_store::{
    Batch, CommitSeq, ErrorDetail, Key, KeyRange, Result, Space, StoreError, StoreHealth,
};
use tokio_postgres::Row;

use crate::connections::{Connection, Parameter, ReadyStatement, Request};
use crate::error::{Failure, FailureKind, corrupt};
use crate::group_commit::{Before, FoundRecord, GroupOutcome, Needs, SpaceState};
use crate::read::{bounds, check_sum, column, number, report};
use crate::statement::{self, KEPT_WRITERS, WRITER_BYTES};
use crate::writes::Writes;
use crate::{group_commit, space_key};

/// The id of a transaction.
pub(crate) type WriterId = [u8; WRITER_BYTES];

/// A transaction whose outcome is unknown.
#[derive(Debug)]
pub(crate) struct UnknownOutcome {
    id: WriterId,
    /// The number of this transaction among those of the space.
    writes: u64,
    /// The results of the batches if it was committed.
    results: Vec<Result<CommitSeq>>,
}

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Each batch has its result.
    Judged(Vec<Result<CommitSeq>>),
    /// All batches fail with this error.
    Refused(StoreError),
    /// The space does not exist.
    NoSpace,
}

/// A group of batches of one space.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<'g> {
    pub(crate) space: &'g Space,
    pub(crate) batches: &'g [&'g Batch],
    /// The id of this attempt.
    pub(crate) id: WriterId,
    /// Whether what is probably new is created. If it exists after all, the database refuses the group.
    pub(crate) may_create: bool,
    pub(crate) health: &'g StoreHealth,
}

/// Tries to commit the group. An earlier attempt whose outcome is unknown is settled first.
///
/// # Errors
/// If the database failed. `unknown` then says whether the group may have been committed.
pub(crate) async fn attempt(
    connection: &Connection,
    group: Group<'_>,
    unknown: &mut Option<UnknownOutcome>,
) -> std::result::Result<Ended, Failure> {
    let needs = Needs::of(group.batches);
    // A transaction that is not ended keeps its connection out of the pool.
    connection.set_unusable(true);
    let begun = begin(connection, group, &needs).await?;
    let Some(lock) = begun.lock else {
        roll_back(connection).await?;
        return Ok(Ended::NoSpace);
    };
    if let Some(lost) = unknown.take() {
        match lock.settle(&lost) {
            Some(true) => {
                // The group is committed, also if the end of this transaction fails.
                let _ = roll_back(connection).await;
                return Ok(Ended::Judged(lost.results));
            }
            Some(false) => {}
            None => {
                *unknown = Some(lost);
                roll_back(connection).await?;
                return Ok(Ended::Refused(outcome_unknown()));
            }
        }
    }
    if lock.is_dropped {
        roll_back(connection).await?;
        return Ok(Ended::Refused(StoreError::SpaceDropped));
    }
    let before = Before {
        state: lock.state,
        records: begun.records,
        ranges: begun.ranges,
    };
    let outcome = group_commit::apply(group.batches, before);
    if outcome.changes.is_empty() && outcome.state == lock.state {
        roll_back(connection).await?;
        return Ok(Ended::Judged(outcome.results));
    }
    commit(connection, group, (outcome, &lock), unknown).await
}

/// The error if nobody can tell whether the group was committed.
pub(crate) fn outcome_unknown() -> StoreError {
    StoreError::Down(ErrorDetail::new(
        "the connection was lost while committing, and whether the batch was committed is unknown",
    ))
}

/// The locked row of a space.
struct Lock {
    /// The state before this transaction.
    state: SpaceState,
    is_dropped: bool,
    writes: u64,
    writers: Vec<u8>,
}

impl Lock {
    fn of(row: &Row, commits: u64) -> Result<Self> {
        let stamp = number(row, 0)?;
        Ok(Self {
            state: SpaceState {
                last_commit: stamp
                    .checked_sub(commits)
                    .ok_or_else(|| corrupt("the number of the last commit is too small"))?,
                structure: number(row, 1)?,
                is_sealed: column(row, 2)?,
            },
            is_dropped: column(row, 3)?,
            writes: number(row, 4)?,
            writers: column::<&[u8]>(row, 5)?.to_vec(),
        })
    }

    /// Whether a lost transaction was committed; `None` if too many followed it.
    fn settle(&self, lost: &UnknownOutcome) -> Option<bool> {
        let mut kept = self.writers.chunks_exact(WRITER_BYTES);
        if kept.any(|id| id == lost.id) {
            return Some(true);
        }
        // The first id is that of this transaction.
        let followed = self.writes.saturating_sub(lost.writes);
        (followed < KEPT_WRITERS as u64).then_some(false)
    }
}

/// The answers to the first round trip.
struct Begun {
    lock: Option<Lock>,
    records: HashMap<Key, FoundRecord>,
    ranges: Vec<Vec<Key>>,
}

async fn begin(
    connection: &Connection,
    group: Group<'_>,
    needs: &Needs<'_>,
) -> std::result::Result<Begun, Failure> {
    let lock = connection.prepare(&statement::LOCK).await?;
    let versions = match needs.keys.is_empty() {
        true => None,
        false => Some(connection.prepare(&statement::VERSIONS).await?),
    };
    let keys = match needs.ranges.is_empty() {
        true => None,
        false => Some(connection.prepare(&statement::KEYS).await?),
    };

    let space = space_key::of(group.space);
    let commits = i64::try_from(needs.commits).unwrap_or(i64::MAX);
    let id = &group.id[..];
    let lock_parameters: [Parameter<'_>; 3] = [&space, &commits, &id];
    let wanted: Vec<&[u8]> = needs.keys.iter().map(|key| key.as_bytes()).collect();
    let version_parameters: [Parameter<'_>; 2] = [&space, &wanted];
    let ranges: Vec<RangeParameters<'_>> = needs.ranges.iter().map(RangeParameters::of).collect();
    let range_parameters: Vec<[Parameter<'_>; 4]> = ranges
        .iter()
        .map(|range| -> [Parameter<'_>; 4] { [&space, &range.start, &range.end, &range.limit] })
        .collect();

    let text = connection.begin();
    let mut requests = vec![
        connection.command(&text),
        connection.request(&lock, &lock_parameters),
    ];
    if let Some(versions) = &versions {
        requests.push(connection.request(versions, &version_parameters));
    }
    if let Some(keys) = &keys {
        for parameters in &range_parameters {
            requests.push(connection.request(keys, parameters));
        }
    }
    let answers = connection.round_trip(requests).await;
    let mut answers = answers.map_err(|failed| failed.error)?.into_iter().skip(1);
    let locked = answers.next().unwrap_or_default();
    let found = versions.map(|_| answers.next().unwrap_or_default());
    read_answers(group, needs, &locked, found.unwrap_or_default(), answers)
        .map_err(|error| Failure::Unreachable(Box::new(error)))
}

/// The parameters of the statement that reads the keys of a range.
struct RangeParameters<'r> {
    start: &'r [u8],
    end: Vec<u8>,
    limit: i64,
}

impl<'r> RangeParameters<'r> {
    fn of((range, limit): &(&'r KeyRange, usize)) -> Self {
        let (start, end) = bounds(range);
        Self {
            start,
            end,
            limit: i64::try_from(*limit).unwrap_or(i64::MAX),
        }
    }
}

fn read_answers(
    group: Group<'_>,
    needs: &Needs<'_>,
    locked: &[Row],
    found: Vec<Row>,
    ranges: impl Iterator<Item = Vec<Row>>,
) -> Result<Begun> {
    let lock = locked.first().map(|row| Lock::of(row, needs.commits));
    let mut records = HashMap::with_capacity(found.len());
    for row in &found {
        let (key, version) = (column::<&[u8]>(row, 0)?, number(row, 1)?);
        let counter = column::<Option<&[u8]>>(row, 3)?.map(|value| {
            check_sum(row, 2, (key, version, value))
                .map_err(|error| report(group.health, group.space, error))?;
            Ok(Bytes::copy_from_slice(value))
        });
        let record = FoundRecord { version, counter };
        records.insert(Key::from_bytes(key.to_vec()), record);
    }
    let keys_of = |rows: Vec<Row>| {
        let keys = rows.iter().map(|row| column::<&[u8]>(row, 0));
        keys.map(|key| key.map(|key| Key::from_bytes(key.to_vec())))
            .collect()
    };
    Ok(Begun {
        lock: lock.transpose()?,
        records,
        ranges: ranges.map(keys_of).collect::<Result<_>>()?,
    })
}

async fn roll_back(connection: &Connection) -> std::result::Result<(), Failure> {
    let requests = vec![connection.command("ROLLBACK")];
    let ended = connection.round_trip(requests).await;
    ended.map_err(|failed| failed.error)?;
    connection.set_unusable(false);
    Ok(())
}

/// Writes the changes and commits.
async fn commit(
    connection: &Connection,
    group: Group<'_>,
    (outcome, lock): (GroupOutcome, &Lock),
    unknown: &mut Option<UnknownOutcome>,
) -> std::result::Result<Ended, Failure> {
    let space = space_key::of(group.space);
    let writes = Writes::of(&space, &outcome, (&lock.state, group.may_create));
    let mut ready: Vec<(ReadyStatement, Vec<Parameter<'_>>)> = Vec::new();
    for (statement, parameters) in writes.statements() {
        ready.push((connection.prepare(statement).await?, parameters));
    }
    let mut requests: Vec<Request<'_>> = ready
        .iter()
        .map(|(statement, parameters)| connection.request(statement, parameters))
        .collect();
    requests.push(connection.command("COMMIT"));
    let all = requests.len();
    match connection.round_trip(requests).await {
        Ok(_) => {
            connection.set_unusable(false);
            Ok(Ended::Judged(outcome.results))
        }
        Err(failed) => {
            if failed.sent == all && failed.error.kind() == FailureKind::RecordExists {
                // The last request, which was answered too, has rolled back what failed.
                connection.set_unusable(false);
            }
            if failed.sent == all && !failed.error.is_rolled_back() {
                *unknown = Some(UnknownOutcome {
                    id: group.id,
                    writes: lock.writes,
                    results: outcome.results,
                });
            }
            Err(failed.error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(writes: u64, writers: &[WriterId]) -> Lock {
        Lock {
            state: SpaceState {
                last_commit: 0,
                structure: 0,
                is_sealed: false,
            },
            is_dropped: false,
            writes,
            writers: writers.concat(),
        }
    }

    #[test]
    fn lost_transaction_is_found_among_the_last_ones_or_its_outcome_stays_unknown() {
        let id = |n: u64| n.to_be_bytes();
        let lost = UnknownOutcome {
            id: id(7),
            writes: 100,
            results: Vec::new(),
        };
        // Nobody wrote since: this transaction has the same number.
        assert_eq!(lock(100, &[id(8), id(6)]).settle(&lost), Some(false));
        assert_eq!(lock(101, &[id(8), id(7)]).settle(&lost), Some(true));
        let others: Vec<WriterId> = (1000..).map(id).take(KEPT_WRITERS).collect();
        assert_eq!(lock(131, &others).settle(&lost), Some(false));
        assert_eq!(lock(132, &others).settle(&lost), None);
    }
}
