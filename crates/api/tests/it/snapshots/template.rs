//! Payout of cells: each new one gets the content of a snapshot that was made as a template.

use personium_testkit::{TestUnit, ace, everybody_ace};
use serde_json::json;

use super::{export, state_of};

/// A unit whose cell `template` is what new cells are to be: an account whose role has the privilege `root`, a profile that everybody
/// reads, and folders.
async fn unit_with_template() -> TestUnit {
    let issuer = "personium-localunit:/c/".to_owned();
    let settings = |settings: &mut personium_model::Settings| {
        settings.auth.unit_user_issuers = vec![issuer];
    };
    let unit = TestUnit::with_settings(settings).await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.create_role("c", "CellContentsAdmin").await;
    unit.link("c", "Account('me')", "_Role", "Role('CellContentsAdmin')")
        .await;
    unit.create("__ctl/Cell", r#"{"Name":"template"}"#).await;
    unit.create_account("template", r#"{"Name":"me"}"#).await;
    unit.create_role("template", "admin").await;
    unit.link("template", "Account('me')", "_Role", "Role('admin')")
        .await;
    let admin = "http://unit.example/template/__role/__/admin";
    unit.set_acl("template", &ace(admin, &["p:root"])).await;
    let profile = r#"{"DisplayName":"New"}"#;
    unit.put_file("template/__/profile.json", profile).await;
    unit.set_acl("template/__/profile.json", &everybody_ace(&["D:read"]))
        .await;
    for folder in ["locales", "locales/en"] {
        let made = unit.admin_request("MKCOL", &format!("template/__/{folder}"));
        made.send().await.expect(201);
    }
    unit
}

#[tokio::test]
async fn account_of_a_cell_that_a_unit_user_paid_out_from_a_template_works() {
    let unit = unit_with_template().await;
    let path = "template/__export";
    unit.admin()
        .post(path, r#"{"Name":"template"}"#)
        .await
        .expect(202);
    personium_testkit::wait_until("the end of the export", async || {
        state_of(&unit, path).await["status"] == "ready"
    })
    .await;
    let template = unit.admin_request("GET", "template/__snapshot/template.zip");
    let template = template.send().await.expect(200).body;
    let token = unit.trans_to_unit("c").await;
    let request = |method: &str, path: &str| unit.request(method, path).bearer(&token);
    for name in ["alice", "bob"] {
        let cell = json!({"Name": name}).to_string();
        request("POST", "__ctl/Cell")
            .body(cell)
            .send()
            .await
            .expect(201);
        let put = request("PUT", &format!("{name}/__snapshot/template.zip"));
        put.body(&template).send().await.expect(201);
        let import = request("POST", &format!("{name}/__import"));
        import
            .body(r#"{"Name":"template"}"#)
            .send()
            .await
            .expect(202);
    }
    for name in ["alice", "bob"] {
        personium_testkit::wait_until("the end of the import", async || {
            let state = request("GET", &format!("{name}/__import"));
            state.send().await.expect(200).json()["status"] == "ready"
        })
        .await;
        let profile = unit.request("GET", &format!("{name}/__/profile.json"));
        assert_eq!(
            profile.send().await.expect(200).text(),
            r#"{"DisplayName":"New"}"#
        );
        let own = unit.access_token(name).await;
        let listed = unit
            .request("GET", &format!("{name}/__ctl/Account"))
            .bearer(&own);
        listed.send().await.expect(200);
        let written = unit
            .request("PUT", &format!("{name}/__/locales/en/a.json"))
            .bearer(&own);
        written.body("{}").send().await.expect(201);
        let foreign = unit.request("GET", "template/__ctl/Account").bearer(&own);
        assert_eq!(foreign.send().await.status, 401);
        let owned = unit.list_entities("__ctl/Cell").await;
        assert_eq!(owned.iter().filter(|cell| cell["Name"] == *name).count(), 1);
    }
    // The account of one is not that of another, and the unit user still owns them.
    let alice = unit.access_token("alice").await;
    let foreign = unit.request("GET", "bob/__ctl/Account").bearer(&alice);
    assert_eq!(foreign.send().await.status, 401);
    let removed = request("DELETE", "bob").header("x-personium-recursive", "true");
    removed.send().await.expect(204);
    assert!(!export(&unit, "later").await.is_empty());
}
