//! The records of a space, copied and compared in the order of their keys.

use std::collections::BTreeMap;

use bytes::Bytes;
use personium_model::keys;
use personium_store::{
    Batch, Direction, Key, KeyRange, Limit, RecordStore, Space, StoreError, record_checksum,
};
use personium_types::error::chain;

use super::{CopyCounts, CopyResult};
use crate::progress::Progress;

/// The size of a page and of a batch.
const PAGE: Limit = Limit {
    records: 1_000,
    bytes: 4 << 20,
};

/// The number of bytes of a key that a message shows.
const SHOWN_KEY_BYTES: usize = 80;

type Page = BTreeMap<Key, Bytes>;

/// Makes the records of a space in the target those of the source. Returns how many the source has, and how many were changed.
///
/// # Errors
/// A text for the operator, which names a record that cannot be read.
pub(super) async fn copy(
    (source, target): (&dyn RecordStore, &dyn RecordStore),
    space: &Space,
    progress: &Progress,
) -> CopyResult<CopyCounts> {
    let mut counts = CopyCounts::default();
    let mut range = KeyRange::all();
    loop {
        let mut wanted = read_source(source, space, &range).await?;
        let found = read(target, space, &range, PAGE).await;
        let mut found = found.map_err(|error| of_target(&error))?;
        // Each page is complete up to its last key; an empty one, up to the end.
        let ends = [wanted.last_key_value(), found.last_key_value()];
        let Some(end) = ends.into_iter().flatten().map(|(key, _)| key).min() else {
            return Ok(counts);
        };
        let next = range.after(end);
        let _ = (wanted.split_off(&next.start), found.split_off(&next.start));
        range = next;
        let batch = difference(space, (wanted, found), &mut counts);
        if !batch.is_empty() {
            let committed = target.commit(space, batch).await;
            committed.map_err(|error| of_target(&error))?;
        }
        progress.set_records(counts.records);
    }
}

/// Returns what makes the records of the target those of the source, and counts both.
fn difference(space: &Space, (wanted, mut found): (Page, Page), counts: &mut CopyCounts) -> Batch {
    let is_copied = |key: &Key| !is_of_one_store(space, key);
    let mut batch = Batch::new();
    for (key, value) in wanted.into_iter().filter(|(key, _)| is_copied(key)) {
        let sum = record_checksum::of(&key, 0, &value).cast_unsigned();
        counts.records += 1;
        counts.checksum = counts.checksum.wrapping_add(sum);
        if found.remove(&key).as_ref() != Some(&value) {
            counts.changed += 1;
            batch.put(key, value);
        }
    }
    for key in found.into_keys().filter(is_copied) {
        counts.changed += 1;
        batch.delete(key);
    }
    if !batch.is_empty() {
        batch.change_structure();
    }
    batch
}

/// Whether a record says something about the store that it is in.
fn is_of_one_store(space: &Space, key: &Key) -> bool {
    let own = [keys::unit_mark(), keys::unfinished_copy(), keys::store_id()];
    match space {
        Space::Unit => own.contains(key),
        // Their keys are numbers of commits.
        Space::Cell(_) => {
            let topics = keys::all_topics();
            keys::feed_events().contains(key) || topics.iter().any(|range| range.contains(key))
        }
    }
}

async fn read(
    records: &dyn RecordStore,
    space: &Space,
    range: &KeyRange,
    limit: Limit,
) -> Result<Page, StoreError> {
    let found = records.scan(space, range, Direction::Up, limit).await?;
    let records = found.value.into_iter();
    Ok(records.map(|(key, record)| (key, record.value)).collect())
}

fn of_target(error: &StoreError) -> String {
    format!("the target: {}", chain(error))
}

/// Returns a text that names the first record of a space that cannot be read; `None` if all can be.
pub(super) async fn find_damage(source: &dyn RecordStore, space: &Space) -> Option<String> {
    let mut range = KeyRange::all();
    loop {
        match read_source(source, space, &range).await {
            Err(text) => return Some(text),
            Ok(page) => range = range.after(page.last_key_value()?.0),
        }
    }
}

