//! OAuth2 and OpenID Connect clients of others: authlib and requests-oauthlib (Python), and openid-client (Node).

use personium_testkit::{ProcessUnit, TestClient};
use serde_json::{Value, json};

use crate::external_programs::{run_node, run_python};

/// Creates the cell of an application; returns its URL, its secret, which is a token for the cell `ours`, and the schema of
/// its tokens.
async fn create_app(unit: &TestClient, name: &str, confidential: bool) -> Value {
    unit.create_cell_with_owner(name).await;
    if confidential {
        unit.create_role(name, "confidentialClient").await;
        unit.link(name, "Account('me')", "_Role", "Role('confidentialClient')")
            .await;
    }
    let id = unit.cell_url(name);
    let schema = if confidential {
        format!("{id}#c")
    } else {
        id.clone()
    };
    let secret = unit.trans_cell_token(name, "ours").await;
    json!({"id": id, "secret": secret, "schema": schema})
}

/// The input of a client: a cell, an application, an account, and a file that the account may read.
async fn client_input(unit: &ProcessUnit, confidential: bool) -> Value {
    let owner = unit.create_cell_with_owner("ours").await;
    owner.call("PUT", "ours/box/file", "for who may read").await;
    json!({
        "cell": unit.cell_url("ours"),
        "app": create_app(unit, "app", confidential).await,
        "other": create_app(unit, "other", false).await,
        "username": "me",
        "password": "password1",
        "file": format!("{}box/file", unit.cell_url("ours")),
        "content": "for who may read",
    })
}

#[tokio::test]
async fn authlib_works_as_public_and_confidential_client() {
    for confidential in [false, true] {
        let unit = crate::unit().start();
        let input = client_input(&unit, confidential).await;
        run_python("authlib_client.py", &input);
    }
}

#[tokio::test]
async fn requests_oauthlib_works_with_password_code_and_refresh() {
    let unit = crate::unit().start();
    let input = client_input(&unit, false).await;
    run_python("oauthlib_client.py", &input);
}

#[tokio::test]
async fn openid_client_works_as_public_client() {
    let unit = crate::unit().start();
    let mut input = client_input(&unit, false).await;
    input["names_issuer"] = false.into();
    run_node("openid_client.mjs", &input);
    let name_issuer = "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
                       <p:authorizationnamesissuer>true</p:authorizationnamesissuer></D:prop></D:set></D:propertyupdate>";
    unit.admin().call("PROPPATCH", "ours/", name_issuer).await;
    input["names_issuer"] = true.into();
    run_node("openid_client.mjs", &input);
}

#[tokio::test]
async fn openid_client_works_as_confidential_client() {
    let unit = crate::unit().start();
    let mut input = client_input(&unit, true).await;
    input["names_issuer"] = false.into();
    run_node("openid_client.mjs", &input);
}
