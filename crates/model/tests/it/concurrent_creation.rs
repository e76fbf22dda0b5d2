//! Creations in OData collections while the collection or its type is removed: no record is left, and no creation blocks another.

use std::sync::Arc;

use parking_lot::Mutex;
use personium_model::acl::Acl;
use personium_model::collection;
use personium_model::odata::{self, Entity, EntityRef, ServiceRoot};
use personium_odata::key::EntityKey;
use personium_testkit::{ModelUnit, box_removal_permit, create, server_authority};
use personium_types::{Code, NodeId, Preconditions, Result};

#[tokio::test]
async fn entity_is_not_created_in_a_concurrently_removed_collection() {
    for body in [r#"{"__id":"e"}"#, r#"{"__id":"e","undeclared":1}"#] {
        let unit = ModelUnit::with_entity_type().await;
        let (root, id) = (unit.data_root("od").await, unit.resource_id("od").await);
        let other = unit.clone();
        unit.interrupt_next_commit(async move { other.remove_collection("od").await });
        let refusal = create(&root, "T", body).await.unwrap_err();
        assert!(
            matches!(refusal.code(), Code::NoSuchSet | Code::NoSuchResource),
            "{refusal}"
        );
        unit.model.resume_garbage_collection().await.unwrap();
        assert_eq!(unit.records_with_id(&id).await, 0, "{body}");
    }
}

