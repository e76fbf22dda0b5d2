//! ID tokens: tell an application which account logged in (OpenID Connect Core 1.0 section 2).

use personium_types::{Error, Result};
use serde_json::{Map, Value};

use super::cell_key;
use crate::{CellContext, Unit};

/// The lifetime of an ID token, in seconds.
const TTL_SECS: i64 = 3_600;

/// The claims of an ID token besides its issuer and times.
#[derive(Debug, Clone, Copy)]
pub struct IdTokenClaims<'a> {
    /// The account that logged in.
    pub account: &'a str,
    /// The id of the client.
    pub audience: &'a str,
    /// The `nonce` of the authorization request.
    pub nonce: Option<&'a str>,
}

/// Issues a signed ID token.
///
/// # Errors
/// As [`cell_key::get_or_create`]; [`Code::Unknown`](personium_types::Code::Unknown) if it cannot be signed.
pub async fn issue(
    unit: &Unit,
    context: &CellContext,
    claims: &IdTokenClaims<'_>,
) -> Result<String> {
    let now_secs = unit.now_ms().div_euclid(1_000);
    let mut payload = Map::new();
    let mut add = |name: &str, value: Value| payload.insert(name.to_owned(), value);
    add("iss", unit.urls().cell(&context.cell().name).into());
    add("sub", claims.account.into());
    add("aud", claims.audience.into());
    add("exp", (now_secs + TTL_SECS).into());
    add("iat", now_secs.into());
    if let Some(nonce) = claims.nonce {
        add("nonce", nonce.into());
    }
    let key = cell_key::get_or_create(unit, context).await?;
    let payload = Value::Object(payload).to_string();
    key.sign(payload.as_bytes()).map_err(Error::internal)
}
