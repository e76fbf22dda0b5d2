//! OAuth2 and OpenID Connect clients of others against a unit: authlib (Python) and openid-client (Node).
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with the first surprise"
)]

#[path = "real_unit/clients.rs"]
mod clients;
#[path = "real_unit/process.rs"]
mod process;

use clients::{node, python};
use process::{Client, Unit};
use serde_json::{Value, json};

/// The URL of an application's cell, its secret, which is a token that it issued for the cell `ours`, and the schema that
/// its tokens have.
fn application(unit: &Unit, name: &str, confidential: bool) -> Value {
    unit.cell_with_owner(name);
    if confidential {
        let mut admin = unit.admin();
        let (role, account) = ("confidentialClient", format!("/{name}/__ctl/Account('me')"));
        admin.made(
            "POST",
            &format!("/{name}/__ctl/Role"),
            &json!({"Name": role}).to_string(),
        );
        let uri = json!({"uri": format!("{}/{name}/__ctl/Role('{role}')", unit.url())});
        admin.made("POST", &format!("{account}/$links/_Role"), &uri.to_string());
    }
    let form = format!(
        "grant_type=password&username=me&password=password1&p_target={}/ours/",
        unit.url()
    );
    let token = Client::new(unit.port, "")
        .made("POST", &format!("/{name}/__token"), &form)
        .json()["access_token"]
        .clone();
    let id = format!("{}/{name}/", unit.url());
    let schema = if confidential {
        format!("{id}#c")
    } else {
        id.clone()
    };
    json!({"id": id, "secret": token, "schema": schema})
}

/// What a client gets to know: a cell, an application, an account, and a file that the account may read.
fn told(unit: &Unit, confidential: bool) -> Value {
    let mut owner = unit.cell_with_owner("ours");
    owner.made("PUT", "/ours/box/file", "for who may read");
    json!({
        "cell": format!("{}/ours/", unit.url()),
        "app": application(unit, "app", confidential),
        "other": application(unit, "other", false),
        "username": "me",
        "password": "password1",
        "file": format!("{}/ours/box/file", unit.url()),
        "content": "for who may read",
    })
}

#[test]
fn authlib_gets_by() {
    for confidential in [false, true] {
        let unit = Unit::start("authlib");
        python("authlib_client.py", &told(&unit, confidential));
    }
}

#[test]
fn openid_client_gets_by() {
    let unit = Unit::start("openid-client");
    let mut given = told(&unit, false);
    given["names_issuer"] = false.into();
    node("openid_client.mjs", &given);
    let insist = "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
                  <p:authorizationnamesissuer>true</p:authorizationnamesissuer></D:prop></D:set></D:propertyupdate>";
    unit.admin().made("PROPPATCH", "/ours/", insist);
    given["names_issuer"] = true.into();
    node("openid_client.mjs", &given);
}

#[test]
fn openid_client_gets_by_if_it_is_confidential() {
    let unit = Unit::start("openid-client-confidential");
    let mut given = told(&unit, true);
    given["names_issuer"] = false.into();
    node("openid_client.mjs", &given);
}