/// Reads a page of the source. An error names the record that is damaged.
async fn read_source(
    source: &dyn RecordStore,
    space: &Space,
    range: &KeyRange,
) -> CopyResult<Page> {
    let error = match read(source, space, range, PAGE).await {
        Ok(page) => return Ok(page),
        Err(error @ StoreError::Corrupt(_)) => error,
        Err(error) => return Err(format!("the source: {}", chain(&error))),
    };
    let mut rest = range.clone();
    let mut place = "at its beginning".to_owned();
    while let Ok(found) = read(source, space, &rest, Limit::records(1)).await
        && let Some((key, _)) = found.first_key_value()
    {
        rest = rest.after(key);
        let begin = key.get(..SHOWN_KEY_BYTES).unwrap_or(key);
        place = format!("after the record \"{}\"", begin.escape_ascii());
    }
    let error = chain(&error);
    Err(format!("the source is damaged {place}: {error}"))
}

#[cfg(test)]
mod tests {
    use personium_store::memory::MemoryRecords;

    use super::*;
    use crate::system;

    fn key(n: u64) -> Key {
        Key::table(b'k').u64(n).build()
    }

    async fn store(records: &[(Key, &str)]) -> MemoryRecords {
        let store = MemoryRecords::new();
        let mut batch = Batch::new();
        for (key, value) in records {
            batch.put(key.clone(), (*value).to_owned());
        }
        store.commit(&Space::Unit, batch).await.unwrap();
        store
    }

    async fn copied(source: &MemoryRecords, target: &MemoryRecords) -> CopyCounts {
        let progress = Progress::new("copy", system::clock());
        let sides: (&dyn RecordStore, &dyn RecordStore) = (source, target);
        copy(sides, &Space::Unit, &progress).await.unwrap()
    }

    #[test]
    fn events_that_are_ordered_by_commits_of_the_source_are_not_copied() {
        let cell = Space::Cell(personium_types::CellId::from_bytes([7; 16]));
        assert!(is_of_one_store(&cell, &keys::feed_event(900, 1)));
        assert!(!is_of_one_store(&cell, &keys::feed()));
        assert!(!is_of_one_store(&cell, &keys::unit_mark()));
        assert!(is_of_one_store(&Space::Unit, &keys::unit_mark()));
    }

    #[tokio::test]
    async fn target_gets_exactly_the_records_of_the_source_except_those_of_one_store() {
        let own = [keys::unit_mark(), keys::unfinished_copy()];
        let mut of_source = vec![
            (key(1), "one"),
            (key(3), "three"),
            (own[0].clone(), "source"),
        ];
        of_source.extend((10..3_000).map(|n| (key(n), "more")));
        let source = store(&of_source).await;
        // Before, between and behind those of the source, more than a page of each.
        let mut of_target = vec![
            (key(1), "one"),
            (key(3), "drei"),
            (own[0].clone(), "target"),
            (own[1].clone(), "copy"),
        ];
        of_target.extend((0..2_500).map(|n| (Key::table(b'a').u64(n).build(), "before")));
        of_target.extend((5_000..7_500).map(|n| (key(n), "late")));
        let target = store(&of_target).await;
        let first = copied(&source, &target).await;
        assert_eq!(first.records, 2_992);
        assert_eq!(first.changed, 2_991 + 2_500 + 2_500);
        let second = copied(&source, &target).await;
        assert_eq!((second.records, second.changed), (2_992, 0));
        let back = copied(&target, &source).await;
        assert_eq!(back, second);
        let found = target.get(&Space::Unit, &own).await.unwrap().value;
        let values = found.into_iter().flatten().map(|record| record.value);
        assert_eq!(values.collect::<Vec<_>>(), ["target", "copy"]);
    }
}
