//! Creations, changes and deletions of entities of collections: values, defaults, entity tags, privileges.

use personium_testkit::{Outcome, TestUnit, refused, success};
use serde_json::{Value, json};

use super::{
    SCHEMA, create_all, declare, get_json, ids, odata_unit, relate, token_with, typed_unit,
    unit_with_entities,
};

/// Sends a write below the collection with the master token.
async fn write(unit: &TestUnit, method: &str, path: &str, body: &Value) -> Outcome {
    let request = unit.admin_request(method, &format!("c/b/od/{path}"));
    request.body(body.to_string()).send().await.outcome()
}

async fn entity(unit: &TestUnit, path: &str) -> Value {
    get_json(unit, path).await.expect(200).results()
}

#[tokio::test]
async fn post_creates_an_entity() {
    let unit = odata_unit(|_| {}).await;
    let response = unit
        .post("c/b/od/A", r#"{"__id":"a b","p":1}"#)
        .await
        .expect(201);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("dataserviceversion"), Some("2.0"));
    let location = "http://unit.example/c/b/od/A('a%20b')";
    assert_eq!(response.header("location"), Some(location));
    assert!(response.header("etag").unwrap().starts_with("W/\"1-"));
    let created = response.results();
    let uri = "http://unit.example/c/b/od/A('a+b')";
    assert_eq!(created["__metadata"]["uri"], uri);
    assert_eq!(created["p"], 1);
    assert!(created.get("_B").is_none(), "{created}");
    let generated = unit.post("c/b/od/A", "{}").await.expect(201).results();
    let id = generated["__id"].as_str().unwrap();
    assert!(
        id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
        "{id}"
    );
    let atom = unit.post("c/b/od/A?$format=atom", "{}").await.expect(201);
    assert_eq!(atom.header("content-type"), Some("application/atom+xml"));
}

#[tokio::test]
async fn malformed_bodies_are_refused_and_the_content_type_is_ignored() {
    let unit = odata_unit(|_| {}).await;
    for body in [
        "",
        "{",
        "[]",
        "7",
        "null",
        "{} {}",
        "{/**/}",
        "<entry/>",
        r#"{"a":NaN}"#,
        r#"{"a":"\x"}"#,
        r#"{"a":"\ud800"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\ude00\ud83d"}"#,
        &format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000)),
    ] {
        let response = unit.post("c/b/od/A", body).await;
        let start: String = body.chars().take(20).collect();
        assert_eq!(response.outcome(), refused(400, "OD-0001"), "{start}");
    }
    let post = unit.admin_request("POST", "c/b/od/A");
    let post = post.header("content-type", "image/jpeg").body("{}");
    assert_eq!(post.send().await.status, 201);
    assert_eq!(ids(&unit, "A").await.len(), 1);
}

#[tokio::test]
async fn post_validates_values_against_declared_types() {
    let unit = typed_unit().await;
    let long = "x".repeat(51_200);
    for (name, value, stored) in [
        ("s", json!("x"), Some(json!("x"))),
        ("s", json!(5), Some(json!("5"))),
        ("s", json!(true), Some(json!("true"))),
        ("s", json!(long), Some(json!(long))),
        ("s", json!(format!("{long}x")), None),
        ("s", json!({}), None),
        ("s", json!([]), None),
        ("b", json!("true"), Some(json!(true))),
        ("b", json!("yes"), None),
        ("b", json!(1), None),
        ("i", json!("5"), Some(json!(5))),
        ("i", json!(2_147_483_647), Some(json!(2_147_483_647))),
        ("i", json!(2_147_483_648_i64), None),
        ("i", json!(1.5), None),
        ("i", json!("x"), None),
        ("f", json!(12345.12345), Some(json!(12345.12345))),
        ("f", json!(123_456.1), None),
        ("f", json!(1.123_456), None),
        ("d", json!(1.79e308), Some(json!(1.79e308))),
        ("d", json!(1e-320), None),
        ("t", json!("/Date(0)/"), Some(json!("/Date(0)/"))),
        ("t", json!("2020-01-01"), None),
        ("t", json!("/Date(253402300800000)/"), None),
        ("t", json!(0), None),
        ("l", json!(["a", null]), Some(json!(["a", null]))),
        ("l", json!([]), Some(json!([]))),
        ("l", json!("a"), None),
        ("l", json!([{}]), None),
        (
            "c",
            json!({"city": "x", "zip": 1}),
            Some(json!({"city": "x", "zip": 1})),
        ),
        ("c", json!({"zip": "x"}), None),
        ("c", json!({"other": 1}), None),
        ("c", json!("x"), None),
    ] {
        let body = json!({name: value});
        let response = unit.post("c/b/od/T", &body.to_string()).await;
        match stored {
            Some(stored) => assert_eq!(response.expect(201).results()[name], stored, "{body:.60}"),
            None => assert_eq!(response.outcome(), refused(400, "OD-0006"), "{body:.60}"),
        }
    }
}

