//! Spaces: separate, dropped, fenced.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{all, key, new_space, put};
use crate::{Batch, Direction, KeyRange, Limit, RecordStore, Space, StoreError};

pub(super) async fn new_space_is_empty(store: &dyn RecordStore) {
    let space = new_space();
    assert_eq!(
        store.get(&space, &[key(1), key(2)]).await.unwrap(),
        vec![None, None]
    );
    assert!(
        store
            .scan(&space, &all(), Direction::Up, Limit::records(10))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(store.count(&space, &all()).await.unwrap(), 0);
    let first = store.commit(&space, Batch::new()).await.unwrap();
    let second = store.commit(&space, put(1, "x")).await.unwrap();
    assert!(second > first);
    assert_eq!(store.get(&space, &[]).await.unwrap(), vec![]);
}

pub(super) async fn spaces_are_separate(store: &dyn RecordStore) {
    let (a, b) = (new_space(), new_space());
    store.commit(&a, put(1, "a")).await.unwrap();
    store.commit(&Space::Unit, put(1, "unit")).await.unwrap();
    assert_eq!(store.get(&b, &[key(1)]).await.unwrap(), vec![None]);
    store.commit(&b, put(1, "b")).await.unwrap();
    for (space, value) in [(&a, "a"), (&b, "b"), (&Space::Unit, "unit")] {
        let found = store.get(space, &[key(1)]).await.unwrap();
        assert_eq!(found[0].as_ref().unwrap().value, value);
    }
    assert_eq!(store.count(&a, &all()).await.unwrap(), 1);
}

pub(super) async fn dropped_space_stays_dropped(store: &Arc<dyn RecordStore>) {
    let other = new_space();
    store.drop_space(&new_space()).await.unwrap();
    store.commit(&other, put(1, "stays")).await.unwrap();
    for round in 0..5 {
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
                    .unwrap()
                    .len()
            })
        });
        let reading: Vec<_> = reading.collect();
        store.drop_space(&space).await.unwrap();
        for seen in join_all(reading).await {
            assert!(
                [0, 5].contains(&seen.unwrap()),
                "a reader sees all records of a dropped space or none"
            );
        }
        assert_eq!(
            store.get(&space, &[key(1)]).await.unwrap(),
            vec![None],
            "round {round}"
        );
        assert_eq!(store.count(&space, &all()).await.unwrap(), 0);
        let late = store.commit(&space, put(1, "again")).await;
        assert!(matches!(late, Err(StoreError::SpaceDropped)), "{late:?}");
        assert_eq!(store.count(&space, &all()).await.unwrap(), 0);
        store.drop_space(&space).await.unwrap();
    }
    assert_eq!(
        store.get(&other, &[key(1)]).await.unwrap()[0]
            .as_ref()
            .unwrap()
            .value,
        "stays"
    );
}

pub(super) async fn fenced_space_refuses_commits(store: &dyn RecordStore) {
    let (space, other) = (new_space(), new_space());
    let range = |start, end| KeyRange {
        start: key(start),
        end: Some(key(end)),
    };
    store.commit(&space, put(1, "kept")).await.unwrap();
    let refused = store.fence(&space, &[range(5, 6), range(0, 2)]).await;
    assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    store.commit(&space, put(2, "not fenced")).await.unwrap();

    let fence = store
        .fence(&space, &[range(5, 6), range(3, 4)])
        .await
        .unwrap();
    for batch in [put(3, "late"), Batch::new()] {
        let late = store.commit(&space, batch).await;
        assert!(matches!(late, Err(StoreError::Conflict)), "{late:?}");
    }
    let twice = store.fence(&space, &[]).await;
    assert!(matches!(twice, Err(StoreError::Conflict)), "{twice:?}");
    assert_eq!(store.count(&space, &all()).await.unwrap(), 2);
    store.commit(&other, put(3, "elsewhere")).await.unwrap();
    drop(fence);
    store.commit(&space, put(3, "in time")).await.unwrap();

    let fence = store.fence(&space, &[]).await.unwrap();
    store.drop_space(&space).await.unwrap();
    for _ in 0..2 {
        let late = store.commit(&space, put(1, "again")).await;
        assert!(matches!(late, Err(StoreError::SpaceDropped)), "{late:?}");
    }
    drop(fence);
    let late = store.commit(&space, put(1, "again")).await;
    assert!(matches!(late, Err(StoreError::SpaceDropped)), "{late:?}");
    let late = store.fence(&space, &[]).await;
    assert!(matches!(late, Err(StoreError::SpaceDropped)), "{late:?}");

    let never_there = new_space();
    drop(store.fence(&never_there, &[all()]).await.unwrap());
    store.commit(&never_there, put(1, "x")).await.unwrap();
}
