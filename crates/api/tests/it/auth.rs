//! Authentication: tokens, logins, assertions, the authorization endpoint.

mod app_authentication;
mod authorize;
mod basic;
mod browsers;
mod cell_policies;
mod cookie_login;
mod issuers;
mod locks;
mod login;
mod login_page;
mod oidc;
mod pacing;
mod peer_units;
mod plugins;
mod public_clients;
mod single_use;
mod tokens;
pub mod trust;

use personium_testkit::{TestResponse, TestUnit, text_member};

/// A unit with the cells `c`, `d` and `appcell`, an account `me` in each, and no delay after failed logins.
pub async fn unit_with_accounts(change: impl FnOnce(&mut personium_model::Settings)) -> TestUnit {
    let unit = TestUnit::with_settings(|settings| {
        settings.auth.retry_after_secs = 0;
        change(settings);
    })
    .await;
    for cell in ["d", "appcell"] {
        let body = format!("{{\"Name\":\"{cell}\"}}");
        unit.create("__ctl/Cell", &body).await;
    }
    for cell in ["c", "d", "appcell"] {
        unit.create_account(cell, r#"{"Name":"me"}"#).await;
    }
    unit
}

/// Returns the OAuth2 error of a response and its code: `invalid_grant AN-0017`.
pub fn oauth_error(response: &TestResponse) -> String {
    let body = response.json();
    let description = text_member(&body, "error_description");
    let code = description.get(7..14).unwrap_or_default();
    format!("{} {code}", text_member(&body, "error"))
}
