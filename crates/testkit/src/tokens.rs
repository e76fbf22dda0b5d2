//! Logins and tokens.

use serde_json::Value;

use crate::client::TestClient;
use crate::credentials::PASSWORD;
use crate::form::{encode_form, text_member};
use crate::response::{Outcome, TestResponse};

/// The grant type of assertions.
pub const SAML_GRANT: &str = "urn:ietf:params:oauth:grant-type:saml2-bearer";

impl TestClient {
    /// Sends a token request.
    pub async fn request_token(&self, cell: &str, fields: &[(&str, &str)]) -> TestResponse {
        let path = format!("{cell}/__token");
        self.request("POST", &path)
            .body(encode_form(fields))
            .send()
            .await
    }

    /// Logs in as `me` with more fields; returns the token response.
    pub async fn login(&self, cell: &str, more: &[(&str, &str)]) -> Value {
        self.login_as(cell, "me", more).await
    }

    /// Logs in with more fields; returns the token response.
    pub async fn login_as(&self, cell: &str, account: &str, more: &[(&str, &str)]) -> Value {
        let mut fields = vec![
            ("grant_type", "password"),
            ("username", account),
            ("password", PASSWORD),
        ];
        fields.extend(more);
        self.request_token(cell, &fields).await.expect(200).json()
    }

    /// Logs in as `me`; returns the access token.
    pub async fn access_token(&self, cell: &str) -> String {
        text_member(&self.login(cell, &[]).await, "access_token")
    }

    /// Logs in as `me`; returns the trans-cell token for a cell or unit with this URL.
    pub async fn token_for_target(&self, from: &str, target: &str) -> String {
        text_member(
            &self.login(from, &[("p_target", target)]).await,
            "access_token",
        )
    }

    /// Logs in as `me`; returns the trans-cell token for another cell of the unit.
    pub async fn trans_cell_token(&self, from: &str, to: &str) -> String {
        self.token_for_target(from, &self.cell_url(to)).await
    }

    /// Logs in as `me`; returns the token for the unit.
    pub async fn trans_to_unit(&self, from: &str) -> String {
        self.token_for_target(from, self.url()).await
    }

    /// Sends a request with a token; returns status and error code.
    pub async fn outcome_with_token(&self, method: &str, path: &str, token: &str) -> Outcome {
        let request = self.request(method, path).bearer(token);
        request.send().await.outcome()
    }

    /// Sends a POST with a token.
    pub async fn post_as(&self, token: &str, path: &str, body: &str) -> TestResponse {
        self.request("POST", path)
            .bearer(token)
            .body(body)
            .send()
            .await
    }
}
