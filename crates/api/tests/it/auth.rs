//! Authentication: tokens, logins, assertions, the authorization endpoint.

mod app_authentication;
mod authorize;
mod basic;
mod cookie_login;
mod login;
mod login_page;
mod oidc;
mod peer_units;
mod tokens;
mod trust;

use personium_token::saml::{self, TransCellToken};
use personium_token::trust::UnitKey;
use serde_json::Value;

use crate::harness::{TestResponse, TestUnit, UNIT_URL};

/// The password of every account.
pub const PASSWORD: &str = "password1";

/// A unit with the cells `c`, `d` and `appcell`, an account `me` in each, and no delay after failed logins.
pub async fn unit_with_accounts(change: impl FnOnce(&mut personium_model::Settings)) -> TestUnit {
    let unit = TestUnit::with_settings(|settings| {
        settings.auth.interval_seconds = 0;
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

/// The URL of a cell.
pub fn cell_url(name: &str) -> String {
    format!("{UNIT_URL}{name}/")
}

/// Encodes a form body.
pub fn form(fields: &[(&str, &str)]) -> String {
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    out.extend_pairs(fields);
    out.finish()
}

impl TestUnit {
    /// Creates an account with the password [`PASSWORD`].
    pub async fn create_account(&self, cell: &str, json: &str) {
        let response = self
            .admin_request("POST", &format!("{cell}/__ctl/Account"))
            .header("x-personium-credential", PASSWORD)
            .body(json)
            .send()
            .await;
        assert_eq!(response.status, 201, "{}", response.text());
    }

    /// Sends a token request.
    pub async fn request_token(&self, cell: &str, fields: &[(&str, &str)]) -> TestResponse {
        let path = format!("{cell}/__token");
        self.request("POST", &path).body(&form(fields)).send().await
    }

    /// Logs in as `me`; returns the token response.
    pub async fn login(&self, cell: &str, more: &[(&str, &str)]) -> Value {
        let mut fields = vec![
            ("grant_type", "password"),
            ("username", "me"),
            ("password", PASSWORD),
        ];
        fields.extend(more);
        let response = self.request_token(cell, &fields).await;
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    }

    /// Logs in as `me`; returns the access token.
    pub async fn access_token(&self, cell: &str) -> String {
        text_member(&self.login(cell, &[]).await, "access_token")
    }

    /// Logs in as `me`; returns the trans-cell token for another cell.
    pub async fn trans_cell_token(&self, from: &str, to: &str) -> String {
        let target = cell_url(to);
        text_member(
            &self.login(from, &[("p_target", &target)]).await,
            "access_token",
        )
    }

    /// Sends a request with a token; returns status and error code.
    pub async fn outcome_with_token(&self, method: &str, path: &str, token: &str) -> (u16, String) {
        let request = self.request(method, path);
        let response = request
            .header("authorization", &format!("Bearer {token}"))
            .send()
            .await;
        response.outcome()
    }

    /// A trans-cell token signed by this unit.
    pub fn assertion(&self, change: impl FnOnce(&mut TransCellToken)) -> String {
        self.assertion_signed_by(&self.model.keys().signing, change)
    }

    /// A trans-cell token signed with another unit's key.
    pub fn assertion_signed_by(
        &self,
        key: &UnitKey,
        change: impl FnOnce(&mut TransCellToken),
    ) -> String {
        let mut token = TransCellToken {
            id: "5e2e1f0c-0000-4000-8000-0000000000aa".to_owned(),
            issued_at_ms: self.model.now_ms(),
            lifespan_ms: 3_600_000,
            issuer: cell_url("d"),
            subject: cell_url("d") + "#me",
            target: cell_url("c"),
            schema: None,
            roles: Vec::new(),
            scopes: vec!["root".to_owned()],
        };
        change(&mut token);
        saml::issue(key, &token).unwrap()
    }
}

/// Returns a text member of a JSON object.
pub fn text_member(body: &Value, member: &str) -> String {
    let value = body[member].as_str();
    assert!(value.is_some(), "no {member} in {body}");
    value.unwrap().to_owned()
}

/// Returns the OAuth2 error of a response and its code: `invalid_grant AN-0017`.
pub fn oauth_error(response: &TestResponse) -> String {
    let body = response.json();
    let description = text_member(&body, "error_description");
    let code = description.get(7..14).unwrap_or_default();
    format!("{} {code}", text_member(&body, "error"))
}
