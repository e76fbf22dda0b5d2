//! Unauthorized requests get the same response whether or not a resource exists.

use personium_testkit::{TestUnit, refused, success};

/// A unit with a file, a collection, and data with a schema, all without grants.
async fn with_fixtures() -> TestUnit {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/f", "x").await;
    unit.create_collection("c/b/col", "").await;
    unit.put_file("c/b/col/f", "x").await;
    unit.create_collection("c/b/svc", "service").await;
    unit.create_collection("c/b/od", "odata").await;
    let set = r#"{"Name":"Secret"}"#;
    unit.create("c/b/od/$metadata/EntityType", set).await;
    unit
}

async fn anonymous_outcome(unit: &TestUnit, method: &str, path: &str) -> (u16, String) {
    unit.request(method, path).send().await.outcome()
}

#[tokio::test]
async fn unauthorized_requests_do_not_reveal_existing_resources() {
    let unit = with_fixtures().await;
    for (method, path, outcome) in [
        ("POST", "c/b/f", refused(405, "MC-0001")),
        ("POST", "c/b/none", refused(404, "DV-0001")),
        ("PUT", "c/b/col", refused(405, "MC-0001")),
        ("POST", "c/b/col", refused(405, "MC-0001")),
        ("LOCK", "c/b/col/f", refused(405, "MC-0001")),
        ("DELETE", "c/b/svc/__src", refused(405, "MC-0001")),
        ("GET", "c/b/f/x", refused(404, "MC-0001")),
        ("PUT", "c/b/f/x/y", refused(404, "MC-0001")),
        ("GET", "c/b/none/x", refused(404, "DV-0001")),
    ] {
        let found = anonymous_outcome(&unit, method, path).await;
        assert_eq!(found, refused(401, "AU-0001"), "{method} {path}");
        assert_eq!(
            unit.admin_outcome(method, path).await,
            outcome,
            "{method} {path}"
        );
    }
    unit.grant_to_everybody("c/b", &["D:read"]).await;
    let found = anonymous_outcome(&unit, "POST", "c/b/f").await;
    assert_eq!(found, refused(405, "MC-0001"));
}

#[tokio::test]
async fn unauthorized_move_does_not_reveal_its_destination() {
    let unit = with_fixtures().await;
    unit.create_collection("c/b/from", "").await;
    unit.put_file("c/b/from/a", "x").await;
    unit.grant_to_everybody("c/b/from", &["D:unbind"]).await;
    let go = async |to: &str| {
        let request = unit
            .request("MOVE", "c/b/from/a")
            .header("destination", &format!("http://unit.example/c/b/{to}"))
            .header("overwrite", "F");
        request.send().await.outcome()
    };
    for to in [
        "f", "f/x", "col", "col/f", "none", "none/x", "od/x", "svc/x",
    ] {
        assert_eq!(go(to).await, refused(401, "AU-0001"), "{to}");
    }
    unit.grant_to_everybody("c/b/col", &["D:bind"]).await;
    assert_eq!(go("col/f").await, refused(412, "DV-0002"));
    assert_eq!(go("col/g").await, success(201));
}

#[tokio::test]
async fn unauthorized_requests_do_not_reveal_the_odata_schema() {
    let unit = with_fixtures().await;
    for (method, path, outcome) in [
        ("GET", "Secret", success(200)),
        ("GET", "Nothing", refused(404, "OD-0001")),
        ("GET", "Nothing('a')", refused(404, "OD-0001")),
        ("GET", "Secret(x", refused(404, "OD-0001")),
        ("GET", "Secret(1)", refused(400, "OD-0004")),
        ("GET", "Secret('a')/_None", refused(404, "OD-0003")),
        ("PATCH", "Secret", refused(405, "MC-0001")),
        ("PATCH", "Secret('a')", refused(400, "OD-0001")),
    ] {
        let path = format!("c/b/od/{path}");
        let found = anonymous_outcome(&unit, method, &path).await;
        assert_eq!(found, refused(401, "AU-0001"), "{method} {path}");
        assert_eq!(
            unit.admin_outcome(method, &path).await,
            outcome,
            "{method} {path}"
        );
    }
    for privilege in ["D:read", "D:write"] {
        unit.grant_to_everybody("c/b/od", &[privilege]).await;
        let found = anonymous_outcome(&unit, "GET", "c/b/od/Nothing").await;
        assert_eq!(found, refused(404, "OD-0001"), "{privilege}");
    }
}