#[tokio::test]
async fn reserved_members_and_invalid_ids_are_refused() {
    let unit = unit_with_entities(json!([{"__id": "1"}])).await;
    for (body, outcome) in [
        (json!({"__published": "/Date(0)/"}), refused(400, "OD-0007")),
        (json!({"__updated": null}), refused(400, "OD-0007")),
        (json!({"__updated": 5}), refused(400, "OD-0006")),
        (json!({"__metadata": {}}), refused(400, "OD-0007")),
        (json!({"__id": ""}), refused(400, "OD-0006")),
        (json!({"__id": "x".repeat(401)}), refused(400, "OD-0006")),
        (json!({"__id": "x".repeat(400)}), success(201)),
        (json!({"__id": "1"}), refused(409, "OD-0003")),
        (json!({"__id": null}), success(201)),
        (json!({"a b": 1}), refused(400, "OD-0006")),
        (json!({"-a": 1}), refused(400, "OD-0006")),
        (json!({"": 1}), refused(400, "OD-0006")),
        (json!({"undeclared": {"x": 1}}), refused(400, "OD-0006")),
        (json!({"undeclared": [1]}), refused(400, "OD-0006")),
    ] {
        assert_eq!(
            write(&unit, "POST", "A", &body).await,
            outcome,
            "{body:.60}"
        );
    }
}

#[tokio::test]
async fn undeclared_property_keeps_the_type_of_its_first_value() {
    let unit = odata_unit(|_| {}).await;
    let first = json!({"__id": "1", "n": 1, "flag": true, "s": "/Date(0)/", "nothing": null});
    create_all(&unit, "A", json!([first, {"__id": "2"}])).await;
    for (name, edm_type) in [
        ("n", "Edm.Double"),
        ("flag", "Edm.Boolean"),
        ("s", "Edm.String"),
        ("nothing", "Edm.String"),
    ] {
        let path = format!("$metadata/Property(Name='{name}',_EntityType.Name='A')");
        let property = entity(&unit, &path).await;
        assert_eq!(property["Type"], edm_type, "{name}");
        assert_eq!(property["IsDeclared"], false, "{name}");
    }
    assert_eq!(entity(&unit, "A('2')").await["n"], Value::Null);
    for (body, outcome) in [
        (json!({"n": 2.5}), success(201)),
        (json!({"n": "x"}), refused(400, "OD-0006")),
        (json!({"flag": "x"}), refused(400, "OD-0006")),
        (json!({"s": 5}), success(201)),
        (json!({"nothing": 1}), success(201)),
    ] {
        assert_eq!(write(&unit, "POST", "A", &body).await, outcome, "{body}");
    }
    // A property of this name can no longer be declared.
    let property = json!({"Name": "n", "_EntityType.Name": "A", "Type": "Edm.Int32"});
    let declared = write(&unit, "POST", "$metadata/Property", &property).await;
    assert_eq!(declared, refused(409, "OD-0003"));
}

#[tokio::test]
async fn defaults_and_required_properties_apply_to_post_and_put() {
    let unit = odata_unit(|_| {}).await;
    let base = json!({"_EntityType.Name": "A", "Type": "Edm.String"});
    for (name, nullable, default) in [
        ("required", false, Value::Null),
        ("defaulted", false, json!("d")),
        ("optional", true, Value::Null),
    ] {
        let mut property = base.clone();
        property["Name"] = json!(name);
        property["Nullable"] = json!(nullable);
        property["DefaultValue"] = default;
        declare(&unit, property).await;
    }
    let missing = refused(400, "OD-0009");
    assert_eq!(write(&unit, "POST", "A", &json!({})).await, missing);
    assert_eq!(
        write(&unit, "POST", "A", &json!({"required": null})).await,
        missing
    );
    create_all(
        &unit,
        "A",
        json!([{"__id": "1", "required": "r", "optional": "o"}]),
    )
    .await;
    assert_eq!(entity(&unit, "A('1')").await["defaulted"], "d");
    assert_eq!(write(&unit, "PUT", "A('1')", &json!({})).await, missing);
    let put = json!({"required": "s", "defaulted": null});
    assert_eq!(write(&unit, "PUT", "A('1')", &put).await, success(204));
    let found = entity(&unit, "A('1')").await;
    assert_eq!(found["defaulted"], "d");
    assert_eq!(found["optional"], Value::Null);
    let merge = json!({"required": null});
    assert_eq!(write(&unit, "MERGE", "A('1')", &merge).await, missing);
}

