//! What a token says, told to those who may know.

use personium_token::local::LocalKind;
use personium_token::saml;
use personium_types::Result;

use super::{bearer, cell_token, visitor};
use crate::{CellContext, Unit};

/// What an active token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// The app, with its mark if it is confidential.
    pub schema: Option<String>,
    /// When it was issued, milliseconds since 1970.
    pub issued_at: i64,
    /// Its last valid moment, milliseconds since 1970.
    pub expires_at: i64,
    /// The subject URL.
    pub subject: String,
    /// The cell that issued it.
    pub issuer: String,
    /// URLs of the roles in it.
    pub roles: Vec<String>,
    /// The cell that it is for, for tokens of visitors and of other cells.
    pub audience: Option<String>,
}

/// What a token says; `None` if it is not active as far as this cell knows: expired, forged, of another cell, a code,
/// or one that only allows to change a password.
pub async fn introspect(
    unit: &Unit,
    context: &CellContext,
    token: &str,
) -> Result<Option<TokenInfo>> {
    let now = unit.now_ms();
    let cell_url = unit.urls().cell(&context.cell().name);
    if LocalKind::of(token).is_none() {
        let Ok(token) = saml::verify(token, now, &unit.keys().trust_roots) else {
            return Ok(None);
        };
        let concerns_us = token.issuer == cell_url || token.target == cell_url;
        let believed = visitor::issuer_may_assert(unit.urls(), &token.issuer, &token.subject);
        return Ok(
            (concerns_us && believed && !token.expired_at(now)).then(|| TokenInfo {
                issued_at: token.issued_at,
                expires_at: token.expires_at(),
                schema: token.schema,
                subject: token.subject,
                issuer: token.issuer,
                roles: token.roles,
                audience: Some(token.target),
            }),
        );
    }
    let Ok(token) = cell_token::open(unit, context, token) else {
        return Ok(None);
    };
    if token.expired_at(now) {
        return Ok(None);
    }
    let is_resident = match token.kind {
        LocalKind::ResidentAccess | LocalKind::ResidentRefresh => true,
        LocalKind::VisitorAccess | LocalKind::VisitorRefresh => false,
        LocalKind::GrantCode | LocalKind::UnitLocal | LocalKind::PasswordChange => return Ok(None),
    };
    if is_resident && !bearer::is_still_valid(unit, context, &token).await? {
        return Ok(None);
    }
    let is_access = token.kind == LocalKind::VisitorAccess;
    Ok(Some(TokenInfo {
        issued_at: token.issued_at,
        expires_at: token.expires_at(),
        schema: token.schema,
        subject: if is_resident {
            format!("{cell_url}#{}", token.subject)
        } else {
            token.subject
        },
        audience: is_access.then(|| cell_url.clone()),
        issuer: cell_url,
        roles: token.roles,
    }))
}
