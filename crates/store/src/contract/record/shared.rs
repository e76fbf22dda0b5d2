//! Two stores over the same data behave as one.

use super::spaces::{is_dropped, structure_is};
use super::{all, key, new_space, put};
use crate::{Batch, Expect, RecordStore, StoreError};

pub(super) async fn commits_are_seen_by_the_other(one: &dyn RecordStore, other: &dyn RecordStore) {
    let space = new_space();
    assert_eq!(other.count(&space, &all()).await.unwrap().value, 0);
    let mut last = 0;
    for (n, (writer, reader)) in (0..).zip([(one, other), (other, one), (one, other)]) {
        let mut batch = put(1, format!("{n}"));
        let unchanged = if last == 0 {
            Expect::Absent
        } else {
            Expect::Version(last)
        };
        batch.assert(key(1), unchanged);
        let again = batch.clone();
        let version = writer.commit(&space, batch).await.unwrap();
        assert!(version > last);
        last = version;
        let record = reader.get(&space, &[key(1)]).await.unwrap().value.remove(0);
        assert_eq!(record.unwrap().version, version);
        let refused = reader.commit(&space, again).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    }
}

pub(super) async fn structure_changes_are_seen_by_the_other(
    one: &dyn RecordStore,
    other: &dyn RecordStore,
) {
    let space = new_space();
    structure_is(other, &space, 0).await;
    for (writer, reader) in [(one, other), (other, one)] {
        writer.commit(&space, put(1, "x")).await.unwrap();
        let mut change = put(2, "y");
        change.change_structure();
        let version = writer.commit(&space, change).await.unwrap();
        structure_is(reader, &space, version).await;
        structure_is(writer, &space, version).await;
    }
}

pub(super) async fn seal_holds_for_the_other(one: &dyn RecordStore, other: &dyn RecordStore) {
    let space = new_space();
    for (sealing, writing) in [(one, other), (other, one)] {
        writing.commit(&space, put(1, "before")).await.unwrap();
        let mut seal = Batch::new();
        seal.seal();
        sealing.commit(&space, seal).await.unwrap();
        let late = writing.commit(&space, put(2, "late")).await;
        assert!(matches!(late, Err(StoreError::Sealed)), "{late:?}");
        let mut unseal = Batch::new();
        unseal.unseal();
        writing.commit(&space, unseal).await.unwrap();
        sealing.commit(&space, put(2, "after")).await.unwrap();
    }
}

pub(super) async fn dropped_space_is_dropped_for_the_other(
    one: &dyn RecordStore,
    other: &dyn RecordStore,
) {
    for (dropping, using) in [(one, other), (other, one)] {
        let space = new_space();
        dropping.create_space(&space).await.unwrap();
        using.commit(&space, put(1, "x")).await.unwrap();
        let found = dropping.get(&space, &[key(1)]).await.unwrap().value;
        assert!(found[0].is_some());
        assert!(
            using
                .list_spaces(None, 1 << 20)
                .await
                .unwrap()
                .contains(&space)
        );
        dropping.drop_space(&space).await.unwrap();
        is_dropped(using, &space).await;
        is_dropped(dropping, &space).await;
        using.drop_space(&space).await.unwrap();
        assert!(
            !using
                .list_spaces(None, 1 << 20)
                .await
                .unwrap()
                .contains(&space)
        );
    }
}
