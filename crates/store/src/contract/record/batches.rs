//! Batches: assertions, order of operations, sizes.

use bytes::Bytes;

use super::{all, i64_of, key, keys_of, new_space, put};
use crate::contract::split_mix::SplitMix64;
use crate::{
    Batch, Direction, Expect, Key, KeyRange, Limit, MAX_KEY_BYTES, RecordStore, StoreError,
};

pub(super) async fn sequenced_records_are_in_the_order_of_their_commits(store: &dyn RecordStore) {
    let space = new_space();
    let prefix = Key::table(b's').build();
    let sequenced = |values: &[&'static str]| {
        let mut batch = Batch::new();
        for value in values {
            batch.put_sequenced(prefix.clone(), *value);
        }
        batch
    };
    store.commit(&space, put(1, "other")).await.unwrap();
    let first = store.commit(&space, sequenced(&["a", "b"])).await.unwrap();
    let mut refused = sequenced(&["never"]);
    refused.assert(key(9), Expect::Present);
    assert!(store.commit(&space, refused).await.is_err());
    let large = Bytes::from(vec![b'x'; 100_000]);
    let mut batch = sequenced(&["c"]);
    batch.put_sequenced(prefix.clone(), large.clone());
    batch.put(key(1), "changed");
    let second = store.commit(&space, batch).await.unwrap();
    let range = KeyRange::prefix(&prefix);
    let limit = crate::Limit::records(10);
    let found = store.scan(&space, &range, Direction::Up, limit).await;
    let found: Vec<_> = found.unwrap().value;
    let expected = [
        (prefix.sequenced(first, 0), Bytes::from("a"), first),
        (prefix.sequenced(first, 1), Bytes::from("b"), first),
        (prefix.sequenced(second, 0), Bytes::from("c"), second),
        (prefix.sequenced(second, 1), large, second),
    ];
    assert_eq!(found.len(), expected.len());
    for ((key, record), (wanted, value, version)) in found.into_iter().zip(expected) {
        assert_eq!((&key, record.version), (&wanted, version));
        assert!(record.value == value);
    }
    // A range ends with the last key that was read, so that only later records are found next.
    let after = range.after(&prefix.sequenced(second, 0));
    assert_eq!(keys_of(store, &space, &after, Direction::Up).await.len(), 1);
}

pub(super) async fn failed_assertion_refuses_the_whole_batch(store: &dyn RecordStore) {
    let space = new_space();
    let first = store.commit(&space, put(1, "one")).await.unwrap();
    let second = store.commit(&space, put(2, "two")).await.unwrap();
    let refused = [
        (key(1), Expect::Absent),
        (key(3), Expect::Present),
        (key(3), Expect::Version(first)),
        (key(1), Expect::Version(second)),
        (key(1), Expect::Version(0)),
    ];
    for (key_, expect) in refused {
        let mut batch = put(9, "never");
        batch.delete(key(2));
        batch.add(key(8), 1);
        batch.assert(key_, expect);
        assert!(matches!(
            store.commit(&space, batch).await,
            Err(StoreError::Conflict)
        ));
    }
    let mut batch = put(9, "never");
    batch.assert_empty(KeyRange {
        start: key(2),
        end: Some(key(3)),
    });
    assert!(matches!(
        store.commit(&space, batch).await,
        Err(StoreError::Conflict)
    ));
    assert_eq!(
        keys_of(store, &space, &all(), Direction::Up).await,
        [key(1), key(2)]
    );

    let mut batch = Batch::new();
    batch.assert(key(1), Expect::Present);
    batch.assert(key(1), Expect::Version(first));
    batch.assert(key(2), Expect::Version(second));
    batch.assert(key(3), Expect::Absent);
    batch.assert_empty(KeyRange {
        start: key(3),
        end: None,
    });
    batch.assert_empty(KeyRange {
        start: key(3),
        end: Some(key(1)),
    });
    batch.put(key(1), "new");
    let third = store.commit(&space, batch).await.unwrap();
    let found = store.get(&space, &[key(1), key(2)]).await.unwrap().value;
    assert_eq!(found[0].as_ref().unwrap().version, third);
    assert_eq!(found[1].as_ref().unwrap().version, second);
}

