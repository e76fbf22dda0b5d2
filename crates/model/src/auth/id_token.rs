//! ID tokens: what a cell tells an application about who logged in (OpenID Connect Core 1.0 section 2).

use personium_types::{Error, Result};
use serde_json::{Map, Value};

use super::cell_key;
use crate::{CellContext, Unit};

/// Life of an ID token in seconds.
const TTL_SECS: i64 = 3_600;

/// What an ID token says besides its issuer and times.
#[derive(Debug, Clone, Copy)]
pub struct IdTokenClaims<'a> {
    /// The account that logged in.
    pub account: &'a str,
    /// The id of the application.
    pub audience: &'a str,
    /// What the application wants to see again.
    pub nonce: Option<&'a str>,
}

/// A signed ID token.
pub async fn issue(
    unit: &Unit,
    context: &CellContext,
    claims: &IdTokenClaims<'_>,
) -> Result<String> {
    let now = unit.now_ms().div_euclid(1_000);
    let mut payload = Map::new();
    let mut add = |name: &str, value: Value| payload.insert(name.to_owned(), value);
    add("iss", unit.urls().cell(&context.cell().name).into());
    add("sub", claims.account.into());
    add("aud", claims.audience.into());
    add("exp", (now + TTL_SECS).into());
    add("iat", now.into());
    if let Some(nonce) = claims.nonce {
        add("nonce", nonce.into());
    }
    let key = cell_key::get_or_create(unit, context).await?;
    let payload = Value::Object(payload).to_string();
    key.sign(payload.as_bytes()).map_err(Error::internal)
}
