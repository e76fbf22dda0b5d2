//! `$links` and navigation properties: adding, listing, removing, conflicts, privileges.

use personium_testkit::{Outcome, TestUnit, refused, success};
use serde_json::{Value, json};

use super::{create_all, get_json, ids, odata_unit, relate, token_with, unit_with_entities};

/// The URIs of a `$links` list.
async fn linked(unit: &TestUnit, path: &str) -> Vec<String> {
    let response = unit.admin_request("GET", path).send().await.expect(200);
    assert_eq!(response.header("dataserviceversion"), Some("2.0"));
    let uri = |link: &Value| link["uri"].as_str().unwrap().to_owned();
    response
        .results()
        .as_array()
        .unwrap()
        .iter()
        .map(uri)
        .collect()
}

/// Adds a link with the master token.
async fn add_link(unit: &TestUnit, path: &str, uri: &str) -> Outcome {
    let body = json!({"uri": uri}).to_string();
    unit.post(path, &body).await.outcome()
}

/// A unit with an account `a` and the roles `r` and `s` in the cell `c`.
async fn unit_with_account_and_roles() -> TestUnit {
    let unit = TestUnit::new().await;
    unit.create_account("c", r#"{"Name":"a"}"#).await;
    for role in ["r", "s"] {
        unit.create_role("c", role).await;
    }
    unit
}

#[tokio::test]
async fn many_to_many_link_is_added_listed_and_removed() {
    let unit = unit_with_account_and_roles().await;
    let links = "c/__ctl/Account('a')/$links/_Role";
    let role =
        |name: &str| format!("http://unit.example/c/__ctl/Role(Name='{name}',_Box.Name=null)");
    assert_eq!(linked(&unit, links).await, Vec::<String>::new());
    assert_eq!(add_link(&unit, links, &role("r")).await, success(204));
    assert_eq!(add_link(&unit, links, "Role('s')").await, success(204));
    assert_eq!(
        add_link(&unit, links, &role("r")).await,
        refused(409, "OD-0002")
    );
    assert_eq!(linked(&unit, links).await, [role("r"), role("s")]);
    // The link is seen from the other side as well.
    let back = linked(&unit, "c/__ctl/Role('r')/$links/_Account").await;
    assert_eq!(back, ["http://unit.example/c/__ctl/Account('a')"]);
    let page = linked(&unit, &format!("{links}?$top=1&$skip=1")).await;
    assert_eq!(page, [role("s")]);
    let remove = format!("{links}('r')");
    assert_eq!(unit.admin_outcome("DELETE", &remove).await, success(204));
    assert_eq!(
        unit.admin_outcome("DELETE", &remove).await,
        refused(404, "OD-0000")
    );
    assert_eq!(linked(&unit, links).await, [role("s")]);
}

#[tokio::test]
async fn invalid_link_requests_are_refused() {
    let unit = unit_with_account_and_roles().await;
    let links = "c/__ctl/Account('a')/$links/_Role";
    for (body, outcome) in [
        ("", refused(400, "OD-0001")),
        ("[]", refused(400, "OD-0001")),
        (r#"{"url":"Role('r')"}"#, refused(400, "OD-0001")),
        (r#"{"uri":null}"#, refused(400, "OD-0006")),
        (r#"{"uri":""}"#, refused(400, "OD-0006")),
        (r#"{"uri":"Role"}"#, refused(400, "OD-0006")),
        (r#"{"uri":"Role('r'"}"#, refused(400, "OD-0006")),
        (r#"{"uri":"Role('none')"}"#, refused(400, "OD-0006")),
        (r#"{"uri":"Relation('r')"}"#, refused(400, "OD-0006")),
        (r#"{"uri":"None('r')"}"#, refused(400, "OD-0006")),
        (
            r#"{"uri":"http://else.example/c/__ctl/Role('r')"}"#,
            refused(400, "OD-0006"),
        ),
        (
            r#"{"uri":"http://unit.example/d/__ctl/Role('r')"}"#,
            refused(400, "OD-0006"),
        ),
        (
            r#"{"uri":"../../d/__ctl/Role('r')"}"#,
            refused(400, "OD-0006"),
        ),
    ] {
        assert_eq!(unit.post(links, body).await.outcome(), outcome, "{body}");
    }
    let uri = r#"{"uri":"Role('r')"}"#;
    for (method, path, outcome) in [
        (
            "POST",
            "Account('none')/$links/_Role",
            refused(404, "OD-0000"),
        ),
        (
            "GET",
            "Account('none')/$links/_Role",
            refused(404, "OD-0002"),
        ),
        (
            "DELETE",
            "Account('none')/$links/_Role('r')",
            refused(404, "OD-0000"),
        ),
        (
            "DELETE",
            "Account('a')/$links/_Role('none')",
            refused(404, "OD-0000"),
        ),
        (
            "DELETE",
            "Account('a')/$links/_Role('r')",
            refused(404, "OD-0000"),
        ),
        ("GET", "Account('a')/$links/_None", refused(400, "OD-0008")),
        ("GET", "Account('a')/$links/_Box", refused(400, "OD-0008")),
        (
            "POST",
            "Account('a')/$links/_Role('r')",
            refused(400, "OD-0010"),
        ),
        ("PUT", "Account('a')/$links/_Role", refused(400, "OD-0011")),
        (
            "DELETE",
            "Account('a')/$links/_Role",
            refused(400, "OD-0011"),
        ),
        (
            "PUT",
            "Account('a')/$links/_Role('r')",
            refused(501, "MC-0001"),
        ),
        (
            "MERGE",
            "Account('a')/$links/_Role",
            refused(405, "MC-0001"),
        ),
        (
            "DELETE",
            "Account('a')/$links/_Role(1)",
            refused(400, "OD-0028"),
        ),
        ("GET", "Account('a')/_None", refused(404, "OD-0003")),
        ("POST", "Account('a')/_None", refused(404, "OD-0003")),
        ("GET", "Account('none')/_Role", refused(404, "OD-0002")),
        ("POST", "Account('none')/_Role", refused(404, "OD-0000")),
        ("GET", "Account('a')/_Role('r')", refused(400, "OD-0010")),
    ] {
        let body = if path.contains("$links") {
            uri
        } else {
            r#"{"Name":"new"}"#
        };
        let request = unit.admin_request(method, &format!("c/__ctl/{path}"));
        let found = request.body(body).send().await.outcome();
        assert_eq!(found, outcome, "{method} {path}");
    }
    let both = unit.admin_request("GET", "c/__ctl/Account('a')/$links/_Role('r')");
    assert_eq!(both.send().await.status, 400);
    assert_eq!(linked(&unit, links).await, Vec::<String>::new());
    assert_eq!(unit.list_entities("c/__ctl/Role").await.len(), 2);
}

#[tokio::test]
async fn link_to_a_box_changes_the_key_of_a_role() {
    let unit = unit_with_account_and_roles().await;
    unit.create("c/__ctl/Role", r#"{"Name":"s","_Box.Name":"b"}"#)
        .await;
    let links = "c/__ctl/Role('r')/$links/_Box";
    assert_eq!(add_link(&unit, links, "Box('b')").await, success(204));
    let in_box = "c/__ctl/Role(Name='r',_Box.Name='b')";
    assert_eq!(unit.admin_outcome("GET", in_box).await, success(200));
    assert_eq!(unit.admin_outcome("GET", "c/__ctl/Role('r')").await.0, 404);
    let again = add_link(&unit, &format!("{in_box}/$links/_Box"), "Box('app')").await;
    assert_eq!(again, refused(409, "OD-0002"));
    let taken = add_link(&unit, "c/__ctl/Role('s')/$links/_Box", "Box('b')").await;
    assert_eq!(taken, refused(409, "OD-0005"));
    let unlink = "c/__ctl/Role(Name='s',_Box.Name='b')/$links/_Box('b')";
    assert_eq!(
        unit.admin_outcome("DELETE", unlink).await,
        refused(409, "OD-0004")
    );
    let unlink = format!("{in_box}/$links/_Box('b')");
    assert_eq!(unit.admin_outcome("DELETE", &unlink).await, success(204));
    assert_eq!(
        unit.admin_outcome("GET", "c/__ctl/Role('r')").await,
        success(200)
    );
}

#[tokio::test]
async fn pairs_with_a_required_parent_cannot_be_linked() {
    let unit = TestUnit::new().await;
    unit.create("c/__ctl/Relation", r#"{"Name":"rel"}"#).await;
    let ext_role = r#"{"ExtRole":"urn:x","_Relation.Name":"rel"}"#;
    unit.create("c/__ctl/ExtRole", ext_role).await;
    let links = "c/__ctl/Relation('rel')/$links/_ExtRole";
    let target = "ExtRole(ExtRole='urn:x',_Relation.Name='rel')";
    assert_eq!(
        add_link(&unit, links, target).await,
        refused(400, "OD-0008")
    );
    assert_eq!(linked(&unit, links).await.len(), 1);
    let delete = unit
        .admin_outcome("DELETE", "c/__ctl/Relation('rel')")
        .await;
    assert_eq!(delete, refused(409, "OD-0001"));
}

#[tokio::test]
async fn entity_on_the_many_side_has_one_link() {
    let unit = unit_with_entities(json!([{"__id": "1"}, {"__id": "2"}])).await;
    create_all(&unit, "B", json!([{"__id": "b"}, {"__id": "c"}])).await;
    let before = get_json(&unit, "B('b')").await;
    let links = |id: &str| format!("c/b/od/A('{id}')/$links/_B");
    assert_eq!(add_link(&unit, &links("1"), "B('b')").await, success(204));
    assert_eq!(add_link(&unit, &links("1"), "B('c')").await, success(204));
    assert_eq!(
        add_link(&unit, &links("2"), "B('b')").await,
        refused(409, "OD-0002")
    );
    let back = add_link(&unit, "c/b/od/B('b')/$links/_A", "A('2')").await;
    assert_eq!(back, refused(409, "OD-0002"));
    assert_eq!(linked(&unit, "c/b/od/B('b')/$links/_A").await.len(), 1);
    let uris = ["b", "c"].map(|id| format!("http://unit.example/c/b/od/B('{id}')"));
    assert_eq!(linked(&unit, &links("1")).await, uris);
    // A link changes the version of the entity that stores it, but not the time of its change.
    let after = get_json(&unit, "B('b')").await;
    assert_ne!(after.header("etag"), before.header("etag"));
    assert_eq!(after.results()["__updated"], before.results()["__updated"]);
    let remove = format!("{}('b')", links("1"));
    assert_eq!(unit.admin_outcome("DELETE", &remove).await, success(204));
    assert_eq!(add_link(&unit, &links("2"), "B('b')").await, success(204));
}

#[tokio::test]
async fn one_to_one_link_is_exclusive_on_both_sides() {
    let unit = odata_unit(|_| {}).await;
    unit.create_entity_type("c/b/od", "C").await;
    relate(&unit, ("A", "0..1"), ("C", "0..1")).await;
    create_all(&unit, "A", json!([{"__id": "1"}, {"__id": "2"}])).await;
    create_all(&unit, "C", json!([{"__id": "x"}, {"__id": "y"}])).await;
    let links = |id: &str| format!("c/b/od/A('{id}')/$links/_C");
    assert_eq!(add_link(&unit, &links("1"), "C('x')").await, success(204));
    for (source, target) in [("1", "y"), ("2", "x"), ("1", "x")] {
        let found = add_link(&unit, &links(source), &format!("C('{target}')")).await;
        assert_eq!(found, refused(409, "OD-0002"), "{source} {target}");
    }
    let create = unit.post("c/b/od/A('1')/_C", r#"{"__id":"z"}"#).await;
    assert_eq!(create.outcome(), refused(409, "OD-0002"));
    assert_eq!(get_json(&unit, "C('z')").await.status, 404);
    // The deletion of one side removes the link.
    assert_eq!(
        unit.admin_outcome("DELETE", "c/b/od/A('1')").await,
        success(204)
    );
    assert_eq!(add_link(&unit, &links("2"), "C('x')").await, success(204));
}

#[tokio::test]
async fn entity_created_through_navigation_is_linked() {
    let unit = unit_with_entities(json!([{"__id": "1"}, {"__id": "2"}])).await;
    let created = unit
        .post("c/b/od/A('1')/_B", r#"{"__id":"a b","n":1}"#)
        .await;
    let created = created.expect(201);
    let location = "http://unit.example/c/b/od/B('a%20b')";
    assert_eq!(created.header("location"), Some(location));
    assert_eq!(created.results()["n"], 1);
    let exists = unit.post("c/b/od/A('2')/_B", r#"{"__id":"a b"}"#).await;
    assert_eq!(exists.outcome(), refused(409, "OD-0002"));
    for (source, expected) in [("1", &["a b"][..]), ("2", &[])] {
        let list = ids(&unit, &format!("A('{source}')/_B")).await;
        assert_eq!(list, expected, "{source}");
    }
    assert_eq!(ids(&unit, "B('a b')/_A").await, ["1"]);
    for (body, outcome) in [
        ("{", refused(400, "OD-0001")),
        (r#"{"__metadata":{}}"#, refused(400, "OD-0007")),
        (r#"{"n":"x"}"#, refused(400, "OD-0006")),
    ] {
        let response = unit.post("c/b/od/A('1')/_B", body).await;
        assert_eq!(response.outcome(), outcome, "{body}");
    }
}

#[tokio::test]
async fn navigation_lists_with_query_options_in_json() {
    let unit = unit_with_entities(json!([{"__id": "1"}])).await;
    for number in 0..5 {
        let body = json!({"__id": number.to_string(), "n": number}).to_string();
        unit.create("c/b/od/A('1')/_B", &body).await;
    }
    for (query, expected) in [
        ("$filter=n gt 2&$orderby=n desc", &["4", "3"][..]),
        ("$orderby=n&$top=2&$skip=1", &["1", "2"]),
        ("$orderby=n&$top=0", &[]),
    ] {
        let found = ids(&unit, &format!("A('1')/_B?{query}")).await;
        assert_eq!(found, expected, "{query}");
    }
    let response = get_json(&unit, "A('1')/_B?$inlinecount=allpages&$top=1").await;
    assert_eq!(response.json()["d"]["__count"], "5");
    let any = unit.admin_request("GET", "c/b/od/A('1')/_B?$format=atom");
    let any = any.send().await.expect(200);
    assert_eq!(
        any.header("content-type"),
        Some("application/json;charset=utf-8")
    );
    let refused_type = unit.admin_request("GET", "c/b/od/A('1')/_B");
    let refused_type = refused_type.header("accept", "text/html").send().await;
    assert_eq!(refused_type.outcome(), refused(406, "CM-0001"));
    let invalid = get_json(&unit, "A('1')/_B?$filter=none eq 1").await;
    assert_eq!(invalid.outcome(), refused(400, "OD-0045"));
}

#[tokio::test]
async fn association_ends_are_linked_once() {
    let unit = odata_unit(|_| {}).await;
    let end = async |name: &str, of: &str, multiplicity: &str| {
        let body = json!({"Name": name, "_EntityType.Name": of, "Multiplicity": multiplicity});
        let path = "c/b/od/$metadata/AssociationEnd";
        unit.create(path, &body.to_string()).await;
        format!("AssociationEnd(Name='{name}',_EntityType.Name='{of}')")
    };
    let link = async |from: &str, to: &str| {
        let path = format!("c/b/od/$metadata/{from}/$links/_AssociationEnd");
        add_link(&unit, &path, to).await
    };
    let (a, b) = (end("a2", "A", "*").await, end("b2", "B", "*").await);
    assert_eq!(
        link(&a, &b).await,
        refused(409, "OD-0006"),
        "A and B are related"
    );
    let (one, other) = (end("s1", "A", "1").await, end("s2", "A", "1").await);
    assert_eq!(link(&one, &other).await, refused(400, "OD-0031"));
    let (one, other) = (end("s3", "A", "0..1").await, end("s4", "A", "*").await);
    assert_eq!(
        link(&one, &other).await,
        success(204),
        "a type may be related to itself"
    );
    assert_eq!(link(&one, &other).await, refused(409, "OD-0002"));
    let types = "c/b/od/$metadata/EntityType('A')/$links/_Property";
    let property = "Property(Name='p',_EntityType.Name='A')";
    assert_eq!(
        add_link(&unit, types, property).await,
        refused(400, "OD-0008")
    );
}

#[tokio::test]
async fn links_need_write_and_read_privileges_on_the_collection() {
    let unit = unit_with_entities(json!([{"__id": "1"}])).await;
    create_all(&unit, "B", json!([{"__id": "b"}])).await;
    let token = token_with(&unit, &["D:read"]).await;
    let links = "c/b/od/A('1')/$links/_B";
    let uri = r#"{"uri":"B('b')"}"#;
    let lacking = refused(403, "AU-0002");
    assert_eq!(unit.post_as(&token, links, uri).await.outcome(), lacking);
    assert_eq!(
        unit.outcome_with_token("GET", links, &token).await,
        success(200)
    );
    unit.grant_to_role("c/b/od", "r", &["D:write"]).await;
    assert_eq!(
        unit.post_as(&token, links, uri).await.outcome(),
        success(204)
    );
    assert_eq!(unit.outcome_with_token("GET", links, &token).await, lacking);
    for method in ["GET", "POST"] {
        let anonymous = unit.request(method, links).body(uri).send().await;
        assert_eq!(anonymous.outcome(), refused(401, "AU-0001"), "{method}");
    }
}
