//! Atom feeds and entries, service documents and EDMX.

use personium_testkit::{TestResponse, TestUnit, refused, success};
use serde_json::json;

use super::{create_all, odata_unit, token_with, typed_unit, unit_with_entities};

async fn get_atom(unit: &TestUnit, path: &str) -> TestResponse {
    let path = format!("c/b/od/{}", path.replace(' ', "%20"));
    unit.admin_request("GET", &path).send().await.expect(200)
}

/// Checks that a text contains all of these parts.
fn expect_parts(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn atom_entry_has_typed_properties_and_links() {
    let unit = typed_unit().await;
    let entity = json!({
        "__id": "1", "s": "x", "b": true, "i": 1, "f": 1.5, "d": 2.5, "t": "/Date(0)/", "l": ["p", "q"],
        "c": {"city": "Oslo", "zip": 1},
    });
    create_all(&unit, "T", json!([entity])).await;
    let response = get_atom(&unit, "T('1')").await;
    let content_type = response.header("content-type");
    assert_eq!(content_type, Some("application/atom+xml"));
    assert_eq!(response.header("dataserviceversion"), Some("2.0"));
    assert!(response.header("etag").unwrap().starts_with("W/\"1-"));
    let text = response.text();
    expect_parts(
        &text,
        &[
            "<id>http://unit.example/c/b/od/T('1')</id>",
            "term=\"UserData.T\"",
            "<d:__id>1</d:__id>",
            "<d:s>x</d:s>",
            "<d:b m:type=\"Edm.Boolean\">true</d:b>",
            "<d:i m:type=\"Edm.Int32\">1</d:i>",
            "<d:f m:type=\"Edm.Single\">1.5</d:f>",
            "<d:d m:type=\"Edm.Double\">2.5</d:d>",
            "<d:t m:type=\"Edm.DateTime\">1970-01-01T00:00:00",
            "m:type=\"Bag(Edm.String)\"",
            "<d:element>p</d:element>",
            "<d:city>Oslo</d:city>",
            "rel=\"edit\"",
        ],
    );
    let linked = unit_with_entities(json!([{"__id": "1", "n": null}])).await;
    let text = get_atom(&linked, "A('1')").await.text();
    expect_parts(
        &text,
        &[
            "dataservices/related/_B\"",
            "type=\"application/atom+xml;type=feed\"",
            "href=\"A('1')/_B\"",
            "m:null=\"true\"",
        ],
    );
}

#[tokio::test]
async fn atom_feed_has_entries_and_a_count() {
    let unit = unit_with_entities(json!([{"__id": "1"}, {"__id": "2"}, {"__id": "3"}])).await;
    let response = get_atom(&unit, "A?$top=2&$inlinecount=allpages&$orderby=__id").await;
    let content_type = response.header("content-type");
    assert_eq!(content_type, Some("application/atom+xml;charset=utf-8"));
    assert_eq!(response.header("etag"), None);
    let text = response.text();
    assert_eq!(text.matches("<entry").count(), 2, "{text}");
    expect_parts(
        &text,
        &[
            "xml:base=\"http://unit.example/c/b/od/\"",
            "<m:count>3</m:count>",
            "<id>http://unit.example/c/b/od/A('1')</id>",
            "<id>http://unit.example/c/b/od/A('2')</id>",
        ],
    );
    let empty = get_atom(&unit, "A?$top=0").await.text();
    assert!(
        empty.contains("<feed") && !empty.contains("<entry"),
        "{empty}"
    );
}

#[tokio::test]
async fn atom_escapes_hostile_text() {
    let unit = odata_unit(|_| {}).await;
    let hostile = "<script>alert('&amp;')</script>]]>\u{1}\u{fffe}\r\n\"";
    create_all(&unit, "A", json!([{"__id": "<&'\">", "p": hostile}])).await;
    for path in ["A", "A('%3C%26''%22%3E')"] {
        let text = get_atom(&unit, path).await.text();
        assert!(!text.contains("<script"), "{text}");
        assert!(!text.contains("]]>"), "{text}");
        assert!(
            !text.contains('\u{1}') && !text.contains('\u{fffe}'),
            "{text}"
        );
        expect_parts(&text, &["&lt;script&gt;alert(", "&amp;amp;"]);
        assert!(!text.contains("id><&"), "{text}");
    }
}

#[tokio::test]
async fn atom_expands_entities_inline() {
    let unit = unit_with_entities(json!([{"__id": "1"}])).await;
    unit.create("c/b/od/A('1')/_B", r#"{"__id":"b","n":1}"#)
        .await;
    for path in ["A?$expand=_B", "A('1')?$expand=_B"] {
        let text = get_atom(&unit, path).await.text();
        expect_parts(
            &text,
            &["<m:inline>", "<id>http://unit.example/c/b/od/B('b')</id>"],
        );
    }
}

#[tokio::test]
async fn service_documents_list_the_sets() {
    let unit = odata_unit(|_| {}).await;
    for (path, base, sets) in [
        ("__ctl", "http://unit.example/__ctl/", &["Cell"][..]),
        (
            "c/__ctl",
            "http://unit.example/c/__ctl/",
            &[
                "Account",
                "Box",
                "ExtCell",
                "ExtRole",
                "ReceivedMessage",
                "Relation",
                "Role",
                "Rule",
                "SentMessage",
            ],
        ),
        ("c/b/od", "http://unit.example/c/b/od/", &["A", "B"]),
        (
            "c/b/od/$metadata?$format=atomsvc",
            "http://unit.example/c/b/od/$metadata/",
            &[
                "AssociationEnd",
                "ComplexType",
                "ComplexTypeProperty",
                "EntityType",
                "Property",
            ],
        ),
    ] {
        let response = unit.admin_request("GET", path).send().await.expect(200);
        assert_eq!(response.header("dataserviceversion"), Some("1.0"), "{path}");
        let content_type = response.header("content-type");
        assert_eq!(
            content_type,
            Some("application/xml;charset=utf-8"),
            "{path}"
        );
        let text = response.text();
        assert!(text.contains(&format!("xml:base=\"{base}\"")), "{text}");
        assert_eq!(text.matches("<collection ").count(), sets.len(), "{text}");
        for set in sets {
            assert!(text.contains(&format!("href=\"{set}\"")), "{set} in {text}");
        }
    }
    let json = unit
        .admin_request("GET", "c/b/od?$format=json")
        .send()
        .await;
    let json = json.expect(200).text();
    assert!(json.contains(r#"{"EntitySets":["A","B"]}"#), "{json}");
}

#[tokio::test]
async fn metadata_describes_types_properties_and_relations() {
    let unit = typed_unit().await;
    unit.create("c/b/od/T", r#"{"undeclared":1}"#).await;
    let response = get_atom(&unit, "$metadata").await;
    assert_eq!(response.header("dataserviceversion"), Some("1.0"));
    expect_parts(
        &response.text(),
        &[
            "Namespace=\"UserData\"",
            "<ComplexType Name=\"Place\"",
            "Type=\"UserData.Place\"",
            "<EntityType Name=\"T\" OpenType=\"true\"",
            "Name=\"i\" Type=\"Edm.Int32\" Nullable=\"true\"",
            "CollectionKind=\"List\"",
            "p:IsDeclared=\"false\"",
            "<NavigationProperty Name=\"_B\"",
            "Role=\"A:one-A-B\" Type=\"UserData.A\" Multiplicity=\"0..1\"",
            "Role=\"B:other-A-B\" Type=\"UserData.B\" Multiplicity=\"*\"",
            "<EntitySet Name=\"T\" EntityType=\"UserData.T\"",
        ],
    );
    for (path, namespace) in [
        ("__ctl/$metadata", "UnitCtl"),
        ("c/__ctl/$metadata", "CellCtl"),
        ("c/b/od/$metadata/$metadata", "ODataSvcSchema"),
    ] {
        let response = unit.admin_request("GET", path).send().await.expect(200);
        let namespace = format!("Namespace=\"{namespace}\"");
        assert!(response.text().contains(&namespace), "{path}");
    }
}

#[tokio::test]
async fn documents_of_a_collection_need_the_read_privilege() {
    let unit = odata_unit(|_| {}).await;
    let token = token_with(&unit, &[]).await;
    let paths = [
        "c/b/od",
        "c/b/od/$metadata",
        "c/b/od/$metadata?$format=atomsvc",
        "c/b/od/$metadata/$metadata",
        "c/b/od/A",
    ];
    for (privileges, outcome) in [
        (&[][..], refused(403, "AU-0002")),
        (&["D:write"], refused(403, "AU-0002")),
        (&["D:read"], success(200)),
    ] {
        unit.grant_to_role("c/b/od", "r", privileges).await;
        for path in paths {
            let found = unit.outcome_with_token("GET", path, &token).await;
            assert_eq!(found, outcome, "{path} {privileges:?}");
        }
    }
    for path in paths {
        let anonymous = unit.request("GET", path).send().await;
        assert_eq!(anonymous.outcome(), refused(401, "AU-0001"), "{path}");
    }
    // The EDMX of control objects is public.
    for path in ["__ctl/$metadata", "c/__ctl/$metadata"] {
        assert_eq!(unit.request("GET", path).send().await.status, 200, "{path}");
    }
}
