//! Events of the unit itself: which requests post them, what they say, and what rules do with them.

use personium_testkit::{PASSWORD, StubServer, TestUnit, cell_url};
use serde_json::json;

use super::{after_level, log_lines, start_rule_sender, wait_for_log_lines};
use crate::auth::unit_with_accounts;
use crate::library::register;

/// Creates a rule of `c` that logs every event of the unit.
pub(super) async fn log_internal(unit: &TestUnit) {
    let rule = json!({"Name": "internal", "EventExternal": false, "Action": "log"});
    unit.create("c/__ctl/Rule", &rule.to_string()).await;
}

/// The type, object and info of each line of the log.
pub(super) async fn logged(unit: &TestUnit) -> Vec<(String, String, String)> {
    let lines = log_lines(unit, "c").await;
    let parts = |line: &String| {
        let mut values: Vec<String> = after_level(line)
            .trim_matches('"')
            .split("\",\"")
            .map(str::to_owned)
            .collect();
        let info = values.pop().unwrap();
        let object = values.pop().unwrap();
        let kind = values.pop().unwrap();
        let kind = kind.rsplit(",\"").next().unwrap().to_owned();
        (
            kind,
            object.replace(&cell_url("c"), "c/"),
            info.replace(&cell_url("c"), "c/"),
        )
    };
    lines.iter().map(parts).collect()
}

/// Sends a request with the master token, which must succeed.
pub(super) async fn send(unit: &TestUnit, method: &str, path: &str, body: &str) {
    let request = unit
        .admin_request(method, path)
        .header("accept", "application/json")
        .body(body);
    request.send().await.expect_success();
}

/// Sends a request and returns what it logged.
async fn events_of(
    unit: &TestUnit,
    method: &str,
    path: &str,
    body: &str,
) -> Vec<(String, String, String)> {
    let before = logged(unit).await.len();
    send(unit, method, path, body).await;
    logged(unit).await.split_off(before)
}

pub(super) fn event(kind: &str, object: &str, info: &str) -> Vec<(String, String, String)> {
    vec![(kind.to_owned(), object.to_owned(), info.to_owned())]
}

