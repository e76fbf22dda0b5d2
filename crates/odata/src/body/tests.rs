use proptest::prelude::*;

use super::*;
use crate::control;
use crate::edm::{
    ComplexType, EntityType, Property, PropertyList, PropertyOrigin, Schema, ValueType,
};
use crate::value::Value;

const NOW: i64 = 1_420_589_956_172;

fn with_context<T>(run: impl FnOnce(&mut BodyContext<'_>) -> T) -> T {
    let mut new_id = || "0123456789abcdef0123456789abcdef".to_owned();
    run(&mut BodyContext {
        now_ms: NOW,
        new_id: &mut new_id,
        account_types: &["oidc:google"],
        unit_url: Some("http://unit/"),
        has_complex_type: &|name| name == "Address",
        route: Route::Direct,
        max_undeclared: 400,
    })
}

fn control_set(set: &str, intent: Intent, text: &str) -> Result<ValidatedBody, BodyError> {
    let schema = [control::cell(), control::unit(), control::schema()]
        .into_iter()
        .find(|schema| schema.entity_type(set).is_some())
        .unwrap();
    let entity_type = schema.entity_type(set).unwrap();
    with_context(|context| validate(text.as_bytes(), schema, entity_type, intent, context))
}

fn shown(accepted: &ValidatedBody) -> Vec<(String, Value)> {
    accepted
        .properties
        .iter()
        .map(|(name, value)| (name.to_string(), value.clone()))
        .collect()
}

fn value(name: &str) -> BodyError {
    BodyError::InvalidValue(name.into())
}

fn required(name: &str) -> BodyError {
    BodyError::Required(name.into())
}

#[test]
fn absent_members_of_a_new_entity_have_default_values() {
    let created = control_set("Account", Intent::Create, "{\"Name\":\"a\"}").unwrap();
    assert_eq!(
        shown(&created),
        [("Name", "a"), ("Type", "basic"), ("Status", "active")]
            .map(|(name, text)| (name.to_owned(), text.into()))
    );
    let rule = control_set("Rule", Intent::Create, "{\"Action\":\"log\"}").unwrap();
    assert_eq!(
        rule.properties.text("Name"),
        Some("0123456789abcdef0123456789abcdef")
    );
    assert_eq!(rule.properties.value("EventExternal"), &Value::Bool(false));
}

#[test]
fn control_sets_report_the_first_error() {
    for (set, body, error) in [
        ("Role", "", BodyError::Malformed),
        ("Role", "[]", BodyError::Malformed),
        ("Role", "{}", required("Name")),
        ("Role", "{\"Name\":null}", required("Name")),
        ("Role", "{\"Name\":\"\"}", value("Name")),
        ("Role", "{\"Name\":{}}", value("Name")),
        ("Role", "{\"Name\":[\"a\"]}", value("Name")),
        (
            "Role",
            "{\"Name\":\"a\",\"_Box.Name\":\"__\"}",
            value("_Box.Name"),
        ),
        (
            "Role",
            "{\"X\":1,\"Name\":{}}",
            BodyError::Forbidden("X of Role".into()),
        ),
        (
            "Role",
            "{\"__metadata\":null}",
            BodyError::Forbidden("__metadata".into()),
        ),
        (
            "Role",
            "{\"__published\":null,\"Name\":\"a\"}",
            BodyError::Forbidden("__published".into()),
        ),
        (
            "Role",
            "{\"__updated\":\"/Date(0)/\",\"Name\":\"BAD NAME\"}",
            value("Name"),
        ),
        (
            "Role",
            "{\"__updated\":5,\"Name\":\"BAD NAME\"}",
            value("__updated"),
        ),
        ("Cell", "{\"Name\":\"A\"}", value("Name")),
        (
            "ExtCell",
            "{\"Url\":\"http://h/c\"}",
            BodyError::InvalidCellUrl("Url".into()),
        ),
        (
            "Box",
            "{\"Name\":\"b\",\"Schema\":\"http://h/c\"}",
            BodyError::InvalidSchemaUri("Schema".into()),
        ),
        (
            "ExtRole",
            "{\"ExtRole\":\"http://h\",\"_Relation.Name\":null}",
            required("_Relation.Name"),
        ),
        (
            "Account",
            "{\"Name\":\"a\",\"Type\":\"basic basic\"}",
            value("Type"),
        ),
        (
            "Account",
            "{\"Name\":\"a\",\"IPAddressRange\":\"1.2.3\"}",
            value("IPAddressRange"),
        ),
        (
            "Account",
            "{\"Name\":\"a\",\"HashedCredential\":\"x\"}",
            BodyError::Forbidden("HashedCredential of Account".into()),
        ),
        ("Rule", "{}", value("Action")),
        (
            "Rule",
            "{\"Action\":\"exec\",\"TargetUrl\":\"http://unit/c\"}",
            value("TargetUrl"),
        ),
        (
            "Rule",
            "{\"Action\":\"log\",\"EventExternal\":\"x\"}",
            value("EventExternal"),
        ),
        (
            "Property",
            "{\"Name\":\"p\",\"_EntityType.Name\":\"T\"}",
            required("Type"),
        ),
        (
            "Property",
            "{\"Name\":\"p\",\"_EntityType.Name\":\"T\",\"Type\":\"Edm.Guid\"}",
            value("Type"),
        ),
        (
            "Property",
            "{\"Name\":\"p\",\"_EntityType.Name\":\"T\",\"Type\":\"Edm.Int32\",\"DefaultValue\":\"1.0\"}",
            value("DefaultValue"),
        ),
        (
            "Property",
            "{\"Name\":\"p\",\"_EntityType.Name\":\"T\",\"Type\":\"Address\",\"DefaultValue\":\"x\"}",
            value("DefaultValue"),
        ),
        (
            "Property",
            "{\"Name\":\"p\",\"_EntityType.Name\":\"T\",\"Type\":\"Address\",\"CollectionKind\":\"Bag\"}",
            value("CollectionKind"),
        ),
        (
            "AssociationEnd",
            "{\"Name\":\"a\",\"Multiplicity\":\"2\",\"_EntityType.Name\":\"T\"}",
            value("Multiplicity"),
        ),
        (
            "ReceivedMessage",
            "{\"From\":\"http://h/c/\",\"Status\":\"read\"}",
            required("__id"),
        ),
        ("SentMessage", "{\"Priority\":6}", value("Priority")),
        (
            "SentMessage",
            "{\"RequestObjects\":{}}",
            value("RequestObjects"),
        ),
        (
            "SentMessage",
            "{\"RequestObjects\":[{}]}",
            BodyError::Malformed,
        ),
    ] {
        assert_eq!(
            control_set(set, Intent::Create, body),
            Err(error),
            "{set} {body}"
        );
    }
}

#[test]
fn merge_validates_only_members_of_the_body() {
    assert_eq!(
        shown(&control_set("Account", Intent::Merge, "{}").unwrap()),
        []
    );
    assert_eq!(
        control_set("Account", Intent::Merge, "{\"Name\":null}"),
        Err(required("Name"))
    );
    let reset = control_set("Account", Intent::Merge, "{\"Cell\":null,\"Type\":null}").unwrap();
    assert_eq!(
        shown(&reset),
        [
            ("Type".to_owned(), "basic".into()),
            ("Cell".to_owned(), Value::Null)
        ]
    );
    assert_eq!(
        control_set("Cell", Intent::Merge, "{}"),
        Err(required("Name"))
    );
    assert_eq!(
        control_set("EntityType", Intent::Merge, "{}"),
        Err(required("Name"))
    );
    assert_eq!(
        control_set("AssociationEnd", Intent::Merge, "{\"Name\":\"a\"}"),
        Err(required("_EntityType.Name"))
    );
    assert!(
        control_set(
            "AssociationEnd",
            Intent::Merge,
            "{\"Name\":\"a\",\"_EntityType.Name\":\"T\"}"
        )
        .is_ok()
    );
}

#[test]
fn account_type_is_not_validated_through_a_navigation_property() {
    let cell = control::cell();
    let account = cell.entity_type("Account").unwrap();
    let body = b"{\"Name\":\"a\",\"Type\":\"x\",\"IPAddressRange\":\"y\"}";
    let through = |route| {
        with_context(|context| {
            context.route = route;
            validate(body, cell, account, Intent::Create, context)
        })
    };
    assert!(through(Route::Navigation).is_ok());
    assert_eq!(through(Route::Direct), Err(value("Type")));
}

fn user_schema() -> Schema {
    let mut schema = Schema::new(control::USER_NAMESPACE);
    schema.add_complex_type(ComplexType {
        name: "C".into(),
        properties: PropertyList::new(vec![
            Property::new("a", SimpleType::String).required(),
            Property::new("b", SimpleType::Int32).with_default("7"),
            Property::complex("inner", "D"),
        ]),
    });
    schema.add_complex_type(ComplexType {
        name: "D".into(),
        properties: PropertyList::new(vec![
            Property::new("x", SimpleType::String),
            Property::new("l", SimpleType::Int32).list(),
        ]),
    });
    let mut number = Property::new("number", SimpleType::Int32);
    number.default = Some("5".into());
    schema.add_type(EntityType::user_data(
        "T",
        vec![
            number,
            Property::new("time", SimpleType::DateTime).with_default("SYSUTCDATETIME()"),
            Property::new("must", SimpleType::String)
                .required()
                .with_default("filled"),
            Property::new("list", SimpleType::String).list(),
            Property::complex("c", "C"),
            Property::complex("cs", "C").list(),
            Property::new("dyn", SimpleType::Boolean).with_origin(PropertyOrigin::Dynamic),
        ],
    ));
    schema
}

fn user(intent: Intent, text: &str) -> Result<ValidatedBody, BodyError> {
    let schema = user_schema();
    let entity_type = schema.entity_type("T").unwrap().clone();
    assert!(matches!(
        entity_type.properties.get("c").unwrap().value_type,
        ValueType::Complex(_)
    ));
    with_context(|context| validate(text.as_bytes(), &schema, &entity_type, intent, context))
}

#[test]
fn user_data_has_default_values_and_dynamic_properties() {
    let created = user(
        Intent::Create,
        "{\"z\":1,\"y\":\"/Date(0)/\",\"x\":null,\"w\":true,\"list\":5e0}",
    );
    assert_eq!(created, Err(value("list")));
    let created = user(
        Intent::Create,
        "{\"z\":1,\"y\":\"/Date(0)/\",\"x\":null,\"w\":true,\"list\":[5e0,null]}",
    )
    .unwrap();
    let expected: Vec<(String, Value)> = [
        ("__id", "0123456789abcdef0123456789abcdef".into()),
        ("list", Value::List(vec!["5e0".into(), Value::Null])),
        ("must", "filled".into()),
        ("number", Value::Int32(5)),
        ("time", Value::DateTime(NOW)),
        ("z", Value::Double(1.0)),
        ("y", "/Date(0)/".into()),
        ("x", Value::Null),
        ("w", true.into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    assert_eq!(shown(&created), expected);
    let new: Vec<_> = created
        .new_properties
        .iter()
        .map(|new| (&*new.name, new.simple.name()))
        .collect();
    assert_eq!(
        new,
        [
            ("z", "Edm.Double"),
            ("y", "Edm.String"),
            ("x", "Edm.String"),
            ("w", "Edm.Boolean")
        ]
    );
    assert_eq!(
        shown(&user(Intent::Merge, "{\"dyn\":null}").unwrap()),
        [("dyn".to_owned(), Value::Null)]
    );
}

#[test]
fn invalid_user_data_is_refused() {
    for (body, error) in [
        ("{\"__id\":\"\"}", value("__id")),
        ("{\"-x\":1}", value("-x")),
        ("{\"_x\":1}", value("_x")),
        ("{\"x\":{}}", value("x")),
        ("{\"x\":[]}", value("x")),
        ("{\"x\":1e999}", value("x")),
        ("{\"dyn\":\"no\"}", value("dyn")),
        ("{\"number\":\"1.0\"}", value("number")),
        ("{\"time\":\"2015-01-01\"}", value("time")),
        ("{\"c\":{}}", BodyError::Malformed),
        ("{\"c\":\"x\"}", value("c")),
        ("{\"c\":{\"z\":1}}", value("z")),
        ("{\"c\":{\"b\":1}}", required("a")),
        ("{\"c\":{\"a\":\"a\",\"b\":\"x\"}}", value("b")),
        ("{\"cs\":[{\"a\":\"a\"},{\"b\":1}]}", required("a")),
        ("{\"list\":\"a\"}", value("list")),
        ("{\"list\":[[]]}", value("list")),
        ("{\"c\":{\"a\":\"a\",\"inner\":{\"l\":1}}}", value("l")),
    ] {
        assert_eq!(user(Intent::Create, body), Err(error), "{body}");
    }
}

fn merged(stored: &str, patch: &str) -> Result<Vec<(String, Value)>, BodyError> {
    let schema = user_schema();
    let entity_type = schema.entity_type("T").unwrap().clone();
    let old = user(Intent::Create, stored)?.properties;
    let patch = user(Intent::Merge, patch)?.properties;
    let merged = with_context(|context| merge(&schema, &entity_type, &old, patch, context))?;
    Ok(merged
        .iter()
        .map(|(name, value)| (name.to_string(), value.clone()))
        .collect())
}

fn member(values: &[(String, Value)], name: &str) -> String {
    let mut out = String::new();
    let found = values
        .iter()
        .find(|(known, _)| known == name)
        .map_or(Value::Null, |(_, value)| value.clone());
    crate::value::push_json_value(&mut out, &found);
    out
}

#[test]
fn complex_values_are_merged_by_member() {
    let stored = "{\"__id\":\"i\",\"number\":1,\"list\":[\"a\",\"b\"],\"c\":{\"a\":\"a\",\"b\":1,\"inner\":{\"x\":\"x\",\"l\":[1,2]}},\"other\":1}";
    let after = merged(
        stored,
        "{\"c\":{\"a\":\"z\",\"inner\":{\"l\":[3]}},\"list\":[\"c\"],\"more\":\"m\"}",
    )
    .unwrap();
    assert_eq!(
        member(&after, "c"),
        "{\"a\":\"z\",\"b\":1,\"inner\":{\"x\":\"x\",\"l\":[3]}}"
    );
    assert_eq!(member(&after, "list"), "[\"c\"]");
    assert_eq!(
        member(&after, "number") + &member(&after, "other") + &member(&after, "more"),
        "11\"m\""
    );
    let after = merged(
        stored,
        "{\"c\":null,\"number\":null,\"list\":null,\"other\":null}",
    )
    .unwrap();
    assert_eq!(
        member(&after, "c"),
        "{\"a\":\"a\",\"b\":1,\"inner\":{\"x\":\"x\",\"l\":[1,2]}}"
    );
    assert_eq!(
        member(&after, "number") + &member(&after, "list") + &member(&after, "other"),
        "5nullnull"
    );
    let after = merged("{}", "{\"c\":{\"a\":\"z\"}}").unwrap();
    assert_eq!(member(&after, "c"), "{\"a\":\"z\",\"b\":7,\"inner\":null}");
    assert_eq!(merged("{}", "{\"c\":{\"b\":1}}"), Err(required("a")));
    assert_eq!(merged(stored, "{\"c\":{\"a\":null}}"), Err(required("a")));
}

#[test]
fn replace_omits_an_absent_generated_key() {
    let replaced = user(Intent::Replace, "{}").unwrap();
    assert_eq!(replaced.properties.get("__id"), None);
    assert_eq!(replaced.properties.value("number"), &Value::Int32(5));
    assert_eq!(
        control_set("Rule", Intent::Replace, "{\"Action\":\"log\"}")
            .unwrap()
            .properties
            .get("Name"),
        None
    );
}

#[test]
fn link_body_has_the_reference_as_first_member() {
    assert_eq!(
        read_link(b"{\"uri\":\"Role('r')\"}").as_deref(),
        Ok("Role('r')")
    );
    for bad in [
        "",
        "{}",
        "{\"url\":\"a\"}",
        "{\"a\":1,\"uri\":\"a\"}",
        "[\"uri\"]",
    ] {
        assert_eq!(
            read_link(bad.as_bytes()),
            Err(LinkBodyError::Malformed),
            "{bad}"
        );
    }
    for bad in ["{\"uri\":null}", "{\"uri\":\"\"}", "{\"uri\":1}"] {
        assert_eq!(
            read_link(bad.as_bytes()),
            Err(LinkBodyError::InvalidUri),
            "{bad}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_body_does_not_panic(
        name in "number|list|c|cs|a|dyn|__id|[a-zA-Z_-]{1,3}",
        value in "null|true|1\\.5|\"x\"|\\[1,null\\]|\\{\"a\":\"b\"\\}|\\{\"inner\":\\{\"l\":\\[\\]\\}\\}|\\PC{0,8}",
    ) {
        let body = format!("{{\"{name}\":{value}}}");
        for intent in [Intent::Create, Intent::Replace, Intent::Merge] {
            let _ = user(intent, &body);
        }
    }
}
