use proptest::prelude::*;

use super::*;
use crate::control;
use crate::edm::{
    ComplexType, EntityType, Multiplicity, NewAssociationEnd, PropertyList, PropertyOrigin,
    SimpleType,
};
use crate::entity_view::ExpandedNavigation;
use personium_types::ETag;

const ROOT: &str = "http://h/c/__ctl/";

fn properties(members: &[(&str, Value)]) -> Properties {
    members
        .iter()
        .map(|(name, value)| ((*name).into(), value.clone()))
        .collect()
}

fn entity<'a>(entity_type: &'a EntityType, properties: &'a Properties) -> EntityView<'a> {
    EntityView {
        entity_type,
        etag: ETag {
            version: 2,
            updated_ms: 20,
        },
        published: 10,
        properties,
        expanded: Vec::new(),
    }
}

#[test]
fn read_entity_has_navigation_properties() {
    let cell = control::cell();
    let role = cell.entity_type("Relation").unwrap();
    let values = properties(&[("Name", "r".into())]);
    let mut out = String::new();
    JsonWriter::new(cell, ROOT, EntityShape::Read).push_single(&mut out, &entity(role, &values));
    let uri = "http:\\/\\/h\\/c\\/__ctl\\/Relation(Name='r',_Box.Name=null)";
    let deferred =
        |name: &str| format!("\"{name}\":{{\"__deferred\":{{\"uri\":\"{uri}\\/{name}\"}}}}");
    assert_eq!(
        out,
        format!(
            "{{\"d\":{{\"results\":{{\"__metadata\":{{\"uri\":\"{uri}\",\"etag\":\"W\\/\\\"2-20\\\"\",\"type\":\"CellCtl.Relation\"}},\
             \"Name\":\"r\",\"_Box.Name\":null,\"__published\":\"\\/Date(10)\\/\",\"__updated\":\"\\/Date(20)\\/\",{},{},{},{}}}}}}}",
            deferred("_Box"),
            deferred("_ExtCell"),
            deferred("_ExtRole"),
            deferred("_Role")
        )
    );
}

#[test]
fn created_entity_has_null_key_parts_at_the_end() {
    let cell = control::cell();
    let rule = cell.entity_type("Role").unwrap();
    let values = properties(&[("Name", "r".into())]);
    let mut out = String::new();
    JsonWriter::new(cell, ROOT, EntityShape::Created).push_single(&mut out, &entity(rule, &values));
    assert!(out.ends_with(
        "\"Name\":\"r\",\"__published\":\"\\/Date(10)\\/\",\"__updated\":\"\\/Date(20)\\/\",\"_Box.Name\":null}}}"
    ));
    let bound = properties(&[("Name", "r".into()), ("_Box.Name", "b".into())]);
    out.clear();
    JsonWriter::new(cell, ROOT, EntityShape::Created).push_entity(&mut out, &entity(rule, &bound));
    assert!(out.contains("\"Name\":\"r\",\"_Box.Name\":\"b\",\"__published\""));
}

fn user_schema() -> Schema {
    let mut schema = Schema::new(control::USER_NAMESPACE);
    schema.add_complex_type(ComplexType {
        name: "C".into(),
        properties: PropertyList::new(vec![
            Property::new("a", SimpleType::String),
            Property::new("b", SimpleType::String),
        ]),
    });
    let members = vec![
        Property::complex("c", "C"),
        Property::complex("cs", "C").list(),
        Property::new("dyn", SimpleType::Double).with_origin(PropertyOrigin::Dynamic),
        Property::new("plain", SimpleType::String).with_origin(PropertyOrigin::Declared),
    ];
    schema.add_type(EntityType::user_data("T", members));
    schema.add_type(EntityType::user_data("U", vec![]));
    schema.add_association(
        NewAssociationEnd::new("T", Multiplicity::Many, "_U"),
        NewAssociationEnd::new("U", Multiplicity::Many, "_T"),
    );
    schema
}

fn tail(out: &str) -> &str {
    out.split_once("\"__updated\":\"\\/Date(20)\\/\"")
        .map_or("", |(_, tail)| tail)
}

