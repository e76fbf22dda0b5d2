//! Control objects: keys, hidden members, validation, changes of keys.

use personium_testkit::{TestUnit, refused, success};
use serde_json::{Value, json};

#[tokio::test]
async fn control_objects_are_read_by_their_keys() {
    let unit = TestUnit::new().await;
    unit.create("c/__ctl/Role", r#"{"Name":"r"}"#).await;
    unit.create("c/__ctl/Role", r#"{"Name":"r","_Box.Name":"b"}"#)
        .await;
    unit.create("c/__ctl/ExtCell", r#"{"Url":"https://a.example/x/"}"#)
        .await;
    let get = async |path: &str| {
        let request = unit.admin_request("GET", &format!("c/__ctl/{path}"));
        request.header("accept", "application/json").send().await
    };
    for (path, uri) in [
        ("Role('r')", "Role(Name='r',_Box.Name=null)"),
        ("Role(Name='r')", "Role(Name='r',_Box.Name=null)"),
        (
            "Role(_Box.Name='b',Name='r')",
            "Role(Name='r',_Box.Name='b')",
        ),
        (
            "ExtCell('https%3A%2F%2Fa.example%2Fx%2F')",
            "ExtCell('https%3A%2F%2Fa.example%2Fx%2F')",
        ),
    ] {
        let found = get(path).await.expect(200).results();
        let expected = format!("http://unit.example/c/__ctl/{uri}");
        assert_eq!(found["__metadata"]["uri"], expected, "{path}");
        let deferred = &found["_Role"]
            .get("__deferred")
            .or(found["_Box"].get("__deferred"));
        assert!(deferred.is_some(), "{found}");
    }
    for (path, outcome) in [
        ("Role('none')", refused(404, "OD-0002")),
        ("Role(Name='r',_Box.Name='none')", refused(404, "OD-0002")),
        ("Role(Name='r',Other='b')", refused(400, "OD-0004")),
        ("Role(Name=1)", refused(400, "OD-0004")),
        ("None", refused(404, "OD-0001")),
        ("Role?$filter=Name eq 'r'&$top=1", success(200)),
        ("Role?$filter=_Box.Name eq 'b'", refused(400, "OD-0003")),
        ("Role?$filter=none eq 'b'", refused(400, "OD-0045")),
        ("Account?$select=HashedCredential", success(200)),
    ] {
        let path = path.replace(' ', "%20");
        assert_eq!(get(&path).await.outcome(), outcome, "{path}");
    }
}

#[tokio::test]
async fn hidden_members_of_control_objects_are_never_returned() {
    let unit = TestUnit::new().await;
    unit.create_account("c", r#"{"Name":"a"}"#).await;
    let list = unit.admin_request("GET", "c/__ctl/Account");
    let list = list.header("accept", "application/json").send().await;
    let cells = unit.admin_request("GET", "__ctl/Cell");
    let cells = cells.header("accept", "application/json").send().await;
    let text = list.text() + &cells.text();
    for hidden in ["assword", "redential", "Owner", "scrypt"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
}

#[tokio::test]
async fn control_objects_are_validated() {
    let unit = TestUnit::new().await;
    unit.create("c/__ctl/Relation", r#"{"Name":"rel"}"#).await;
    unit.create("c/__ctl/Role", r#"{"Name":"r"}"#).await;
    for (set, body, outcome) in [
        ("Role", json!({}), refused(400, "OD-0009")),
        ("Role", json!({"Name": null}), refused(400, "OD-0009")),
        ("Role", json!({"Name": "a b"}), refused(400, "OD-0006")),
        (
            "Role",
            json!({"Name": "x".repeat(129)}),
            refused(400, "OD-0006"),
        ),
        (
            "Role",
            json!({"Name": "x", "Other": 1}),
            refused(400, "OD-0007"),
        ),
        ("Role", json!({"Name": ["x"]}), refused(400, "OD-0006")),
        ("Role", json!({"Name": "r"}), refused(409, "OD-0003")),
        ("Role", json!({"Name": "r", "_Box.Name": "b"}), success(201)),
        (
            "Role",
            json!({"Name": "x", "_Box.Name": "none"}),
            refused(400, "OD-0024"),
        ),
        ("Box", json!({"Name": "__"}), refused(400, "OD-0006")),
        (
            "Box",
            json!({"Name": "x", "Schema": "no url"}),
            refused(400, "OD-0050"),
        ),
        (
            "Box",
            json!({"Name": "x", "Schema": "http://unit.example/appcell/"}),
            refused(409, "OD-0003"),
        ),
        (
            "ExtCell",
            json!({"Url": "http://a.example/x"}),
            refused(400, "OD-0049"),
        ),
        (
            "ExtCell",
            json!({"Url": "ftp://a.example/x/"}),
            refused(400, "OD-0049"),
        ),
        (
            "ExtCell",
            json!({"Url": "http://a.example/x/"}),
            success(201),
        ),
        (
            "ExtRole",
            json!({"ExtRole": "urn:x"}),
            refused(400, "OD-0009"),
        ),
        (
            "ExtRole",
            json!({"ExtRole": "urn:x", "_Relation.Name": "none"}),
            refused(400, "OD-0024"),
        ),
        (
            "Account",
            json!({"Name": "a", "Type": "unknown"}),
            refused(400, "OD-0006"),
        ),
        (
            "Account",
            json!({"Name": "a", "Status": "x"}),
            refused(400, "OD-0006"),
        ),
        (
            "Account",
            json!({"Name": "a", "IPAddressRange": "x"}),
            refused(400, "OD-0006"),
        ),
        (
            "Account",
            json!({"Name": "a", "HashedCredential": "x"}),
            refused(400, "OD-0007"),
        ),
        ("Rule", json!({"Action": "dance"}), refused(400, "OD-0006")),
        ("Rule", json!({"Action": "relay"}), refused(400, "OD-0006")),
        ("Relation", json!({"Name": "+a:b"}), success(201)),
    ] {
        let response = unit
            .post(&format!("c/__ctl/{set}"), &body.to_string())
            .await;
        assert_eq!(response.outcome(), outcome, "{set} {body:.60}");
    }
}

#[tokio::test]
async fn put_of_a_role_without_its_box_moves_it_and_merge_does_not() {
    let unit = TestUnit::new().await;
    unit.create("c/__ctl/Role", r#"{"Name":"r","_Box.Name":"b"}"#)
        .await;
    let change = async |method: &str, key: &str, body: &str| {
        let request = unit.admin_request(method, &format!("c/__ctl/Role{key}"));
        request.body(body).send().await.outcome()
    };
    let in_box = "(Name='s',_Box.Name='b')";
    let merged = change("MERGE", "(Name='r',_Box.Name='b')", r#"{"Name":"s"}"#).await;
    assert_eq!(merged, success(204));
    assert_eq!(change("PUT", in_box, r#"{"Name":"s"}"#).await, success(204));
    let path = "c/__ctl/Role('s')";
    assert_eq!(unit.admin_outcome("GET", path).await, success(200));
    assert_eq!(
        change("PUT", in_box, r#"{"Name":"s"}"#).await,
        refused(404, "OD-0002")
    );
}

#[tokio::test]
async fn put_of_an_account_keeps_the_password_and_resets_other_members() {
    let unit = TestUnit::new().await;
    unit.create_account("c", r#"{"Name":"me","IPAddressRange":"10.0.0.0/24"}"#)
        .await;
    let account = "c/__ctl/Account('me')";
    let put = unit.admin_request("PUT", account).body(r#"{"Name":"me"}"#);
    assert_eq!(put.send().await.status, 204);
    let found = unit
        .admin_request("GET", account)
        .header("accept", "application/json");
    let found = found.send().await.results();
    assert_eq!(
        (&found["IPAddressRange"], &found["Status"]),
        (&Value::Null, &json!("active"))
    );
    unit.access_token("c").await;
    for bad in ["", "short", "with space", &"x".repeat(257)] {
        let merge = unit.admin_request("MERGE", account).body("{}");
        let response = merge.header("x-personium-credential", bad).send().await;
        assert_eq!(response.outcome(), refused(400, "AU-0001"), "{bad:.20}");
    }
}
