//! Deletions of empty cells while objects are created in them: no acknowledged object is deleted.

use personium_model::node::NodeKind;
use personium_model::odata::{Entity, ServiceRoot};
use personium_model::{Resource, collection};
use personium_odata::key::EntityKey;
use personium_testkit::{ModelUnit, create};
use personium_types::{Code, Result};

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
async fn object_created_before_the_write_fence_prevents_the_deletion() {
    let unit = empty().await;
    let root = unit.cell_root().await;
    unit.records.interrupt_fence(async move {
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
    unit.records.interrupt_fence(async move {
        collection::create(&resource, NodeKind::Collection)
            .await
            .unwrap();
    });
    let refusal = delete_cell(&unit).await.unwrap_err();
    assert_eq!(refusal.code(), Code::HasRelated);
}

#[tokio::test(start_paused = true)]
async fn creation_during_cell_deletion_is_refused() {
    let unit = empty().await;
    let (root, resource) = (unit.cell_root().await, in_main_box(&unit).await);
    unit.interrupt_next_commit(async move {
        assert!(create(&root, "Account", ACCOUNT).await.is_err());
        let made = collection::create(&resource, NodeKind::Collection).await;
        assert!(made.is_err());
    });
    let root = unit.cell_root().await;
    delete_cell(&unit).await.unwrap();
    let late = create(&root, "Account", ACCOUNT).await;
    assert!(late.is_err());
    assert!(unit.find_cell("c").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn cell_is_usable_after_a_failed_deletion() {
    let unit = empty().await;
    let other = unit.clone();
    unit.interrupt_next_commit(async move { other.rename_cell("d").await.unwrap() });
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
