//! `_p.as`: identities and their tokens.

use personium_testkit::{PASSWORD, cell_url, success};
use serde_json::json;

use super::ScriptUnit;

/// Gives the visitors of a cell a role in another cell, which may read the box `box` there.
async fn let_visitors_read(unit: &ScriptUnit, of: &str, at: &str) {
    let unit = &unit.unit;
    unit.create_box(at, "box").await;
    unit.create_role(at, "visitor").await;
    unit.create(
        &format!("{at}/__ctl/ExtCell"),
        &json!({"Url": cell_url(of)}).to_string(),
    )
    .await;
    let key = format!("ExtCell('{}')", personium_testkit::escape(&cell_url(of)));
    unit.link(at, &key, "_Role", "Role('visitor')").await;
    unit.grant_to_role(&format!("{at}/box"), "visitor", &["D:read"])
        .await;
}

#[tokio::test]
async fn client_is_the_caller() {
    let unit = ScriptUnit::new().await;
    let out = unit
        .value("return [mine.getUrl(), mine.getToken(), mine.getName(), pjvm.getClientToken()];")
        .await;
    assert_eq!(out[0], "http://unit.example/c/");
    assert_eq!(out[1]["access_token"], unit.caller.token());
    assert_eq!(out[1]["token_type"], "Bearer");
    let others = ["expires_in", "refresh_token", "refresh_token_expires_in"];
    assert_eq!(others.map(|name| out[1][name].clone()), ["0", "", "0"]);
    let code = "return [_p.as({accessToken:'x'}).cell(), cell].map(function (c) { var t = c.getToken(); delete t.access_token; return t; });";
    let tokens = |expires: &str, kind: &str| json!({"expires_in": expires, "refresh_token": "", "refresh_token_expires_in": "0", "token_type": kind});
    let expected = json!([tokens("0", "null"), tokens("3600", "Bearer")]);
    assert_eq!(unit.value(code).await, expected);
    let refused = "return ['client', 'serviceSubject'].map(function (who) { return fails(function () { _p.as(who).asCellOwner(); }); });";
    let unsupported = json!([400, "unsupported_grant_type"]);
    assert_eq!(unit.value(refused).await, json!([unsupported, unsupported]));
    assert_eq!(
        (&out[2], &out[3]),
        (&json!(""), &json!(unit.caller.token()))
    );
    let code = "return fails(function () { own.getColList(); });";
    assert_eq!(unit.value(code).await, json!([403, "PR403-AU-0002"]));
    let by_admin = unit.value_for(&unit.unit.admin(), code).await;
    assert_eq!(by_admin, "no failure");
}

#[tokio::test]
async fn service_subject_is_its_account_in_the_own_cell_by_name_and_by_url() {
    let unit = ScriptUnit::new().await;
    let code = "var s = _p.as('serviceSubject');
        return [undefined, 'c', 'http://unit.example/c', 'http://unit.example/c/', 'personium-localunit:/c/'].map(function (name) {
          var it = s.cell(name); return [it.getUrl(), it.ctl.role.query().run().d.results.length > 0, it.box('app').getColList().length > 0]; });";
    for outcome in unit.value(code).await.as_array().unwrap() {
        assert_eq!(*outcome, json!(["http://unit.example/c/", true, true]));
    }
}

#[tokio::test]
async fn token_of_the_service_subject_works_outside_of_the_script() {
    let unit = ScriptUnit::new().await;
    let token = unit.value("return cell.getToken().access_token;").await;
    let token = token.as_str().unwrap();
    let outcome = unit
        .unit
        .outcome_with_token("GET", "c/__ctl/Role", token)
        .await;
    assert_eq!(outcome, success(200));
    let elsewhere = unit
        .unit
        .outcome_with_token("GET", "d/__ctl/Role", token)
        .await;
    assert_eq!(elsewhere.0, 401);
}

#[tokio::test]
async fn service_subject_is_a_visitor_in_other_cells() {
    let unit = ScriptUnit::new().await;
    let code = "var far = _p.as('serviceSubject').cell('d');
        return [far.getUrl(), fails(function () { far.box('box').getFileList(); }), fails(function () { far.box('box').mkCol('x'); }),
          fails(function () { far.ctl.role.query().run(); })];";
    let denied = json!([403, "PR403-AU-0002"]);
    unit.unit.create_box("d", "other").await;
    let before = "return fails(function () { _p.as('serviceSubject').cell('d').box('other').getFileList(); });";
    assert_eq!(unit.value(before).await, denied);
    let_visitors_read(&unit, "c", "d").await;
    assert_eq!(
        unit.value(code).await,
        json!(["http://unit.example/d/", "no failure", denied, denied])
    );
    assert_eq!(unit.value(before).await, denied);
}

