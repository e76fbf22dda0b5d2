//! Creations in OData collections while somebody removes the collection or its type: nothing is left behind that
//! nobody can see, and creations do not get in each other's way.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "in_memory/world.rs"]
mod world;

use personium_model::acl::Acl;
use personium_model::collection;
use personium_odata::key::EntityKey;
use personium_types::Code;
use world::{World, create};

#[tokio::test]
async fn nothing_is_created_in_a_collection_that_is_removed_meanwhile() {
    for body in [r#"{"__id":"e"}"#, r#"{"__id":"e","undeclared":1}"#] {
        let world = World::with_type().await;
        let (root, id) = (world.data("od").await, world.id("od").await);
        let other = world.clone();
        world.interrupt(async move { other.remove("od").await });
        let refusal = create(&root, "T", body).await.unwrap_err();
        assert!(
            matches!(refusal.code(), Code::NoSuchSet | Code::NoSuchResource),
            "{refusal}"
        );
        world.unit.resume_sweeps().await.unwrap();
        assert_eq!(world.traces(&id).await, 0, "{body}");
    }
}

#[tokio::test]
async fn no_schema_is_created_in_a_collection_that_is_removed_meanwhile() {
    for (set, body) in [
        ("EntityType", r#"{"Name":"T"}"#),
        ("ComplexType", r#"{"Name":"C"}"#),
    ] {
        let world = World::new().await;
        world.mkcol("od").await;
        let (root, id) = (world.schema("od").await, world.id("od").await);
        let other = world.clone();
        world.interrupt(async move {
            let resource = other.resource("od").await;
            collection::remove(&resource, false).await.unwrap();
        });
        let refusal = create(&root, set, body).await.unwrap_err();
        assert_eq!(refusal.code(), Code::NoSuchResource, "{set}");
        assert_eq!(world.traces(&id).await, 0, "{set}");
    }
}

#[tokio::test]
async fn a_new_collection_of_the_same_name_is_another_one() {
    let world = World::with_type().await;
    let (schema, data) = (world.schema("od").await, world.data("od").await);
    let old = world.id("od").await;
    let other = world.clone();
    world.interrupt(async move {
        other.remove("od").await;
        other.mkcol("od").await;
    });
    let refusal = create(&schema, "EntityType", r#"{"Name":"U"}"#).await;
    assert_eq!(refusal.unwrap_err().code(), Code::NoSuchResource);
    assert!(create(&data, "T", r#"{"__id":"e"}"#).await.is_err());
    assert_eq!(world.traces(&old).await, 0);
    assert!(world.data("od").await.edm().entity_types().is_empty());
}

#[tokio::test]
async fn nothing_is_created_of_a_type_that_is_removed_meanwhile() {
    let world = World::with_type().await;
    let root = world.data("od").await;
    let other = world.clone();
    world.interrupt(async move {
        let root = other.schema("od").await;
        let key = EntityKey::single("T");
        other.delete(&root, "EntityType", &key).await.unwrap();
    });
    let refusal = create(&root, "T", r#"{"__id":"e"}"#).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NoSuchSet);
    let id = world.id("od").await;
    world.remove("od").await;
    assert_eq!(world.traces(&id).await, 0);
}

#[tokio::test]
async fn creations_do_not_get_in_each_others_way() {
    let world = World::with_type().await;
    let root = world.data("od").await;
    let other = root.clone();
    world.interrupt(async move {
        create(&other, "T", r#"{"__id":"first"}"#).await.unwrap();
    });
    create(&root, "T", r#"{"__id":"second"}"#).await.unwrap();
    assert_eq!(world.commits(), 2);
}

#[tokio::test]
async fn a_collection_that_only_changed_takes_the_creation() {
    let world = World::with_type().await;
    let root = world.data("od").await;
    let other = world.clone();
    world.interrupt(async move {
        let resource = other.resource("od").await;
        let acl = Acl::default();
        personium_model::properties::set_acl(&resource, &acl)
            .await
            .unwrap();
    });
    create(&root, "T", r#"{"__id":"e"}"#).await.unwrap();
    assert_eq!(world.commits(), 3);
}
