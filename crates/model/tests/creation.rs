//! Creations in OData collections while somebody removes the collection or its type: nothing is left behind that
//! nobody can see, and creations do not get in each other's way.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "in_memory/world.rs"]
mod world;

use std::sync::Arc;

use parking_lot::Mutex;
use personium_model::acl::Acl;
use personium_model::collection;
use personium_model::odata::{self, Entity, ServiceRoot};
use personium_odata::conditions::IfMatch;
use personium_odata::key::EntityKey;
use personium_types::{Code, NodeId, Result};
use world::{World, create, removal_permit, server};

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

/// Deletes an entity by its name or id.
async fn delete(root: &ServiceRoot, set: &str, name: &str) -> Result<Entity> {
    let (set, key) = (root.set(set)?, EntityKey::single(name));
    let permit = server().permit_write(root, &set);
    odata::delete(root, &permit, &set, &key, IfMatch::Any, &|_| Ok(())).await
}

async fn link(root: &ServiceRoot, from: (&str, &str), to: (&str, &str)) -> Result<()> {
    let set = root.set(from.0)?;
    let association = root.association(&set, &format!("_{}", to.0)).unwrap();
    let (from, to) = (EntityKey::single(from.1), EntityKey::single(to.1));
    let permit = server().permit_link(root, &association);
    odata::add_link(root, &permit, &association, &from, &to).await
}

#[tokio::test]
async fn a_link_that_comes_while_an_end_is_deleted_goes_with_it() {
    let world = World::new().await;
    let context = world.unit.find_cell("c").await.unwrap().unwrap();
    let root = ServiceRoot::of_cell(world.unit.clone(), context);
    for (set, name) in [
        ("Role", "r"),
        ("ExtCell", "http://a.example/x/"),
        ("ExtCell", "http://b.example/x/"),
    ] {
        let member = if set == "Role" { "Name" } else { "Url" };
        create(&root, set, &format!("{{\"{member}\":\"{name}\"}}"))
            .await
            .unwrap();
    }
    link(&root, ("Role", "r"), ("ExtCell", "http://a.example/x/"))
        .await
        .unwrap();
    let other = root.clone();
    world.interrupt(async move {
        link(&other, ("ExtCell", "http://b.example/x/"), ("Role", "r"))
            .await
            .unwrap();
    });
    let gone = delete(&root, "Role", "r").await.unwrap();
    assert_eq!(world.traces(&gone.id.parse().unwrap()).await, 0);
    assert_eq!(world.commits(), 3);
}

#[tokio::test]
async fn a_property_that_comes_while_its_type_is_deleted_keeps_it() {
    let world = World::with_type().await;
    let root = world.schema("od").await;
    let other = root.clone();
    world.interrupt(async move {
        let body = r#"{"Name":"p","_EntityType.Name":"T","Type":"Edm.String"}"#;
        create(&other, "Property", body).await.unwrap();
    });
    let refusal = delete(&root, "EntityType", "T").await.unwrap_err();
    assert_eq!(refusal.code(), Code::HasRelated);
    assert!(world.data("od").await.set("T").is_ok());
}

#[tokio::test]
async fn what_comes_to_a_part_of_a_box_that_is_removed_goes_with_it() {
    let world = World::new().await;
    let context = world.unit.find_cell("c").await.unwrap().unwrap();
    let root = ServiceRoot::of_cell(world.unit.clone(), context.clone());
    let body = r#"{"Name":"rel","_Box.Name":"b"}"#;
    let relation = create(&root, "Relation", body).await.unwrap();
    let (boxes, key) = (root.set("Box").unwrap(), EntityKey::single("b"));
    let found = odata::find(&root, &boxes, &key).await.unwrap().unwrap();
    let id: NodeId = found.id.parse().unwrap();
    let (other, again) = (root.clone(), world.clone());
    let made = Arc::new(Mutex::new(None));
    let kept = made.clone();
    // The first commit announces the removal, the second one removes the relation.
    world.interrupt(async move {
        again.interrupt(async move {
            let body = r#"{"ExtRole":"http://a.example/x/__role/__/r","_Relation.Name":"rel","_Relation._Box.Name":"b"}"#;
            let role = create(&other, "ExtRole", body).await.unwrap();
            *kept.lock() = Some(role.id);
        });
    });
    let permit = removal_permit(&context, id);
    odata::remove_box(&world.unit, &context, &permit, &id)
        .await
        .unwrap();
    world.unit.resume_sweeps().await.unwrap();
    let made = made.lock().take().unwrap();
    for gone in [made, relation.id] {
        assert_eq!(world.traces(&gone.parse().unwrap()).await, 0, "{gone}");
    }
}
