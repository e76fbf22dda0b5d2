//! Scans: order, limits, paging.

use super::{all, key, keys_of, new_space};
use crate::{Batch, Direction, Key, KeyRange, Limit, RecordStore};

pub(super) async fn scans_are_ordered_in_both_directions(store: &dyn RecordStore) {
    let space = new_space();
    let raw: [&[u8]; 8] = [
        &[],
        &[0],
        &[0, 0],
        &[0, 1],
        b"a",
        b"ab",
        &[0xff],
        &[0xff, 0xff],
    ];
    let mut batch = Batch::new();
    for bytes in raw.iter().rev() {
        batch.put(Key::from_bytes(bytes.to_vec()), bytes.to_vec());
    }
    let seq = store.commit(&space, batch).await.unwrap();
    let sorted: Vec<Key> = raw
        .iter()
        .map(|bytes| Key::from_bytes(bytes.to_vec()))
        .collect();
    assert_eq!(keys_of(store, &space, &all(), Direction::Up).await, sorted);
    let mut reversed = sorted.clone();
    reversed.reverse();
    assert_eq!(
        keys_of(store, &space, &all(), Direction::Down).await,
        reversed
    );
    let from_to = KeyRange {
        start: sorted[2].clone(),
        end: Some(sorted[5].clone()),
    };
    assert_eq!(
        keys_of(store, &space, &from_to, Direction::Up).await,
        sorted[2..5]
    );
    assert_eq!(
        keys_of(store, &space, &from_to, Direction::Down).await,
        reversed[3..6]
    );
    let last = KeyRange::prefix(&Key::from_bytes(vec![0xff]));
    assert_eq!(
        keys_of(store, &space, &last, Direction::Up).await,
        sorted[6..]
    );
    let inverted = KeyRange {
        start: sorted[5].clone(),
        end: Some(sorted[2].clone()),
    };
    assert!(
        keys_of(store, &space, &inverted, Direction::Down)
            .await
            .is_empty()
    );
    assert!(
        store
            .scan(&space, &all(), Direction::Up, Limit::records(0))
            .await
            .unwrap()
            .value
            .is_empty()
    );
    for (key, record) in store
        .scan(&space, &all(), Direction::Up, Limit::records(100))
        .await
        .unwrap()
        .value
    {
        assert_eq!((&record.value[..], record.version), (key.as_bytes(), seq));
    }
}

pub(super) async fn scan_ends_with_the_record_that_reaches_the_byte_limit(store: &dyn RecordStore) {
    let space = new_space();
    let mut batch = Batch::new();
    for (n, size) in (0..).zip([0, 10, 700, 0, 30_000, 5]) {
        batch.put(key(n), vec![b'v'; size]);
    }
    store.commit(&space, batch).await.unwrap();
    for (order, bytes, records, found) in [
        (Direction::Up, 1, 100, 2),
        (Direction::Up, 10, 100, 2),
        (Direction::Up, 11, 100, 3),
        (Direction::Up, 711, 100, 5),
        (Direction::Up, 711, 4, 4),
        (Direction::Up, 1 << 20, 100, 6),
        (Direction::Down, 5, 100, 1),
        (Direction::Down, 6, 100, 2),
    ] {
        let limit = Limit::records(records).or_bytes(bytes);
        let scanned = store
            .scan(&space, &all(), order, limit)
            .await
            .unwrap()
            .value;
        assert_eq!(scanned.len(), found, "{order:?} {limit:?}");
    }
}

/// An engine may treat short and long scans differently.
pub(super) async fn scan_returns_records_up_to_its_limit(store: &dyn RecordStore) {
    let space = new_space();
    let mut stored = 0;
    for there in [1, 511, 512, 513, 1025] {
        let mut batch = Batch::new();
        for n in stored..there {
            batch.put(key(n), n.to_le_bytes().to_vec());
        }
        stored = there;
        store.commit(&space, batch).await.unwrap();
        for limit in [1, 511, 512, 513, 1024, 1025, 5000] {
            for order in [Direction::Up, Direction::Down] {
                let found = store
                    .scan(&space, &all(), order, Limit::records(limit))
                    .await
                    .unwrap()
                    .value;
                let expected = usize::try_from(there).unwrap().min(limit);
                assert_eq!(found.len(), expected, "{there} records, limit {limit}");
            }
        }
    }
}

