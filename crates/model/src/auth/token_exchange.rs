//! The OAuth2 grants that exchange one token for others: refresh token, assertion and authorization code.

use personium_token::local::{LocalKind, LocalToken};
use personium_token::saml;
use personium_types::{Code, Result};

use super::grant::{Grant, TokenLineage, TokenSubject};
use super::{bearer, cell_token, claims, client, id_token, one_time_tokens, pkce, scope, visitor};
use crate::credentials::client_id;
use crate::settings::TokenReuse;
use crate::{CellContext, Unit};

/// A request to exchange a token.
#[derive(Debug, Clone, Copy)]
pub struct TokenExchange<'a> {
    /// The refresh token, assertion or code.
    pub token: &'a str,
    /// The schema of the authenticated client; `None` if none authenticated.
    pub schema: Option<&'a str>,
    /// The client that names itself without a secret; `None` if one authenticated.
    pub public_client: Option<&'a str>,
    /// The target of the tokens; `None` for this cell.
    pub target: Option<&'a str>,
    /// Whether a token of the cell's owner is asked for, which none of these grants gives.
    pub as_owner: bool,
}

/// Exchanges a refresh token. Where refresh tokens are rotated, it is consumed.
///
/// # Errors
/// [`Code::GrantTokenParse`], [`Code::NotRefreshToken`], [`Code::GrantTokenExpired`] (also for a revoked or consumed
/// token), [`Code::ClientAuthRequired`] and [`Code::ClientMismatch`] if it was issued to another client,
/// [`Code::OwnerNotAllowed`] and [`Code::OwnerRefused`], [`Code::GrantTokenSignature`] if its origin is not accepted
/// any more; failures of the store.
pub async fn refresh_token_grant(
    unit: &Unit,
    context: &CellContext,
    request: TokenExchange<'_>,
) -> Result<Grant> {
    let token =
        cell_token::open(unit, context, request.token).map_err(|_| Code::GrantTokenParse)?;
    let is_resident = match token.kind {
        LocalKind::ResidentRefresh => true,
        LocalKind::VisitorRefresh => false,
        _ => return Err(Code::NotRefreshToken.into()),
    };
    if token.is_expired_at(unit.now_ms()) {
        return Err(Code::GrantTokenExpired.into());
    }
    let issued_to = token.schema.as_deref().filter(|s| !s.is_empty());
    let reuse = unit.settings().auth.refresh_token_reuse;
    // The token of a client without a secret is protected by being replaced at each use (RFC 9700 section 2.2.2).
    let is_public = token.extra.contains_key(claims::PUBLIC_CLIENT) && reuse != TokenReuse::Always;
    let client = match request.public_client {
        Some(id) if is_public => Some(id),
        Some(_) => return Err(Code::ClientAssertionParse.into()),
        None => request.schema,
    };
    match (issued_to, client) {
        (Some(_), None) => return Err(Code::ClientAuthRequired.into()),
        (Some(issued_to), Some(client)) if is_public && is_same_url(issued_to, client) => {}
        (issued_to, authenticated) if issued_to != authenticated => {
            return Err(Code::ClientMismatch.into());
        }
        _ => {}
    }
    if request.as_owner {
        return Err(match is_resident {
            true => Code::OwnerNotAllowed.into(),
            false => Code::OwnerRefused.into(),
        });
    }
    if let Some(origin) = &token.origin
        && !visitor::issuer_may_assert(unit.urls(), &origin.issuer, &token.subject)
    {
        return Err(Code::GrantTokenSignature.into());
    }
    if is_resident && !bearer::is_still_valid(unit, context, &token).await? {
        return Err(Code::GrantTokenExpired.into());
    }
    if reuse != TokenReuse::Always
        && !one_time_tokens::consume_refresh_token(unit, context, request.token, &token).await?
    {
        return Err(Code::GrantTokenExpired.into());
    }
    let family = token.extra.get(claims::FAMILY).cloned();
    Ok(Grant {
        schema: token.schema.clone(),
        scopes: token.scopes.clone(),
        lineage: Some(TokenLineage {
            family: family.unwrap_or_else(|| one_time_tokens::token_digest(request.token)),
            parent: Some(one_time_tokens::token_digest(request.token)),
            is_public,
        }),
        subject: TokenSubject::of_token(token),
    })
}

/// Exchanges a SAML assertion (a trans-cell token) that another cell issued for this one (RFC 7522).
///
/// # Errors
/// [`Code::GrantTokenParse`], [`Code::OwnerRefused`], [`Code::GrantTokenSignature`] (also if the issuer may not assert
/// the subject), [`Code::GrantTokenExpired`], [`Code::GrantTokenTarget`] if it was issued for another cell,
/// [`Code::AclRoleMissing`] if a scope is the URL of a role that does not exist; failures of the store.
pub async fn assertion_grant(
    unit: &Unit,
    context: &CellContext,
    request: TokenExchange<'_>,
) -> Result<Grant> {
    let now = unit.now_ms();
    let refuse = |e| client::assertion_error(e, Code::GrantTokenParse, Code::GrantTokenSignature);
    let token = saml::parse(request.token).map_err(refuse)?;
    if request.as_owner {
        return Err(Code::OwnerRefused.into());
    }
    let token = token
        .verify(now, &unit.keys().certificates().trust_roots)
        .map_err(refuse)?;
    if token.is_expired_at(now) {
        return Err(Code::GrantTokenExpired.into());
    }
    if !is_same_cell(&token.target, &unit.urls().cell(&context.cell().name)) {
        return Err(Code::GrantTokenTarget.into());
    }
    if !visitor::issuer_may_assert(unit.urls(), &token.issuer, &token.subject) {
        return Err(Code::GrantTokenSignature.into());
    }
    let allowed = &unit.settings().auth.default_scope_assertion;
    Ok(Grant {
        scopes: scope::grant(unit.urls(), context, &token.scopes, allowed).await?,
        schema: request.schema.map(str::to_owned),
        subject: TokenSubject::Visitor {
            subject: token.subject,
            issuer: token.issuer,
            assertion_id: token.id,
            roles: token.roles,
        },
        lineage: None,
    })
}

