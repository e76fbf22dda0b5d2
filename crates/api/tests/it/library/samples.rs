//! Scripts as applications have them. Some are in archives beside the project, unchanged; without those one test does nothing. The
//! others do what the back ends of published applications do, in words of our own.

use std::fs;

use personium_testkit::{StubServer, TestResponse, artifacts_folder};
use serde_json::{Value, json};

use super::{ScriptUnit, register};
use crate::install::{install_bytes, wait_for_installation};

async fn install(unit: &ScriptUnit, archive: &str, name: &str) -> bool {
    let Some(folder) = artifacts_folder() else {
        return false;
    };
    let archive = fs::read(folder.join(archive)).unwrap();
    install_bytes(&unit.unit, name, archive).await.expect(202);
    let shown = wait_for_installation(&unit.unit, name).await;
    assert_eq!(shown["status"], "ready", "{shown}");
    true
}

#[tokio::test]
async fn services_of_installed_applications_answer() {
    let unit = ScriptUnit::new().await;
    if !install(&unit, "box_barsrc_good.bar", "good").await {
        return;
    }
    let response = unit.unit.admin_request("GET", "c/good/svc/s").send().await;
    assert_eq!(response.expect(200).text(), "from bar");
    assert!(install(&unit, "box_migrated_appbox.bar", "appbox").await);
    let response = unit
        .unit
        .admin_request("GET", "c/appbox/svc/hello")
        .send()
        .await;
    assert_eq!(response.expect(200).text(), "hello GET こんにちは");
    let request = unit
        .unit
        .admin_request("POST", "c/appbox/svc/calc/add/sum?x=1&y");
    let response = request.body("[1,2,39]").send().await.expect(200);
    assert_eq!(response.json(), json!({"sum": 42, "q": "x=1&y"}));
    let denied = unit
        .caller
        .request("GET", "c/appbox/svc/hello")
        .send()
        .await;
    assert!(
        [401, 403].contains(&denied.status.as_u16()),
        "{}",
        denied.text()
    );
}

/// The helper functions of an application, a module that uses another one.
const HELPERS: &str = "exports.helpers = (function () {
    var helpers = helpers || {};
    var config = require('config').config;
    helpers.appUrl = function () { return config.url; };
    helpers.refuse = function (status, code, text) {
        var body = JSON.stringify({code: code, message: {lang: 'en', value: text}});
        throw new _p.PersoniumException('io.personium.client.DaoException: ' + status + ',' + body);
    };
    helpers.expect = function (request, method) {
        if (request.method !== method) helpers.refuse(405, 'PR405-MC-0001', 'Not this method.');
        var from = request['headers']['referer'];
        for (i = 0; i < config.origins.length; i++) {
            if (from && from.indexOf(config.origins[i]) == 0) return;
        }
        helpers.refuse(400, 'PR400-XX-0001', 'Not from this page.');
    };
    helpers.proof = function (target) { return _p.as(config.login).cell(target).getToken().access_token; };
    helpers.grant = function (cellUrl, fields) {
        var answer = new _p.extension.HttpClient().post(cellUrl + '__token', {Accept: 'application/json', 'content-type': 'text/plain'},
            'application/x-www-form-urlencoded', fields.join('&'));
        if (parseInt(answer.status) !== 200) throw new _p.PersoniumException('DaoException: ' + answer.status + ',' + answer.body);
        return JSON.parse(answer.body);
    };
    helpers.answer = function (status, value) {
        var plain = typeof value == 'string';
        return {status: status, headers: {'Content-Type': plain ? 'text/plain' : 'application/json'}, body: [plain ? value : JSON.stringify(value)]};
    };
    helpers.failed = function (e) {
        if (Object.prototype.toString.call(e) === '[object Error]') return helpers.answer(500, {name: e.name, text: e.message});
        return helpers.answer(e.code, JSON.parse(e.message));
    };
    return helpers;
}());";

/// Sends a user to the login page of a cell. What is loaded follows the function.
const BEGIN: &str = "function (request) {
    try {
        helpers.expect(request, 'POST');
        var cellUrl = _p.util.queryParse(request.queryString).cellUrl;
        var state = String(new Date().getTime()) + '-app';
        return {status: 303, headers: {Location: location(cellUrl, state), 'Set-Cookie': ['app', '=', state].join('')}, body: []};
    } catch (e) {
        return helpers.failed(e);
    }
}

function location(cellUrl, state) {
    var back = helpers.appUrl() + '__/auth/finish?cellUrl=' + cellUrl;
    return [cellUrl, '__authz?', 'response_type=code&client_id=' + encodeURIComponent(helpers.appUrl()),
        '&redirect_uri=' + encodeURIComponent(back), '&state=' + encodeURIComponent(state)].join('');
};

var helpers = require('helpers').helpers;
";

