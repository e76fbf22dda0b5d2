//! Responses for clients that follow the OData 2.0 documents: they send a version of the protocol, or the setting says so.

use personium_odata::dialect::Dialect;
use personium_testkit::{Outcome, TestResponse, TestUnit, refused, success};
use serde_json::{Value, json};

use super::{create_all, get_json, odata_unit, token_with, typed_unit, unit_with_entities};

/// Sends a GET for JSON as a client of OData 2.0.
pub(super) async fn get(unit: &TestUnit, path: &str) -> TestResponse {
    let path = format!("c/b/od/{}", path.replace(' ', "%20"));
    get_url(unit, &path).await
}

pub(super) async fn get_url(unit: &TestUnit, path: &str) -> TestResponse {
    let request = unit.admin_request("GET", path);
    let request = request.header("maxdataserviceversion", "2.0");
    request.header("accept", "application/json").send().await
}

#[tokio::test]
async fn url_of_an_entity_has_an_encoded_blank() {
    let unit = unit_with_entities(json!([{"__id": "a b"}])).await;
    let request = unit.admin_request("GET", "c/b/od/A('a%20b')?$format=json");
    let entity = request.header("dataserviceversion", "2.0").send().await;
    assert_eq!(
        entity.expect(200).json()["d"]["__metadata"]["uri"],
        "http://unit.example/c/b/od/A('a%20b')"
    );
}

