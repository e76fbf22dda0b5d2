//! Reads of lists and of single entities: formats, keys, privileges.

use personium_testkit::{escape, refused, success};
use serde_json::json;

use super::{
    create_all, declare_property, get_json, odata_unit, token_with, typed_unit, unit_with_entities,
};

#[tokio::test]
async fn get_entity_returns_properties_metadata_and_headers() {
    let unit = typed_unit().await;
    let entity = json!({
        "__id": "1", "s": "a/b\u{1}\"é", "b": true, "i": -5, "f": 1.5, "d": 0.25, "t": "/Date(1420589956172)/",
        "l": ["x", null], "c": {"city": "Oslo"}, "undeclared": 7,
    });
    let created = unit.post("c/b/od/T", &entity.to_string()).await.expect(201);
    let response = get_json(&unit, "T('1')").await.expect(200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("dataserviceversion"), Some("2.0"));
    let tag = response.header("etag").unwrap().to_owned();
    assert!(tag.starts_with("W/\"1-"), "{tag}");
    assert_eq!(created.header("etag"), Some(tag.as_str()));
    assert!(response.text().contains(r#""s":"a\/b\u0001\"é""#));
    let found = response.results();
    for (name, value) in entity.as_object().unwrap() {
        if name != "c" {
            assert_eq!(found[name], *value, "{name}");
        }
    }
    assert_eq!(found["c"], json!({"city": "Oslo", "zip": null}));
    let uri = "http://unit.example/c/b/od/T('1')";
    let metadata = json!({"uri": uri, "etag": tag, "type": "UserData.T"});
    assert_eq!(found["__metadata"], metadata);
    assert_eq!(found["__published"], found["__updated"]);
}

#[tokio::test]
async fn get_negotiates_the_format() {
    let unit = unit_with_entities(json!([{"__id": "1"}])).await;
    let (json, atom) = ("application/json", "application/atom+xml");
    for (accept, format, expected) in [
        (None, "", Ok(atom)),
        (Some(""), "", Ok(atom)),
        (Some("*/*"), "", Ok(atom)),
        (Some("application/json"), "", Ok(json)),
        (Some("application/json;q=0.1, text/html"), "", Ok(json)),
        (
            Some("application/json, application/xml;q=0.1"),
            "",
            Ok(atom),
        ),
        (Some("application/atom+xml"), "", Ok(atom)),
        (Some("text/html"), "", Err(refused(406, "OD-0001"))),
        (Some("text/html"), "$format=json", Ok(json)),
        (Some("application/json"), "$format=atom", Ok(atom)),
        (
            Some("application/json"),
            "$format=JSON",
            Err(refused(400, "OD-0005")),
        ),
        (
            Some("application/json"),
            "$format=",
            Err(refused(400, "OD-0005")),
        ),
        (
            Some("application/json"),
            "$format=yaml",
            Err(refused(400, "OD-0005")),
        ),
    ] {
        for (path, charset) in [("A", ";charset=utf-8"), ("A('1')", "")] {
            let mut request = unit.admin_request("GET", &format!("c/b/od/{path}?{format}"));
            if let Some(accept) = accept {
                request = request.header("accept", accept);
            }
            let response = request.send().await;
            match &expected {
                Ok(media_type) => {
                    let content_type = format!("{media_type}{charset}");
                    let found = response.header("content-type");
                    assert_eq!(found, Some(content_type.as_str()), "{accept:?} {format}");
                }
                Err(outcome) => {
                    assert_eq!(response.outcome(), *outcome, "{accept:?} {format}");
                    assert_eq!(response.header("content-type"), Some(json));
                }
            }
        }
    }
}

#[tokio::test]
async fn get_with_the_current_etag_is_not_modified() {
    let unit = unit_with_entities(json!([{"__id": "1"}])).await;
    let response = get_json(&unit, "A('1')").await;
    let tag = response.header("etag").unwrap().to_owned();
    for (value, status) in [
        (tag.as_str(), 304),
        (tag.strip_prefix("W/").unwrap(), 304),
        ("*", 200),
        ("W/\"9-9\"", 200),
        ("", 200),
    ] {
        let request = unit.admin_request("GET", "c/b/od/A('1')");
        let request = request.header("accept", "application/json");
        let response = request.header("if-none-match", value).send().await;
        assert_eq!(response.status, status, "{value}");
        if status == 304 {
            assert_eq!(response.header("etag"), None);
            assert!(response.body.is_empty());
        }
    }
}

#[tokio::test]
async fn entity_keys_are_decoded_and_validated() {
    let unit = odata_unit(|_| {}).await;
    for id in ["1", "it's", "a/b c", "日本", "_x", "%41"] {
        create_all(&unit, "A", json!([{"__id": id}])).await;
        let path = format!("A('{}')", escape(&id.replace('\'', "''")));
        let found = get_json(&unit, &path).await.expect(200).results();
        assert_eq!(found["__id"], id);
        // In the original form a blank is `+`, as recorded.
        let uri = found["__metadata"]["uri"].as_str().unwrap();
        let uri = uri.replace('+', "%20");
        let path = uri.strip_prefix("http://unit.example/c/b/od/").unwrap();
        assert_eq!(get_json(&unit, path).await.status, 200, "{uri}");
    }
    for (path, outcome) in [
        ("A(__id='1')", success(200)),
        ("A('none')", refused(404, "OD-0002")),
        ("A('')", refused(404, "OD-0002")),
        ("A(1)", refused(400, "OD-0004")),
        ("A(true)", refused(400, "OD-0004")),
        ("A(x)", refused(400, "OD-0004")),
        ("A()", refused(400, "OD-0004")),
        ("A('1','2')", refused(400, "OD-0004")),
        ("A(Name='1')", success(200)),
        ("A('it's')", refused(400, "OD-0004")),
        ("A('1", refused(404, "OD-0001")),
        ("None", refused(404, "OD-0001")),
        ("None('1')", refused(404, "OD-0001")),
        ("A('1')/_None", refused(404, "OD-0003")),
        ("A('none')/_B", refused(404, "OD-0002")),
        ("A('1')/x", refused(404, "OD-0003")),
        ("A('1')/$value", refused(404, "MC-0001")),
    ] {
        let found = get_json(&unit, path).await.outcome();
        assert_eq!(found, outcome, "{path}");
    }
}

#[tokio::test]
async fn read_needs_the_read_privilege_on_the_collection() {
    let unit = unit_with_entities(json!([{"__id": "1"}])).await;
    declare_property(&unit, "A", "p", "Edm.String").await;
    let token = token_with(&unit, &[]).await;
    let paths = [
        "A",
        "A('1')",
        "A('1')/_B",
        "A('1')/$links/_B",
        "$metadata/Property",
    ];
    for (privileges, outcome) in [
        (&[][..], refused(403, "AU-0002")),
        (&["D:write"], refused(403, "AU-0002")),
        (&["D:read-properties"], refused(403, "AU-0002")),
        (&["D:read"], success(200)),
        (&["D:all"], success(200)),
    ] {
        unit.grant_to_role("c/b/od", "r", privileges).await;
        for path in paths {
            let path = format!("c/b/od/{path}");
            let found = unit.outcome_with_token("GET", &path, &token).await;
            assert_eq!(found, outcome, "{path} with {privileges:?}");
        }
    }
    for path in paths {
        let anonymous = unit.request("GET", &format!("c/b/od/{path}")).send().await;
        assert_eq!(anonymous.outcome(), refused(401, "AU-0001"), "{path}");
    }
}
