//! A token request.

use personium_model::UnitUrls;
use personium_model::auth::account::Account;
use personium_model::auth::grant::Grant;
use personium_model::auth::scope;
use personium_model::auth::token_exchange::TokenExchange;
use personium_types::{Code, Result};

use super::client::{self, Client};
use crate::form::Form;
use crate::request_context::CellRequest;

/// The maximum and default lifetime of an access token.
const MAX_ACCESS_TTL_SECS: i64 = 3_600;
/// The maximum and default lifetime of a refresh token.
const MAX_REFRESH_TTL_SECS: i64 = 86_400;

/// A token request with its common parameters.
pub struct TokenRequest {
    /// All parameters.
    pub form: Form,
    /// The URL of the cell that the access token is requested for.
    pub target: Option<String>,
    /// The client that has authenticated itself, if any.
    pub client_id: Option<String>,
    /// The client that names itself without a secret, if any.
    pub public_client: Option<String>,
    /// The lifetime of the access token.
    pub access_ttl_ms: i64,
    /// The lifetime of the refresh token.
    pub refresh_ttl_ms: i64,
    /// Whether a cookie with the access token is requested.
    pub with_cookie: bool,
}

impl TokenRequest {
    /// Reads the common parameters and authenticates the client.
    ///
    /// # Errors
    /// [`Code::TargetInvalid`], as [`client::authenticate`], or [`Code::GrantParameter`].
    pub fn read(request: &CellRequest, form: Form) -> Result<Self> {
        let target = target(&form, request.unit.urls())?;
        let (client_id, public_client) = match client::authenticate(request, &form)? {
            Client::Unnamed => (None, None),
            Client::Authenticated(schema) => (Some(schema), None),
            Client::Public(id) => (None, Some(id)),
        };
        Ok(Self {
            with_cookie: target.is_none() && form.is_true("p_cookie"),
            target,
            client_id,
            public_client,
            access_ttl_ms: form.seconds("expires_in", MAX_ACCESS_TTL_SECS)?,
            refresh_ttl_ms: form.seconds("refresh_token_expires_in", MAX_REFRESH_TTL_SECS)?,
            form,
        })
    }

    /// The requested scopes.
    pub fn scopes(&self) -> Vec<String> {
        scope::parse(self.form.raw("scope").unwrap_or_default())
    }

    /// The scopes that are granted to an account for its own credentials.
    ///
    /// # Errors
    /// The refusal of a scope, or the error of the store.
    pub async fn ropc_scopes(&self, request: &CellRequest) -> Result<Vec<String>> {
        let allowed = &request.unit.settings().auth.default_scope_password;
        let (urls, context) = (request.unit.urls(), &request.context);
        scope::grant(urls, context, &self.scopes(), allowed).await
    }

    /// A grant to the client for an account of the cell.
    pub fn account_grant(&self, account: Account, scopes: Vec<String>) -> Grant {
        Grant {
            subject: account.into(),
            schema: self.client_id.clone(),
            scopes,
            lineage: None,
        }
    }

    /// The exchange of the token in a field for new ones.
    pub fn exchange<'a>(&'a self, name: &str) -> TokenExchange<'a> {
        TokenExchange {
            token: self.form.get(name).unwrap_or_default(),
            schema: self.client_id.as_deref(),
            public_client: self.public_client.as_deref(),
            target: self.target.as_deref(),
            as_owner: self.form.is_true("p_owner"),
        }
    }
}

/// The URL of `p_target`, with its final slash.
fn target(form: &Form, urls: &UnitUrls) -> Result<Option<String>> {
    let Some(text) = form.get("p_target") else {
        return Ok(None);
    };
    let mut url = urls.resolve(text).ok_or(Code::TargetInvalid)?;
    let is_valid = url::Url::parse(&url)
        .is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.host().is_some());
    if !is_valid || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Code::TargetInvalid.into());
    }
    if !url.ends_with('/') {
        url.push('/');
    }
    Ok(Some(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_is_an_absolute_or_unit_local_url() {
        let urls = UnitUrls::new("http", "localhost", Some(9998), true);
        let read = |text: &str| {
            let text: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
            let form = Form::parse(format!("p_target={text}").as_bytes());
            target(&form, &urls)
        };
        for (text, url) in [
            ("http://a.example/c", "http://a.example/c/"),
            ("https://a.example/c/", "https://a.example/c/"),
            ("personium-localunit:/c1/", "http://localhost:9998/c1/"),
            ("personium-localunit:c1:/", "http://localhost:9998/c1/"),
        ] {
            assert_eq!(read(text).unwrap().as_deref(), Some(url));
        }
        for bad in [
            "no url",
            "http://a.example/\r\nx",
            "mailto:a@b",
            "personium-localunit:",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("").unwrap().is_none());
    }
}
