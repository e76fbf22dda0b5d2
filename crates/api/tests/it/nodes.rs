//! Several nodes of one unit: a change through one of them is honoured by the next request to every other.

mod cells;
mod loading;
mod rights;
mod round_trips;
mod structure;

use personium_testkit::{TestUnit, ace, cell_url, text_member};

use crate::auth::unit_with_accounts;

/// The privileges that the role of the fixture has on its collections.
const ALL: &[&str] = &["D:all"];

/// An entry that grants a role of the cell `c` all privileges.
fn role_ace(role: &str) -> String {
    ace(&format!("{}__role/__/{role}", cell_url("c")), ALL)
}

/// A token of an account of the cell `c`.
async fn token_of(unit: &TestUnit, account: &str) -> String {
    text_member(&unit.login_as("c", account, &[]).await, "access_token")
}

/// A unit whose cell `c` has the account `exact` with the role `exact`, which has all privileges on a collection with files and
/// on a collection with entities.
async fn unit() -> TestUnit {
    let unit = unit_with_accounts(|s| s.auth.revoke_access_with_account = true).await;
    unit.create_role("c", "exact").await;
    unit.create_account("c", r#"{"Name":"exact"}"#).await;
    unit.link("c", "Account('exact')", "_Role", "Role('exact')")
        .await;
    unit.create_collection("c/b/col", "").await;
    unit.put_file("c/b/col/file", "content").await;
    unit.put_file("c/b/col/old", "content").await;
    unit.create_odata_collection("c/b/od", "T").await;
    unit.create("c/b/od/T", r#"{"__id":"e"}"#).await;
    unit.set_acl("c/b", &role_ace("exact")).await;
    unit
}

/// Sends a request with the master token, which must succeed.
async fn change(node: &TestUnit, method: &str, path: &str, body: &str) {
    let request = node.admin_request(method, path).header("if-match", "*");
    let response = request.body(body).send().await;
    assert!(
        response.status.is_success(),
        "{method} {path}: {}",
        response.text()
    );
}
