//! Token introspection (RFC 7662).

use personium_token::local::{LocalKind, LocalToken};
use personium_token::saml;
use personium_types::Result;

use super::{bearer, cell_token, visitor};
use crate::{CellContext, Unit};

/// The content of an active token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// The client that it was issued to; see [`crate::credentials::client_id`].
    pub schema: Option<String>,
    /// The time of issue, milliseconds since 1970.
    pub issued_at: i64,
    /// The last moment at which it is valid, milliseconds since 1970.
    pub expires_at: i64,
    /// The subject URL.
    pub subject: String,
    /// The URL of the cell that issued it.
    pub issuer: String,
    /// The URLs of its roles.
    pub roles: Vec<String>,
    /// The URL of the cell that it is for, for tokens of visitors and of other cells.
    pub audience: Option<String>,
}

/// Returns the content of a token; `None` if it is not active for this cell: expired, forged, revoked, of another
/// cell, a code, or a token for a password change.
///
/// # Errors
/// Failures of the store.
pub async fn introspect(
    unit: &Unit,
    context: &CellContext,
    token: &str,
) -> Result<Option<TokenInfo>> {
    if LocalKind::of(token).is_none() {
        return Ok(introspect_trans_cell(unit, context, token));
    }
    let Ok(token) = cell_token::open(unit, context, token) else {
        return Ok(None);
    };
    introspect_local(unit, context, token).await
}

fn introspect_trans_cell(unit: &Unit, context: &CellContext, token: &str) -> Option<TokenInfo> {
    let now = unit.now_ms();
    let cell_url = unit.urls().cell(&context.cell().name);
    let token = saml::verify(token, now, &unit.keys().certificates().trust_roots).ok()?;
    let is_party = token.issuer == cell_url || token.target == cell_url;
    let is_active = is_party
        && visitor::issuer_may_assert(unit.urls(), &token.issuer, &token.subject)
        && !token.is_expired_at(now);
    is_active.then(|| TokenInfo {
        issued_at: token.issued_at_ms,
        expires_at: token.expires_at_ms(),
        schema: token.schema,
        subject: token.subject,
        issuer: token.issuer,
        roles: token.roles,
        audience: Some(token.target),
    })
}

async fn introspect_local(
    unit: &Unit,
    context: &CellContext,
    token: LocalToken,
) -> Result<Option<TokenInfo>> {
    if token.is_expired_at(unit.now_ms()) {
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
    let cell_url = unit.urls().cell(&context.cell().name);
    let is_visitor_access = token.kind == LocalKind::VisitorAccess;
    Ok(Some(TokenInfo {
        issued_at: token.issued_at_ms,
        expires_at: token.expires_at_ms(),
        schema: token.schema,
        subject: if is_resident {
            format!("{cell_url}#{}", token.subject)
        } else {
            token.subject
        },
        audience: is_visitor_access.then(|| cell_url.clone()),
        issuer: cell_url,
        roles: token.roles,
    }))
}
