//! OData collections and control objects.

mod answer_memory;
mod atom;
mod batch;
mod batch_protocol;
mod change_sets;
mod control_objects;
mod error_bodies;
mod expand;
mod keys;
mod limits;
mod links;
mod numbers;
mod pages;
mod query_options;
mod read;
mod schema_changes;
mod shared_store;
mod standard;
mod write;

use personium_model::Settings;
use personium_testkit::{TestResponse, TestUnit};
use serde_json::{Value, json};

/// The path of the schema of the collection `c/b/od`.
const SCHEMA: &str = "c/b/od/$metadata";

/// A unit with the OData collection `c/b/od` that has the entity types `A` and `B`; an `A` has many `B`.
async fn odata_unit(change: impl FnOnce(&mut Settings)) -> TestUnit {
    let unit = TestUnit::with_settings(change).await;
    unit.create_collection("c/b/od", "odata").await;
    for name in ["A", "B"] {
        unit.create_entity_type("c/b/od", name).await;
    }
    relate(&unit, ("A", "0..1"), ("B", "*")).await;
    unit
}

/// As [`odata_unit`], with entities of the type `A`.
async fn unit_with_entities(entities: Value) -> TestUnit {
    let unit = odata_unit(|_| {}).await;
    create_all(&unit, "A", entities).await;
    unit
}

/// Relates two entity types, each with the multiplicity of its end.
async fn relate(unit: &TestUnit, one: (&str, &str), other: (&str, &str)) {
    for (end, (of, multiplicity)) in [("one", one), ("other", other)] {
        let name = format!("{end}-{}-{}", one.0, other.0);
        let end = json!({"Name": name, "_EntityType.Name": of, "Multiplicity": multiplicity});
        unit.create(&format!("{SCHEMA}/AssociationEnd"), &end.to_string())
            .await;
    }
    let key = |end: &str, of: &str| {
        format!(
            "AssociationEnd(Name='{end}-{}-{}',_EntityType.Name='{of}')",
            one.0, other.0
        )
    };
    let links = format!("{SCHEMA}/{}/$links/_AssociationEnd", key("one", one.0));
    let uri = format!("{}{SCHEMA}/{}", unit.url(), key("other", other.0));
    unit.post(&links, &json!({"uri": uri}).to_string())
        .await
        .expect(204);
}

/// Declares a property of an entity type.
async fn declare_property(unit: &TestUnit, of: &str, name: &str, edm_type: &str) {
    declare(
        unit,
        json!({"Name": name, "_EntityType.Name": of, "Type": edm_type}),
    )
    .await;
}

/// Declares a property with these members.
async fn declare(unit: &TestUnit, property: Value) {
    let path = format!("{SCHEMA}/Property");
    unit.create(&path, &property.to_string()).await;
}

/// A unit as [`odata_unit`] with the entity type `T`, which has a property of each type: `s`, `b`, `i`, `f`, `d`, `t`, a list `l`
/// of strings, and `c` of the complex type `Place`, which has the members `city` and `zip`.
async fn typed_unit() -> TestUnit {
    typed_unit_with(|_| {}).await
}

/// As [`typed_unit`], with other settings.
async fn typed_unit_with(change: impl FnOnce(&mut Settings)) -> TestUnit {
    let unit = odata_unit(change).await;
    unit.create_entity_type("c/b/od", "T").await;
    for (name, edm_type) in [
        ("s", "Edm.String"),
        ("b", "Edm.Boolean"),
        ("i", "Edm.Int32"),
        ("f", "Edm.Single"),
        ("d", "Edm.Double"),
        ("t", "Edm.DateTime"),
    ] {
        declare_property(&unit, "T", name, edm_type).await;
    }
    let list = json!({"Name": "l", "_EntityType.Name": "T", "Type": "Edm.String", "CollectionKind": "List"});
    declare(&unit, list).await;
    let place = json!({"Name": "Place"}).to_string();
    unit.create(&format!("{SCHEMA}/ComplexType"), &place).await;
    for (name, edm_type) in [("city", "Edm.String"), ("zip", "Edm.Int32")] {
        let member = json!({"Name": name, "_ComplexType.Name": "Place", "Type": edm_type});
        let path = format!("{SCHEMA}/ComplexTypeProperty");
        unit.create(&path, &member.to_string()).await;
    }
    declare_property(&unit, "T", "c", "Place").await;
    unit
}

/// Creates entities of a set of the collection.
async fn create_all(unit: &TestUnit, set: &str, entities: Value) {
    for entity in entities.as_array().unwrap() {
        unit.create(&format!("c/b/od/{set}"), &entity.to_string())
            .await;
    }
}

/// Sends a GET for JSON below the collection, with the master token.
async fn get_json(unit: &TestUnit, path: &str) -> TestResponse {
    let request = unit.admin_request("GET", &format!("c/b/od/{}", path.replace(' ', "%20")));
    request.header("accept", "application/json").send().await
}

/// The ids of the entities of a list of the collection.
async fn ids(unit: &TestUnit, path: &str) -> Vec<String> {
    let list = get_json(unit, path).await.expect(200).results();
    let id = |entity: &Value| entity["__id"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(id).collect()
}

/// Creates an account `me` in the cell `c` with these privileges on the collection; returns its access token.
async fn token_with(unit: &TestUnit, privileges: &[&str]) -> String {
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.grant_by_new_role("c/b/od", ("me", "r"), privileges)
        .await;
    unit.access_token("c").await
}
