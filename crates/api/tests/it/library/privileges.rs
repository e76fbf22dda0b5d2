//! A script has the rights of the token that it uses, and no more.

use personium_testkit::{TestClient, cell_url};
use serde_json::{Value, json};

use super::ScriptUnit;

/// Requests to the unit: what a script does, and the same without a script.
const ACTIONS: [(&str, &str, &str, &str); 9] = [
    ("mine.ctl.role.query().run()", "GET", "c/__ctl/Role", ""),
    (
        "mine.ctl.role.create({Name:'NEW'})",
        "POST",
        "c/__ctl/Role",
        "{\"Name\":\"NEW\"}",
    ),
    (
        "mine.ctl.account.query().run()",
        "GET",
        "c/__ctl/Account",
        "",
    ),
    ("mine.ctl.box.query().run()", "GET", "c/__ctl/Box", ""),
    (
        "mine.event.post({Type:'t'})",
        "POST",
        "c/__event",
        "{\"Type\":\"t\"}",
    ),
    (
        "mine.currentLog.getString('default.log')",
        "GET",
        "c/__log/current/default.log",
        "",
    ),
    ("own.getString('f')", "GET", "c/app/f", ""),
    ("own.put('f', 'text/plain', 'x')", "PUT", "c/app/f", "x"),
    (
        "own.getString('svc/__src/run.js')",
        "GET",
        "c/app/svc/__src/run.js",
        "",
    ),
];

/// The statuses of all actions by a script and without one; 0 for success.
async fn outcomes(unit: &ScriptUnit, caller: &TestClient) -> (Vec<Value>, Vec<Value>) {
    let (mut scripted, mut direct) = (Vec::new(), Vec::new());
    for (at, (act, method, path, body)) in ACTIONS.iter().enumerate() {
        let name = format!("new{at}{}", direct.len());
        let act = act.replace("NEW", &name);
        let code =
            format!("var o = fails(function () {{ {act}; }}); return o === 'no failure' ? 0 : o;");
        scripted.push(unit.value_for(caller, &code).await);
        if method == &"POST" && path.ends_with("Role") {
            unit.unit
                .admin_outcome("DELETE", &format!("c/__ctl/Role('{name}')"))
                .await;
        }
        let request = caller
            .request(method, path)
            .body(body.replace("NEW", &name));
        let response = request.send().await;
        direct.push(match response.status.is_success() {
            true => json!(0),
            false => json!([response.status.as_u16(), response.json()["code"]]),
        });
        if method == &"POST" && path.ends_with("Role") {
            unit.unit
                .admin_outcome("DELETE", &format!("c/__ctl/Role('{name}')"))
                .await;
        }
    }
    (scripted, direct)
}

async fn unit_with_file() -> ScriptUnit {
    let unit = ScriptUnit::new().await;
    unit.unit.put_file("c/app/f", "x").await;
    unit
}

#[tokio::test]
async fn script_without_other_rights_may_do_what_its_caller_may_do() {
    let unit = unit_with_file().await;
    let (scripted, direct) = outcomes(&unit, &unit.caller).await;
    assert_eq!(scripted, direct);
    assert!(direct.iter().all(|outcome| outcome[0] == 403), "{direct:?}");
}

#[tokio::test]
async fn each_right_of_the_caller_is_a_right_of_the_script() {
    let unit = unit_with_file().await;
    let grants: [(&str, &str, &[&str]); 5] = [
        ("c", "r1", &["p:auth-read"]),
        ("c", "r2", &["p:auth", "p:box-read"]),
        ("c", "r3", &["p:event", "p:log-read"]),
        ("c/app", "r4", &["D:read", "p:exec"]),
        ("c/app", "r5", &["D:write", "D:read-properties", "p:exec"]),
    ];
    for (path, role, privileges) in grants {
        unit.unit
            .grant_by_new_role(path, ("me", role), privileges)
            .await;
        let (scripted, direct) = outcomes(&unit, &unit.caller).await;
        assert_eq!(scripted, direct, "{role}");
        assert!(direct.contains(&json!(0)), "{role}: {direct:?}");
        assert!(
            direct.iter().any(|outcome| outcome[0] == 403),
            "{role}: {direct:?}"
        );
    }
}