/// Whether two URLs are equal but for a final slash.
fn is_same_url(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

/// Whether the target of an assertion is this cell: authority and path are equal, the scheme may differ.
fn is_same_cell(target: &str, cell_url: &str) -> bool {
    let without_scheme = |url: &str| {
        let parsed = url::Url::parse(url).ok()?;
        let port = parsed.port();
        Some((
            parsed.host_str()?.to_owned(),
            port,
            parsed.path().to_owned(),
        ))
    };
    match (without_scheme(target), without_scheme(cell_url)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// The parameters that bind the exchange of a code to the authorization request.
#[derive(Debug, Clone, Copy)]
pub struct CodeBinding<'a> {
    /// `redirect_uri`
    pub redirect_uri: Option<&'a str>,
    /// `code_verifier` (RFC 7636)
    pub code_verifier: Option<&'a str>,
}

/// Exchanges an authorization code. Where codes are for one use, it is consumed. Returns the grant, and an ID token if
/// the scopes contain `openid`.
///
/// # Errors
/// [`Code::CodeParse`], [`Code::ClientAuthRequired`], [`Code::OwnerRefused`], [`Code::GrantTokenExpired`] (also for a
/// revoked or consumed code), [`Code::ClientMismatch`] if it was issued to another client, [`Code::CodeRedirect`] and
/// [`Code::CodeVerifier`] if the binding does not match; failures of the store.
pub async fn code_grant(
    unit: &Unit,
    context: &CellContext,
    request: TokenExchange<'_>,
    binding: CodeBinding<'_>,
) -> Result<(Grant, Option<String>)> {
    let opened = cell_token::open_as(unit, context, request.token, LocalKind::GrantCode);
    let token = opened.map_err(|_| Code::CodeParse)?;
    let schema = client_of_code(&token, request)?;
    if request.as_owner {
        return Err(Code::OwnerRefused.into());
    }
    if token.is_expired_at(unit.now_ms()) {
        return Err(Code::GrantTokenExpired.into());
    }
    let client_id = client_id::of_schema(schema);
    if token.schema.as_deref().map(client_id::of_schema) != Some(client_id) {
        return Err(Code::ClientMismatch.into());
    }
    if !bearer::is_still_valid(unit, context, &token).await? {
        return Err(Code::GrantTokenExpired.into());
    }
    check_binding(&token, binding)?;
    let code = one_time_tokens::CodeUse {
        text: request.token,
        token: &token,
        target: request.target,
        has_secret: request.schema.is_some(),
    };
    if !one_time_tokens::consume_code(unit, context, code).await? {
        return Err(Code::GrantTokenExpired.into());
    }
    let id_token = if token.scopes.iter().any(|s| s == scope::OPENID) {
        let claims = id_token::IdTokenClaims {
            account: &token.subject,
            audience: client_id,
            nonce: token.extra.get(claims::NONCE).map(String::as_str),
        };
        Some(id_token::issue(unit, context, &claims).await?)
    } else {
        None
    };
    let grant = Grant {
        schema: Some(schema.to_owned()),
        scopes: token.scopes.clone(),
        lineage: Some(TokenLineage {
            family: one_time_tokens::token_digest(request.token),
            parent: None,
            is_public: request.schema.is_none(),
        }),
        subject: TokenSubject::of_token(token),
    };
    Ok((grant, id_token))
}

/// The schema of the client that exchanges a code. One without a secret needs a code that is bound to a challenge.
fn client_of_code<'a>(token: &'a LocalToken, request: TokenExchange<'a>) -> Result<&'a str> {
    match (request.schema, request.public_client) {
        (Some(schema), _) => Ok(schema),
        (None, None) => Err(Code::ClientAuthRequired.into()),
        (None, Some(_)) if !token.extra.contains_key(claims::CODE_CHALLENGE) => {
            Err(Code::ClientAssertionParse.into())
        }
        (None, Some(id)) => {
            let issued_to = token.schema.as_deref().map(client_id::of_schema);
            let issued_to = issued_to.filter(|issued_to| is_same_url(issued_to, id));
            issued_to.ok_or_else(|| Code::ClientMismatch.into())
        }
    }
}

/// Checks that a code is used by the client that began the login: with the verifier of its code challenge (RFC 7636
/// section 4.6), and with the redirect URI of the authorization request if the request names one.
fn check_binding(token: &LocalToken, binding: CodeBinding<'_>) -> Result<()> {
    if let Some(uri) = binding.redirect_uri
        && token.extra.get(claims::REDIRECT_URI).map(String::as_str) != Some(uri)
    {
        return Err(Code::CodeRedirect.into());
    }
    let challenge = token.extra.get(claims::CODE_CHALLENGE);
    let is_verified = match (challenge, binding.code_verifier) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => pkce::verifier_matches(challenge, verifier),
        _ => false,
    };
    if is_verified {
        Ok(())
    } else {
        Err(Code::CodeVerifier.into())
    }
}
