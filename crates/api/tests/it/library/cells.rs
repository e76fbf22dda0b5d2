//! Cells: their boxes, the installation of applications, the management of the cells of a unit.

use personium_testkit::{MASTER_TOKEN, wait_until};
use serde_json::json;

use super::{ScriptUnit, register};
use crate::install::Archive;

/// Returns name, code and the beginning of the message of what is thrown.
const THROWN: &str = "function thrown(act) { try { act(); } catch (e) { return [e.name, String(e.code), e.message.slice(0, 56)]; } }";
/// The beginning of a message, as Java has it.
const DENIED: &str = "io.personium.client.DaoException: 403,{\"code\":\"PR403-AU-";

#[tokio::test]
async fn boxes_are_found_by_name_and_by_schema() {
    let unit = ScriptUnit::new().await;
    unit.unit.grant_to_everybody("c/app", &["D:read"]).await;
    let code = "var shown = function (b) { return [b.name, b.schema, b.getPath()]; };
        THROWN
        return [shown(_p.localbox()), shown(cell.box()), shown(cell.box('b')), cell.box('app').schema,
          shown(cell.box('http://unit.example/appcell/')),
          thrown(function () { cell.box('http://no.example/'); })[0]];";
    let schema = "http://unit.example/appcell/";
    let app = json!(["app", schema, "http://unit.example/c/app"]);
    let expected = json!([
        app,
        app,
        ["b", "", "http://unit.example/c/b"],
        "",
        app,
        "JavaException"
    ]);
    let code = code.replace("THROWN", THROWN);
    assert_eq!(unit.value(&code).await, expected);
}

#[tokio::test]
async fn box_of_the_application_is_found_in_another_cell() {
    let unit = ScriptUnit::new().await;
    let code = "var far = function () { return _p.as('serviceSubject').cell('d').box(); };
        THROWN
        return [thrown(far), fails(function () { _p.localbox().getString('none'); })[0]];"
        .replace("THROWN", THROWN);
    let out = unit.value(&code).await;
    assert_eq!(out, json!([["JavaException", "undefined", DENIED], 403]));
    let app = r#"{"Name":"their","Schema":"http://unit.example/appcell/"}"#;
    unit.unit.create("d/__ctl/Box", app).await;
    unit.unit.grant_to_everybody("d/their", &["D:read"]).await;
    let code = "var far = _p.as('serviceSubject').cell('d').box(); return [far.name, far.schema, far.getPath(), far.getColList()];";
    let expected = json!([
        "their",
        "http://unit.example/appcell/",
        "http://unit.example/d/their",
        []
    ]);
    assert_eq!(unit.value(code).await, expected);
}

#[tokio::test]
async fn applications_are_installed_from_a_stream_and_from_a_url() {
    let unit = ScriptUnit::new().await;
    let archive = Archive::new().zip();
    unit.unit
        .admin_request("PUT", "c/b/app.bar")
        .body(&archive)
        .send()
        .await
        .expect(201);
    // The identity of the script may read it.
    let url = "http://unit.example/c/b/app.bar";
    let starts = [
        (
            "one",
            "cell.installBox('one', cell.box('b').getStream('app.bar'))".to_owned(),
        ),
        ("two", format!("cell.installBox('two', '{url}')")),
        ("three", format!("cell.installBoxFromURL('three', '{url}')")),
    ];
    for (name, start) in starts {
        let path = unit.value(&format!("return {start}.getPath();")).await;
        assert_eq!(path, format!("http://unit.example/c/{name}"));
        wait_until(name, async || {
            let code = format!("return JSON.parse(cell.box('{name}').getMetaData()).box.status;");
            unit.value(&code).await == "ready"
        })
        .await;
        // An application is installed once in a cell.
        unit.value(&format!("cell.ctl.box.recursiveDelete('{name}');"))
            .await;
    }
}

#[tokio::test]
async fn failed_installations_throw() {
    let unit = ScriptUnit::new().await;
    let archive = Archive::new().zip();
    unit.unit
        .admin_request("PUT", "c/b/app.bar")
        .body(&archive)
        .send()
        .await
        .expect(201);
    let code = "var archive = function () { return cell.box('b').getStream('app.bar'); };
        return [fails(function () { mine.installBox('x', archive()); })[0], fails(function () { cell.installBox('app', archive()); })[0],
          fails(function () { cell.installBox('x', cell.box('app').getStream('svc/__src/run.js')); })[0],
          fails(function () { mine.installBoxFromURL('x', 'http://unit.example/c/b/app.bar'); })[0],
          fails(function () { cell.installBox('x', 5); }), fails(function () { cell.installBox('', archive()); }), fails(function () { cell.installBox('x', ''); }),
          fails(function () { cell.ctl.box.retrieve('x'); })[0]];";
    let invalid = json!([0, "Invalid"]);
    assert_eq!(
        unit.value(code).await,
        json!([403, 405, 400, 403, invalid, invalid, invalid, 404])
    );
}