#[tokio::test]
async fn password_grant_gives_the_rights_of_the_account() {
    let unit = ScriptUnit::new().await;
    let code = "
        var me = _p.as({cellUrl:'c', userId:'me', password:'PW'}), subject = _p.as({cellUrl:'http://unit.example/c/', userId:'subject', password:'PW'});
        var bad = _p.as({cellUrl:'c', userId:'me', password:'wrong&word+'});
        return [me.cell().getUrl(), fails(function () { me.cell().ctl.role.query().run(); }), subject.cell().ctl.role.query().run().d.results.length > 0,
          fails(function () { bad.cell(); }), fails(function () { _p.as({cellUrl:'nosuch', userId:'me', password:'PW'}).cell(); })[0]];"
        .replace("PW", PASSWORD);
    let expected = json!([
        "http://unit.example/c/",
        [403, "PR403-AU-0002"],
        true,
        [400, "invalid_grant"],
        404
    ]);
    assert_eq!(unit.value(&code).await, expected);
}

#[tokio::test]
async fn password_with_reserved_characters_is_encoded() {
    let unit = ScriptUnit::new().await;
    let code = "cell.ctl.account.create({Name:'special'}, 'password8');
        cell.ctl.account.changePassword('special', 'a=b^c{d}e|f~1');
        return fails(function () { _p.as({cellUrl:'c', userId:'special', password:'a=b^c{d}e|f~1'}).cell(); });";
    assert_eq!(unit.value(code).await, "no failure");
}

#[tokio::test]
async fn refresh_token_gives_new_tokens() {
    let unit = ScriptUnit::new().await;
    let code = "
        var tokens = _p.as({cellUrl:'c', userId:'subject', password:'PW'}).cell().getToken();
        var again = _p.as({cellUrl:'c', refreshToken:tokens.refresh_token}).cell();
        return [Object.keys(tokens).sort(), Object.keys(tokens).map(function (name) { return typeof tokens[name]; }),
          again.ctl.role.query().run().d.results.length > 0, again.getToken().access_token !== tokens.access_token,
          fails(function () { _p.as({cellUrl:'c', refreshToken:'bad'}).cell(); })[0],
          fails(function () { _p.as({cellUrl:'c', refreshToken:''}).cell(); })[0],
          fails(function () { _p.as({cellUrl:'c', refreshToken:null}).cell(); }), fails(function () { _p.as({cellUrl:'c', refreshToken:5}).cell(); })];"
        .replace("PW", PASSWORD);
    let invalid = json!([0, "Invalid"]);
    let expected = json!([
        [
            "access_token",
            "expires_in",
            "refresh_token",
            "refresh_token_expires_in",
            "token_type"
        ],
        ["string", "string", "string", "string", "string"],
        true,
        true,
        400,
        400,
        invalid,
        invalid
    ]);
    assert_eq!(unit.value(&code).await, expected);
}

#[tokio::test]
async fn trans_cell_token_is_used_and_exchanged_at_the_cell_that_it_is_for() {
    let unit = ScriptUnit::new().await;
    let_visitors_read(&unit, "c", "d").await;
    let code = "
        var far = _p.as({cellUrl:'c', userId:'me', password:'PW'}).cell('d');
        var token = far.getToken().access_token;
        var exchanged = _p.as({cellUrl:'d', accessToken:token}).cell();
        return [far.getUrl(), fails(function () { far.box('box').getFileList(); }), exchanged.getUrl(),
          fails(function () { exchanged.box('box').getFileList(); }), fails(function () { exchanged.box('box').mkCol('x'); })[0],
          _p.as({cellUrl:'c', accessToken:token}).cell().getUrl(), fails(function () { _p.as({cellUrl:'c', accessToken:token}).cell().ctl.role.query().run(); })[0],
          fails(function () { _p.as({cellUrl:'d', accessToken:'bad'}).cell(); })[0]];"
        .replace("PW", PASSWORD);
    let url = "http://unit.example/d/";
    let expected = json!([
        url,
        "no failure",
        url,
        "no failure",
        403,
        "http://unit.example/c/",
        401,
        400
    ]);
    assert_eq!(unit.value(&code).await, expected);
}

#[tokio::test]
async fn application_is_authenticated_with_its_account() {
    let unit = ScriptUnit::new().await;
    let app = r#"{"Name":"their","Schema":"http://unit.example/appcell/"}"#;
    unit.unit.create("d/__ctl/Box", app).await;
    let everybody = personium_testkit::everybody_ace(&["D:read"]);
    unit.unit
        .set_acl_with("d/their", "p:requireSchemaAuthz='public'", &everybody)
        .await;
    let code = "
        var schema = {schemaUrl:'appcell', schemaUserId:'me', schemaPassword:'PW'};
        var as = function (more) { return _p.as(Object.assign({cellUrl:'d', userId:'me', password:'PW'}, more)); };
        var plain = as({}).cell(), app = as(schema).cell();
        var visitor = _p.as({cellUrl:'c', userId:'me', password:'PW'}).cell('d').getToken().access_token;
        var exchanged = _p.as(Object.assign({cellUrl:'d', accessToken:visitor}, schema)).cell();
        return [fails(function () { plain.box('their').getFileList(); })[0], fails(function () { app.box('their').getFileList(); }),
          app.box().getPath(), app.box('http://unit.example/appcell/').getPath(), fails(function () { exchanged.box('their').getFileList(); }),
          fails(function () { as({schemaUrl:'appcell', schemaUserId:'me', schemaPassword:'wrong'}).cell(); }),
          fails(function () { as({schemaUrl:'nosuch', schemaUserId:'me', schemaPassword:'PW'}).cell(); })[0]];"
        .replace("PW", PASSWORD);
    let found = "http://unit.example/d/their";
    let expected = json!([
        403,
        "no failure",
        found,
        found,
        "no failure",
        [400, "invalid_grant"],
        404
    ]);
    assert_eq!(unit.value(&code).await, expected);
}