#[tokio::test]
async fn put_replaces_and_merge_keeps_omitted_properties() {
    let unit = typed_unit().await;
    let full =
        json!({"__id": "1", "s": "a", "i": 1, "l": ["x"], "c": {"city": "x", "zip": 1}, "u": 1});
    create_all(&unit, "T", json!([full])).await;
    let before = entity(&unit, "T('1')").await;

    let merge = json!({"i": 2, "l": ["y"], "c": {"zip": 2}, "v": true});
    assert_eq!(write(&unit, "MERGE", "T('1')", &merge).await, success(204));
    let merged = entity(&unit, "T('1')").await;
    for (name, value) in [
        ("s", json!("a")),
        ("i", json!(2)),
        ("l", json!(["y"])),
        ("c", json!({"city": "x", "zip": 2})),
        ("u", json!(1)),
        ("v", json!(true)),
    ] {
        assert_eq!(merged[name], value, "{name}");
    }
    assert_eq!(merged["__published"], before["__published"]);
    assert_ne!(merged["__updated"], before["__updated"]);
    let merge = json!({"i": null, "c": null});
    assert_eq!(write(&unit, "MERGE", "T('1')", &merge).await, success(204));
    let merged = entity(&unit, "T('1')").await;
    assert_eq!(
        (&merged["i"], &merged["c"]["city"]),
        (&Value::Null, &json!("x"))
    );

    let put = json!({"s": "b"});
    assert_eq!(write(&unit, "PUT", "T('1')", &put).await, success(204));
    let replaced = entity(&unit, "T('1')").await;
    for name in ["i", "l", "c", "u", "v"] {
        assert_eq!(replaced[name], Value::Null, "{name}");
    }
    assert_eq!(
        (&replaced["s"], &replaced["__id"]),
        (&json!("b"), &json!("1"))
    );
}

#[tokio::test]
async fn id_in_a_change_never_renames_an_entity() {
    let unit = unit_with_entities(json!([{"__id": "1"}, {"__id": "2"}])).await;
    for method in ["PUT", "MERGE"] {
        let other = write(&unit, method, "A('1')", &json!({"__id": "2"})).await;
        assert_eq!(other, refused(409, "OD-0003"), "{method}");
        let new = write(&unit, method, "A('1')", &json!({"__id": "3"})).await;
        assert_eq!(new, success(204), "{method}");
        let missing = write(&unit, method, "A('9')", &json!({})).await;
        assert_eq!(missing, refused(404, "OD-0002"), "{method}");
    }
    assert_eq!(ids(&unit, "A?$orderby=__id").await, ["1", "2"]);
}

#[tokio::test]
async fn change_with_a_stale_or_malformed_if_match_is_refused() {
    let unit = unit_with_entities(json!([{"__id": "1"}])).await;
    let change = async |method: &str, if_match: Option<&str>| {
        let mut request = unit.admin_request(method, "c/b/od/A('1')");
        if let Some(value) = if_match {
            request = request.header("if-match", value);
        }
        request.body("{}").send().await
    };
    let tag = change("PUT", None).await.expect(204);
    let tag = tag.header("etag").unwrap().to_owned();
    assert!(tag.starts_with("W/\"2-"), "{tag}");
    for bad in [
        "W/\"1-1\"",
        tag.strip_prefix("W/").unwrap(),
        "W/\"2\"",
        "W/\"x-y\"",
        "",
        "x",
    ] {
        for method in ["PUT", "MERGE", "DELETE"] {
            let response = change(method, Some(bad)).await;
            assert_eq!(
                response.outcome(),
                refused(412, "OD-0002"),
                "{method} {bad}"
            );
        }
    }
    for good in [tag.as_str(), "*"] {
        change("MERGE", Some(good)).await.expect(204);
    }
    assert_eq!(change("MERGE", Some(&tag)).await.status, 412);
    let deleted = change("DELETE", Some("*")).await.expect(204);
    assert_eq!(deleted.header("etag"), None);
    assert_eq!(
        change("DELETE", None).await.outcome(),
        refused(404, "OD-0002")
    );
}

#[tokio::test]
async fn method_override_tunnels_merge_through_post_only() {
    for name in ["x-http-method-override", "x-http-method"] {
        method_header_tunnels_merge_through_post_only(name).await;
    }
}

