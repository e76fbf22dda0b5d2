//! Authentication of OAuth clients by the assertion of their own cell.

use personium_token::role_url::RoleUrl;
use personium_token::saml::{self, SamlError};
use personium_token::trust::CertificateError;
use personium_types::{Code, Error, Result};

use crate::Unit;
use crate::credentials::client_id;

/// The role, in the cell of the application, of clients that keep a secret.
const CONFIDENTIAL_ROLE: &str = "confidentialClient";

/// Authenticates a client and returns the schema of its tokens; see [`client_id`].
///
/// `client_id` may be in the unit-local form. `secret` is a trans-cell token that the application's cell issued for this cell
/// (its URL is `cell_url`).
///
/// # Errors
/// The first of [`Code::ClientAssertionParse`], [`Code::GrantTokenSignature`], [`Code::ClientSecretExpired`],
/// [`Code::ClientIssuerMismatch`], [`Code::ClientTargetMismatch`].
pub fn authenticate(unit: &Unit, cell_url: &str, client_id: &str, secret: &str) -> Result<String> {
    let resolved = unit.urls().resolve(client_id);
    let client_id = resolved.as_deref().unwrap_or(client_id);
    let now = unit.now_ms();
    let token =
        saml::verify(secret, now, &unit.keys().certificates().trust_roots).map_err(|error| {
            assertion_error(error, Code::ClientAssertionParse, Code::GrantTokenSignature)
        })?;
    if token.is_expired_at(now) {
        return Err(Code::ClientSecretExpired.into());
    }
    if token.issuer != client_id {
        return Err(Code::ClientIssuerMismatch.into());
    }
    if token.target != cell_url {
        return Err(Code::ClientTargetMismatch.into());
    }
    let role = RoleUrl::class(&token.issuer, CONFIDENTIAL_ROLE).to_string();
    Ok(if token.roles.contains(&role) {
        client_id::confidential_schema(client_id)
    } else {
        client_id.to_owned()
    })
}

/// The error for a trans-cell token that was not accepted: `unreadable` if it cannot be parsed, `unsigned` if its
/// signature or certificate is not trusted, [`Code::RootCertificate`] if the unit's own roots cannot be used.
#[must_use]
pub fn assertion_error(error: SamlError, unreadable: Code, unsigned: Code) -> Error {
    let code = match error {
        SamlError::Parse { .. } => unreadable,
        SamlError::Certificate {
            source: CertificateError::RootNotValidNow,
        } => Code::RootCertificate,
        SamlError::Signature { .. } | SamlError::Certificate { .. } => unsigned,
    };
    Error::new(code).with_source(error)
}
