//! Signatures of the requests that a cell sends to other servers.

use personium_token::http_signature::{SignatureParameters, SignedParts, content_digest, sign};
use personium_types::{Error, Result};

use super::cell_key;
use crate::{CellContext, Unit};

/// The time for which a signature is valid, in seconds.
const TTL_SECS: i64 = 300;
/// The header with the digest of the body.
const CONTENT_DIGEST: &str = "content-digest";

/// The parts of a request that its signature covers.
#[derive(Debug, Clone, Copy)]
pub struct UnsignedRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The absolute URL, as the receiver sees it.
    pub target_uri: &'a str,
    /// Headers: names in lower case, values without surrounding blanks.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// Signs a request with the key of a cell. Returns the headers to be added: their names and values.
///
/// # Errors
/// As [`cell_key::get_or_create`]; an internal error if it cannot be signed.
pub async fn sign_request(
    unit: &Unit,
    context: &CellContext,
    request: UnsignedRequest<'_>,
) -> Result<[(&'static str, String); 3]> {
    let key = cell_key::get_or_create(unit, context).await?;
    let cell = unit.urls().cell(&context.cell().name);
    let digest = content_digest(request.body);
    let mut headers = vec![(CONTENT_DIGEST, digest.as_str())];
    headers.extend_from_slice(request.headers);
    let parts = SignedParts {
        method: request.method,
        target_uri: request.target_uri,
        headers: &headers,
    };
    let created_secs = unit.now_ms().div_euclid(1_000);
    let parameters = SignatureParameters {
        created_secs,
        expires_secs: created_secs.saturating_add(TTL_SECS),
        nonce: &unit.random().uuid().to_string(),
        key_id: &format!("{cell}__certs#{}", key.kid()),
    };
    let made = sign(&key, parts, parameters).map_err(Error::internal)?;
    Ok([
        (CONTENT_DIGEST, digest),
        ("signature-input", made.input),
        ("signature", made.signature),
    ])
}
