//! Keys in URLs, and URLs of entities in responses.

use personium_testkit::{TestUnit, refused, success};
use serde_json::{Value, json};

use super::{get_json, odata_unit, unit_with_entities};

/// Checks that a URL of a response leads to the entity with this id.
async fn expect_leads_to(unit: &TestUnit, url: &str, id: &str) {
    let path = url.strip_prefix("http://unit.example/").unwrap();
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{url}");
    let request = unit.admin_request("GET", path);
    let found = request.header("accept", "application/json").send().await;
    assert_eq!(found.expect(200).results()["__id"], id, "{url}");
}

/// The URL of an entity in the original form, in which a blank is `+` as recorded.
fn uri(entity: &Value) -> String {
    let uri = entity["__metadata"]["uri"].as_str().unwrap();
    uri.replace('+', "%20")
}

#[tokio::test]
async fn urls_of_entities_lead_back_to_them() {
    let unit = unit_with_entities(json!([{"__id": "source"}])).await;
    for id in [
        "a b",
        "a+b",
        "a%20b",
        "a%2Bb",
        "it's",
        "''",
        "a/b",
        "a?b#c",
        "a&b=c;d,e",
        "(x)",
        "日本 語",
        "🙂",
        "a\u{1}\tb",
        "<\">",
        "[a]{b}|^`\\",
        " ",
        "..",
        "%",
    ] {
        let body = json!({"__id": id}).to_string();
        let created = unit.post("c/b/od/A", &body).await.expect(201);
        expect_leads_to(&unit, created.header("location").unwrap(), id).await;
        expect_leads_to(&unit, &uri(&created.results()), id).await;
        let linked = unit.post("c/b/od/A('source')/_B", &body).await.expect(201);
        expect_leads_to(&unit, linked.header("location").unwrap(), id).await;
        expect_leads_to(&unit, &uri(&linked.results()), id).await;
        let links = get_json(&unit, "A('source')/$links/_B").await.results();
        let link = links[0]["uri"].as_str().unwrap().to_owned();
        expect_leads_to(&unit, &link, id).await;
        // A link can be made from the URL that another response has.
        let path = link.strip_prefix("http://unit.example/").unwrap();
        let of_source = format!(
            "c/b/od/A('source')/$links/_B({}",
            path.split_once('(').unwrap().1
        );
        assert_eq!(
            unit.admin_outcome("DELETE", &of_source).await,
            success(204),
            "{id}"
        );
        let again = unit
            .post(
                "c/b/od/A('source')/$links/_B",
                &json!({"uri": link}).to_string(),
            )
            .await;
        assert_eq!(again.status, 204, "{id}");
        assert_eq!(
            unit.admin_outcome("DELETE", path).await,
            success(204),
            "{id}"
        );
        let listed = get_json(&unit, "A?$top=100").await.results();
        let listed = listed.as_array().unwrap().iter().find(|e| e["__id"] == id);
        expect_leads_to(&unit, &uri(listed.unwrap()), id).await;
        let deferred = listed.unwrap()["_B"]["__deferred"]["uri"]
            .as_str()
            .unwrap()
            .replace('+', "%20");
        let path = deferred.strip_prefix("http://unit.example/").unwrap();
        let found = unit.admin_request("GET", path).send().await;
        assert_eq!(found.status, 200, "{deferred}");
    }
}

#[tokio::test]
async fn plus_sign_in_a_path_is_no_blank() {
    let unit = unit_with_entities(json!([{"__id": "a+b"}, {"__id": "a b"}])).await;
    for (path, id) in [
        ("A('a+b')", "a+b"),
        ("A('a%2Bb')", "a+b"),
        ("A('a%20b')", "a b"),
    ] {
        let found = get_json(&unit, path).await.expect(200).results();
        assert_eq!(found["__id"], id, "{path}");
    }
    let relation = r#"{"Name":"+:me"}"#;
    let created = unit.post("c/__ctl/Relation", relation).await.expect(201);
    let location = created.header("location").unwrap();
    let path = location.strip_prefix("http://unit.example/").unwrap();
    for path in [
        path,
        "c/__ctl/Relation('+:me')",
        "c/__ctl/Relation('%2B%3Ame')",
    ] {
        assert_eq!(
            unit.admin_outcome("GET", path).await,
            success(200),
            "{path}"
        );
    }
}

/// A unit whose cell has a box, roles, a relation, an external cell and an external role.
async fn control_unit() -> TestUnit {
    let unit = odata_unit(|_| {}).await;
    for (set, body) in [
        ("Role", json!({"Name": "r"})),
        ("Role", json!({"Name": "r", "_Box.Name": "b"})),
        ("Relation", json!({"Name": "rel"})),
        ("ExtCell", json!({"Url": "https://bob.example/c/"})),
        (
            "ExtRole",
            json!({"ExtRole": "https://bob.example/r", "_Relation.Name": "rel"}),
        ),
        ("Account", json!({"Name": "it$me"})),
    ] {
        unit.create(&format!("c/__ctl/{set}"), &body.to_string())
            .await;
    }
    unit
}

