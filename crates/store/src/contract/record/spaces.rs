//! Spaces: separate, dropped, sealed, listed; the versions of their structure.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{all, key, new_space, put};
use crate::{Batch, Direction, Expect, KeyRange, Limit, RecordStore, Space, StoreError};

pub(super) async fn new_space_is_empty(store: &dyn RecordStore) {
    let space = new_space();
    assert_eq!(
        store.get(&space, &[key(1), key(2)]).await.unwrap().value,
        vec![None, None]
    );
    assert!(
        store
            .scan(&space, &all(), Direction::Up, Limit::records(10))
            .await
            .unwrap()
            .value
            .is_empty()
    );
    assert_eq!(store.count(&space, &all()).await.unwrap().value, 0);
    let first = store.commit(&space, Batch::new()).await.unwrap();
    let second = store.commit(&space, put(1, "x")).await.unwrap();
    assert!(second > first);
    assert_eq!(store.get(&space, &[]).await.unwrap().value, vec![]);
}

pub(super) async fn spaces_are_separate(store: &dyn RecordStore) {
    let (a, b) = (new_space(), new_space());
    store.commit(&a, put(1, "a")).await.unwrap();
    store.commit(&Space::Unit, put(1, "unit")).await.unwrap();
    assert_eq!(store.get(&b, &[key(1)]).await.unwrap().value, vec![None]);
    store.commit(&b, put(1, "b")).await.unwrap();
    for (space, value) in [(&a, "a"), (&b, "b"), (&Space::Unit, "unit")] {
        let found = store.get(space, &[key(1)]).await.unwrap().value;
        assert_eq!(found[0].as_ref().unwrap().value, value);
    }
    assert_eq!(store.count(&a, &all()).await.unwrap().value, 1);
}

pub(super) async fn dropped_space_stays_dropped(store: &Arc<dyn RecordStore>) {
    let other = new_space();
    store.drop_space(&new_space()).await.unwrap();
    store.commit(&other, put(1, "stays")).await.unwrap();
    for _ in 0..5 {
        let space = new_space();
        for n in 0..5 {
            store
                .commit(&space, put(n, vec![b'x'; 10_000]))
                .await
                .unwrap();
        }
        let reading = (0..4).map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                store
                    .scan(&space, &all(), Direction::Up, Limit::records(10))
                    .await
            })
        });
        let reading: Vec<_> = reading.collect();
        store.drop_space(&space).await.unwrap();
        for seen in join_all(reading).await {
            match seen.unwrap() {
                Ok(found) => assert_eq!(found.value.len(), 5, "all records or none"),
                Err(error) => assert!(matches!(error, StoreError::SpaceDropped), "{error:?}"),
            }
        }
        is_dropped(&**store, &space).await;
        store.drop_space(&space).await.unwrap();
        is_dropped(&**store, &space).await;
    }
    let found = store.get(&other, &[key(1)]).await.unwrap().value;
    assert_eq!(found[0].as_ref().unwrap().value, "stays");
}

/// A space that was never created can be dropped too; then it cannot be created any more.
pub(super) async fn dropped_space_cannot_be_created(store: &dyn RecordStore) {
    let space = new_space();
    store.drop_space(&space).await.unwrap();
    is_dropped(store, &space).await;
}

/// Checks that nothing can be done with a space but drop it.
pub(super) async fn is_dropped(store: &dyn RecordStore, space: &Space) {
    let dropped = |what: &str, error: Option<StoreError>| {
        assert!(
            matches!(error, Some(StoreError::SpaceDropped)),
            "{what}: {error:?}"
        );
    };
    let keys = [key(1), key(2)];
    dropped("get", store.get(space, &keys[..1]).await.err());
    dropped("get", store.get(space, &keys).await.err());
    let limit = Limit::records(10);
    let scanned = store.scan(space, &all(), Direction::Up, limit).await;
    dropped("scan", scanned.err());
    dropped("count", store.count(space, &all()).await.err());
    dropped("structure", store.structure(space).await.err());
    dropped("put", store.commit(space, put(1, "late")).await.err());
    dropped("empty", store.commit(space, Batch::new()).await.err());
    let mut unseal = Batch::new();
    unseal.unseal();
    dropped("unseal", store.commit(space, unseal).await.err());
    dropped("create", store.create_space(space).await.err());
}

pub(super) async fn sealed_space_refuses_commits(store: &dyn RecordStore) {
    let (space, other) = (new_space(), new_space());
    let range = |start, end| KeyRange {
        start: key(start),
        end: Some(key(end)),
    };
    store.commit(&space, put(1, "kept")).await.unwrap();
    let seal = |empty: &[KeyRange]| {
        let mut batch = put(7, "sealed");
        for range in empty {
            batch.assert_empty(range.clone());
        }
        batch.seal();
        batch
    };
    let refused = store
        .commit(&space, seal(&[range(5, 6), range(0, 2)]))
        .await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    store.commit(&space, put(2, "not sealed")).await.unwrap();

    let sealed = seal(&[range(5, 6), range(3, 4)]);
    let version = store.commit(&space, sealed).await.unwrap();
    let mut unmet = put(3, "late");
    unmet.assert(key(3), Expect::Present);
    for batch in [put(3, "late"), unmet, Batch::new(), seal(&[])] {
        let late = store.commit(&space, batch).await;
        assert!(matches!(late, Err(StoreError::Sealed)), "{late:?}");
    }
    let found = store.get(&space, &[key(7), key(3)]).await.unwrap().value;
    assert_eq!(found[0].as_ref().unwrap().version, version);
    assert_eq!(store.count(&space, &all()).await.unwrap().value, 3);
    store.commit(&other, put(3, "elsewhere")).await.unwrap();

    let mut wrong = Batch::new();
    wrong.assert(key(7), Expect::Version(version + 1));
    wrong.unseal();
    let refused = store.commit(&space, wrong).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    let late = store.commit(&space, put(3, "late")).await;
    assert!(matches!(late, Err(StoreError::Sealed)), "{late:?}");

    let mut unseal = Batch::new();
    unseal.assert(key(7), Expect::Version(version));
    unseal.delete(key(7));
    unseal.unseal();
    assert!(store.commit(&space, unseal.clone()).await.unwrap() > version);
    store.commit(&space, put(3, "in time")).await.unwrap();

    let mut both = put(4, "once");
    both.unseal();
    both.seal();
    store.commit(&space, both).await.unwrap();
    let late = store.commit(&space, put(3, "late")).await;
    assert!(matches!(late, Err(StoreError::Sealed)), "{late:?}");
    store.drop_space(&space).await.unwrap();
    is_dropped(store, &space).await;

    let never_there = new_space();
    let mut unseal = Batch::new();
    unseal.unseal();
    store.commit(&never_there, unseal).await.unwrap();
    store.commit(&never_there, put(1, "x")).await.unwrap();
}

