//! `$expand` of lists and of single entities.

use personium_testkit::{TestUnit, refused, success};
use serde_json::{Value, json};

use super::{create_all, get_json, odata_unit, relate, token_with, unit_with_entities};

/// A unit with the entity `1` of `A`, which has three `B`, and the entity `2` of `A`, which has none.
async fn linked_unit() -> TestUnit {
    let unit = unit_with_entities(json!([{"__id": "1", "n": 1}, {"__id": "2"}])).await;
    for id in ["x", "y", "z"] {
        let body = json!({"__id": id, "of": id}).to_string();
        unit.create("c/b/od/A('1')/_B", &body).await;
    }
    unit
}

fn expanded_ids(entity: &Value, navigation: &str) -> Vec<String> {
    let list = entity[navigation].as_array().unwrap();
    let id = |entity: &Value| entity["__id"].as_str().unwrap().to_owned();
    list.iter().map(id).collect()
}

#[tokio::test]
async fn expanded_entities_are_arrays_with_full_properties() {
    let unit = linked_unit().await;
    let entity = get_json(&unit, "A('1')?$expand=_B")
        .await
        .expect(200)
        .results();
    // The newest come first.
    assert_eq!(expanded_ids(&entity, "_B"), ["z", "y", "x"]);
    let first = &entity["_B"][0];
    assert_eq!(first["of"], "z");
    let uri = "http://unit.example/c/b/od/B('z')";
    assert_eq!(first["__metadata"]["uri"], uri);
    let deferred = format!("{uri}/_A");
    assert_eq!(
        first["_A"]["__deferred"]["uri"], deferred,
        "not expanded further"
    );
    let empty = get_json(&unit, "A('2')?$expand=_B").await.results();
    assert_eq!(empty["_B"], json!([]));
    let to_one = get_json(&unit, "B('x')?$expand=_A").await.results();
    assert_eq!(expanded_ids(&to_one, "_A"), ["1"]);

    let list = get_json(&unit, "A?$expand=_B&$orderby=__id")
        .await
        .results();
    assert_eq!(expanded_ids(&list[0], "_B").len(), 3);
    assert_eq!(list[1]["_B"], json!([]));
    let navigated = get_json(&unit, "B('x')/_A?$expand=_B").await.results();
    assert_eq!(expanded_ids(&navigated[0], "_B").len(), 3);
}

#[tokio::test]
async fn select_does_not_limit_expanded_entities() {
    let unit = linked_unit().await;
    let path = "A('1')?$expand=_B&$select=__id";
    let entity = get_json(&unit, path).await.expect(200).results();
    assert!(entity.get("n").is_none(), "{entity}");
    assert_eq!(entity["_B"][0]["of"], "z");
}

#[tokio::test]
async fn invalid_expand_options_are_refused() {
    let unit = odata_unit(|_| {}).await;
    for name in ["C", "D"] {
        unit.create_entity_type("c/b/od", name).await;
        relate(&unit, ("A", "*"), (name, "*")).await;
    }
    create_all(&unit, "A", json!([{"__id": "1"}])).await;
    for (expand, of_list, of_entity) in [
        ("", success(200), success(200)),
        ("_B,_C", success(200), success(200)),
        ("_B,_C,_D", refused(400, "OD-0039"), success(200)),
        ("_B,_B", success(200), success(200)),
        ("_None", refused(400, "OD-0025"), refused(400, "OD-0025")),
        ("_", refused(400, "OD-0025"), refused(400, "OD-0025")),
        ("B", refused(400, "OD-0026"), refused(400, "OD-0026")),
        ("_B/_A", refused(400, "OD-0026"), refused(400, "OD-0026")),
        (",", refused(400, "OD-0026"), refused(400, "OD-0026")),
        ("'_B'", refused(400, "OD-0026"), refused(400, "OD-0026")),
    ] {
        for (path, outcome) in [("A", of_list), ("A('1')", of_entity)] {
            let response = get_json(&unit, &format!("{path}?$expand={expand}")).await;
            assert_eq!(response.outcome(), outcome, "{path} {expand}");
        }
    }
    for (top, outcome) in [(100, success(200)), (101, refused(400, "OD-0029"))] {
        let response = get_json(&unit, &format!("A?$expand=_B&$top={top}")).await;
        assert_eq!(response.outcome(), outcome, "{top}");
    }
}

#[tokio::test]
async fn expanded_entities_are_limited_in_number() {
    let unit = odata_unit(|settings| {
        settings.odata.expand_list_max = 2;
        settings.odata.expand_retrieve_max = 3;
    })
    .await;
    create_all(&unit, "A", json!([{"__id": "1"}])).await;
    for id in ["v", "w", "x", "y", "z"] {
        let body = json!({"__id": id}).to_string();
        unit.create("c/b/od/A('1')/_B", &body).await;
    }
    let list = get_json(&unit, "A?$expand=_B").await.results();
    assert_eq!(expanded_ids(&list[0], "_B"), ["z", "y"]);
    let entity = get_json(&unit, "A('1')?$expand=_B").await.results();
    assert_eq!(expanded_ids(&entity, "_B"), ["z", "y", "x"]);
}

#[tokio::test]
async fn control_objects_expand_what_the_caller_may_read() {
    let unit = TestUnit::new().await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.create_role("c", "r").await;
    unit.create("c/__ctl/Role", r#"{"Name":"boxed","_Box.Name":"b"}"#)
        .await;
    unit.link("c", "Account('me')", "_Role", "Role('r')").await;
    let path = "c/__ctl/Role?$expand=_Box&$orderby=Name&$format=json";
    let roles = unit
        .admin_request("GET", path)
        .send()
        .await
        .expect(200)
        .results();
    assert_eq!(roles[0]["_Box"][0]["Name"], "b");
    assert_eq!(roles[1]["_Box"], json!([]));
    let token = unit.access_token("c").await;
    for (privileges, outcome) in [
        (&["p:auth-read"][..], refused(403, "AU-0002")),
        (&["p:box-read"], refused(403, "AU-0002")),
        (&["p:auth-read", "p:box-read"], success(200)),
    ] {
        unit.grant_to_role("c", "r", privileges).await;
        let found = unit.outcome_with_token("GET", path, &token).await;
        assert_eq!(found, outcome, "{privileges:?}");
    }
}

#[tokio::test]
async fn expand_needs_the_read_privilege_on_the_collection() {
    let unit = linked_unit().await;
    let token = token_with(&unit, &["D:write"]).await;
    let path = "c/b/od/A?$expand=_B&$format=json";
    let found = unit.outcome_with_token("GET", path, &token).await;
    assert_eq!(found, refused(403, "AU-0002"));
    // The privilege is checked before the option.
    let invalid = "c/b/od/A?$expand=_None&$format=json";
    let found = unit.outcome_with_token("GET", invalid, &token).await;
    assert_eq!(found, refused(403, "AU-0002"));
    unit.grant_to_role("c/b/od", "r", &["D:read"]).await;
    let found = unit.outcome_with_token("GET", path, &token).await;
    assert_eq!(found, success(200));
}