#[tokio::test]
async fn single_key_is_accepted_under_any_name() {
    let unit = control_unit().await;
    let cell = "https%3A%2F%2Fbob.example%2Fc%2F";
    for (path, outcome) in [
        (format!("ExtCell('{cell}')"), success(200)),
        (format!("ExtCell(Url='{cell}')"), success(200)),
        (format!("ExtCell(Name='{cell}')"), success(200)),
        (format!("ExtCell(_Box.Name='{cell}')"), success(200)),
        (format!("ExtCell(%20Name%20=%20'{cell}'%20)"), success(200)),
        (format!("ExtCell%28Name%3D%27{cell}%27%29"), success(200)),
        ("Account(Id='it%24me')".to_owned(), success(200)),
        ("Account(%27it$me%27)".to_owned(), success(200)),
        ("Box(X='b')".to_owned(), success(200)),
        ("Box(X='none')".to_owned(), refused(404, "OD-0002")),
        ("Account(Id=null)".to_owned(), refused(400, "OD-0004")),
        ("Account(Id=1)".to_owned(), refused(400, "OD-0004")),
        ("Account(5L)".to_owned(), refused(400, "OD-0004")),
        ("Account(1.5d)".to_owned(), refused(400, "OD-0004")),
        ("Account(2.0F)".to_owned(), refused(400, "OD-0004")),
        ("Account(1.0m)".to_owned(), refused(400, "OD-0004")),
        (
            "Account(Name='a',Id='b')".to_owned(),
            refused(400, "OD-0004"),
        ),
    ] {
        let path = format!("c/__ctl/{path}");
        assert_eq!(unit.admin_outcome("GET", &path).await, outcome, "{path}");
    }
    // As the unit manager writes it.
    let link = json!({"uri": "http://unit.example/c/__ctl/Relation(Name='rel',_Box.Name=null)"});
    let links = format!("c/__ctl/ExtCell(Name='{cell}')/$links/_Relation");
    assert_eq!(unit.post(&links, &link.to_string()).await.status, 204);
    let found = unit.list_entities(&links).await;
    assert_eq!(found.len(), 1);
    let back = json!({"uri": "http://unit.example/c/__ctl/ExtCell(Name='https://bob.example/c/')"});
    let links = "c/__ctl/Role('r')/$links/_ExtCell";
    assert_eq!(unit.post(links, &back.to_string()).await.status, 204);
    let remove = format!("{links}(Id='{cell}')");
    assert_eq!(unit.admin_outcome("DELETE", &remove).await, success(204));
}

#[tokio::test]
async fn parts_of_a_key_have_any_order_and_missing_ones_are_null() {
    let unit = control_unit().await;
    let role = "https%3A%2F%2Fbob.example%2Fr";
    for (path, outcome) in [
        ("Role('r')".to_owned(), success(200)),
        ("Role(Name='r')".to_owned(), success(200)),
        ("Role(Name='r',_Box.Name=null)".to_owned(), success(200)),
        ("Role(_Box.Name=null,Name='r')".to_owned(), success(200)),
        ("Role(_Box.Name='b',Name='r')".to_owned(), success(200)),
        (
            "Role(_Box.Name%3D%27b%27%2CName=%27r%27)".to_owned(),
            success(200),
        ),
        (
            "Role(Name='r',_Box.Name='none')".to_owned(),
            refused(404, "OD-0002"),
        ),
        ("Role(_Box.Name='b')".to_owned(), refused(404, "OD-0002")),
        ("Role(Other='r')".to_owned(), refused(400, "OD-0004")),
        (
            "Role(Name='r',Name='r')".to_owned(),
            refused(400, "OD-0004"),
        ),
        (
            format!("ExtRole(ExtRole='{role}')"),
            refused(404, "OD-0002"),
        ),
        (
            "ExtRole(_Relation.Name='rel')".to_owned(),
            refused(404, "OD-0002"),
        ),
        (format!("ExtRole('{role}')"), refused(404, "OD-0002")),
        (
            format!("ExtRole(ExtRole='{role}',_Relation.Name='rel')"),
            success(200),
        ),
        (
            format!("ExtRole(_Relation._Box.Name=null,_Relation.Name='rel',ExtRole='{role}')"),
            success(200),
        ),
    ] {
        let path = format!("c/__ctl/{path}");
        assert_eq!(unit.admin_outcome("GET", &path).await, outcome, "{path}");
    }
    let property = "c/b/od/$metadata/Property(Name='p')";
    assert_eq!(
        unit.admin_outcome("GET", property).await,
        refused(404, "OD-0002")
    );
    let path = format!("c/__ctl/ExtRole(ExtRole='{role}')");
    assert_eq!(
        unit.admin_outcome("DELETE", &path).await,
        refused(404, "OD-0002")
    );
    let links = format!("{path}/$links/_Role");
    let uri = json!({"uri": "http://unit.example/c/__ctl/Role('r')"});
    let link = unit.post(&links, &uri.to_string()).await;
    assert_eq!(link.outcome(), refused(404, "OD-0000"));
}