/// A service there could use the token of the script.
#[tokio::test]
async fn archives_of_other_cells_are_read_without_the_identity_of_the_script() {
    let unit = ScriptUnit::new().await;
    let script = "function (request) {
      console.log('got ' + request.headers.authorization);
      return { status: 200, headers: {}, body: ['no archive'] };
    }";
    for (cell, in_cell) in [("d", "their"), ("c", "our")] {
        let service = format!("{cell}/{in_cell}/svc");
        unit.unit.create_box(cell, in_cell).await;
        unit.unit.create_collection(&service, "service").await;
        register(&unit.unit, &service, None, &[("t", "t.js")]).await;
        let source = format!("{service}/__src/t.js");
        unit.unit.put_file(&source, script).await;
        unit.unit.grant_to_everybody(&service, &["p:exec"]).await;
        let code = format!(
            "return ['client', 'serviceSubject'].map(function (who) {{
               return fails(function () {{ _p.as(who).cell().installBoxFromURL('x', 'http://unit.example/{service}/t'); }})[0]; }});"
        );
        assert_eq!(unit.value(&code).await, json!([403, 400]), "{cell}");
        let log = unit
            .unit
            .admin_request("GET", &format!("{cell}/__log/current/default.log"));
        let log = log.send().await.text();
        assert_eq!(log.matches("got ").count(), 2, "{log}");
        let with_token = if cell == "c" { 2 } else { 0 };
        assert_eq!(log.matches("got Bearer").count(), with_token, "{log}");
    }
}

#[tokio::test]
async fn cells_of_the_unit_are_managed_with_a_token_of_the_unit() {
    let unit = ScriptUnit::new().await;
    let code = "var admin = _p.as({accessToken:'MASTER'}).unit(), ctl = admin.ctl.cell;
        var made = ctl.create({Name:'made'});
        var first = [made.name, made.getUrl(), fails(function () { ctl.create({Name:'made'}); }), ctl.retrieve('made').name,
          ctl.update('made', {Name:'renamed'}), fails(function () { ctl.retrieve('made'); }), ctl.retrieve('renamed').getUrl(),
          ctl.query().filter(\"startswith(Name,'rena')\").run().d.results.length, fails(function () { ctl.update('renamed', {Name:'x'}, 'W/\"99-1\"'); }),
          admin.cell('renamed').ctl.box.create({Name:'b'}).name, admin.cell().getUrl(), admin.getToken().access_token,
          fails(function () { ctl.del('renamed'); })[0], ctl.recursiveDelete('renamed'), fails(function () { ctl.retrieve('renamed'); })];
        ctl.create({Name:'empty'});
        var last = [ctl.del('empty'), fails(function () { ctl.del('empty'); })];
        return first.concat(last);"
        .replace("MASTER", MASTER_TOKEN);
    let missing = json!([404, "PR404-OD-0002"]);
    let expected = json!([
        "made",
        "http://unit.example/made/",
        [409, "PR409-OD-0003"],
        "made",
        null,
        missing,
        "http://unit.example/renamed/",
        1,
        [412, "PR412-OD-0002"],
        "b",
        "http://unit.example/c/",
        MASTER_TOKEN,
        409,
        null,
        missing,
        null,
        missing
    ]);
    assert_eq!(unit.value(&code).await, expected);
}

#[tokio::test]
async fn cells_of_the_unit_are_not_managed_by_accounts() {
    let unit = ScriptUnit::new().await;
    let code = "return ['client', 'serviceSubject'].map(function (who) {
        var ctl = _p.as(who).unit().ctl.cell;
        return [fails(function () { ctl.create({Name:'made'}); })[0], fails(function () { ctl.retrieve('c'); })[0],
          fails(function () { ctl.recursiveDelete('d'); })[0], fails(function () { ctl.query().run(); })[0]]; });";
    let out = unit.value(code).await;
    for outcome in out.as_array().unwrap() {
        for status in outcome.as_array().unwrap() {
            assert!([json!(401), json!(403)].contains(status), "{out}");
        }
    }
    unit.unit
        .admin_request("GET", "__ctl/Cell('d')")
        .send()
        .await
        .expect(200);
}

#[tokio::test]
async fn only_the_owner_says_who_represents_a_cell() {
    let unit = ScriptUnit::new().await;
    let code = "THROWN
        return [thrown(function () { mine.setOwnerRepresentativeAccounts('me'); })[2], thrown(function () { cell.setOwnerRepresentativeAccounts('me'); }),
        fails(function () { cell.setOwnerRepresentativeAccounts(); }), _p.as({accessToken:'MASTER'}).cell().setOwnerRepresentativeAccounts('me<x/>'),
        typeof _p.as({accessToken:'MASTER'}).asCellOwner().unit.ctl.cell.create];"
        .replace("THROWN", THROWN)
        .replace("MASTER", MASTER_TOKEN);
    let expected = json!([
        DENIED,
        ["JavaException", "undefined", DENIED],
        [0, "Invalid"],
        null,
        "function"
    ]);
    assert_eq!(unit.value(&code).await, expected);
}
