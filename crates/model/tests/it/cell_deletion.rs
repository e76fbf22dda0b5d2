//! Deletions of empty cells while objects are created in them: no acknowledged object is deleted.

use personium_model::node::NodeKind;
use personium_model::odata::{Entity, ServiceRoot};
use personium_model::{Resource, collection, keys};
use personium_odata::key::EntityKey;
use personium_store::{Batch, RecordStore, Space, StoreError};
use personium_testkit::{ModelUnit, create};
use personium_types::{Code, Result};

/// The number of commits before the one that removes the cell from the catalogue: the marker and the seal.
const REMOVAL: usize = 2;

const ACCOUNT: &str = r#"{"Name":"a"}"#;

/// A unit whose cell `c` is empty.
async fn empty() -> ModelUnit {
    let unit = ModelUnit::new().await;
    let a_box = EntityKey::single("b");
    unit.delete(&unit.cell_root().await, "Box", &a_box)
        .await
        .unwrap();
    unit
}

async fn delete_cell(unit: &ModelUnit) -> Result<Entity> {
    let root = ServiceRoot::of_unit(unit.model.clone());
    unit.delete(&root, "Cell", &EntityKey::single("c")).await
}

async fn in_main_box(unit: &ModelUnit) -> Resource {
    Resource {
        box_name: "__".to_owned(),
        ..unit.resource("col").await
    }
}

#[tokio::test(start_paused = true)]
async fn object_created_before_the_seal_prevents_the_deletion() {
    let unit = empty().await;
    let root = unit.cell_root().await;
    unit.records.interrupt_seal(async move {
        create(&root, "Account", ACCOUNT).await.unwrap();
    });
    let refusal = delete_cell(&unit).await.unwrap_err();
    assert_eq!(refusal.code(), Code::HasRelated);
    let context = unit.context().await;
    assert!(context.find_account("a").await.unwrap().is_some());
    let root = unit.cell_root().await;
    let key = EntityKey::single("a");
    unit.delete(&root, "Account", &key).await.unwrap();

    let resource = in_main_box(&unit).await;
    unit.records.interrupt_seal(async move {
        collection::create(&resource, NodeKind::Collection)
            .await
            .unwrap();
    });
    let refusal = delete_cell(&unit).await.unwrap_err();
    assert_eq!(refusal.code(), Code::HasRelated);
}

