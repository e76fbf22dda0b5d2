//! Deletions of empty cells while somebody creates something in them: what is acknowledged is not deleted.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "in_memory/world.rs"]
mod world;

use personium_model::node::Kind;
use personium_model::odata::{Entity, ServiceRoot};
use personium_model::{Resource, collection};
use personium_odata::key::EntityKey;
use personium_types::{Code, Result};
use world::{World, create};

const ACCOUNT: &str = r#"{"Name":"a"}"#;

impl World {
    /// A unit whose cell `c` is empty.
    async fn empty() -> Self {
        let world = Self::new().await;
        let a_box = EntityKey::single("b");
        world
            .delete(&world.cell().await, "Box", &a_box)
            .await
            .unwrap();
        world
    }

    async fn delete_cell(&self) -> Result<Entity> {
        let root = ServiceRoot::of_unit(self.unit.clone());
        self.delete(&root, "Cell", &EntityKey::single("c")).await
    }

    async fn in_main_box(&self) -> Resource {
        Resource {
            box_name: "__".to_owned(),
            ..self.resource("col").await
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_created_before_the_cell_goes_keeps_it() {
    let world = World::empty().await;
    let root = world.cell().await;
    world.interrupt_fence(async move {
        create(&root, "Account", ACCOUNT).await.unwrap();
    });
    let refusal = world.delete_cell().await.unwrap_err();
    assert_eq!(refusal.code(), Code::HasRelated);
    let context = world.context().await;
    assert!(context.find_account("a").await.unwrap().is_some());
    let root = world.cell().await;
    let key = EntityKey::single("a");
    world.delete(&root, "Account", &key).await.unwrap();

    let resource = world.in_main_box().await;
    world.interrupt_fence(async move {
        collection::create(&resource, Kind::Collection)
            .await
            .unwrap();
    });
    let refusal = world.delete_cell().await.unwrap_err();
    assert_eq!(refusal.code(), Code::HasRelated);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_created_while_the_cell_goes() {
    let world = World::empty().await;
    let (root, resource) = (world.cell().await, world.in_main_box().await);
    world.interrupt(async move {
        assert!(create(&root, "Account", ACCOUNT).await.is_err());
        let made = collection::create(&resource, Kind::Collection).await;
        assert!(made.is_err());
    });
    let root = world.cell().await;
    world.delete_cell().await.unwrap();
    let late = create(&root, "Account", ACCOUNT).await;
    assert!(late.is_err());
    assert!(world.find("c").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_cell_that_is_not_deleted_after_all_can_be_used() {
    let world = World::empty().await;
    let other = world.clone();
    world.interrupt(async move { other.rename("d").await.unwrap() });
    let refusal = world.delete_cell().await.unwrap_err();
    assert_eq!(refusal.code(), Code::NoSuchEntity);
    let context = world.find("d").await.unwrap();
    let root = ServiceRoot::of_cell(world.unit.clone(), context);
    create(&root, "Account", ACCOUNT).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_two_deletions_one_finds_nothing_any_more() {
    let world = World::empty().await;
    let (one, other) = tokio::join!(world.delete_cell(), world.delete_cell());
    let refusal = match (one, other) {
        (Ok(_), Err(refusal)) | (Err(refusal), Ok(_)) => refusal,
        both => panic!("{both:?}"),
    };
    assert_eq!(refusal.code(), Code::NoSuchEntity);
}
