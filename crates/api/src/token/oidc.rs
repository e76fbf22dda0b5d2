//! Logging in with the ID token of an OpenID provider that the operator trusts.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use personium_model::auth::account::{self, AccountStatus};
use personium_model::settings::OidcProvider;
use personium_token::jwt::{self, JwkSet, JwtError};
use personium_types::{Code, Error, Result};
use serde::Deserialize;
use serde_json::Value;

use super::grant::{self, TokenRequest};
use super::response::{self, TokenExtras};
use crate::http_client::{HttpClient, UrlTrust};
use crate::request_context::CellRequest;
use crate::response::Response;

/// Bytes that a discovery document or a key set may have.
const DOCUMENT_MAX: usize = 1 << 20;
/// How long a discovery document is believed, in milliseconds.
const DOCUMENT_LIFE: i64 = 3_600_000;
/// How long it takes at least until keys are fetched again because one is unknown, in milliseconds.
const KEYS_PAUSE: i64 = 30_000;
/// How far a provider's clock may be ahead, in seconds.
const LEEWAY: i64 = 120;

/// What is known of providers, by the URL of their discovery document.
#[derive(Default)]
pub struct Providers {
    known: Mutex<HashMap<String, Arc<Known>>>,
    /// One fetch at a time: many logins at once ask a provider once.
    fetching: tokio::sync::Mutex<()>,
}

struct Known {
    issuer: String,
    keys: JwkSet,
    fetched_at: i64,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Tokens for the account that the provider says has logged in.
pub async fn handle(
    request: &CellRequest,
    token_request: &TokenRequest,
    provider: &OidcProvider,
) -> Result<Response> {
    let Some(id_token) = token_request.form.get("id_token") else {
        return Err(refused("invalid_request", "id_token is missing"));
    };
    let name = account_name(request, provider, id_token).await?;
    let found = account::find(&request.context, &name).await?;
    let account = found.filter(|account| account.has_type(&provider.account_type));
    let account = account.ok_or(Code::AuthnFailed)?;
    match account.status {
        AccountStatus::Deactivated => Err(Code::AuthnFailed.into()),
        AccountStatus::PasswordChangeRequired => {
            let wanted = grant::wanted_scopes(token_request);
            let grant = grant::resident(token_request, account, wanted);
            response::password_change(request, token_request, &grant, None)
        }
        AccountStatus::Active => {
            let scopes = grant::granted_ropc(request, token_request).await?;
            let grant = grant::resident(token_request, account, scopes);
            response::tokens(request, token_request, &grant, TokenExtras::default()).await
        }
    }
}

fn refused(word: &str, why: &str) -> Error {
    Error::new(Code::PluginRefused).with(why).with(word)
}

/// The account name in a token that is signed by the provider, for a client that is trusted, and not expired.
async fn account_name(
    request: &CellRequest,
    provider: &OidcProvider,
    id_token: &str,
) -> Result<String> {
    let now = request.unit.now_ms();
    let http_client = &request.http_client;
    let known = http_client
        .providers
        .find(http_client, &provider.config_url, now)
        .await?;
    let payload = match known.keys.verify(id_token) {
        // A key that was not there when the keys were fetched.
        Err(JwtError::UnknownKey) if jwt::read_kid(id_token).is_ok() => {
            let newer = http_client
                .providers
                .find_newer(http_client, &provider.config_url, now)
                .await?;
            newer.keys.verify(id_token)
        }
        other => other,
    };
    let payload = payload
        .map_err(|e| refused("invalid_grant", "the id_token is not valid").with_source(e))?;
    let claims: Value = serde_json::from_slice(&payload)
        .map_err(|e| refused("invalid_grant", "the id_token is not valid").with_source(e))?;
    check_claims(&claims, &known.issuer, provider, now / 1_000)
        .map_err(|why| refused("invalid_grant", why))
}

/// The account name, if the claims are good (OpenID Connect Core 1.0 section 3.1.3.7).
fn check_claims(
    claims: &Value,
    issuer: &str,
    provider: &OidcProvider,
    now: i64,
) -> Result<String, &'static str> {
    if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
        return Err("the id_token has another issuer");
    }
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64);
    let now = now as f64;
    if !seconds("exp").is_some_and(|exp| exp > now) {
        return Err("the id_token has expired");
    }
    let early = |name: &str| seconds(name).is_some_and(|at| at > now + LEEWAY as f64);
    if early("nbf") || early("iat") {
        return Err("the id_token is not valid yet");
    }
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if let Some(trusted) = &provider.trusted_client_ids {
        let is_trusted = |id: &str| trusted.iter().any(|t| t == id);
        let party = claims.get("azp").and_then(Value::as_str);
        // With several audiences it is the authorized party that asked for the token.
        if !audiences.iter().any(|aud| is_trusted(aud)) || !party.is_none_or(is_trusted) {
            return Err("the id_token is for another client");
        }
    } else if audiences.is_empty() {
        return Err("the id_token is for nobody");
    }
    let key = provider.account_name_key.as_str();
    if key == "email" && claims.get("email_verified") == Some(&Value::Bool(false)) {
        return Err("the address is not verified");
    }
    match claims.get(key).and_then(Value::as_str) {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err("the id_token does not name an account"),
    }
}