pub(super) async fn paging_is_stable_under_concurrent_writes(store: &dyn RecordStore) {
    let space = new_space();
    let mut batch = Batch::new();
    for n in 0..1000 {
        batch.put(key(n * 2), n.to_le_bytes().to_vec());
    }
    store.commit(&space, batch).await.unwrap();
    for order in [Direction::Up, Direction::Down] {
        let mut seen = Vec::new();
        let mut range = all();
        loop {
            let page = store
                .scan(&space, &range, order, Limit::records(70))
                .await
                .unwrap()
                .value;
            let Some((last, _)) = page.last() else { break };
            range = match order {
                Direction::Up => range.after(last),
                Direction::Down => range.before(last),
            };
            seen.extend(page.iter().map(|(key, _)| key.clone()));
            let at = seen.len() as u64 % 1000;
            let mut between = Batch::new();
            between.put(key(at * 2 + 1), "odd");
            between.put(key(at * 2), "changed");
            store.commit(&space, between).await.unwrap();
        }
        let even: Vec<&Key> = seen
            .iter()
            .filter(|key| key.as_bytes().last().is_some_and(|b| b % 2 == 0))
            .collect();
        assert_eq!(
            even.len(),
            1000,
            "a record that exists throughout is returned exactly once"
        );
        assert!(seen.windows(2).all(|w| if order == Direction::Up {
            w[0] < w[1]
        } else {
            w[0] > w[1]
        }));
    }
}

pub(super) async fn snapshot_stays_as_it_was(store: &dyn RecordStore) {
    let space = new_space();
    store.create_space(&space).await.unwrap();
    let empty = store.snapshot(&space).await.unwrap();
    assert_eq!(empty.last_commit(), 0);
    drop(empty);
    let mut batch = Batch::new();
    for n in 0..50 {
        batch.put(key(n), "before");
    }
    let seq = store.commit(&space, batch).await.unwrap();
    let mut snapshot = store.snapshot(&space).await.unwrap();
    let mut batch = Batch::new();
    for n in 0..60 {
        match n % 3 {
            0 => batch.delete(key(n)),
            _ => batch.put(key(n), "after"),
        }
    }
    let later = store.commit(&space, batch).await.unwrap();
    assert_eq!(snapshot.last_commit(), seq);
    let (mut rest, mut found) = (all(), Vec::new());
    loop {
        let page = snapshot.scan(&rest, Limit::records(7)).await.unwrap();
        let Some((last, _)) = page.last() else {
            break;
        };
        rest = rest.after(last);
        found.extend(page);
    }
    assert_eq!(found.len(), 50);
    let is_before = |(_, record): &(Key, crate::Record)| {
        (&record.value[..], record.version) == (b"before", seq)
    };
    assert!(found.iter().all(is_before));
    drop(snapshot);
    let mut now = store.snapshot(&space).await.unwrap();
    assert_eq!(now.last_commit(), later);
    let page = now.scan(&all(), Limit::records(100)).await.unwrap();
    assert_eq!(page.len(), 40);
    // What is in a range says whether it has changed: not what was put and removed elsewhere.
    let until = |end| crate::KeyRange {
        end: Some(key(end)),
        ..all()
    };
    let state = now.state(&until(5)).await.unwrap();
    let states = [(until(5), 3, later), (all(), 40, later)];
    for (range, records, last_version) in states {
        let found = now.state(&range).await.unwrap();
        assert!(
            found
                .is_none_or(|found| (found.records, found.last_version) == (records, last_version))
        );
    }
    drop(now);
    for (changed, is_same) in [(7, true), (1, false)] {
        let mut batch = Batch::new();
        batch.delete(key(changed));
        store.commit(&space, batch).await.unwrap();
        let mut now = store.snapshot(&space).await.unwrap();
        let found = now.state(&until(5)).await.unwrap();
        assert!(found.is_none() || (found == state) == is_same);
    }
    store.drop_space(&space).await.unwrap();
    let dropped = store.snapshot(&space).await;
    assert!(matches!(dropped, Err(crate::StoreError::SpaceDropped)));
}