#[tokio::test]
async fn changes_of_control_objects_post_their_events() {
    let unit = TestUnit::new().await;
    log_internal(&unit).await;
    for (method, path, body, expected) in [
        (
            "POST",
            "c/__ctl/Role",
            r#"{"Name":"r"}"#,
            event(
                "cellctl.Role.create",
                "c/__ctl/Role(Name='r',_Box.Name=null)",
                "201,c/__ctl/Role",
            ),
        ),
        (
            "POST",
            "c/__ctl/Relation",
            r#"{"Name":"+:x","_Box.Name":"b"}"#,
            event(
                "cellctl.Relation.create",
                "c/__ctl/Relation(Name='+:x',_Box.Name='b')",
                "201,c/__ctl/Relation",
            ),
        ),
        (
            "POST",
            "c/__ctl/Account",
            r#"{"Name":"a@b"}"#,
            event(
                "cellctl.Account.create",
                "c/__ctl/Account('a%40b')",
                "201,c/__ctl/Account",
            ),
        ),
        (
            "GET",
            "c/__ctl/Role?$top=1",
            "",
            event(
                "cellctl.Role.list",
                "c/__ctl/Role",
                "200,c/__ctl/Role?$top=1",
            ),
        ),
        (
            "GET",
            "c/__ctl/Role('r')",
            "",
            event(
                "cellctl.Role.get",
                "c/__ctl/Role(Name='r',_Box.Name=null)",
                "200,c/__ctl/Role('r')",
            ),
        ),
        (
            "POST",
            "c/__ctl/Role('r')/$links/_Account",
            &format!(r#"{{"uri":"{}__ctl/Account('a@b')"}}"#, cell_url("c")),
            event(
                "cellctl.Account.links.Role.create",
                "c/__ctl/Role(Name='r',_Box.Name=null)/$links/_Account('a@b')",
                "204",
            ),
        ),
        (
            "GET",
            "c/__ctl/Role('r')/$links/_Account",
            "",
            event(
                "cellctl.Role.links.Account.list",
                "c/__ctl/Role(Name='r',_Box.Name=null)/$links/_Account",
                "200,c/__ctl/Role('r')/$links/_Account",
            ),
        ),
        (
            "GET",
            "c/__ctl/Role('r')/_Account",
            "",
            event(
                "cellctl.Role.navprop.Account.list",
                "c/__ctl/Role(Name='r',_Box.Name=null)/_Account",
                "200,c/__ctl/Role('r')/_Account",
            ),
        ),
        (
            "DELETE",
            "c/__ctl/Role('r')/$links/_Account('a@b')",
            "",
            event(
                "cellctl.Account.links.Role.delete",
                "c/__ctl/Role(Name='r',_Box.Name=null)/$links/_Account('a@b')",
                "204",
            ),
        ),
        (
            "PUT",
            "c/__ctl/Role('r')",
            r#"{"Name":"s"}"#,
            event(
                "cellctl.Role.update",
                "c/__ctl/Role(Name='r',_Box.Name=null)",
                "204,(Name='s',_Box.Name=null)",
            ),
        ),
        (
            "DELETE",
            "c/__ctl/Role('s')",
            "",
            event(
                "cellctl.Role.delete",
                "c/__ctl/Role(Name='s',_Box.Name=null)",
                "204",
            ),
        ),
        ("GET", "c/__ctl/$metadata", "", Vec::new()),
        ("GET", "c/__rule", "", Vec::new()),
        ("OPTIONS", "c/__ctl/Role", "", Vec::new()),
    ] {
        let found = events_of(&unit, method, path, body).await;
        assert_eq!(found, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn requests_to_files_and_collections_post_their_events() {
    let unit = TestUnit::new().await;
    log_internal(&unit).await;
    let mkcol = r#"<D:mkcol xmlns:D="DAV:" xmlns:p="urn:x-personium:xmlns"><D:set><D:prop><D:resourcetype><D:collection/><p:odata/></D:resourcetype></D:prop></D:set></D:mkcol>"#;
    let patch = r#"<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x xmlns="urn:x">1</x></D:prop></D:set></D:propertyupdate>"#;
    let acl = r#"<D:acl xmlns:D="DAV:"/>"#;
    for (method, path, body, expected) in [
        (
            "PUT",
            "c/b/f é.txt",
            "1",
            event("davfile.create", "c/b/f é.txt", "201"),
        ),
        (
            "PUT",
            "c/b/f é.txt",
            "2",
            event("davfile.update", "c/b/f é.txt", "204"),
        ),
        (
            "GET",
            "c/b/f é.txt",
            "",
            event("davfile.get", "c/b/f é.txt", "200"),
        ),
        (
            "PROPFIND",
            "c/b/f é.txt",
            "",
            event("davfile.propfind", "c/b/f é.txt", "207"),
        ),
        (
            "PROPPATCH",
            "c/b/f é.txt",
            patch,
            event("davfile.proppatch", "c/b/f é.txt", "207"),
        ),
        (
            "ACL",
            "c/b/f é.txt",
            acl,
            event("davfile.acl", "c/b/f é.txt", "200"),
        ),
        (
            "DELETE",
            "c/b/f é.txt",
            "",
            event("davfile.delete", "c/b/f é.txt", "204"),
        ),
        (
            "MKCOL",
            "c/b/d",
            "",
            event("webdavcol.mkcol", "c/b/d", "201"),
        ),
        ("GET", "c/b/d", "", Vec::new()),
        ("ACL", "c/b/d", acl, event("webdavcol.acl", "c/b/d", "200")),
        (
            "DELETE",
            "c/b/d",
            "",
            event("webdavcol.delete", "c/b/d", "204"),
        ),
        (
            "MKCOL",
            "c/b/o",
            mkcol,
            event("odatacol.mkcol", "c/b/o", "201"),
        ),
        ("PROPFIND", "c/b", "", event("box.propfind", "c/b", "207")),
        ("ACL", "c/b", acl, event("box.acl", "c/b", "200")),
        ("PROPFIND", "c/", "", event("cell.propfind", "c/", "207")),
        (
            "PROPPATCH",
            "c/",
            patch,
            event("cell.proppatch", "c/", "207"),
        ),
        ("ACL", "c/", acl, event("cell.acl", "c/", "200")),
    ] {
        let path = path.replace(' ', "%20").replace('é', "%C3%A9");
        let found = events_of(&unit, method, &path, body).await;
        assert_eq!(found, expected, "{method} {path}");
    }
    let before = logged(&unit).await.len();
    let delete = unit
        .admin_request("DELETE", "c/b")
        .header("x-personium-recursive", "true");
    assert_eq!(delete.send().await.status, 204);
    let found = logged(&unit).await.split_off(before);
    assert_eq!(found, event("box.delete", "c/b", "204"));
}

#[tokio::test]
async fn changes_of_user_data_post_events_also_as_parts_of_a_batch() {
    let unit = TestUnit::new().await;
    unit.create_odata_collection("c/b/o", "T").await;
    log_internal(&unit).await;
    for (method, path, body, expected) in [
        (
            "POST",
            "c/b/o/T",
            r#"{"__id":"1"}"#,
            event("odata.create", "c/b/o/T('1')", "201,c/b/o/T"),
        ),
        (
            "MERGE",
            "c/b/o/T('1')",
            "{}",
            event("odata.patch", "c/b/o/T('1')", "204,('1')"),
        ),
        (
            "GET",
            "c/b/o/T",
            "",
            event("odata.list", "c/b/o/T", "200,c/b/o/T"),
        ),
        (
            "POST",
            "c/b/o/$metadata/EntityType",
            r#"{"Name":"U"}"#,
            event(
                "odata.EntityType.create",
                "c/b/o/$metadata/EntityType('U')",
                "201,c/b/o/$metadata/EntityType",
            ),
        ),
        (
            "DELETE",
            "c/b/o/T('1')",
            "",
            event("odata.delete", "c/b/o/T('1')", "204"),
        ),
    ] {
        let found = events_of(&unit, method, path, body).await;
        assert_eq!(found, expected, "{method} {path}");
    }
    let part = |id: &str| {
        let request = format!("POST T HTTP/1.1\r\nContent-Length: 14\r\n\r\n{{\"__id\":\"{id}\"}}");
        let head = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary";
        format!("--s\r\n{head}\r\n\r\n{request}\r\n")
    };
    let batch = |ids: &[&str]| {
        let parts: String = ids.iter().map(|id| part(id)).collect();
        format!("--b\r\nContent-Type: multipart/mixed; boundary=s\r\n\r\n{parts}--s--\r\n--b--")
    };
    let created = async |ids: &[&str]| {
        let before = logged(&unit).await.len();
        let request = unit
            .admin_request("POST", "c/b/o/$batch")
            .header("content-type", "multipart/mixed; boundary=b")
            .body(batch(ids));
        assert_eq!(request.send().await.status, 202);
        let mut found: Vec<_> = logged(&unit).await.split_off(before);
        found.retain(|(kind, ..)| kind == "odata.create");
        found
            .into_iter()
            .map(|(_, object, _)| object)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        created(&["21", "22"]).await,
        ["c/b/o/T('21')", "c/b/o/T('22')"]
    );
    // The second part fails, so the first one is not stored either.
    assert!(created(&["31", "21"]).await.is_empty());
}

#[tokio::test]
async fn failed_changes_and_sources_of_services_post_nothing() {
    let unit = TestUnit::new().await;
    unit.create_collection("c/b/s", "service").await;
    log_internal(&unit).await;
    unit.create_role("c", "r").await;
    let before = logged(&unit).await.len();
    for (method, path, body, status) in [
        ("POST", "c/__ctl/Role", r#"{"Name":"r"}"#, 409),
        ("DELETE", "c/__ctl/Role('none')", "", 404),
        ("GET", "c/__ctl/Role('none')", "", 404),
        ("PUT", "c/b/none/f", "", 409),
        ("MKCOL", "c/b/s", "", 405),
        ("GET", "c/b/none", "", 404),
        ("PUT", "c/b/s/__src/x.js", "1", 201),
        ("GET", "c/b/s/__src/x.js", "", 200),
        ("DELETE", "c/b/s/__src/x.js", "", 204),
    ] {
        let response = unit.admin_request(method, path).body(body).send().await;
        assert_eq!(response.status, status, "{method} {path}");
    }
    assert_eq!(logged(&unit).await.split_off(before), []);
}

#[tokio::test]
async fn script_of_a_service_posts_its_status() {
    let unit = TestUnit::new().await;
    unit.create_collection("c/b/svc", "service").await;
    register(&unit, "c/b/svc", None, &[("x", "x.js"), ("y", "y.js")]).await;
    let script = "function(r) { return {status: 203, headers: {}, body: ['a']}; }";
    unit.put_file("c/b/svc/__src/x.js", script).await;
    unit.put_file(
        "c/b/svc/__src/y.js",
        "function(r) { throw new Error('x'); }",
    )
    .await;
    log_internal(&unit).await;
    for (path, status) in [
        ("c/b/svc/x", 203),
        ("c/b/svc/y", 500),
        ("c/b/svc/none", 404),
    ] {
        let response = unit.admin_request("POST", path).send().await;
        assert_eq!(response.status, status, "{path}");
    }
    let anonymous = unit.request("POST", "c/b/svc/x").send().await;
    assert_eq!(anonymous.status, 401);
    // The failed script has lines of its own.
    let lines = log_lines(&unit, "c").await;
    let posted = lines.iter().filter(|line| line.contains("service.exec"));
    let ends: Vec<&str> = posted
        .filter_map(|line| Some(line.split_once("\"service.exec\",")?.1))
        .collect();
    let url = format!("{}b/svc/", cell_url("c"));
    let expected = [
        format!("\"{url}x\",\"203\""),
        format!("\"{url}y\",\"500\""),
        format!("\"{url}none\",\"404\""),
    ];
    assert_eq!(ends, expected);
}

#[tokio::test]
async fn event_of_the_unit_says_who_caused_it() {
    let unit = unit_with_accounts(|_| {}).await;
    log_internal(&unit).await;
    unit.grant_to_everybody("c/b", &["D:read", "D:write"]).await;
    let token = unit.access_token("c").await;
    let put = unit
        .request("PUT", "c/b/f")
        .bearer(&token)
        .header("x-personium-requestkey", "key1")
        .body("1");
    assert_eq!(put.send().await.status, 201);
    let last = log_lines(&unit, "c").await.pop().unwrap();
    let subject = format!("{}#me", cell_url("c"));
    let object = format!("{}b/f", cell_url("c"));
    let expected = format!(r#""key1","false","","{subject}","davfile.create","{object}","201""#);
    assert_eq!(after_level(&last), expected);
    // Nobody without the right to it learns the password of a new account from events.
    let account = json!({"Name": "new"}).to_string();
    let create = unit
        .admin_request("POST", "c/__ctl/Account")
        .header("x-personium-credential", PASSWORD)
        .body(&account);
    assert_eq!(create.send().await.status, 201);
    assert!(
        log_lines(&unit, "c")
            .await
            .iter()
            .all(|line| !line.contains(PASSWORD))
    );
}

#[tokio::test]
async fn rules_relay_events_of_the_unit_and_copy_entities() {
    let unit = unit_with_accounts(|settings| settings.allow_private_networks = true).await;
    for collection in ["c/b/o", "c/b/copies"] {
        unit.create_odata_collection(collection, "T").await;
    }
    unit.grant_to_everybody("c/b", &["D:all"]).await;
    let server = StubServer::start().await;
    let target = format!("{}far/", server.url());
    for rule in [
        json!({"Name": "x", "EventType": "odata.delete", "Action": "relay", "TargetUrl": target}),
        json!({
            "Name": "y", "EventType": "odata.create", "Action": "relay.data", "_Box.Name": "b",
            "EventObject": "personium-localbox:/o/T", "TargetUrl": "personium-localbox:/copies/T",
        }),
        json!({
            "Name": "z", "EventType": "davfile.create", "Action": "relay.event",
            "TargetUrl": "personium-localunit:d:/",
        }),
    ] {
        unit.create("c/__ctl/Rule", &rule.to_string()).await;
    }
    let there = json!({"Name": "l", "EventExternal": true, "Action": "log"});
    unit.create("d/__ctl/Rule", &there.to_string()).await;
    start_rule_sender(&unit);
    let token = unit.access_token("c").await;
    unit.post_as(&token, "c/b/o/T", r#"{"__id":"1"}"#)
        .await
        .expect(201);
    personium_testkit::wait_until("the copy", async || {
        unit.admin_request("GET", "c/b/copies/T('1')")
            .send()
            .await
            .status
            == 200
    })
    .await;
    let delete = unit.request("DELETE", "c/b/o/T('1')").bearer(&token);
    assert_eq!(delete.send().await.status, 204);
    let received = server.receive("200 OK", "").await;
    assert_eq!(received.body["Type"], "odata.delete");
    assert_eq!(received.body["External"], false);
    assert_eq!(received.header("x-personium-rulechain"), Some("1"));
    unit.put_file("c/b/f", "1").await;
    // Refused by the other cell: the master token, which has no subject, caused it.
    let lines = wait_for_log_lines(&unit, "c", 6).await;
    assert!(
        lines.iter().any(|line| line.contains("relay.event")),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn full_outbox_refuses_no_change() {
    let unit = TestUnit::new().await;
    let rule = json!({"Name": "x", "Action": "relay", "TargetUrl": "https://far.example/"});
    unit.create("c/__ctl/Rule", &rule.to_string()).await;
    let id = unit.cell_id().await;
    let records = unit.model.cell_records(&id);
    let mut batch = personium_store::Batch::new();
    batch.add(personium_model::keys::outbox_count(), 10_000);
    records.commit(batch).await.unwrap();
    unit.put_file("c/b/f", "1").await;
    assert!(unit.record_keys(b"Q").await.is_empty());
    let refused = super::post_event(&unit, json!({"Type": "t"})).await;
    assert_eq!(refused.status, 200, "no rule is for external events");
}

#[tokio::test]
async fn nobody_listening_costs_no_commit_and_no_read() {
    let unit = TestUnit::new().await;
    let external = json!({"Name": "x", "EventExternal": true, "Action": "log"});
    unit.create("c/__ctl/Rule", &external.to_string()).await;
    unit.put_file("c/b/f", "1").await;
    let before = unit.last_commit().await;
    for (method, path) in [
        ("GET", "c/b/f"),
        ("PROPFIND", "c/b"),
        ("GET", "c/__ctl/Role"),
    ] {
        send(&unit, method, path, "").await;
    }
    assert_eq!(unit.last_commit().await, before);
    assert!(log_lines(&unit, "c").await.is_empty());
}