async fn method_header_tunnels_merge_through_post_only(name: &str) {
    let unit = unit_with_entities(json!([{"__id": "1", "p": 1}])).await;
    for (method, status) in [("POST", 204), ("PUT", 204), ("GET", 200)] {
        let request = unit.admin_request(method, "c/b/od/A('1')");
        let request = request.header(name, "MERGE");
        let request = request.header("accept", "application/json");
        let status_found = request.body(r#"{"q":1}"#).send().await.status;
        assert_eq!(status_found, status, "{method}");
        // A PUT is not overridden, and so resets the other property.
        let kept = entity(&unit, "A('1')").await["p"] == 1;
        assert_eq!(kept, method == "POST", "{method}");
    }
}

#[tokio::test]
async fn unsupported_methods_are_refused() {
    let unit = unit_with_entities(json!([{"__id": "1"}])).await;
    for (method, path) in [
        ("PATCH", "A"),
        ("POST", "A('1')"),
        ("PUT", "A"),
        ("MERGE", "A"),
        ("DELETE", "A"),
        ("PUT", "A('1')/_B"),
        ("DELETE", "A('1')/_B"),
        ("POST", "$metadata"),
    ] {
        let found = write(&unit, method, path, &json!({})).await;
        assert_eq!(found, refused(405, "MC-0001"), "{method} {path}");
    }
    for set in ["EntityType", "ComplexType", "Property"] {
        let path = format!("$metadata/{set}('x')");
        let patched = write(&unit, "PATCH", &path, &json!({})).await;
        let merged = write(&unit, "MERGE", &path, &json!({})).await;
        assert_eq!(patched, merged, "{set}");
    }
    // Changing parts of a schema is not implemented for all of its sets.
    let property = "$metadata/Property(Name='p',_EntityType.Name='A')";
    for method in ["MERGE", "PATCH"] {
        let changed = write(&unit, method, property, &json!({"Name": "p"})).await;
        assert_eq!(changed, refused(501, "MC-0001"), "{method}");
    }
}

#[tokio::test]
async fn delete_is_refused_while_dependent_entities_are_linked() {
    let unit = odata_unit(|_| {}).await;
    unit.create_entity_type("c/b/od", "C").await;
    relate(&unit, ("A", "*"), ("C", "*")).await;
    create_all(&unit, "A", json!([{"__id": "1"}])).await;
    unit.create("c/b/od/A('1')/_B", r#"{"__id":"b"}"#).await;
    unit.create("c/b/od/A('1')/_C", r#"{"__id":"c"}"#).await;
    let delete = async |path: &str| write(&unit, "DELETE", path, &json!({})).await;
    assert_eq!(delete("A('1')").await, refused(409, "OD-0001"));
    assert_eq!(
        delete("$metadata/EntityType('A')").await,
        refused(409, "OD-0001")
    );
    assert_eq!(delete("B('b')").await, success(204));
    // Links of many to many do not prevent a deletion.
    assert_eq!(delete("A('1')").await, success(204));
    assert_eq!(ids(&unit, "C('c')/_A").await, Vec::<String>::new());
    // An entity that is created again has no links.
    create_all(&unit, "A", json!([{"__id": "1"}])).await;
    assert_eq!(ids(&unit, "A('1')/_C").await, Vec::<String>::new());
}

#[tokio::test]
async fn write_needs_the_write_privilege_on_the_collection() {
    let unit = odata_unit(|_| {}).await;
    let token = token_with(&unit, &[]).await;
    let write = async |method: &str, path: &str, body: &str| {
        let request = unit.request(method, &format!("c/b/od/{path}"));
        request.bearer(&token).body(body).send().await.outcome()
    };
    let requests = [
        ("POST", "A", r#"{"__id":"2"}"#, 201),
        ("PUT", "A('1')", "{}", 204),
        ("MERGE", "A('1')", "{}", 204),
        ("POST", "A('1')/_B", r#"{"__id":"b"}"#, 201),
        ("DELETE", "A('1')/$links/_B('b')", "", 204),
        ("DELETE", "A('1')", "", 204),
    ];
    create_all(&unit, "A", json!([{"__id": "1"}])).await;
    for privileges in [
        &[][..],
        &["D:read"],
        &["D:write-properties"],
        &["D:alter-schema"],
    ] {
        unit.grant_to_role("c/b/od", "r", privileges).await;
        for (method, path, body, _) in requests {
            let found = write(method, path, body).await;
            assert_eq!(
                found,
                refused(403, "AU-0002"),
                "{method} {path} {privileges:?}"
            );
        }
    }
    assert_eq!(ids(&unit, "A").await, ["1"]);
    unit.grant_to_role("c/b/od", "r", &["D:write"]).await;
    for (method, path, body, status) in requests {
        let found = write(method, path, body).await;
        assert_eq!(found, success(status), "{method} {path}");
    }
    // The schema needs a privilege of its own.
    let entity_type = r#"{"Name":"New"}"#;
    let found = write("POST", "$metadata/EntityType", entity_type).await;
    assert_eq!(found, refused(403, "AU-0002"));
    unit.grant_to_role("c/b/od", "r", &["D:alter-schema"]).await;
    let found = write("POST", "$metadata/EntityType", entity_type).await;
    assert_eq!(found, success(201));
    let anonymous = unit
        .request("POST", &format!("{SCHEMA}/EntityType"))
        .body(entity_type);
    assert_eq!(anonymous.send().await.outcome(), refused(401, "AU-0001"));
}
