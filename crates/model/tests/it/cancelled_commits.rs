//! Requests that are cancelled while their batch is being committed: all that follows the commit happens.

use std::sync::Arc;

use futures_util::FutureExt;
use personium_dav::proppatch::PropPatch;
use personium_model::odata::{self, ServiceRoot};
use personium_model::outbox_queue::PartitionKind;
use personium_model::properties::{self, CellChange};
use personium_model::{CellContext, collection};
use personium_odata::key::EntityKey;
use personium_store::Space;
use personium_testkit::{ModelUnit, box_removal_permit, cell_permit, create, server_authority};
use personium_types::{Code, Operation, Preconditions};

async fn link_role(unit: &ModelUnit) {
    let (root, _, account, role) = account_and_role(unit).await;
    let association = association(&root);
    let permit = server_authority().permit_link(&root, &association);
    odata::add_link(&root, &permit, &association, &account, &role)
        .await
        .unwrap();
}

async fn account_and_role(unit: &ModelUnit) -> (ServiceRoot, Space, EntityKey, EntityKey) {
    let keys = [["a"].as_slice(), &["r", ""]].map(|parts| {
        let part = |part: &&str| (!part.is_empty()).then(|| (*part).to_owned());
        EntityKey::compound(parts.iter().map(part).collect())
    });
    let [account, role] = keys;
    (unit.cell_root().await, unit.space().await, account, role)
}

fn association(root: &ServiceRoot) -> personium_model::odata::Association {
    let set = root.set("Account").unwrap();
    root.association(&set, "_Role").unwrap()
}

#[tokio::test]
async fn cancelled_recursive_removal_leaves_no_cell_and_a_new_one_is_empty() {
    let recursive = |unit: ModelUnit| async move {
        let context = unit.context().await;
        let permit = cell_permit(&context, Operation::RemoveCell);
        odata::remove_cell(&unit.model, &context, &permit).await
    };
    let unit = ModelUnit::new().await;
    let old = unit.context().await;
    unit.cancel_during_commit(Space::Unit, recursive(unit.clone()))
        .await;
    assert!(unit.find_cell("c").await.is_none());
    create(
        &ServiceRoot::of_unit(unit.model.clone()),
        "Cell",
        r#"{"Name":"c"}"#,
    )
    .await
    .unwrap();
    let new = unit.context().await;
    assert_ne!(new.cell().id, old.cell().id);
    assert!(new.boxes().await.unwrap().is_empty());
}

#[tokio::test]
async fn cancelled_deletion_of_an_empty_cell_deletes_its_records() {
    let unit = ModelUnit::new().await;
    let root = unit.cell_root().await;
    let a_box = EntityKey::single("b");
    unit.delete(&root, "Box", &a_box).await.unwrap();
    let old = unit.context().await;
    let root = ServiceRoot::of_unit(unit.model.clone());
    let key = EntityKey::single("c");
    let deletion = unit.delete(&root, "Cell", &key);
    unit.cancel_during_commit(Space::Unit, deletion).await;
    assert!(unit.find_cell("c").await.is_none());
    let (patch, access) = (PropPatch::default(), unit.access());
    for _ in 0..1000 {
        let change = CellChange {
            access: &access,
            conditions: Preconditions::NONE,
            events: None,
        };
        let late = properties::patch_cell(&unit.model, &old, &change, &patch).await;
        if late.is_err_and(|refusal| refusal.code() == Code::NoSuchCell) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the records of the cell are still there");
}

#[tokio::test]
async fn cancelled_rename_of_a_cell_takes_effect() {
    let unit = ModelUnit::new().await;
    let id = unit.context().await.cell().id;
    unit.cancel_during_commit(Space::Unit, unit.rename_cell("d"))
        .await;
    assert!(unit.find_cell("c").await.is_none());
    assert_eq!(unit.find_cell("d").await.unwrap().cell().id, id);
}

#[tokio::test]
async fn cancelled_removal_of_a_role_link_takes_effect() {
    let unit = ModelUnit::new().await;
    let root = unit.cell_root().await;
    create(&root, "Account", r#"{"Name":"a"}"#).await.unwrap();
    create(&root, "Role", r#"{"Name":"r"}"#).await.unwrap();
    link_role(&unit).await;
    let roles = |context: Arc<CellContext>| async move {
        let found = context.find_account("a").await.unwrap();
        found.unwrap().roles.len()
    };
    assert_eq!(roles(unit.context().await).await, 1);
    let (root, space, account, role) = account_and_role(&unit).await;
    let association = association(&root);
    let permit = server_authority().permit_link(&root, &association);
    let removal = odata::remove_link(&root, &permit, &association, &account, &role);
    unit.cancel_during_commit(space, removal).await;
    assert_eq!(roles(unit.context().await).await, 0);
}

#[tokio::test]
async fn cancelled_removal_of_box_and_collection_takes_effect() {
    let unit = ModelUnit::new().await;
    unit.create_odata_collection("od").await;
    let (resource, space) = (unit.resource("od").await, unit.space().await);
    assert!(resource.locate().await.unwrap().exists());
    unit.cancel_during_commit(space, collection::remove(&resource, true))
        .await;
    let target = unit.resource("od").await.locate().await.unwrap();
    assert!(!target.exists());

    let context = unit.context().await;
    let found = context.find_box("b").await.unwrap().unwrap();
    let permit = box_removal_permit(&context, found.id);
    let removal = odata::remove_box(&unit.model, &context, &permit, &found.id, None);
    unit.cancel_during_commit(space, removal).await;
    let context = unit.context().await;
    assert!(context.find_box("b").await.unwrap().is_none());
}

#[tokio::test]
async fn cancelled_event_post_wakes_the_outbox() {
    let unit = ModelUnit::new().await;
    let (root, space) = (unit.cell_root().await, unit.space().await);
    let rule = unit.create_relay_rule(&root).await;
    let context = unit.context().await;
    let posting = unit.post_event(&context);
    unit.cancel_during_commit(space, posting).await;
    let partition = unit
        .model
        .outbox()
        .next(PartitionKind::Rule, 1)
        .now_or_never();
    assert_eq!(partition.unwrap().rule, rule);
}

// Nothing is cancelled here and below; these test the cache of cells during a rename.

#[tokio::test]
async fn change_during_a_cell_rename_is_visible_under_the_new_name() {
    let unit = ModelUnit::new().await;
    let root = unit.cell_root().await;
    let other = unit.clone();
    unit.interrupt_next_commit(async move {
        other.rename_cell("d").await.unwrap();
        let context = other.find_cell("d").await.unwrap();
        assert_eq!(context.roles().await.unwrap().len(), 0);
    });
    create(&root, "Role", r#"{"Name":"r"}"#).await.unwrap();
    let context = unit.find_cell("d").await.unwrap();
    assert_eq!(context.roles().await.unwrap().len(), 1);
}

#[tokio::test]
async fn cell_renamed_during_lookup_by_id_is_found() {
    let unit = ModelUnit::new().await;
    let id = unit.context().await.cell().id;
    let restarted = unit.restart();
    let other = restarted.clone();
    restarted
        .records
        .interrupt_after_get(async move { other.rename_cell("d").await.unwrap() });
    let found = restarted.model.find_cell_by_id(&id).await.unwrap();
    assert_eq!(found.unwrap().cell().name, "d");
}