pub(super) async fn structure_version_is_that_of_the_last_change(store: &dyn RecordStore) {
    let (space, other) = (new_space(), new_space());
    structure_is(store, &space, 0).await;
    store.commit(&space, put(1, "x")).await.unwrap();
    structure_is(store, &space, 0).await;
    let mut change = put(2, "y");
    change.change_structure();
    let first = store.commit(&space, change).await.unwrap();
    structure_is(store, &space, first).await;
    store.commit(&space, put(3, "z")).await.unwrap();
    structure_is(store, &space, first).await;

    let mut refused = put(4, "never");
    refused.assert(key(4), Expect::Present);
    refused.change_structure();
    let refused = store.commit(&space, refused).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    structure_is(store, &space, first).await;

    let mut only = Batch::new();
    only.change_structure();
    let second = store.commit(&space, only).await.unwrap();
    assert!(second > first);
    structure_is(store, &space, second).await;
    structure_is(store, &other, 0).await;
}

pub(super) async fn structure_version_is_asserted(store: &dyn RecordStore) {
    let space = new_space();
    let asserting = |n: u64, version: u64| {
        let mut batch = put(n, "x");
        batch.assert_structure(version);
        batch
    };
    let refused = store.commit(&space, asserting(1, 1)).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    store.commit(&space, asserting(1, 0)).await.unwrap();
    let mut change = asserting(2, 0);
    change.change_structure();
    let changed = store.commit(&space, change).await.unwrap();
    for other in [0, changed - 1, changed + 1] {
        let refused = store.commit(&space, asserting(3, other)).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    }
    let last = store.commit(&space, asserting(3, changed)).await.unwrap();
    structure_is(store, &space, changed).await;
    let mut only = Batch::new();
    only.assert_structure(changed);
    assert_eq!(store.commit(&space, only).await.unwrap(), last);
}

/// Checks that every kind of read returns this version of the structure.
pub(super) async fn structure_is(store: &dyn RecordStore, space: &Space, version: u64) {
    let keys = [key(1), key(9_999)];
    assert_eq!(store.structure(space).await.unwrap(), version);
    for keys in [&keys[..0], &keys[..1], &keys[1..], &keys] {
        assert_eq!(store.get(space, keys).await.unwrap().structure, version);
    }
    let nothing = KeyRange::prefix(&key(9_999));
    for (range, limit) in [(&all(), 1), (&all(), 0), (&all(), 9_999), (&nothing, 9)] {
        for order in [Direction::Up, Direction::Down] {
            let scanned = store.scan(space, range, order, Limit::records(limit));
            assert_eq!(scanned.await.unwrap().structure, version);
        }
        let counted = store.count(space, range).await.unwrap();
        assert_eq!(counted.structure, version);
    }
}

/// An engine may read many records in another way than few.
pub(super) async fn long_reads_return_the_structure_version(store: &dyn RecordStore) {
    let space = new_space();
    let mut batch = Batch::new();
    let keys: Vec<_> = (0..1500).map(key).collect();
    for key in &keys {
        batch.put(key.clone(), "x");
    }
    batch.change_structure();
    let version = store.commit(&space, batch).await.unwrap();
    structure_is(store, &space, version).await;
    let found = store.get(&space, &keys).await.unwrap();
    assert_eq!(found.structure, version);
    assert!(found.value.iter().all(Option::is_some));
}

pub(super) async fn spaces_are_listed_in_order(store: &dyn RecordStore) {
    store.commit(&Space::Unit, put(1, "unit")).await.unwrap();
    let mut made: Vec<Space> = (0..20).map(|_| new_space()).collect();
    for (n, space) in made.iter().enumerate() {
        match n % 2 {
            0 => store.create_space(space).await.unwrap(),
            _ => drop(store.commit(space, put(1, "x")).await.unwrap()),
        }
    }
    let dropped = made.pop().unwrap();
    store.drop_space(&dropped).await.unwrap();
    let mut all = Vec::new();
    loop {
        let page = store.list_spaces(all.last(), 7).await.unwrap();
        assert!(page.len() <= 7);
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    assert_eq!(all[0], Space::Unit);
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
    assert!(made.iter().all(|space| all.contains(space)));
    assert!(!all.contains(&dropped));
    let at_once = store.list_spaces(None, 1 << 20).await.unwrap();
    assert_eq!(at_once, all);
    assert!(store.list_spaces(None, 0).await.unwrap().is_empty());
}