#[tokio::test]
async fn given_token_is_used_as_it_is() {
    let unit = ScriptUnit::new().await;
    let code = "var token = cell.getToken().access_token;
        var it = _p.as({accessToken:token}).cell();
        return [it.getUrl(), it.ctl.role.query().run().d.results.length > 0, it.getToken().access_token === token,
          fails(function () { _p.as({accessToken:'bad'}).cell().ctl.role.query().run(); })[0]];";
    assert_eq!(
        unit.value(code).await,
        json!(["http://unit.example/c/", true, true, 401])
    );
}

#[tokio::test]
async fn other_arguments_are_refused() {
    let unit = ScriptUnit::new().await;
    let code = "return ['', 'Client', 'admin', 5, {}, [], {cellUrl:'c'}, {cellUrl:'c', userId:'me'}, {cellUrl:'c', userId:'me', password:5},
        {cellUrl:5, userId:'me', password:'x'}, {accessToken:5}, {userId:'me', password:'x'}].map(function (given) {
          return fails(function () { _p.as(given); }); });";
    for outcome in unit.value(code).await.as_array().unwrap() {
        assert_eq!(*outcome, json!([0, "Invalid"]));
    }
}

#[tokio::test]
async fn own_password_is_changed_by_its_account_only() {
    let unit = ScriptUnit::new().await;
    let code = "
        cell.ctl.account.create({Name:'a'}, 'password8');
        var a = _p.as({cellUrl:'c', userId:'a', password:'password8'});
        a.cell();
        var login = function (password) { return function () { _p.as({cellUrl:'c', userId:'a', password:password}).cell(); }; };
        return [a.changePassword('password9'), fails(login('password8')), fails(login('password9')),
          fails(function () { a.changePassword(); }), fails(function () { _p.as({accessToken:'bad'}).changePassword('password9'); })[0],
          fails(function () { _p.as('client').changePassword('x'); })[0], _p.as('client').changePassword('password7')];";
    let expected = json!([
        null,
        [400, "invalid_grant"],
        "no failure",
        [0, "Invalid"],
        401,
        400,
        null
    ]);
    assert_eq!(unit.value(code).await, expected);
    let fields = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", "password7"),
    ];
    assert_eq!(unit.unit.request_token("c", &fields).await.status, 200);
}

#[tokio::test]
async fn service_without_subject_has_no_service_subject() {
    let unit = ScriptUnit::new().await;
    let script = "function () { var out; try { _p.as('serviceSubject'); } catch (e) { out = [e.code, e.message]; }
        return {status:200, headers:{}, body:[String(JSON.stringify(out))]}; }";
    unit.put_script(script).await;
    for subject in [None, Some("nobody")] {
        super::register(
            &unit.unit,
            super::SERVICE,
            subject,
            &[("other", "other.js")],
        )
        .await;
        let response = unit.call_script().await.expect(200);
        let expected = match subject {
            None => r#"[0,"ServiceSubject undefined."]"#,
            Some(_) => "undefined",
        };
        assert_eq!(response.text(), expected, "{subject:?}");
    }
}

#[tokio::test]
async fn accounts_that_cannot_log_in_are_no_service_subject() {
    let unit = ScriptUnit::new().await;
    let code =
        "return fails(function () { _p.as('serviceSubject').cell().ctl.role.query().run(); });";
    assert_eq!(unit.value(code).await, "no failure");
    let request = unit
        .unit
        .admin_request("MERGE", "c/__ctl/Account('subject')");
    let request = request
        .header("if-match", "*")
        .body(r#"{"Status":"deactivated"}"#);
    request.send().await.expect(204);
    assert_eq!(unit.value(code).await, json!([401, "PR401-AU-0001"]));
}

#[tokio::test]
async fn token_of_the_caller_is_not_sent_to_other_servers() {
    let unit = ScriptUnit::with_settings(|settings| settings.allow_private_networks = true).await;
    let server = personium_testkit::StubServer::start().await;
    let code = format!(
        "return [fails(function () {{ _p.as('client').cell('{0}x').event.post({{Type:'t'}}); }}),
           fails(function () {{ new _p.extension.HttpClient().post('{0}y', {{}}, 'application/json', '{{}}'); }})];",
        server.url()
    );
    let receive = async {
        [
            server.receive("200 OK", "{}").await,
            server.receive("200 OK", "{}").await,
        ]
    };
    let (_, received) = tokio::join!(unit.value(&code), receive);
    for request in received {
        assert_eq!(request.header("authorization"), None, "{}", request.head);
        assert_eq!(
            request.header("x-personium-requestkey"),
            None,
            "{}",
            request.head
        );
    }
}