/// Exchanges the code for tokens, then those for tokens of another cell.
const FINISH: &str = "function init(request) {
    try {
        helpers.expect(request, 'GET');
        const { cellUrl, code, state, other } = _p.util.queryParse(request.queryString);
        if ((request.headers['cookie'] || '').split('=')[1] != state) helpers.refuse(401, 'PR401-XX-0001', 'Another state.');
        var client = ['client_id=' + helpers.appUrl(), 'client_secret=' + helpers.proof(cellUrl)];
        var tokens = helpers.grant(cellUrl, ['grant_type=authorization_code', 'code=' + code].concat(client));
        var moved = helpers.grant(cellUrl, ['grant_type=refresh_token', 'refresh_token=' + tokens.refresh_token, 'p_target=' + other].concat(client));
        var there = ['client_id=' + helpers.appUrl(), 'client_secret=' + helpers.proof(other)];
        var last = helpers.grant(other, ['grant_type=urn:ietf:params:oauth:grant-type:saml2-bearer', 'assertion=' + moved.access_token].concat(there));
        return helpers.answer(200, {here: tokens.token_type, there: last.token_type});
    } catch (e) {
        return helpers.failed(e);
    }
}
var helpers = require('helpers').helpers;
";

const CONFIG: &str = "exports.config = {url: 'http://unit.example/appcell/', origins: ['http://unit.example/appcell/'],
    login: {cellUrl: 'http://unit.example/appcell/', userId: 'me', password: 'password1'}};";

/// An application cell whose service `auth` logs users in.
async fn unit_with_login() -> ScriptUnit {
    let unit = ScriptUnit::new().await;
    let auth = "appcell/__/auth";
    unit.unit.create_collection(auth, "service").await;
    register(
        &unit.unit,
        auth,
        None,
        &[("begin", "begin.js"), ("finish", "finish.js")],
    )
    .await;
    for (name, source) in [
        ("config", CONFIG),
        ("helpers", HELPERS),
        ("begin", BEGIN),
        ("finish", FINISH),
    ] {
        let path = format!("{auth}/__src/{name}.js");
        unit.unit.put_file(&path, source).await;
    }
    unit.unit.grant_to_everybody(auth, &["p:exec"]).await;
    unit
}

async fn call(unit: &ScriptUnit, method: &str, path: &str, cookie: &str) -> TestResponse {
    let request = unit
        .unit
        .request(method, &format!("appcell/__/auth/{path}"));
    let request = request.header("referer", "http://unit.example/appcell/__/page.html");
    request.header("cookie", cookie).send().await
}

#[tokio::test]
async fn application_logs_its_users_in() {
    let unit = unit_with_login().await;
    let begun = call(&unit, "POST", "begin?cellUrl=http://unit.example/c/", "").await;
    assert_eq!(begun.status, 303, "{}", begun.text());
    let cookie = begun.header("set-cookie").unwrap().to_owned();
    let page = begun.header("location").unwrap().to_owned();
    let query = page.split_once('?').unwrap().1;
    let request = unit.unit.request("POST", "c/__authz");
    let form = format!("{query}&username=me&password=password1");
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let agreed = request.body(form).send().await;
    assert_eq!(agreed.status, 303, "{}", agreed.text());
    let back = agreed.header("location").unwrap();
    let query = back.split_once('?').unwrap().1.to_owned();
    let finish = format!("finish?{query}&other=http://unit.example/d/");
    let refused = call(&unit, "GET", &finish, "app=forged").await;
    assert_eq!(refused.status, 401, "{}", refused.text());
    assert_eq!(refused.json()["code"], "PR401-XX-0001");
    let finished = call(&unit, "GET", &finish, &cookie).await.expect(200);
    assert_eq!(
        finished.json(),
        json!({"here": "Bearer", "there": "Bearer"})
    );
    // What the token endpoint refuses is what the application answers.
    let again = call(&unit, "GET", &finish, &cookie).await.expect(400);
    assert_eq!(again.json()["error"], "invalid_grant");
    let wrong = call(&unit, "PUT", "begin", "").await.expect(405);
    assert_eq!(wrong.json()["code"], "PR405-MC-0001");
}

#[tokio::test]
async fn exceptions_of_the_library_are_told_from_errors_of_the_language() {
    let unit = ScriptUnit::new().await;
    let code = "var tag = function (act) { try { act(); } catch (e) { return [Object.prototype.toString.call(e), e instanceof Error]; } };
        return [tag(function () { throw new _p.PersoniumException('DaoException: 400,{}'); }), tag(function () { box.getString('none'); }),
          tag(function () { missing(); }), tag(function () { new _p.extension.HttpClient().get(); })];";
    let plain = json!(["[object Object]", true]);
    let error = json!(["[object Error]", true]);
    assert_eq!(unit.value(code).await, json!([plain, plain, error, error]));
}