pub(super) async fn assertions_check_the_state_before_the_batch(store: &dyn RecordStore) {
    let space = new_space();
    let mut batch = put(1, "x");
    batch.assert(key(1), Expect::Absent);
    batch.assert_empty(all());
    store.commit(&space, batch).await.unwrap();
    let mut batch = Batch::new();
    batch.delete(key(1));
    batch.assert(key(1), Expect::Present);
    store.commit(&space, batch).await.unwrap();
    assert_eq!(store.count(&space, &all()).await.unwrap().value, 0);
    let mut batch = Batch::new();
    batch.delete(key(1));
    store.commit(&space, batch).await.unwrap();
}

pub(super) async fn last_operation_on_a_key_takes_effect(store: &dyn RecordStore) {
    let space = new_space();
    let mut batch = put(1, "a");
    batch.delete(key(1));
    batch.delete(key(2));
    batch.put(key(2), "b");
    batch.put(key(2), "c");
    batch.add(key(3), 5);
    batch.add(key(3), -7);
    batch.put(key(4), 100i64.to_le_bytes().to_vec());
    batch.add(key(4), 1);
    store.commit(&space, batch).await.unwrap();
    let found = store
        .get(&space, &[key(1), key(2), key(3), key(4)])
        .await
        .unwrap()
        .value;
    assert!(found[0].is_none());
    assert_eq!(found[1].as_ref().unwrap().value, "c");
    assert_eq!(i64_of(&found[2].as_ref().unwrap().value), -2);
    assert_eq!(i64_of(&found[3].as_ref().unwrap().value), 101);
    let mut batch = put(5, "refused");
    batch.add(key(2), 1);
    assert!(
        matches!(
            store.commit(&space, batch).await,
            Err(StoreError::Corrupt(_))
        ),
        "not a counter"
    );
    assert_eq!(
        store.get(&space, &[key(5)]).await.unwrap().value,
        vec![None]
    );
}

pub(super) async fn large_values_and_batches_are_stored(store: &dyn RecordStore) {
    let space = new_space();
    let mut random = SplitMix64::new(7);
    let large: Vec<u8> = (0..5 << 20).map(|_| random.below(256) as u8).collect();
    store.commit(&space, put(1, large.clone())).await.unwrap();
    store.commit(&space, put(2, Bytes::new())).await.unwrap();
    let long_key = Key::table(b'z').bytes(&vec![b'x'; 2000]).build();
    let mut batch = Batch::new();
    batch.put(long_key.clone(), "long");
    for n in 1000..3000 {
        batch.put(key(n), vec![b'v'; 100]);
    }
    store.commit(&space, batch).await.unwrap();
    let found = store
        .get(&space, &[key(1), key(2), long_key, key(2999)])
        .await
        .unwrap()
        .value;
    assert!(found[0].as_ref().unwrap().value == large);
    assert_eq!(found[1].as_ref().unwrap().value, "");
    assert_eq!(found[2].as_ref().unwrap().value, "long");
    assert!(found[3].is_some());
    assert_eq!(store.count(&space, &all()).await.unwrap().value, 2003);
    assert_eq!(
        store
            .scan(&space, &all(), Direction::Up, Limit::records(5000))
            .await
            .unwrap()
            .value
            .len(),
        2003
    );
}

pub(super) async fn longest_key_is_stored_and_a_longer_one_is_refused(store: &dyn RecordStore) {
    let space = new_space();
    // Bytes that an engine cannot make shorter.
    let mut random = SplitMix64::new(3);
    let bytes: Vec<u8> = (0..=MAX_KEY_BYTES)
        .map(|_| random.below(256) as u8)
        .collect();
    let longest = Key::from_bytes(bytes[..MAX_KEY_BYTES].to_vec());
    let too_long = Key::from_bytes(bytes);
    let mut batch = Batch::new();
    batch.put(longest.clone(), "x");
    store.commit(&space, batch).await.unwrap();
    let (mut put, mut counter) = (put(1, "never"), put(1, "never"));
    put.put(too_long.clone(), "x");
    counter.add(too_long.clone(), 1);
    for refused in [put, counter] {
        let refused = store.commit(&space, refused).await;
        assert!(
            matches!(refused, Err(StoreError::TooLarge(_))),
            "{refused:?}"
        );
    }
    // A key that cannot exist can be looked for, asserted and removed.
    let mut batch = Batch::new();
    batch.assert(too_long.clone(), Expect::Absent);
    batch.delete(too_long.clone());
    store.commit(&space, batch).await.unwrap();
    let found = store.get(&space, &[too_long, key(1)]).await.unwrap().value;
    assert_eq!(found, [None, None]);
    let found = keys_of(store, &space, &all(), Direction::Up).await;
    assert_eq!(found, [longest]);
}