#[tokio::test]
async fn entity_is_rendered_by_the_version_that_the_client_sends() {
    let unit = unit_with_entities(json!([{"__id": "1", "n": 9_007_199_254_740_993_u64}])).await;
    let plain = |body: &Value| body["d"]["__id"] == "1" && body["d"].get("results").is_none();
    for (name, value, is_plain) in [
        ("dataserviceversion", "2.0", true),
        ("maxdataserviceversion", "2.0", true),
        ("maxdataserviceversion", "3.0", true),
        ("dataserviceversion", "1.0;NetFx", true),
        ("accept", "application/json;odata=verbose", true),
        ("accept", "application/json; charset=utf-8", false),
        ("x-other", "2.0", false),
    ] {
        let request = unit.admin_request("GET", "c/b/od/A('1')?$format=json");
        let body = request.header(name, value).send().await.json();
        assert_eq!(plain(&body), is_plain, "{name}: {value} {body}");
        assert_eq!(
            body["d"]["results"]["__id"] == "1",
            !is_plain,
            "{name}: {value} {body}"
        );
    }
    let post = unit.admin_request("POST", "c/b/od/A");
    let created = post
        .header("dataserviceversion", "2.0")
        .body(r#"{"__id":"2"}"#);
    let created = created.send().await.expect(201).json();
    assert_eq!(created["d"]["__id"], "2", "{created}");
    let original = unit
        .post("c/b/od/A", r#"{"__id":"3"}"#)
        .await
        .expect(201)
        .json();
    assert_eq!(original["d"]["results"]["__id"], "3");
    let control = get_url(&unit, "c/__ctl/Box('b')").await.expect(200).json();
    assert_eq!(control["d"]["Name"], "b", "{control}");
}

#[tokio::test]
async fn setting_chooses_the_form_for_clients_without_a_version() {
    let unit = odata_unit(|s| s.odata.dialect = Dialect::Standard).await;
    create_all(&unit, "A", json!([{"__id": "1"}])).await;
    let found = get_json(&unit, "A('1')").await.json();
    assert_eq!(found["d"]["__id"], "1", "{found}");
}

#[tokio::test]
async fn expanded_and_related_entities_are_lists_or_single() {
    let unit = unit_with_entities(json!([{"__id": "1"}])).await;
    unit.create("c/b/od/A('1')/_B", r#"{"__id":"b"}"#).await;
    unit.create("c/b/od/B", r#"{"__id":"alone"}"#).await;
    let a = get(&unit, "A('1')?$expand=_B").await.json();
    assert_eq!(a["d"]["_B"]["results"][0]["__id"], "b", "{a}");
    let b = get(&unit, "B?$expand=_A&$orderby=__id").await.json();
    assert_eq!(b["d"]["results"][0]["_A"], Value::Null, "{b}");
    assert_eq!(b["d"]["results"][1]["_A"]["__id"], "1", "{b}");
    let one = get(&unit, "B('b')/_A").await.expect(200);
    assert!(one.header("etag").is_some());
    assert_eq!(one.json()["d"]["__id"], "1");
    let link = get(&unit, "B('b')/$links/_A").await.json();
    assert_eq!(
        link,
        json!({"d": {"uri": "http://unit.example/c/b/od/A('1')"}})
    );
    for path in ["B('alone')/_A", "B('alone')/$links/_A"] {
        let found = get(&unit, path).await.outcome();
        assert_eq!(found, refused(404, "OD-0002"), "{path}");
    }
    let many = get(&unit, "A('1')/$links/_B").await.json();
    assert_eq!(
        many["d"]["results"][0]["uri"],
        "http://unit.example/c/b/od/B('b')"
    );
    // The original unit has lists everywhere.
    let a = get_json(&unit, "A('1')?$expand=_B").await.results();
    assert_eq!(a["_B"][0]["__id"], "b");
    let one = get_json(&unit, "B('b')/_A").await.results();
    assert_eq!(one[0]["__id"], "1");
}

#[tokio::test]
async fn metadata_has_identifiers_as_names_of_associations() {
    let unit = odata_unit(|_| {}).await;
    let metadata = async |path: &str, version: &str| {
        let request = unit.admin_request("GET", path);
        request
            .header("maxdataserviceversion", version)
            .send()
            .await
            .expect(200)
            .text()
    };
    let standard = metadata("c/b/od/$metadata", "2.0").await;
    for part in [
        "Name=\"A_B_assoc\"",
        "Role=\"A_one_A_B\"",
        "Relationship=\"UserData.A_B_assoc\"",
    ] {
        assert!(standard.contains(part), "{part} in {standard}");
    }
    let cell = metadata("c/__ctl/$metadata", "2.0").await;
    assert!(
        cell.contains("Name=\"Box_Role_assoc\"") && !cell.contains("-assoc"),
        "{cell}"
    );
    let original = metadata("c/b/od/$metadata", "").await;
    assert!(original.contains("Name=\"A-B-assoc\""), "{original}");
}

#[tokio::test]
async fn counts_are_texts() {
    let unit = odata_unit(|s| s.odata.top_default = 3).await;
    for n in 0..5 {
        create_all(&unit, "A", json!([{"__id": n.to_string(), "n": n}])).await;
        unit.create("c/b/od/A('0')/_B", &json!({"n": n}).to_string())
            .await;
    }
    for (path, count) in [
        ("A/$count", "5"),
        ("A/%24count", "5"),
        ("A/$count?$filter=n gt 2", "2"),
        ("A/$count?q=none", "0"),
        ("A/$count?$top=2", "2"),
        ("A/$count?$skip=4", "1"),
        ("A/$count?$skip=9&$top=1", "0"),
        ("A('0')/_B/$count", "5"),
        ("A('0')/_B/$count?$filter=n lt 2", "2"),
        ("A('0')/$links/_B/$count", "5"),
        ("A('1')/_B/$count", "0"),
        ("$metadata/EntityType/$count", "2"),
    ] {
        for response in [get(&unit, path).await, get_json(&unit, path).await] {
            let response = response.expect(200);
            assert_eq!(response.text(), count, "{path}");
            let content_type = response.header("content-type");
            assert_eq!(content_type, Some("text/plain;charset=utf-8"), "{path}");
        }
    }
    for (path, outcome) in [
        ("None/$count", refused(404, "OD-0001")),
        ("A('none')/_B/$count", refused(404, "OD-0002")),
        ("A('0')/_None/$count", refused(404, "OD-0003")),
        ("A/$count?$filter=x eq 1", refused(400, "OD-0045")),
        ("A('0')/$count", refused(404, "MC-0001")),
    ] {
        assert_eq!(get(&unit, path).await.outcome(), outcome, "{path}");
    }
    let cells = unit.admin_request("GET", "__ctl/Cell/$count").send().await;
    let listed = unit.list_entities("__ctl/Cell").await;
    assert_eq!(cells.text(), listed.len().to_string());
}

#[tokio::test]
async fn properties_have_urls_and_values() {
    let unit = typed_unit().await;
    let entity = json!({
        "__id": "1", "s": "a<b", "b": true, "i": -5, "d": 2, "t": "/Date(0)/", "l": ["x"],
        "c": {"city": "Oslo", "zip": null}, "dynamic": 9_007_199_254_740_993_u64,
    });
    create_all(&unit, "T", json!([entity])).await;
    for (path, value) in [
        ("s", "a<b"),
        ("b", "true"),
        ("i", "-5"),
        ("d", "2"),
        ("dynamic", "9007199254740993"),
        ("__id", "1"),
        ("c/city", "Oslo"),
        ("t", "1970-01-01T00:00:00"),
    ] {
        let response = get_json(&unit, &format!("T('1')/{path}/$value"))
            .await
            .expect(200);
        assert_eq!(response.text(), value, "{path}");
        let content_type = response.header("content-type");
        assert_eq!(content_type, Some("text/plain;charset=utf-8"), "{path}");
        let tag = response.header("etag").unwrap().to_owned();
        for (name, status) in [("if-none-match", 304), ("if-match", 200)] {
            let path = format!("c/b/od/T('1')/{path}/$value");
            let request = unit.admin_request("GET", &path).header(name, &tag);
            assert_eq!(request.send().await.status, status, "{path} {name}");
        }
    }
    for (path, value) in [
        ("s", json!({"s": "a<b"})),
        ("f", json!({"f": null})),
        ("l", json!({"l": ["x"]})),
        ("c", json!({"c": {"city": "Oslo", "zip": null}})),
        ("c/city", json!({"city": "Oslo"})),
    ] {
        let response = get_json(&unit, &format!("T('1')/{path}")).await.expect(200);
        assert_eq!(response.json()["d"], value, "{path}");
    }
    let xml = unit
        .admin_request("GET", "c/b/od/T('1')/d")
        .send()
        .await
        .expect(200);
    assert!(
        xml.text().contains("m:type=\"Edm.Double\">2.0</d:d>"),
        "{}",
        xml.text()
    );
    for (path, outcome) in [
        ("T('1')/f/$value", refused(404, "OD-0002")),
        ("T('1')/c/zip/$value", refused(404, "OD-0002")),
        ("T('1')/c/$value", refused(404, "MC-0001")),
        ("T('1')/l/$value", refused(404, "MC-0001")),
        ("T('1')/none", refused(404, "OD-0003")),
        ("T('1')/none/$value", refused(404, "MC-0001")),
        ("T('1')/c/none", refused(404, "MC-0001")),
        ("T('none')/s", refused(404, "OD-0002")),
        ("T('none')/s/$value", refused(404, "OD-0002")),
    ] {
        assert_eq!(get_json(&unit, path).await.outcome(), outcome, "{path}");
    }
    for method in ["PUT", "DELETE", "POST"] {
        for path in [
            "c/b/od/T('1')/s",
            "c/b/od/T('1')/s/$value",
            "c/b/od/T/$count",
        ] {
            let found: Outcome = unit.admin_outcome(method, path).await;
            assert_eq!(found, refused(405, "MC-0001"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn counts_and_properties_need_the_read_privilege() {
    let unit = unit_with_entities(json!([{"__id": "1", "p": "x"}])).await;
    let token = token_with(&unit, &[]).await;
    let paths = [
        "A/$count",
        "A('1')/_B/$count",
        "A('1')/$links/_B/$count",
        "A('1')/p",
        "A('1')/p/$value",
    ];
    for (privileges, outcome) in [
        (&[][..], refused(403, "AU-0002")),
        (&["D:write"], refused(403, "AU-0002")),
        (&["D:read"], success(200)),
    ] {
        unit.grant_to_role("c/b/od", "r", privileges).await;
        for path in paths {
            let path = format!("c/b/od/{path}");
            let found = unit.outcome_with_token("GET", &path, &token).await;
            assert_eq!(found, outcome, "{path} {privileges:?}");
        }
    }
    for path in paths {
        let anonymous = unit.request("GET", &format!("c/b/od/{path}")).send().await;
        assert_eq!(anonymous.outcome(), refused(401, "AU-0001"), "{path}");
    }
}

#[tokio::test]
async fn patch_merges_as_merge_does() {
    let unit = unit_with_entities(json!([{"__id": "1", "a": 1, "b": 2}])).await;
    let token = token_with(&unit, &["D:read"]).await;
    assert_eq!(
        unit.outcome_with_token("PATCH", "c/b/od/A('1')", &token)
            .await,
        refused(403, "AU-0002")
    );
    let patch = unit
        .admin_request("PATCH", "c/b/od/A('1')")
        .body(r#"{"b":3}"#);
    let response = patch.send().await.expect(204);
    assert!(response.header("etag").is_some());
    let found = get_json(&unit, "A('1')").await.results();
    assert_eq!((&found["a"], &found["b"]), (&json!(1), &json!(3)));
    for (path, outcome) in [
        ("c/b/od/A", refused(405, "MC-0001")),
        ("c/b/od/A('none')", refused(404, "OD-0002")),
        ("c/__ctl/Rule('r')", refused(405, "MC-0001")),
        ("c/__ctl/SentMessage('r')", refused(405, "MC-0001")),
    ] {
        let request = unit.admin_request("PATCH", path).body("{}");
        assert_eq!(request.send().await.outcome(), outcome, "{path}");
    }
    let stale = unit
        .admin_request("PATCH", "c/b/od/A('1')")
        .body(r#"{"b":4}"#);
    let stale = stale.header("if-match", "W/\"1-1\"").send().await;
    assert_eq!(stale.outcome(), refused(412, "OD-0002"));
}