#[tokio::test]
async fn failures_of_core_methods_become_exceptions_of_the_library() {
    let unit = ScriptUnit::new().await;
    let code = "var wrapped = function (act) {
          try { act(); } catch (e) { var made = new _p.PersoniumException(e.message); return [e.name, made.code, made.message]; } };
        _p.AccountManager.prototype.retrieve = function (name) {
          try { return new _p.Account(this.core.retrieve(name)); } catch (e) { throw new _p.PersoniumException(e.message); } };
        return [wrapped(function () { cell.ctl.role.core.retrieve({Name: 'none'}); }), wrapped(function () { box.core.getString('none file'); }),
          wrapped(function () { box.core.put({}); }), fails(function () { cell.ctl.account.retrieve('none'); })];";
    let out = unit.value(code).await;
    let message = |at: usize| serde_json::from_str::<Value>(out[at][2].as_str().unwrap()).unwrap();
    for at in [0, 1] {
        assert_eq!(
            (&out[at][0], &out[at][1]),
            (&json!("JavaException"), &json!(404)),
            "{out}"
        );
        assert!(
            message(at)["code"].as_str().unwrap().starts_with("PR404-"),
            "{out}"
        );
    }
    assert_eq!(out[2], json!(["JavaException", 0, "Invalid"]));
    assert_eq!(out[3], json!([404, "PR404-OD-0002"]));
}

/// Takes over the events of a calendar elsewhere: new, changed and removed ones. The state is in a file.
const TAKE_OVER: &str = "var box = _p.localbox(), table = box.odata('calendar').entitySet('event'), path = 'state.json', states = [];
    try {
        states = JSON.parse(box.getString(path));
    } catch (e) {
        if (e.code != 404) throw e;
    }
    var state = states[0] || (states[0] = {});
    if (state.token == null) { address = url; } else { address = url + '?since=' + encodeURIComponent(state.token); }
    var answer = new _p.extension.HttpClient().get(address, {Authorization: 'Bearer given'});
    if (null == answer || answer.status != 200) throw new Error(answer.status);
    var page = JSON.parse(answer.body), items = page['items'];
    each:
    for (var at = 0; at < items.length; at++) {
        var item = items[at], found = null;
        var event = {__id: item.id, summary: item.summary, start: '/Date(' + new Date(item.start).valueOf() + ')/'};
        try {
            found = table.retrieve(event.__id);
        } catch (e) {
            if (e.code == 404) {
                if (item.status != 'cancelled') table.create(event);
                continue each;
            }
            throw e;
        }
        if (item.status == 'cancelled') table.del(found.__id); else table.update(found.__id, event, '*');
    }
    state.token = page.next;
    box.put({path: path, data: JSON.stringify(states), contentType: 'application/json', charset: 'utf-8', etag: '*'});
    return table.query().filter('start ge 1000').orderby('__id').select('summary').top(1000)
        .inlinecount('allpages').run().d.results.map(function (e) { return e.summary; });";

#[tokio::test]
async fn application_takes_over_events_from_elsewhere() {
    let unit = ScriptUnit::with_settings(|settings| settings.allow_private_networks = true).await;
    unit.unit
        .grant_by_new_role("c/app", ("me", "owner"), &["D:all"])
        .await;
    let prepare = "box.mkOData('calendar'); var schema = box.odata('calendar').schema; schema.entityType.create({Name: 'event'});
        [['summary', 'Edm.String'], ['start', 'Edm.DateTime']].forEach(function (p) {
          schema.property.create({Name: p[0], '_EntityType.Name': 'event', Type: p[1], Nullable: true}); }); return 1;";
    unit.value(prepare).await;
    let events = [
        json!([
            {"id": "a", "summary": "朝", "start": "2018-03-01T10:00:00+09:00"},
            {"id": "b", "summary": "noon", "start": "2018-03-01T12:00:00Z"}
        ]),
        json!([
            {"id": "a", "status": "cancelled", "start": 0},
            {"id": "b", "summary": "later", "start": 86_400_000},
            {"id": "c", "status": "cancelled", "start": 0},
            {"id": "d", "summary": "new", "start": 1000}
        ]),
    ];
    let seen = [json!(["朝", "noon"]), json!(["later", "new"])];
    let asked = ["GET / ", "GET /?since=page%200 "];
    for (page, items) in events.iter().enumerate() {
        let server = StubServer::start().await;
        let code = format!("var url = '{}'; {TAKE_OVER}", server.url());
        let answer = json!({"items": items, "next": format!("page {page}")}).to_string();
        let (out, received) = tokio::join!(unit.value(&code), server.receive("200 OK", &answer));
        assert_eq!(out, seen[page]);
        assert!(received.head.starts_with(asked[page]), "{}", received.head);
        assert_eq!(received.header("authorization"), Some("Bearer given"));
    }
}
