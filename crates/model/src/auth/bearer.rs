//! Authentication with bearer tokens: from a token to an [`Access`].

use std::sync::Arc;

use personium_token::local::{LocalKind, LocalToken};
use personium_token::saml::{self, TransCellToken};
use personium_types::{Code, Error, Result};
use subtle::ConstantTimeEq;

use super::client::assertion_error;
use super::visitor::{self, Visitor};
use super::{cell_token, claims, one_time_tokens, scope, unit_user};
use crate::access::{NamedBy, UnitRole};
use crate::cell_context::AccountInfo;
use crate::{Access, CellContext, Identity, Unit};

/// Authenticates a request to the unit. `acting_for` is the unit user named in `X-Personium-Unit-User`.
///
/// A token that is not accepted gives [`Identity::Invalid`].
///
/// # Errors
/// [`Code::UnitUserRequired`] for a trans-cell token that is not that of a unit user; [`Code::RootCertificate`] if the
/// unit's root certificates cannot be used; failures of the store.
pub async fn unit_access(unit: &Unit, token: &str, acting_for: Option<&str>) -> Result<Access> {
    if let Some(access) = master_token_access(unit, token, acting_for) {
        return Ok(access);
    }
    match LocalKind::of(token) {
        Some(LocalKind::UnitLocal) => Ok(unit_local_access(unit, token)),
        Some(_) => Ok(Access::invalid(Code::TokenParse)),
        None => match verify_trans_cell(unit, token)? {
            Ok(token) => {
                let access = unit_user::access(unit, &token, acting_for).await?;
                access.ok_or_else(|| Code::UnitUserRequired.into())
            }
            Err(reason) => Ok(Access::invalid(reason)),
        },
    }
}

/// Authenticates a request to a cell. `acting_for` is the unit user named in `X-Personium-Unit-User`.
///
/// A token that is not accepted gives [`Identity::Invalid`].
///
/// # Errors
/// [`Code::AuthRequired`] for the token of an account that was deleted; [`Code::RootCertificate`] if the unit's root
/// certificates cannot be used; failures of the store.
pub async fn cell_access(
    unit: &Unit,
    context: &CellContext,
    token: &str,
    acting_for: Option<&str>,
) -> Result<Access> {
    if let Some(access) = master_token_access(unit, token, acting_for) {
        return Ok(access);
    }
    match LocalKind::of(token) {
        Some(LocalKind::UnitLocal) => Ok(unit_local_access(unit, token)),
        Some(_) => local_access(unit, context, token).await,
        None => match verify_trans_cell(unit, token)? {
            // Boxed: the future of a request with a local token would have the size of these.
            Ok(token) => match Box::pin(unit_user::access(unit, &token, acting_for)).await? {
                Some(access) => Ok(access),
                None => Box::pin(trans_cell_access(unit, context, token)).await,
            },
            Err(reason) => Ok(Access::invalid(reason)),
        },
    }
}

/// The access of the configured master token; `None` if the token is another one.
fn master_token_access(unit: &Unit, token: &str, acting_for: Option<&str>) -> Option<Access> {
    let master = unit.settings().auth.master_token.as_ref()?.reveal();
    let is_equal: bool = master.as_bytes().ct_eq(token.as_bytes()).into();
    if master.is_empty() || !is_equal {
        return None;
    }
    Some(Access::of(match acting_for {
        None => Identity::UnitMaster,
        Some(subject) => Identity::UnitUser {
            subject: subject.to_owned(),
            role: UnitRole::None,
            named_by: NamedBy::Administrator,
        },
    }))
}

fn unit_local_access(unit: &Unit, token: &str) -> Access {
    let opened = unit.keys().local_tokens.open(token, &unit.urls().unit());
    match opened {
        Err(_) => Access::invalid(Code::TokenParse),
        Ok(token) if token.is_expired_at(unit.now_ms()) => Access::invalid(Code::TokenExpired),
        Ok(token) => Access::of(Identity::UnitUser {
            subject: token.subject,
            role: UnitRole::None,
            named_by: NamedBy::Token,
        }),
    }
}

/// Verifies a trans-cell token. The inner error is the reason why the token is not accepted.
fn verify_trans_cell(unit: &Unit, token: &str) -> Result<Result<TransCellToken, Code>> {
    let now = unit.now_ms();
    match saml::verify(token, now, &unit.keys().certificates().trust_roots) {
        Ok(token) if token.is_expired_at(now) => Ok(Err(Code::TokenExpired)),
        Ok(token) => Ok(Ok(token)),
        Err(error) => {
            let refusal = assertion_error(error, Code::TokenParse, Code::TokenSignature);
            if refusal.code().is_server_error() {
                Err(refusal)
            } else {
                Ok(Err(refusal.code()))
            }
        }
    }
}

