//! The contract of [`RecordStore`].

mod batches;
mod concurrency;
mod scans;
mod shared;
mod spaces;

use std::sync::Arc;

use bytes::Bytes;
use personium_types::{CellId, SystemRandom};

use super::history::history;
use super::linearizability::concurrent_history;
use crate::{Batch, Direction, Key, KeyRange, Limit, RecordStore, Space};

/// Checks the contract of [`RecordStore`] for one store, except closing and crashes.
///
/// # Panics
/// If the store breaks the contract.
pub async fn records(store: Arc<dyn RecordStore>) {
    store.check().await.unwrap();
    spaces::new_space_is_empty(&*store).await;
    scans::scans_are_ordered_in_both_directions(&*store).await;
    scans::scan_returns_records_up_to_its_limit(&*store).await;
    scans::scan_ends_with_the_record_that_reaches_the_byte_limit(&*store).await;
    scans::paging_is_stable_under_concurrent_writes(&*store).await;
    spaces::spaces_are_separate(&*store).await;
    batches::failed_assertion_refuses_the_whole_batch(&*store).await;
    batches::assertions_check_the_state_before_the_batch(&*store).await;
    batches::last_operation_on_a_key_takes_effect(&*store).await;
    batches::sequenced_records_are_in_the_order_of_their_commits(&*store).await;
    concurrency::exactly_one_concurrent_creation_succeeds(&store).await;
    concurrency::no_optimistic_increment_is_lost(&store).await;
    concurrency::counters_never_conflict(&store).await;
    batches::large_values_and_batches_are_stored(&*store).await;
    batches::longest_key_is_stored_and_a_longer_one_is_refused(&*store).await;
    concurrency::get_reads_one_snapshot(&store).await;
    concurrency::scan_reads_one_snapshot(&store).await;
    concurrency::commit_is_visible_to_later_reads(&store).await;
    spaces::dropped_space_stays_dropped(&store).await;
    spaces::dropped_space_cannot_be_created(&*store).await;
    spaces::sealed_space_refuses_commits(&*store).await;
    spaces::structure_version_is_that_of_the_last_change(&*store).await;
    spaces::structure_version_is_asserted(&*store).await;
    spaces::long_reads_return_the_structure_version(&*store).await;
    spaces::spaces_are_listed_in_order(&*store).await;
    scans::snapshot_stays_as_it_was(&*store).await;
    for seed in 0..6 {
        history(&*store, seed, 120).await;
    }
    for seed in 0..4 {
        concurrent_history(&[Arc::clone(&store)], seed).await;
    }
}

/// Checks the contract of [`RecordStore`] for two stores over the same data, except closing and crashes.
///
/// # Panics
/// If the stores break the contract.
pub async fn records_shared(one: Arc<dyn RecordStore>, other: Arc<dyn RecordStore>) {
    shared::commits_are_seen_by_the_other(&*one, &*other).await;
    shared::structure_changes_are_seen_by_the_other(&*one, &*other).await;
    shared::seal_holds_for_the_other(&*one, &*other).await;
    shared::dropped_space_is_dropped_for_the_other(&*one, &*other).await;
    let both = [one, other];
    for seed in 0..8 {
        concurrent_history(&both, seed).await;
    }
}

fn new_space() -> Space {
    Space::Cell(CellId::random(&SystemRandom::new()))
}

fn key(n: u64) -> Key {
    Key::table(b'k').u64(n).build()
}

fn all() -> KeyRange {
    KeyRange::all()
}

fn put(n: u64, value: impl Into<Bytes>) -> Batch {
    let mut batch = Batch::new();
    batch.put(key(n), value);
    batch
}

fn i64_of(value: &[u8]) -> i64 {
    i64::from_le_bytes(value.try_into().unwrap())
}

async fn keys_of(
    store: &dyn RecordStore,
    space: &Space,
    range: &KeyRange,
    order: Direction,
) -> Vec<Key> {
    store
        .scan(space, range, order, Limit::records(10_000))
        .await
        .unwrap()
        .value
        .into_iter()
        .map(|(key, _)| key)
        .collect()
}
