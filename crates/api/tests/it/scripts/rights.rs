//! Rights to run a script.

use personium_testkit::{TestUnit, ace, cell_url, refused};

use super::{put, unit};

const HELLO: &str = "function(r) { return {status: 200, headers: {}, body: ['hello']}; }";

/// A unit with a script, and with the account `me` that has the role `runner`.
async fn with_account() -> (TestUnit, String) {
    let unit = unit().await;
    put(&unit, "t.js", HELLO).await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.create_role("c", "runner").await;
    unit.link("c", "Account('me')", "_Role", "Role('runner')")
        .await;
    let token = unit.access_token("c").await;
    (unit, token)
}

#[tokio::test]
async fn exec_alone_is_enough_and_no_other_privilege_is() {
    let (unit, token) = with_account().await;
    let path = "c/b/svc/t";
    let anonymous = unit.request("GET", path).send().await;
    assert_eq!(anonymous.outcome(), refused(401, "AU-0001"));
    assert_eq!(
        unit.outcome_with_token("GET", path, &token).await,
        refused(403, "AU-0002")
    );
    for others in [["D:read", "D:write"], ["D:read-acl", "D:write-properties"]] {
        unit.grant_to_role("c/b/svc", "runner", &others).await;
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let outcome = unit.outcome_with_token(method, path, &token).await;
            assert_eq!(outcome, refused(403, "AU-0002"), "{method} {others:?}");
        }
    }
    unit.grant_to_role("c/b/svc", "runner", &["p:exec"]).await;
    for method in ["GET", "POST", "PUT", "DELETE"] {
        let outcome = unit.outcome_with_token(method, path, &token).await;
        assert_eq!(outcome.0, 200, "{method}");
    }
    // The sources stay hidden.
    let source = unit
        .outcome_with_token("GET", "c/b/svc/__src/t.js", &token)
        .await;
    assert_eq!(source, refused(403, "AU-0002"));
}

#[tokio::test]
async fn exec_comes_from_lists_above_roles_of_others_and_everybody() {
    let (unit, token) = with_account().await;
    let path = "c/b/svc/t";
    // By the list of the box.
    unit.grant_to_role("c/b", "runner", &["p:exec"]).await;
    assert_eq!(unit.outcome_with_token("GET", path, &token).await.0, 200);
    unit.set_acl("c/b", "").await;
    assert_eq!(
        unit.outcome_with_token("GET", path, &token).await,
        refused(403, "AU-0002")
    );
    // By a role that the account does not have.
    unit.create_role("c", "other").await;
    unit.grant_to_role("c/b/svc", "other", &["p:exec"]).await;
    assert_eq!(
        unit.outcome_with_token("GET", path, &token).await,
        refused(403, "AU-0002")
    );
    // By nobody's name.
    unit.grant_to_everybody("c/b/svc", &["p:exec"]).await;
    assert_eq!(unit.request("GET", path).send().await.status, 200);
}

#[tokio::test]
async fn exec_for_a_role_of_another_cell_needs_its_relation() {
    let (unit, _) = with_account().await;
    unit.create_cell("d").await;
    unit.create_account("d", r#"{"Name":"me"}"#).await;
    let path = "c/b/svc/t";
    unit.grant_to_role("c/b/svc", "runner", &["p:exec"]).await;
    let assertion = unit.trans_cell_token("d", "c").await;
    assert_eq!(
        unit.outcome_with_token("GET", path, &assertion).await,
        refused(403, "AU-0002")
    );
    let cell = format!(r#"{{"Url":"{}"}}"#, cell_url("d"));
    unit.create("c/__ctl/ExtCell", &cell).await;
    let encoded = cell_url("d").replace(':', "%3A").replace('/', "%2F");
    unit.link(
        "c",
        &format!("ExtCell('{encoded}')"),
        "_Role",
        "Role('runner')",
    )
    .await;
    let assertion = unit.trans_cell_token("d", "c").await;
    assert_eq!(
        unit.outcome_with_token("GET", path, &assertion).await.0,
        200
    );
    // A token of the other cell for itself says nothing here.
    let own = unit.access_token("d").await;
    assert_ne!(unit.outcome_with_token("GET", path, &own).await.0, 200);
}

#[tokio::test]
async fn schema_of_the_token_limits_who_runs_a_script() {
    let (unit, _) = with_account().await;
    unit.set_acl_with(
        "c/b/svc",
        "p:requireSchemaAuthz='public'",
        &ace(&format!("{}__role/__/runner", cell_url("c")), &["p:exec"]),
    )
    .await;
    let token = unit.access_token("c").await;
    let outcome = unit.outcome_with_token("GET", "c/b/svc/t", &token).await;
    assert_eq!(outcome.0, 403, "{outcome:?}");
}

#[tokio::test]
async fn methods_that_no_script_answers_are_refused() {
    let (unit, _) = with_account().await;
    for method in ["PATCH", "MERGE", "REPORT"] {
        let outcome = unit.admin_outcome(method, "c/b/svc/t").await;
        assert!([405, 501].contains(&outcome.0), "{method}: {outcome:?}");
    }
}