#[test]
fn dynamic_properties_depend_on_the_entity_shape() {
    let schema = user_schema();
    let entity_type = schema.entity_type("T").unwrap();
    let c = Value::Complex(properties(&[("b", "x/".into())]));
    let values = properties(&[
        ("__id", "i".into()),
        ("c", c.clone()),
        ("cs", Value::List(vec![c, Value::Null])),
        ("new", Value::Double(1.0)),
    ]);
    let show = |shape| {
        let mut out = String::new();
        JsonWriter::new(&schema, "http://h/", shape)
            .push_entity(&mut out, &entity(entity_type, &values));
        out
    };
    let complex = "{\"a\":null,\"b\":\"x\\/\"}";
    let nav = "\"_U\":{\"__deferred\":{\"uri\":\"http:\\/\\/h\\/T('i')\\/_U\"}}}";
    assert_eq!(
        tail(&show(EntityShape::Read)),
        format!(",\"c\":{complex},\"cs\":[{complex},null],\"dyn\":null,\"plain\":null,{nav}")
    );
    assert_eq!(
        tail(&show(EntityShape::Created)),
        format!(",\"c\":{complex},\"cs\":[{complex},null],\"plain\":null,\"new\":1}}")
    );
    assert_eq!(
        tail(&show(EntityShape::BatchCreated)),
        format!(",\"c\":null,\"cs\":null,\"dyn\":null,\"plain\":null,{nav}")
    );
}

#[test]
fn lists_have_count_selected_properties_and_expanded_entities() {
    let schema = user_schema();
    let (t, u) = (
        schema.entity_type("T").unwrap(),
        schema.entity_type("U").unwrap(),
    );
    let (first, target) = (
        properties(&[("__id", "1".into())]),
        properties(&[("__id", "2".into())]),
    );
    let mut parent = entity(t, &first);
    parent.expanded.push(ExpandedNavigation {
        navigation: "_U",
        entities: vec![entity(u, &target)],
    });
    let select = Select::Only(vec!["plain".into()]);
    let mut out = String::new();
    let writer = JsonWriter::new(&schema, "http://h/", EntityShape::Read).select(&select);
    writer.push_list(
        &mut out,
        [&parent, &entity(t, &target)],
        ListEnd {
            count: Some(12),
            next: Some("http://h/T?$skiptoken=x"),
        },
    );
    assert!(out.starts_with("{\"d\":{\"results\":[{\"__metadata\""));
    assert!(
        out.contains("\"plain\":null,\"_U\":[{\"__metadata\":{\"uri\":\"http:\\/\\/h\\/U('2')\"")
    );
    assert!(out.contains("\"_T\":{\"__deferred\":{\"uri\":\"http:\\/\\/h\\/U('2')\\/_T\"}}}]},{"));
    assert!(!out.contains("\"dyn\""));
    assert!(out.ends_with("],\"__count\":\"12\",\"__next\":\"http:\\/\\/h\\/T?$skiptoken=x\"}}"));
    out.clear();
    writer.push_list(&mut out, [], ListEnd::default());
    assert_eq!(out, "{\"d\":{\"results\":[]}}");
}

#[test]
fn links_and_callbacks_are_written() {
    let cell = control::cell();
    let ext_cell = cell.entity_type("ExtCell").unwrap();
    let url = entity_url(
        ROOT,
        ext_cell,
        &properties(&[("Url", "http://h/".into())]),
        KeyStyle::InPath,
    );
    let mut out = String::new();
    push_links(&mut out, [url.as_str(), "x"]);
    let mut script = String::new();
    push_callback_start(&mut script, "f");
    assert_eq!(
        script + &out + CALLBACK_END,
        "/**/f({\"d\":{\"results\":[{\"uri\":\"http:\\/\\/h\\/c\\/__ctl\\/ExtCell('http:\\/\\/h\\/')\"},{\"uri\":\"x\"}]}});"
    );
}

#[test]
fn callbacks_are_paths_of_identifiers() {
    for good in [
        "f",
        "_",
        "$",
        "a.b.c",
        "jQuery1_2",
        "angular.callbacks._0",
        &"x".repeat(128),
    ] {
        assert!(is_callback(good), "{good}");
    }
    for bad in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "1a",
        "a b",
        "a-b",
        "a(",
        "a;b",
        "a[0]",
        "alert(1)//",
        "<script>",
        "a\nb",
        "é",
        "a\u{2028}",
        "function",
        "a.delete",
        "this",
        &"x".repeat(129),
    ] {
        assert!(!is_callback(bad), "{bad}");
    }
}

proptest! {
    #[test]
    fn every_entity_is_valid_json(id in any::<String>(), plain in any::<String>(), new in "[a-z]{4,9}") {
        let schema = user_schema();
        let entity_type = schema.entity_type("T").unwrap();
        let values = properties(&[("__id", id.clone().into()), ("plain", plain.clone().into()), (&new, true.into())]);
        for shape in [EntityShape::Read, EntityShape::Created, EntityShape::BatchCreated] {
            let mut out = String::new();
            JsonWriter::new(&schema, "http://h/", shape).push_single(&mut out, &entity(entity_type, &values));
            let read: serde_json::Value = serde_json::from_str(&out).unwrap();
            prop_assert_eq!(read["d"]["results"]["__id"].as_str(), Some(id.as_str()));
            if shape != EntityShape::BatchCreated {
                prop_assert_eq!(read["d"]["results"]["plain"].as_str(), Some(plain.as_str()));
            }
        }
    }
}
