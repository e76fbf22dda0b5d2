//! Requests that are given up while their batch is being committed: the connection ended, or their time was over.
//! Whatever was committed has its consequences all the same.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "in_memory/world.rs"]
mod world;

use std::sync::Arc;

use futures_util::FutureExt;
use personium_dav::proppatch::PropPatch;
use personium_model::odata::{self, ServiceRoot};
use personium_model::{CellContext, collection, properties};
use personium_odata::key::EntityKey;
use personium_store::Space;
use personium_types::{Code, Operation};
use world::{World, cell_permit, create, removal_permit, server};

impl World {
    async fn link_role(&self) {
        let (root, _, account, role) = self.account_and_role().await;
        let association = association(&root);
        let permit = server().permit_link(&root, &association);
        odata::add_link(&root, &permit, &association, &account, &role)
            .await
            .unwrap();
    }

    async fn account_and_role(&self) -> (ServiceRoot, Space, EntityKey, EntityKey) {
        let keys = [["a"].as_slice(), &["r", ""]].map(|parts| {
            let part = |part: &&str| (!part.is_empty()).then(|| (*part).to_owned());
            EntityKey::compound(parts.iter().map(part).collect())
        });
        let [account, role] = keys;
        (self.cell().await, self.space().await, account, role)
    }
}

fn association(root: &ServiceRoot) -> personium_model::odata::Association {
    let set = root.set("Account").unwrap();
    root.association(&set, "_Role").unwrap()
}

#[tokio::test]
async fn a_cell_that_is_removed_is_gone_and_a_new_one_of_its_name_is_empty() {
    let recursive = |world: World| async move {
        let context = world.context().await;
        let permit = cell_permit(&context, Operation::RemoveCell);
        odata::remove_cell(&world.unit, &context, &permit).await
    };
    let world = World::new().await;
    let old = world.context().await;
    world.abandon(Space::Unit, recursive(world.clone())).await;
    assert!(world.find("c").await.is_none());
    create(
        &ServiceRoot::of_unit(world.unit.clone()),
        "Cell",
        r#"{"Name":"c"}"#,
    )
    .await
    .unwrap();
    let new = world.context().await;
    assert_ne!(new.cell().id, old.cell().id);
    assert!(new.boxes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_cell_that_is_deleted_empty_is_gone_and_its_records_are_swept() {
    let world = World::new().await;
    let root = world.cell().await;
    let a_box = EntityKey::single("b");
    world.delete(&root, "Box", &a_box).await.unwrap();
    let old = world.context().await;
    let unit = ServiceRoot::of_unit(world.unit.clone());
    let key = EntityKey::single("c");
    let deletion = world.delete(&unit, "Cell", &key);
    world.abandon(Space::Unit, deletion).await;
    assert!(world.find("c").await.is_none());
    let (patch, access) = (PropPatch::default(), world.access());
    for _ in 0..1000 {
        let late = properties::patch_cell(&world.unit, &old, &access, &patch).await;
        if late.is_err_and(|refusal| refusal.code() == Code::NoSuchCell) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the records of the cell are still there");
}

#[tokio::test]
async fn a_cell_that_is_renamed_has_its_new_name() {
    let world = World::new().await;
    let id = world.context().await.cell().id;
    world.abandon(Space::Unit, world.rename("d")).await;
    assert!(world.find("c").await.is_none());
    assert_eq!(world.find("d").await.unwrap().cell().id, id);
}

#[tokio::test]
async fn a_role_that_is_taken_away_has_no_effect() {
    let world = World::new().await;
    let root = world.cell().await;
    create(&root, "Account", r#"{"Name":"a"}"#).await.unwrap();
    create(&root, "Role", r#"{"Name":"r"}"#).await.unwrap();
    world.link_role().await;
    let roles = |context: Arc<CellContext>| async move {
        let found = context.find_account("a").await.unwrap();
        found.unwrap().roles.len()
    };
    assert_eq!(roles(world.context().await).await, 1);
    let (root, space, account, role) = world.account_and_role().await;
    let association = association(&root);
    let permit = server().permit_link(&root, &association);
    let removal = odata::remove_link(&root, &permit, &association, &account, &role);
    world.abandon(space, removal).await;
    assert_eq!(roles(world.context().await).await, 0);
}

#[tokio::test]
async fn a_box_and_a_collection_that_are_removed_are_gone() {
    let world = World::new().await;
    world.mkcol("od").await;
    let (resource, space) = (world.resource("od").await, world.space().await);
    assert!(resource.locate().await.unwrap().exists());
    world
        .abandon(space, collection::remove(&resource, true))
        .await;
    let target = world.resource("od").await.locate().await.unwrap();
    assert!(!target.exists());

    let context = world.context().await;
    let found = context.find_box("b").await.unwrap().unwrap();
    let permit = removal_permit(&context, found.id);
    let removal = odata::remove_box(&world.unit, &context, &permit, &found.id);
    world.abandon(space, removal).await;
    let context = world.context().await;
    assert!(context.find_box("b").await.unwrap().is_none());
}

#[tokio::test]
async fn what_a_rule_wants_to_be_sent_is_told() {
    let world = World::new().await;
    let (root, space) = (world.cell().await, world.space().await);
    let rule = world.relay(&root).await;
    let context = world.context().await;
    let posting = world.post(&context);
    world.abandon(space, posting).await;
    let partition = world.unit.outbox().next().now_or_never();
    assert_eq!(partition.unwrap().rule, rule);
}

/// Nothing is given up here and below, but the question is the same: what is known of a cell whose name changes.
#[tokio::test]
async fn a_change_on_its_way_while_its_cell_is_renamed_is_seen_under_the_new_name() {
    let world = World::new().await;
    let root = world.cell().await;
    let other = world.clone();
    world.interrupt(async move {
        other.rename("d").await.unwrap();
        let context = other.find("d").await.unwrap();
        assert_eq!(context.roles().await.unwrap().len(), 0);
    });
    create(&root, "Role", r#"{"Name":"r"}"#).await.unwrap();
    let context = world.find("d").await.unwrap();
    assert_eq!(context.roles().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_cell_that_is_renamed_while_it_is_looked_for_by_its_id_is_found() {
    let world = World::new().await;
    let id = world.context().await.cell().id;
    let restarted = world.restart();
    let other = restarted.clone();
    restarted.interrupt_after_get(async move { other.rename("d").await.unwrap() });
    let found = restarted.unit.find_cell_by_id(&id).await.unwrap();
    assert_eq!(found.unwrap().cell().name, "d");
}