impl Providers {
    async fn find(&self, http_client: &HttpClient, url: &str, now: i64) -> Result<Arc<Known>> {
        self.at_most(http_client, url, now, DOCUMENT_LIFE).await
    }

    async fn find_newer(
        &self,
        http_client: &HttpClient,
        url: &str,
        now: i64,
    ) -> Result<Arc<Known>> {
        self.at_most(http_client, url, now, KEYS_PAUSE).await
    }

    /// What is known and at most so old; else it is fetched.
    async fn at_most(
        &self,
        http_client: &HttpClient,
        url: &str,
        now: i64,
        age: i64,
    ) -> Result<Arc<Known>> {
        let recent = || {
            let known = self.known.lock().get(url).cloned();
            known.filter(|k| now.saturating_sub(k.fetched_at) <= age)
        };
        if let Some(known) = recent() {
            return Ok(known);
        }
        let _turn = self.fetching.lock().await;
        if let Some(known) = recent() {
            return Ok(known);
        }
        let known = Arc::new(fetch(http_client, url, now).await?);
        self.known.lock().insert(url.to_owned(), Arc::clone(&known));
        Ok(known)
    }
}

async fn fetch(http_client: &HttpClient, url: &str, now: i64) -> Result<Known> {
    let discovery: Discovery = serde_json::from_slice(&document(http_client, url).await?)
        .map_err(|e| unreachable(e.into()))?;
    // Whoever can change an answer on the way must not choose the keys.
    if url.starts_with("https:") && !discovery.jwks_uri.starts_with("https:") {
        return Err(unreachable("the keys are not served over TLS".into()));
    }
    let keys = document(http_client, &discovery.jwks_uri).await?;
    let keys = String::from_utf8_lossy(&keys);
    Ok(Known {
        issuer: discovery.issuer,
        keys: JwkSet::from_json(&keys).map_err(|e| unreachable(e.into()))?,
        fetched_at: now,
    })
}

async fn document(http_client: &HttpClient, url: &str) -> Result<bytes::Bytes> {
    let fetched = http_client
        .get(url, "application/json", UrlTrust::Operator, DOCUMENT_MAX)
        .await
        .map_err(|e| unreachable(e.into()))?;
    if fetched.status != http::StatusCode::OK {
        return Err(unreachable(format!("status {}", fetched.status).into()));
    }
    Ok(fetched.body)
}

fn unreachable(why: crate::body::BoxError) -> Error {
    Error::new(Code::PluginFailed).with_source(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn provider() -> OidcProvider {
        OidcProvider {
            config_url: "https://op.example/.well-known/openid-configuration".to_owned(),
            trusted_client_ids: Some(vec!["app".to_owned()]),
            account_type: "oidc:op".to_owned(),
            account_name_key: "email".to_owned(),
            grant_type: "urn:x-personium:oidc:op".to_owned(),
        }
    }

    #[test]
    fn claims_must_be_good_one_by_one() {
        let good = json!({
            "iss": "https://op.example", "aud": "app", "exp": 2_000, "iat": 1_000,
            "email": "a@b.example", "email_verified": true,
        });
        let check = |claims: &Value| check_claims(claims, "https://op.example", &provider(), 1_500);
        assert_eq!(check(&good).unwrap(), "a@b.example");
        for (name, value) in [
            ("iss", json!("https://op.example/")),
            ("iss", json!(null)),
            ("aud", json!("other")),
            ("aud", json!([])),
            ("aud", json!(["other"])),
            ("aud", json!(null)),
            ("azp", json!("other")),
            ("exp", json!(1_500)),
            ("exp", json!("3000")),
            ("exp", json!(null)),
            ("nbf", json!(1_700)),
            ("iat", json!(1_700)),
            ("email", json!("")),
            ("email", json!(1)),
            ("email_verified", json!(false)),
        ] {
            let mut bad = good.clone();
            bad[name] = value.clone();
            assert!(check(&bad).is_err(), "{name} {value}");
        }
        let mut many = good.clone();
        many["aud"] = json!(["other", "app"]);
        many["azp"] = json!("app");
        assert!(check(&many).is_ok());
    }
}
