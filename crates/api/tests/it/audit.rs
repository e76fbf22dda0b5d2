//! The audit log of requests: what leaves entries, what they say, and what they never contain.

use personium_model::audit::{self, AuditFilter};
use personium_testkit::{MASTER_TOKEN, PASSWORD, TestUnit, cell_url};
use serde_json::{Value, json};

const OWNER: &str = "http://unit.example/admins/#owner";

async fn lines(unit: &TestUnit) -> Vec<String> {
    let mut lines = Vec::new();
    let records = unit.model.records();
    let all = AuditFilter::default();
    let exported = audit::export(&records, &all, |line| {
        lines.push(line.to_owned());
        Ok(())
    });
    exported.await.unwrap().unwrap();
    lines
}

/// The entries after so many.
async fn entries(unit: &TestUnit, after: usize) -> Vec<Value> {
    let lines = lines(unit).await;
    let lines = lines.iter().skip(after);
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The entries of one request.
async fn entries_of(unit: &TestUnit, [method, path, body]: [&str; 3]) -> (u16, Vec<Value>) {
    let before = lines(unit).await.len();
    let request = unit.admin_request(method, path);
    let request = request.headers(&[
        ("x-personium-recursive", "true"),
        ("x-personium-credential", PASSWORD),
        ("x-personium-requestkey", "key-1"),
        ("if-match", "*"),
    ]);
    let response = request.body(body).send().await;
    (response.status.as_u16(), entries(unit, before).await)
}

const ACL: &str = r#"<D:acl xmlns:D="DAV:" xmlns:p="urn:x-personium:xmlns"/>"#;

#[tokio::test]
async fn erasure_of_a_cell_has_its_own_operation_and_is_refused_where_it_would_be_a_removal() {
    let unit = TestUnit::new().await;
    unit.admin_request("POST", "__ctl/Cell")
        .body(r#"{"Name":"e"}"#)
        .send()
        .await
        .expect(201);
    let erasing = |path: &str| {
        let request = unit.admin_request("DELETE", path);
        request.headers(&[
            ("x-personium-recursive", "true"),
            ("x-personium-erase", "true"),
        ])
    };
    let refused = erasing("__ctl/Cell('e')").send().await.expect(400);
    assert!(refused.text().contains("PR400-OD-0041"));
    let before = lines(&unit).await.len();
    erasing("e").send().await.expect(204);
    let found = entries(&unit, before).await;
    assert_eq!(found.len(), 2, "{found:?}");
    for entry in found {
        assert_eq!(entry["operation"], "cell.erase", "{entry}");
    }
}

#[tokio::test]
async fn each_administration_has_an_entry_before_and_one_with_its_outcome() {
    let unit = TestUnit::new().await;
    let link = format!("{{\"uri\":\"{}__ctl/Role('r')\"}}", cell_url("c"));
    for (request, operation, status, created) in [
        (
            ["POST", "__ctl/Cell", r#"{"Name":"e"}"#],
            "cell.create",
            201,
            true,
        ),
        (
            ["MERGE", "__ctl/Cell('e')", r#"{"Name":"f"}"#],
            "cell.change",
            204,
            false,
        ),
        (["DELETE", "f", ""], "cell.delete", 204, false),
        (
            ["POST", "c/__ctl/Account", r#"{"Name":"a"}"#],
            "account.create",
            201,
            true,
        ),
        (
            ["MERGE", "c/__ctl/Account('a')", "{}"],
            "account.change",
            204,
            false,
        ),
        (
            ["POST", "c/__ctl/Role", r#"{"Name":"r"}"#],
            "role.create",
            201,
            true,
        ),
        (
            ["POST", "c/__ctl/Account('a')/$links/_Role", &link],
            "account.link",
            204,
            false,
        ),
        (
            ["DELETE", "c/__ctl/Account('a')/$links/_Role('r')", ""],
            "account.unlink",
            204,
            false,
        ),
        (
            ["DELETE", "c/__ctl/Account('a')", ""],
            "account.delete",
            204,
            false,
        ),
        (
            ["POST", "c/__ctl/Relation", r#"{"Name":"x"}"#],
            "relation.create",
            201,
            true,
        ),
        (
            [
                "POST",
                "c/__ctl/ExtCell",
                r#"{"Url":"http://unit.example/d/"}"#,
            ],
            "extCell.create",
            201,
            true,
        ),
        (
            ["POST", "c/__ctl/Box", r#"{"Name":"x"}"#],
            "box.create",
            201,
            true,
        ),
        (
            [
                "POST",
                "c/__message/send",
                r#"{"BoxBound":false,"To":"http://unit.example/d/","Type":"message"}"#,
            ],
            "sentMessage.create",
            201,
            true,
        ),
        (
            [
                "POST",
                "c/__message/received/none",
                r#"{"Command":"approved"}"#,
            ],
            "receivedMessage.change",
            404,
            false,
        ),
        (
            ["POST", "c/__rule/test", r#"{"Name":"none"}"#],
            "rule.test",
            404,
            false,
        ),
        (
            ["POST", "c/__rule/failed/none", ""],
            "failedRequest.send",
            404,
            false,
        ),
        (
            ["DELETE", "c/__rule/failed/none", ""],
            "failedRequest.delete",
            404,
            false,
        ),
        (["ACL", "c", ACL], "cell.acl", 200, false),
        (["ACL", "c/b", ACL], "box.acl", 200, false),
        (["DELETE", "c/x", ""], "box.delete", 204, false),
        (["POST", "__status", ""], "settings.reload", 204, false),
        (
            ["POST", "__quota", r#"{"cell":"c","quota":"default"}"#],
            "quota.change",
            204,
            false,
        ),
        (
            [
                "PUT",
                "__maintenance",
                r#"{"mode":"readOnly","unitUser":"http://unit.example/c/#none"}"#,
            ],
            "maintenance.set",
            204,
            false,
        ),
        (
            ["DELETE", "__maintenance", ""],
            "maintenance.end",
            204,
            false,
        ),
        // Refused ones too.
        (
            ["POST", "__ctl/Cell", r#"{"Name":"c"}"#],
            "cell.create",
            409,
            false,
        ),
        (
            ["DELETE", "c/__ctl/Account('none')", ""],
            "account.delete",
            404,
            false,
        ),
        (["DELETE", "c/none", ""], "box.delete", 404, false),
        // From here on the cell is exported and refuses changes.
        (
            ["POST", "c/__export", r#"{"Name":"s"}"#],
            "cell.export",
            202,
            true,
        ),
    ] {
        let (found, entries) = entries_of(&unit, request).await;
        assert_eq!(found, status, "{request:?} {entries:?}");
        let [begin, end] = entries.as_slice() else {
            panic!("{request:?}: {entries:?}");
        };
        let target = format!("http://unit.example/{}", request[1]);
        let is_cell = request[1] == "f" || request[1] == "c";
        let target = if is_cell { target + "/" } else { target };
        for (name, value) in [
            ("event", json!("begin")),
            ("operation", json!(operation)),
            ("method", json!(request[0])),
            ("target", json!(target)),
            ("requestKey", json!("key-1")),
            ("actor", json!({"kind": "masterToken"})),
        ] {
            assert_eq!(begin[name], value, "{request:?} {begin}");
        }
        assert_eq!(end["event"], "end");
        assert_eq!(end["operation"], operation);
        assert_eq!(end["begin"], begin["sequence"]);
        assert_eq!(end["status"], status);
        assert_eq!(end["created"].is_string(), created, "{request:?} {end}");
        assert_eq!(
            end["outcome"].is_string(),
            status >= 400,
            "{request:?} {end}"
        );
    }
    let found = audit::verify(&unit.model.records(), None).await.unwrap();
    assert_eq!(found.findings, []);
}

#[tokio::test]
async fn actor_is_the_account_of_the_token_and_the_owner_for_whom_it_acts() {
    let unit = TestUnit::with_settings(|settings| {
        settings.auth.unit_user_issuers = vec!["personium-localunit:admins:/".to_owned()];
    })
    .await;
    unit.create_cell("admins").await;
    for account in ["me", "owner"] {
        let name = format!("{{\"Name\":\"{account}\"}}");
        unit.create_account("admins", &name).await;
    }
    unit.create_role("admins", "UnitAdmin").await;
    unit.link("admins", "Account('me')", "_Role", "Role('UnitAdmin')")
        .await;
    let token = unit.trans_to_unit("admins").await;
    let target = [("p_target", unit.url())];
    let login = unit.login_as("admins", "owner", &target).await;
    let owner_token = login["access_token"].as_str().unwrap().to_owned();
    let me = cell_url("admins") + "#me";
    for (name, token, acting_for, actor) in [
        (
            "a1",
            token.as_str(),
            None,
            json!({"kind": "unitAdmin", "subject": me}),
        ),
        (
            "a2",
            &token,
            Some(OWNER),
            json!({"kind": "unitAdmin", "subject": me, "for": OWNER}),
        ),
        (
            "a3",
            &owner_token,
            None,
            json!({"kind": "unitUser", "subject": OWNER}),
        ),
        (
            "a4",
            MASTER_TOKEN,
            Some(OWNER),
            json!({"kind": "masterToken", "for": OWNER}),
        ),
        ("a5", MASTER_TOKEN, None, json!({"kind": "masterToken"})),
    ] {
        let before = lines(&unit).await.len();
        let mut request = unit.request("POST", "__ctl/Cell").bearer(token);
        if let Some(owner) = acting_for {
            request = request.header("x-personium-unit-user", owner);
        }
        let body = format!("{{\"Name\":\"{name}\"}}");
        request.body(body).send().await.expect(201);
        let entries = entries(&unit, before).await;
        assert_eq!(entries[0]["actor"], actor, "{entries:?}");
    }
}

#[tokio::test]
async fn what_is_no_administration_of_the_unit_leaves_no_entry() {
    let unit = TestUnit::new().await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.grant_by_new_role("c", ("me", "root-role"), &["p:root"])
        .await;
    unit.create_odata_collection("c/b/data", "Row").await;
    let before = lines(&unit).await.len();
    // Content, and reading, by the master.
    unit.put_file("c/b/file", "x").await;
    unit.create("c/b/data/Row", r#"{"__id":"1"}"#).await;
    for path in ["__ctl/Cell", "c/__ctl/Account", "c/b/file"] {
        let read = unit.admin_request("GET", path).send().await;
        read.expect_success();
    }
    // Accounts of a cell, also those that may do everything in it, and nobody.
    let token = unit.access_token("c").await;
    let created = unit.post_as(&token, "c/__ctl/Role", r#"{"Name":"own"}"#);
    created.await.expect(201);
    let anonymous = unit.request("DELETE", "c/b").send().await;
    assert!(anonymous.status.is_client_error());
    let invalid = unit.request("POST", "__ctl/Cell").bearer("nonsense");
    assert_eq!(invalid.body("{}").send().await.status, 401);
    assert_eq!(entries(&unit, before).await, Vec::<Value>::new());
}

#[tokio::test]
async fn request_is_refused_if_its_entry_cannot_be_written() {
    let unit = TestUnit::new().await;
    unit.store.fail_audit_log(true);
    let refused = unit.post("__ctl/Cell", r#"{"Name":"e"}"#).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(unit.model.audit_log().lost_entries(), 1);
    // Content goes on.
    unit.put_file("c/b/file", "x").await;
    unit.store.fail_audit_log(false);
    assert_eq!(unit.request("GET", "e").send().await.status, 404);
    unit.create_cell("e").await;
    assert_eq!(unit.model.audit_log().lost_entries(), 1);
}

#[tokio::test]
async fn request_that_is_given_up_has_an_entry_that_says_so() {
    let unit = TestUnit::new().await;
    let before = lines(&unit).await.len();
    let cell = personium_store::Space::Cell(unit.cell_id().await);
    let request = unit.admin_request("POST", "c/__ctl/Role");
    let sent = request.body(r#"{"Name":"r"}"#).send();
    unit.store.cancel_during_commit(cell, sent).await;
    unit.model.finish_commits().await;
    personium_testkit::wait_until("the entry", async || {
        entries(&unit, before).await.len() == 2
    })
    .await;
    let entries = entries(&unit, before).await;
    assert_eq!(entries[1]["event"], "end");
    assert_eq!(entries[1]["begin"], entries[0]["sequence"]);
    let outcome = entries[1]["outcome"].as_str().unwrap();
    assert!(outcome.starts_with("given up"), "{outcome}");
}

#[tokio::test]
async fn entries_contain_no_passwords_and_tokens() {
    let unit = TestUnit::new().await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    let token = unit.access_token("c").await;
    let secret = "verysecret1";
    let long = "x".repeat(5_000);
    for (method, path) in [
        ("POST", "c/__ctl/Account".to_owned()),
        ("MERGE", "c/__ctl/Account('me')".to_owned()),
        ("DELETE", format!("c/__ctl/Account('{token}')")),
        ("DELETE", format!("c/password={secret}")),
        (
            "DELETE",
            format!("c/__ctl/Role('x')?p_cookie_peer={secret}&token={token}"),
        ),
        ("MKCOL", format!("c/{long}")),
    ] {
        let request = unit.admin_request(method, &path).headers(&[
            ("x-personium-credential", secret),
            ("x-personium-requestkey", "k"),
            ("if-match", "*"),
            ("cookie", &format!("p_cookie={token}")),
        ]);
        let body = format!("{{\"Name\":\"a\",\"Password\":\"{secret}\"}}");
        request.body(body).send().await;
    }
    let all = lines(&unit).await.join("\n");
    assert!(all.contains("Account('me')"), "{all}");
    for part in [secret, token.as_str(), MASTER_TOKEN_IN_QUOTES, PASSWORD] {
        assert!(!all.contains(part), "{part} in {all}");
    }
    assert!(all.lines().all(|line| line.len() < 3_000), "{all}");
}

/// The master token as a value; its letters alone are part of `masterToken`.
const MASTER_TOKEN_IN_QUOTES: &str = "\"master\"";