#[tokio::test]
async fn role_of_another_cell_is_a_right_of_the_script() {
    let unit = unit_with_file().await;
    // Visitors of `d` may execute the service, and may read the box by the role `visitor`.
    unit.unit.create_role("c", "visitor").await;
    unit.unit
        .create(
            "c/__ctl/ExtCell",
            &json!({"Url": cell_url("d")}).to_string(),
        )
        .await;
    let key = format!("ExtCell('{}')", personium_testkit::escape(&cell_url("d")));
    let visitor = unit
        .unit
        .with_token(&unit.unit.trans_cell_token("d", "c").await);
    let denied = unit.send(&visitor, "return 1;").await;
    assert_eq!(denied.status, 403, "{}", denied.text());
    unit.unit
        .grant_to_everybody(super::SERVICE, &["p:exec"])
        .await;
    let (scripted, direct) = outcomes(&unit, &visitor).await;
    assert_eq!(scripted, direct);
    assert!(!direct.contains(&json!(0)), "{direct:?}");
    unit.unit.link("c", &key, "_Role", "Role('visitor')").await;
    unit.unit
        .grant_to_role("c/app", "visitor", &["D:read"])
        .await;
    let (scripted, direct) = outcomes(&unit, &visitor).await;
    assert_eq!(scripted, direct);
    assert_eq!((&direct[6], &direct[7][0]), (&json!(0), &json!(403)));
}

#[tokio::test]
async fn scope_of_the_token_of_the_caller_limits_the_script() {
    let unit = unit_with_file().await;
    unit.unit
        .grant_by_new_role("c", ("me", "rules"), &["p:root"])
        .await;
    let login = unit.unit.login("c", &[("scope", "auth-read")]).await;
    let narrow = unit
        .unit
        .with_token(login["access_token"].as_str().unwrap());
    let reads = "return [fails(function () { mine.ctl.role.query().run(); }), fails(function () { mine.ctl.role.create({Name:'made'}); })];";
    let all = unit.value(reads).await;
    assert_eq!(all, json!(["no failure", "no failure"]));
    let response = unit.send(&narrow, reads).await;
    if response.status == 200 {
        assert_eq!(response.json()["value"][0], "no failure");
        assert_eq!(response.json()["value"][1][0], 403);
    } else {
        assert_eq!(response.status, 403, "{}", response.text());
    }
}

#[tokio::test]
async fn caller_without_token_has_no_rights_in_a_public_service() {
    let unit = unit_with_file().await;
    unit.unit
        .grant_to_everybody(super::SERVICE, &["p:exec"])
        .await;
    let anonymous = unit.unit.with_token("");
    let request = unit.unit.request("POST", "c/app/svc/run");
    let code = "return [fails(function () { own.getString('f'); }), fails(function () { mine.ctl.role.query().run(); }),
        mine.getToken().access_token, pjvm.getClientToken(), box.getString('f')];";
    let response = request.body(code).send().await.expect(200);
    let denied = json!([401, "PR401-AU-0001"]);
    assert_eq!(
        response.json()["value"],
        json!([denied, denied, "null", "", "x"])
    );
    drop(anonymous);
}

#[tokio::test]
async fn script_cannot_choose_another_subject_or_the_unit() {
    let unit = unit_with_file().await;
    // What a client sends cannot change who the service subject is, and which unit the script talks to.
    let code = "return [pjvm.getBaseUrl(), cell.getUrl(), request.headers['x-baseurl'], request.headers['x-personium-box-schema'], pjvm.getBoxSchema()];";
    let request = unit
        .caller
        .request("POST", "c/app/svc/run")
        .headers(&[
            ("x-baseurl", "http://evil.example/"),
            ("x-personium-fs-path", "/etc"),
            ("x-personium-fs-routing-id", "1"),
            ("x-personium-box-schema", "http://evil.example/"),
            ("x-personium-path-based-cell-url-enabled", "false"),
            ("x-request-uri", "http://evil.example/c/app/svc/run"),
        ])
        .body(code);
    let response = request.send().await.expect(200);
    let unit_url = "http://unit.example/";
    let schema = "http://unit.example/appcell/";
    let expected = json!([unit_url, "http://unit.example/c/", unit_url, schema, schema]);
    assert_eq!(response.json()["value"], expected);
}

#[tokio::test]
async fn service_subject_of_one_cell_has_no_rights_in_another() {
    let unit = unit_with_file().await;
    unit.unit.create_box("d", "b").await;
    unit.unit.put_file("d/b/f", "x").await;
    let code = "var far = _p.as('serviceSubject').cell('d');
        return [fails(function () { far.box('b').getString('f'); })[0], fails(function () { far.ctl.role.query().run(); })[0],
          fails(function () { far.ctl.role.create({Name:'ruler'}); })[0], fails(function () { far.acl.set({ace:[]}); })[0]];";
    assert_eq!(unit.value(code).await, json!([403, 403, 403, 403]));
}
