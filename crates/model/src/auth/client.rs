//! Which application asks: the assertion that it proves itself with.

use personium_token::role_url::RoleUrl;
use personium_token::saml::{self, SamlError};
use personium_token::trust::CertificateRefusal;
use personium_types::{Code, Error, Result};

use crate::Unit;

/// The role of applications that keep their secret, in their own cell.
const CONFIDENTIAL: &str = "confidentialClient";
/// What the schema of a confidential client ends with.
const CONFIDENTIAL_MARK: &str = "#c";

/// The id of the client that a token was issued to: its schema without the mark of a confidential client.
#[must_use]
pub fn id_of(schema: &str) -> &str {
    schema.strip_suffix(CONFIDENTIAL_MARK).unwrap_or(schema)
}

/// Whether a token was issued to a confidential client.
#[must_use]
pub fn is_confidential(schema: &str) -> bool {
    schema.ends_with(CONFIDENTIAL_MARK)
}

/// Whether a client, known by its own schema, may see what a token of some schema says: one of its own. A token of the confidential
/// client is not shown to whoever shares only its id.
#[must_use]
pub fn may_introspect(own: &str, schema: &str) -> bool {
    own == schema || (is_confidential(own) && id_of(own) == schema)
}

/// The schema that tokens get from a client: its id, with `#c` behind it if it is confidential.
///
/// `secret` is a trans-cell token that the application's cell issued for this cell (its URL is `cell_url`).
///
/// # Errors
/// 400 with the first of: unreadable, not signed by whom we trust, expired, issued by another, made for another cell.
pub fn authenticate(unit: &Unit, cell_url: &str, client_id: &str, secret: &str) -> Result<String> {
    let now = unit.now_ms();
    let token = saml::verify(secret, now, &unit.keys().trust_roots).map_err(|failure| {
        assertion_error(
            failure,
            Code::ClientAssertionParse,
            Code::GrantTokenSignature,
        )
    })?;
    if token.expired_at(now) {
        return Err(Code::ClientSecretExpired.into());
    }
    if token.issuer != client_id {
        return Err(Code::ClientIssuerMismatch.into());
    }
    if token.target != cell_url {
        return Err(Code::ClientTargetMismatch.into());
    }
    let role = RoleUrl::class(&token.issuer, CONFIDENTIAL).to_string();
    Ok(if token.roles.contains(&role) {
        format!("{client_id}{CONFIDENTIAL_MARK}")
    } else {
        client_id.to_owned()
    })
}

/// The code for a trans-cell token that is not believed: one for unreadable ones, one for bad signatures. Roots that
/// cannot be used are the unit's own fault.
#[must_use]
pub fn assertion_error(failure: SamlError, unreadable: Code, unsigned: Code) -> Error {
    match failure {
        SamlError::Parse { .. } => Error::new(unreadable).with_source(failure),
        SamlError::Certificate {
            reason: CertificateRefusal::RootNotValidNow,
        } => Error::new(Code::RootCertificate).with_source(failure),
        SamlError::Signature { .. } | SamlError::Certificate { .. } => {
            Error::new(unsigned).with_source(failure)
        }
    }
}
