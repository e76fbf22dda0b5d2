//! The grant by the ID token of an OpenID provider that the operator trusts.

use personium_model::auth::account::{self, AccountStatus};
use personium_model::auth::login_refusal::LoginRefusal;
use personium_model::settings::OidcProvider;
use personium_token::jwt::{self, JwtError};
use personium_types::{Code, Error, Result};
use serde_json::Value;

use super::request::TokenRequest;
use super::response::{self, TokenExtras};
use crate::request_context::CellRequest;
use crate::response::Response;

/// The seconds by which the clock of a provider may be ahead.
const CLOCK_LEEWAY_SECS: i64 = 120;

/// Issues tokens for the account that the ID token names.
///
/// # Errors
/// [`Code::PluginRefused`], [`Code::PluginFailed`] or [`Code::AuthnFailed`].
pub async fn handle(
    request: &CellRequest,
    token_request: &TokenRequest,
    provider: &OidcProvider,
) -> Result<Response> {
    let Some(id_token) = token_request.form.get("id_token") else {
        return Err(refused("invalid_request", "id_token is missing"));
    };
    let log = |reason: LoginRefusal, name: &str| {
        reason.log(&request.context, name, request.client_address);
    };
    let name = account_name(request, provider, id_token)
        .await
        .inspect_err(|_| log(LoginRefusal::ProviderTokenRefused, ""))?;
    let Some(account) = account::find(&request.context, &name).await? else {
        log(LoginRefusal::NoAccount, &name);
        return Err(Code::AuthnFailed.into());
    };
    if !account.has_type(&provider.account_type) {
        log(LoginRefusal::TypeNotAllowed, &name);
        return Err(Code::AuthnFailed.into());
    }
    match account.status {
        AccountStatus::Deactivated => {
            log(LoginRefusal::Deactivated, &name);
            Err(Code::AuthnFailed.into())
        }
        AccountStatus::PasswordChangeRequired => {
            let grant = token_request.account_grant(account, token_request.scopes());
            response::password_change(request, token_request, &grant, None)
        }
        AccountStatus::Active => {
            let scopes = token_request.ropc_scopes(request).await?;
            let grant = token_request.account_grant(account, scopes);
            response::tokens(request, token_request, &grant, TokenExtras::default()).await
        }
    }
}

fn refused(oauth_error: &str, reason: &str) -> Error {
    Error::new(Code::PluginRefused)
        .with(reason)
        .with(oauth_error)
}

/// Returns the account name in a token that is signed by the provider, made for a trusted client, and not expired.
async fn account_name(
    request: &CellRequest,
    provider: &OidcProvider,
    id_token: &str,
) -> Result<String> {
    let (now_ms, now) = (request.unit.now_ms(), request.unit.monotonic());
    let (http_client, url) = (&request.http_client, &provider.config_url);
    let cached = request.oidc_providers.get(http_client, url, now).await?;
    let payload = match cached.keys.verify(id_token) {
        // The provider may have a new key.
        Err(JwtError::UnknownKey) if jwt::read_kid(id_token).is_ok() => {
            let newer = request.oidc_providers.refetch(http_client, url, now);
            newer.await?.keys.verify(id_token)
        }
        other => other,
    };
    let payload = payload
        .map_err(|e| refused("invalid_grant", "the id_token is not valid").with_source(e))?;
    let claims: Value = serde_json::from_slice(&payload)
        .map_err(|e| refused("invalid_grant", "the id_token is not valid").with_source(e))?;
    check_claims(&claims, &cached.issuer, provider, now_ms / 1_000)
        .map_err(|reason| refused("invalid_grant", reason))
}

/// Validates the claims and returns the account name (OpenID Connect Core 1.0 section 3.1.3.7).
fn check_claims(
    claims: &Value,
    issuer: &str,
    provider: &OidcProvider,
    now_secs: i64,
) -> Result<String, &'static str> {
    if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
        return Err("the id_token is from another issuer");
    }
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64);
    let now = now_secs as f64;
    if !seconds("exp").is_some_and(|exp| exp > now) {
        return Err("the id_token has expired");
    }
    let early = |name: &str| seconds(name).is_some_and(|at| at > now + CLOCK_LEEWAY_SECS as f64);
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
        // With several audiences, the authorized party is the client that requested the token.
        if !audiences.iter().any(|aud| is_trusted(aud)) || !party.is_none_or(is_trusted) {
            return Err("the id_token is for another client");
        }
    } else if audiences.is_empty() {
        return Err("the id_token has no audience");
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
    fn each_invalid_claim_is_refused() {
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