async fn local_access(unit: &Unit, context: &CellContext, token: &str) -> Result<Access> {
    let Ok(token) = cell_token::open(unit, context, token) else {
        return Ok(Access::invalid(Code::TokenParse));
    };
    let is_refresh = matches!(
        token.kind,
        LocalKind::ResidentRefresh | LocalKind::VisitorRefresh
    );
    if is_refresh {
        return Ok(Access::invalid(Code::RefreshAsAccess));
    }
    if token.is_expired_at(unit.now_ms()) {
        return Ok(Access::invalid(Code::TokenExpired));
    }
    match token.kind {
        LocalKind::ResidentAccess => resident_access(unit, context, token).await,
        LocalKind::VisitorAccess
            if one_time_tokens::is_family_revoked(unit, context, &token).await? =>
        {
            Ok(Access::invalid(Code::TokenExpired))
        }
        LocalKind::VisitorAccess => {
            let mut roles = Vec::new();
            for url in &token.roles {
                roles.extend(scope::find_role_by_url(unit.urls(), context, url).await?);
            }
            Ok(Access {
                roles,
                schema: Some(token.schema.unwrap_or_default()),
                scopes: token.scopes,
                ..Access::of(Identity::Visitor {
                    subject: token.subject,
                })
            })
        }
        LocalKind::PasswordChange => Ok(if is_still_valid(unit, context, &token).await? {
            Access {
                scopes: token.scopes,
                ..Access::of(Identity::PasswordChange {
                    account: token.subject,
                })
            }
        } else {
            Access::invalid(Code::TokenExpired)
        }),
        _ => Ok(Access::invalid(Code::TokenParse)),
    }
}

async fn resident_access(unit: &Unit, context: &CellContext, token: LocalToken) -> Result<Access> {
    let account = account_of(context, &token).await?;
    let account = account.ok_or_else(|| Error::new(Code::AuthRequired))?;
    if !is_still_valid(unit, context, &token).await? {
        return Ok(Access::invalid(Code::TokenExpired));
    }
    Ok(Access {
        roles: account.roles.clone(),
        schema: Some(token.schema.unwrap_or_default()),
        scopes: token.scopes,
        ..Access::of(Identity::Resident {
            id: account.id.clone(),
            subject: unit.urls().cell(&context.cell().name) + "#" + &token.subject,
        })
    })
}

/// The account that a token was issued to; `None` if it was deleted or renamed.
async fn account_of(context: &CellContext, token: &LocalToken) -> Result<Option<Arc<AccountInfo>>> {
    let found = context.find_account(&token.subject).await?;
    Ok(found.filter(|account| token.extra.get(claims::ACCOUNT) == Some(&account.id)))
}

/// Whether a token of an account is still valid: the account exists, the token family was not revoked, and, where the unit
/// revokes such tokens when an account changes, the account is active and has the token generation of the token.
///
/// # Errors
/// Failures of the store.
pub async fn is_still_valid(
    unit: &Unit,
    context: &CellContext,
    token: &LocalToken,
) -> Result<bool> {
    let settings = &unit.settings().auth;
    let is_access = token.kind == LocalKind::ResidentAccess;
    let outlives_changes = match is_access {
        true => !settings.revoke_access_with_account,
        false => !revokes_logins(unit),
    };
    is_valid_for_account(unit, context, token, outlives_changes).await
}

/// Whether a token in a cookie still logs in: as [`is_still_valid`] for a refresh token, because it leads to new tokens too.
///
/// # Errors
/// Failures of the store.
pub async fn is_login_still_valid(
    unit: &Unit,
    context: &CellContext,
    token: &LocalToken,
) -> Result<bool> {
    is_valid_for_account(unit, context, token, !revokes_logins(unit)).await
}

/// Whether a change of the account revokes tokens that lead to others.
fn revokes_logins(unit: &Unit) -> bool {
    let settings = &unit.settings().auth;
    settings.revoke_refresh_with_account || settings.revoke_access_with_account
}

async fn is_valid_for_account(
    unit: &Unit,
    context: &CellContext,
    token: &LocalToken,
    outlives_changes: bool,
) -> Result<bool> {
    let Some(account) = account_of(context, token).await? else {
        return Ok(false);
    };
    if one_time_tokens::is_family_revoked(unit, context, token).await? {
        return Ok(false);
    }
    let generation = token.extra.get(claims::TOKEN_GENERATION);
    let is_unchanged = !account.deactivated && account.token_generation.as_ref() == generation;
    Ok(is_unchanged || outlives_changes)
}

/// The access of a trans-cell token that is used directly. It must have been issued for this cell, and it grants no
/// more of its scopes than an exchange for a token of this cell would.
async fn trans_cell_access(
    unit: &Unit,
    context: &CellContext,
    token: TransCellToken,
) -> Result<Access> {
    if token.target != unit.urls().cell(&context.cell().name) {
        return Ok(Access::invalid(Code::TokenParse));
    }
    if !visitor::issuer_may_assert(unit.urls(), &token.issuer, &token.subject) {
        return Ok(Access::invalid(Code::TokenSignature));
    }
    let mut scopes = token.scopes;
    scope::retain_allowed(&mut scopes, &unit.settings().auth.default_scope_assertion);
    let visitor = Visitor {
        subject: &token.subject,
        issuer: &token.issuer,
        roles: &token.roles,
    };
    Ok(Access {
        roles: visitor::roles(unit.urls(), context, visitor).await?,
        schema: Some(token.schema.unwrap_or_default()),
        scopes,
        ..Access::of(Identity::TransCell {
            subject: token.subject,
            issuer: token.issuer,
        })
    })
}
