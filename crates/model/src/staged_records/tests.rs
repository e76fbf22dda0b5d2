use personium_store::memory::MemoryRecords;
use proptest::prelude::*;

use super::*;

const SPACE: Space = Space::Unit;

fn key(number: u8) -> Key {
    Key::table(b't').byte(number).build()
}

fn range(from: u8, to: u8) -> KeyRange {
    KeyRange {
        start: key(from),
        end: Some(key(to)),
    }
}

fn put(number: u8, value: &'static str) -> Batch {
    let mut batch = Batch::new();
    batch.put(key(number), value);
    batch
}

async fn over(stored: &[(u8, &'static str)]) -> (Arc<MemoryRecords>, StagedRecords) {
    let base = Arc::new(MemoryRecords::new());
    for (number, value) in stored {
        base.commit(&SPACE, put(*number, value)).await.unwrap();
    }
    let staged = StagedRecords::new(base.clone(), SPACE);
    (base, staged)
}

async fn conflicts(store: &dyn RecordStore, batch: Batch) -> bool {
    match store.commit(&SPACE, batch).await {
        Ok(_) => false,
        Err(StoreError::Conflict) => true,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn staged_changes_are_read_but_not_stored_before_the_commit() {
    let (base, staged) = over(&[(1, "one"), (2, "two")]).await;
    let mut batch = put(3, "three");
    batch.delete(key(1));
    staged.commit(&SPACE, batch).await.unwrap();
    let found = staged
        .get(&SPACE, &[key(1), key(2), key(3)])
        .await
        .unwrap()
        .value;
    let found: Vec<Option<Bytes>> = found.into_iter().map(|r| r.map(|r| r.value)).collect();
    assert_eq!(found, [None, Some("two".into()), Some("three".into())]);
    assert_eq!(base.count(&SPACE, &range(0, 9)).await.unwrap().value, 2);
    assert_eq!(staged.count(&SPACE, &range(0, 9)).await.unwrap().value, 2);
    base.commit(&SPACE, staged.to_batch()).await.unwrap();
    let stored = base.get(&SPACE, &[key(1), key(3)]).await.unwrap().value;
    assert!(stored[0].is_none() && stored[1].is_some());
}

#[tokio::test]
async fn assertion_that_contradicts_a_staged_change_is_a_conflict_and_stages_nothing() {
    let (_, staged) = over(&[(1, "one")]).await;
    let version = staged.commit(&SPACE, put(2, "two")).await.unwrap();
    let mut delete = Batch::new();
    delete.delete(key(1));
    staged.commit(&SPACE, delete).await.unwrap();
    for (number, expect, holds) in [
        (2, Expect::Absent, false),
        (2, Expect::Present, true),
        (2, Expect::Version(version), true),
        (2, Expect::Version(version + 1), false),
        (1, Expect::Absent, true),
        (1, Expect::Present, false),
    ] {
        let mut batch = put(3, "three");
        batch.assert(key(number), expect);
        let (_, again) = over(&[]).await;
        *again.staging.lock() = Staging {
            entries: staged.staging.lock().entries.clone(),
            ..Staging::default()
        };
        assert_eq!(
            conflicts(&again, batch).await,
            !holds,
            "{number} {expect:?}"
        );
        assert_eq!(again.changes(&key(3)), holds, "{number} {expect:?}");
    }
    for (from, to, holds) in [(0, 2, true), (0, 3, false), (3, 9, true)] {
        let mut batch = Batch::new();
        batch.assert_empty(range(from, to));
        assert_eq!(conflicts(&staged, batch).await, !holds, "{from} {to}");
    }
}

#[tokio::test]
async fn change_of_the_store_that_an_assertion_excludes_refuses_the_whole() {
    type Assertion = fn(&mut Batch);
    let assertions: [(&str, Assertion); 3] = [
        ("absent", |batch| batch.assert(key(5), Expect::Absent)),
        ("empty", |batch| batch.assert_empty(range(4, 6))),
        ("version", |batch| batch.assert(key(1), Expect::Version(1))),
    ];
    for (what, assert) in assertions {
        let (base, staged) = over(&[(1, "one")]).await;
        let mut batch = put(2, "two");
        assert(&mut batch);
        staged.commit(&SPACE, batch).await.unwrap();
        let mut other = put(5, "five");
        other.put(key(1), "changed");
        base.commit(&SPACE, other).await.unwrap();
        assert!(conflicts(&*base, staged.to_batch()).await, "{what}");
        assert_eq!(
            base.get(&SPACE, &[key(2)]).await.unwrap().value,
            [None],
            "{what}"
        );
    }
}

#[tokio::test]
async fn counters_add_up_with_those_of_the_store() {
    let (base, staged) = over(&[]).await;
    let add = |delta| {
        let mut batch = Batch::new();
        batch.add(key(1), delta);
        batch
    };
    staged.commit(&SPACE, add(2)).await.unwrap();
    staged.commit(&SPACE, add(3)).await.unwrap();
    let read = staged.get(&SPACE, &[key(1)]).await.unwrap().value.remove(0);
    let read = read.unwrap();
    assert_eq!(records::count_of(&read.value), 5);
    let mut asserting = add(1);
    asserting.assert(key(1), Expect::Version(read.version));
    staged.commit(&SPACE, asserting).await.unwrap();
    let batch = staged.to_batch();
    base.commit(&SPACE, batch.clone()).await.unwrap();
    let stored = base.get(&SPACE, &[key(1)]).await.unwrap().value.remove(0);
    assert_eq!(records::count_of(&stored.unwrap().value), 6);
    assert!(conflicts(&*base, batch).await);
}

proptest! {
    /// Scans and counts over staged changes find what they find after the commit.
    #[test]
    fn reads_over_staged_changes_equal_reads_after_the_commit(
        stored in prop::collection::btree_set(0_u8..20, 0..12),
        changes in prop::collection::vec((0_u8..20, any::<bool>()), 0..12),
        from in 0_u8..20, to in 0_u8..22, up: bool, records in 0_usize..8, bytes in 1_usize..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let stored: Vec<(u8, &str)> = stored.into_iter().map(|n| (n, "abc")).collect();
            let (base, staged) = over(&stored).await;
            for (number, is_put) in changes {
                let mut batch = Batch::new();
                match is_put {
                    true => batch.put(key(number), "x"),
                    false => batch.delete(key(number)),
                }
                staged.commit(&SPACE, batch).await.unwrap();
            }
            let order = if up { Direction::Up } else { Direction::Down };
            let limit = Limit::records(records).or_bytes(bytes);
            let range = range(from, to);
            let keys = |found: Vec<(Key, Record)>| -> Vec<(Key, Bytes)> {
                found.into_iter().map(|(key, record)| (key, record.value)).collect()
            };
            let before = staged.scan(&SPACE, &range, order, limit).await.unwrap().value;
            let count = staged.count(&SPACE, &range).await.unwrap().value;
            base.commit(&SPACE, staged.to_batch()).await.unwrap();
            let after = base.scan(&SPACE, &range, order, limit).await.unwrap().value;
            assert_eq!(keys(before), keys(after));
            assert_eq!(count, base.count(&SPACE, &range).await.unwrap().value);
        });
    }
}