/// A deletion takes milliseconds, and one that was given up must not block the cell.
#[tokio::test(start_paused = true)]
async fn creation_that_waits_for_long_undoes_the_deletion() {
    let unit = empty().await;
    let (root, resource) = (unit.cell_root().await, in_main_box(&unit).await);
    unit.interrupt_commit(REMOVAL, async move {
        create(&root, "Account", ACCOUNT).await.unwrap();
        let made = collection::create(&resource, NodeKind::Collection).await;
        made.unwrap();
    });
    let refusal = delete_cell(&unit).await.unwrap_err();
    assert_eq!(refusal.code(), Code::HasRelated);
    let context = unit.context().await;
    assert!(context.find_account("a").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn sealed_cell_refuses_a_batch_during_its_deletion() {
    let unit = empty().await;
    let (records, space) = (unit.records.clone(), unit.space().await);
    unit.interrupt_commit(REMOVAL, async move {
        let mut batch = Batch::new();
        batch.put(keys::log_state(), "late");
        let late = records.commit(&space, batch).await;
        assert!(matches!(late, Err(StoreError::Sealed)), "{late:?}");
    });
    let root = unit.cell_root().await;
    delete_cell(&unit).await.unwrap();
    let late = create(&root, "Account", ACCOUNT).await.unwrap_err();
    assert_eq!(late.code(), Code::NoSuchCell);
    assert!(unit.find_cell("c").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn cell_is_usable_after_a_failed_deletion() {
    let unit = empty().await;
    let other = unit.clone();
    unit.interrupt_commit(
        REMOVAL,
        async move { other.rename_cell("d").await.unwrap() },
    );
    let refusal = delete_cell(&unit).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NoSuchEntity);
    let context = unit.find_cell("d").await.unwrap();
    let root = ServiceRoot::of_cell(unit.model.clone(), context);
    create(&root, "Account", ACCOUNT).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn concurrent_deletions_succeed_once() {
    let unit = empty().await;
    let (one, other) = tokio::join!(delete_cell(&unit), delete_cell(&unit));
    let refusal = match (one, other) {
        (Ok(_), Err(refusal)) | (Err(refusal), Ok(_)) => refusal,
        both => panic!("{both:?}"),
    };
    assert_eq!(refusal.code(), Code::NoSuchEntity);
}

/// The process ends after each number of commits of the deletion. Afterwards the cell is whole and writable, or gone.
#[tokio::test(start_paused = true)]
async fn cell_is_whole_or_gone_wherever_its_deletion_stops() {
    let mut seen = Vec::new();
    for commits in 0..8 {
        let unit = empty().await;
        let space = unit.space().await;
        unit.records.stop_after_commits(commits);
        let deleted = delete_cell(&unit).await;
        unit.model.finish_commits().await;
        unit.records.resume();
        let unit = unit.restart();
        unit.model.resume_garbage_collection().await.unwrap();
        let found = unit.find_cell("c").await;
        if let Some(context) = &found {
            assert!(deleted.is_err(), "{commits}: acknowledged but not done");
            let root = ServiceRoot::of_cell(unit.model.clone(), context.clone());
            create(&root, "Account", ACCOUNT).await.unwrap();
            let refusal = delete_cell(&unit).await.unwrap_err();
            assert_eq!(refusal.code(), Code::HasRelated, "{commits}");
            let key = EntityKey::single("a");
            unit.delete(&root, "Account", &key).await.unwrap();
            delete_cell(&unit).await.unwrap();
        } else {
            let gone = unit.records.structure(&space).await;
            assert!(matches!(gone, Err(StoreError::SpaceDropped)), "{commits}");
        }
        let markers = keys::cell_deletions().range;
        let left = unit.records.count(&Space::Unit, &markers).await.unwrap();
        assert_eq!(left.value, 0, "{commits}");
        seen.push(found.is_some());
    }
    // Neither nothing, nor the marker, nor the seal; then the removal from the catalogue.
    assert_eq!(seen, [true, true, true, false, false, false, false, false]);
}

/// The same without a restart: the first one who wants to change the cell undoes the deletion.
#[tokio::test(start_paused = true)]
async fn writer_undoes_a_deletion_whose_process_has_ended() {
    for commits in [1, 2] {
        let unit = empty().await;
        unit.records.stop_after_commits(commits);
        delete_cell(&unit).await.unwrap_err();
        unit.records.resume();
        let other = unit.restart();
        let root = other.cell_root().await;
        create(&root, "Account", ACCOUNT).await.unwrap();
        let refusal = delete_cell(&other).await.unwrap_err();
        assert_eq!(refusal.code(), Code::HasRelated, "{commits}");
    }
}

/// The same, by one who wants to delete the cell.
#[tokio::test(start_paused = true)]
async fn deletion_replaces_one_whose_process_has_ended() {
    for commits in [1, 2] {
        let unit = empty().await;
        unit.records.stop_after_commits(commits);
        delete_cell(&unit).await.unwrap_err();
        unit.records.resume();
        let other = unit.restart();
        delete_cell(&other).await.unwrap();
        assert!(other.find_cell("c").await.is_none());
    }
}

/// The one who deletes stops before each of its commits, for as long as it takes to undo the deletion and to create something.
#[tokio::test(start_paused = true)]
async fn late_step_of_an_undone_deletion_is_refused() {
    for step in 0..=REMOVAL {
        let unit = empty().await;
        let other = unit.restart();
        unit.interrupt_commit(step, async move {
            other.model.undo_cell_deletions().await.unwrap();
            let root = other.cell_root().await;
            create(&root, "Account", ACCOUNT).await.unwrap();
        });
        let refusal = delete_cell(&unit).await.unwrap_err();
        assert_eq!(refusal.code(), Code::HasRelated, "{step}");
        let unit = unit.restart();
        let root = unit.cell_root().await;
        let key = EntityKey::single("a");
        unit.delete(&root, "Account", &key).await.unwrap();
        delete_cell(&unit).await.unwrap();
    }
}
