//! The plugin for the ID tokens of an OpenID provider that the operator trusts. Its settings are those of the unit.

use std::sync::Arc;

use async_trait::async_trait;
use personium_model::settings::OidcProvider;
use personium_plugin::{
    AuthPlugin, Declaration, LoadedPlugin, OAuthError, PluginCall, PluginError, PluginIdentity,
    PluginSet,
};
use personium_token::jwt::{self, JwtError};
use serde_json::Value;

use crate::oidc_providers::OidcProviders;

/// The seconds by which the clock of a provider may be ahead.
const CLOCK_LEEWAY_SECS: i64 = 120;
/// The largest number of logins by one provider at once.
const CALLS_MAX: usize = 1_000;

/// The plugins for the providers that the settings name.
pub(crate) fn plugins(providers: &[OidcProvider]) -> PluginSet {
    let cache = Arc::<OidcProviders>::default();
    let plugins = providers.iter().map(|provider| {
        let declaration = Declaration {
            name: provider.account_type.clone(),
            kind: "oidc",
            label: "OpenID Connect".to_owned(),
            grant_type: provider.grant_type.clone(),
            account_types: vec![provider.account_type.clone()],
        };
        let plugin = OidcPlugin {
            provider: provider.clone(),
            providers: Arc::clone(&cache),
        };
        Arc::new(LoadedPlugin::new(declaration, Arc::new(plugin), CALLS_MAX))
    });
    PluginSet::new(plugins.collect())
}

/// The plugin for one provider.
struct OidcPlugin {
    provider: OidcProvider,
    providers: Arc<OidcProviders>,
}

#[async_trait]
impl AuthPlugin for OidcPlugin {
    async fn authenticate(
        &self,
        call: &PluginCall<'_>,
    ) -> Result<Option<PluginIdentity>, PluginError> {
        let Some(id_token) = call.field("id_token") else {
            let error = OAuthError::InvalidRequest;
            return Err(PluginError::refused(error, "id_token is missing"));
        };
        Ok(Some(PluginIdentity {
            name: self.account_name(call, id_token).await?,
            account_type: self.provider.account_type.clone(),
        }))
    }
}

impl OidcPlugin {
    /// Returns the account name in a token that is signed by the provider, made for a trusted client, and not expired.
    async fn account_name(
        &self,
        call: &PluginCall<'_>,
        id_token: &str,
    ) -> Result<String, PluginError> {
        let url = &self.provider.config_url;
        let unreachable = |error| {
            let text = "the provider could not be reached";
            PluginError::refused_because(OAuthError::ServerError, text, error)
        };
        let cached = self
            .providers
            .get(call.host, url)
            .await
            .map_err(unreachable)?;
        let payload = match cached.keys.verify(id_token) {
            // The provider may have a new key.
            Err(JwtError::UnknownKey) if jwt::read_kid(id_token).is_ok() => {
                let newer = self.providers.refetch(call.host, url).await;
                newer.map_err(unreachable)?.keys.verify(id_token)
            }
            other => other,
        };
        let invalid = |error: crate::body::BoxError| {
            let text = "the id_token is not valid";
            PluginError::refused_because(OAuthError::InvalidGrant, text, error)
        };
        let payload = payload.map_err(|error| invalid(error.into()))?;
        let claims: Value =
            serde_json::from_slice(&payload).map_err(|error| invalid(error.into()))?;
        let now_secs = call.host.now_ms() / 1_000;
        check_claims(&claims, &cached.issuer, &self.provider, now_secs)
            .map_err(|reason| PluginError::refused(OAuthError::InvalidGrant, reason))
    }
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