#[tokio::test]
async fn schema_is_not_created_in_a_concurrently_removed_collection() {
    for (set, body) in [
        ("EntityType", r#"{"Name":"T"}"#),
        ("ComplexType", r#"{"Name":"C"}"#),
    ] {
        let unit = ModelUnit::new().await;
        unit.create_odata_collection("od").await;
        let (root, id) = (unit.schema_root("od").await, unit.resource_id("od").await);
        let other = unit.clone();
        unit.interrupt_next_commit(async move {
            let resource = other.resource("od").await;
            collection::remove(&resource, false).await.unwrap();
        });
        let refusal = create(&root, set, body).await.unwrap_err();
        assert_eq!(refusal.code(), Code::NoSuchResource, "{set}");
        assert_eq!(unit.records_with_id(&id).await, 0, "{set}");
    }
}

#[tokio::test]
async fn creation_does_not_reach_a_recreated_collection() {
    let unit = ModelUnit::with_entity_type().await;
    let (schema, data) = (unit.schema_root("od").await, unit.data_root("od").await);
    let old = unit.resource_id("od").await;
    let other = unit.clone();
    unit.interrupt_next_commit(async move {
        other.remove_collection("od").await;
        other.create_odata_collection("od").await;
    });
    let refusal = create(&schema, "EntityType", r#"{"Name":"U"}"#).await;
    assert_eq!(refusal.unwrap_err().code(), Code::NoSuchResource);
    assert!(create(&data, "T", r#"{"__id":"e"}"#).await.is_err());
    assert_eq!(unit.records_with_id(&old).await, 0);
    assert!(unit.data_root("od").await.edm().entity_types().is_empty());
}

#[tokio::test]
async fn entity_of_a_concurrently_removed_type_is_not_created() {
    let unit = ModelUnit::with_entity_type().await;
    let root = unit.data_root("od").await;
    let other = unit.clone();
    unit.interrupt_next_commit(async move {
        let root = other.schema_root("od").await;
        let key = EntityKey::single("T");
        other.delete(&root, "EntityType", &key).await.unwrap();
    });
    let refusal = create(&root, "T", r#"{"__id":"e"}"#).await.unwrap_err();
    assert_eq!(refusal.code(), Code::NoSuchSet);
    let id = unit.resource_id("od").await;
    unit.remove_collection("od").await;
    assert_eq!(unit.records_with_id(&id).await, 0);
}

#[tokio::test]
async fn concurrent_creations_commit_independently() {
    let unit = ModelUnit::with_entity_type().await;
    let root = unit.data_root("od").await;
    let other = root.clone();
    unit.interrupt_next_commit(async move {
        create(&other, "T", r#"{"__id":"first"}"#).await.unwrap();
    });
    create(&root, "T", r#"{"__id":"second"}"#).await.unwrap();
    assert_eq!(unit.records.commit_count(), 2);
}

#[tokio::test]
async fn creation_succeeds_if_the_collection_only_changed() {
    let unit = ModelUnit::with_entity_type().await;
    let root = unit.data_root("od").await;
    let other = unit.clone();
    unit.interrupt_next_commit(async move {
        let resource = other.resource("od").await;
        let acl = Acl::default();
        personium_model::properties::set_acl(&resource, &acl)
            .await
            .unwrap();
    });
    create(&root, "T", r#"{"__id":"e"}"#).await.unwrap();
    assert_eq!(unit.records.commit_count(), 3);
}

/// Deletes an entity by its name or id.
async fn delete(root: &ServiceRoot, set: &str, name: &str) -> Result<Entity> {
    let (set, key) = (root.set(set)?, EntityKey::single(name));
    let permit = server_authority().permit_write(root, &set);
    odata::delete(
        root,
        &permit,
        EntityRef {
            set: &set,
            key: &key,
        },
        Preconditions::NONE,
        &|_| Ok(()),
    )
    .await
}

async fn link(root: &ServiceRoot, from: (&str, &str), to: (&str, &str)) -> Result<()> {
    let set = root.set(from.0)?;
    let association = root.association(&set, &format!("_{}", to.0)).unwrap();
    let (from, to) = (EntityKey::single(from.1), EntityKey::single(to.1));
    let permit = server_authority().permit_link(root, &association);
    odata::add_link(root, &permit, &association, &from, &to).await
}

#[tokio::test]
async fn link_added_during_deletion_of_its_end_is_deleted() {
    let unit = ModelUnit::new().await;
    let context = unit.model.find_cell("c").await.unwrap().unwrap();
    let root = ServiceRoot::of_cell(unit.model.clone(), context);
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
    unit.interrupt_next_commit(async move {
        link(&other, ("ExtCell", "http://b.example/x/"), ("Role", "r"))
            .await
            .unwrap();
    });
    let gone = delete(&root, "Role", "r").await.unwrap();
    assert_eq!(unit.records_with_id(&gone.id.parse().unwrap()).await, 0);
    assert_eq!(unit.records.commit_count(), 3);
}

#[tokio::test]
async fn property_added_during_deletion_of_its_type_prevents_the_deletion() {
    let unit = ModelUnit::with_entity_type().await;
    let root = unit.schema_root("od").await;
    let other = root.clone();
    unit.interrupt_next_commit(async move {
        let body = r#"{"Name":"p","_EntityType.Name":"T","Type":"Edm.String"}"#;
        create(&other, "Property", body).await.unwrap();
    });
    let refusal = delete(&root, "EntityType", "T").await.unwrap_err();
    assert_eq!(refusal.code(), Code::HasRelated);
    assert!(unit.data_root("od").await.set("T").is_ok());
}

#[tokio::test]
async fn object_added_during_box_removal_is_removed() {
    let unit = ModelUnit::new().await;
    let context = unit.model.find_cell("c").await.unwrap().unwrap();
    let root = ServiceRoot::of_cell(unit.model.clone(), context.clone());
    let body = r#"{"Name":"rel","_Box.Name":"b"}"#;
    let relation = create(&root, "Relation", body).await.unwrap();
    let (boxes, key) = (root.set("Box").unwrap(), EntityKey::single("b"));
    let found = odata::find(&root, &boxes, &key).await.unwrap().unwrap();
    let id: NodeId = found.id.parse().unwrap();
    let (other, again) = (root.clone(), unit.clone());
    let made = Arc::new(Mutex::new(None));
    let kept = made.clone();
    // The first commit announces the removal, the second one removes the relation.
    unit.interrupt_next_commit(async move {
        again.interrupt_next_commit(async move {
            let body = r#"{"ExtRole":"http://a.example/x/__role/__/r","_Relation.Name":"rel","_Relation._Box.Name":"b"}"#;
            let role = create(&other, "ExtRole", body).await.unwrap();
            *kept.lock() = Some(role.id);
        });
    });
    let permit = box_removal_permit(&context, id);
    odata::remove_box(&unit.model, &context, &permit, &id, None)
        .await
        .unwrap();
    unit.model.resume_garbage_collection().await.unwrap();
    let made = made.lock().take().unwrap();
    for gone in [made, relation.id] {
        assert_eq!(
            unit.records_with_id(&gone.parse().unwrap()).await,
            0,
            "{gone}"
        );
    }
}

/// A process that starts collects what others have left, but not what they are creating.
#[tokio::test(start_paused = true)]
async fn cell_is_created_while_another_process_starts() {
    // The commits register the server node, mark the space of the new cell, and add the cell to the catalogue.
    for step in 0..3 {
        let unit = ModelUnit::new().await;
        unit.model.leave().await.unwrap();
        let (unit, other) = (unit.server_node(0), unit.server_node(0));
        let collected = Arc::new(Mutex::new(None));
        let kept = collected.clone();
        unit.interrupt_commit(step, async move {
            let collecting = async move { other.model.resume_garbage_collection().await };
            *kept.lock() = Some(tokio::spawn(collecting));
            // The other process reads the markers before the creation goes on.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        });
        unit.create_cell("new").await;
        let collected = collected.lock().take().unwrap();
        collected.await.unwrap().unwrap();
        let context = unit.restart().find_cell("new").await.unwrap();
        let root = ServiceRoot::of_cell(unit.model.clone(), context);
        create(&root, "Account", r#"{"Name":"a"}"#).await.unwrap();
    }
}
