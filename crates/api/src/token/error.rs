//! Error responses of the token endpoint (RFC 6749 section 5.2).

use http::{StatusCode, header};
use personium_types::{Code, Error, Result};
use serde_json::{Value, json};

use crate::error;
use crate::response::{self, Response, WithHeader};

/// The OAuth2 error code of a refusal; `None` if OAuth2 has none.
fn oauth_error(refusal: &Error) -> Option<&str> {
    Some(match refusal.code() {
        Code::PluginRefused | Code::PluginDenied => refusal
            .params()
            .get(1)
            .map_or("invalid_grant", String::as_str),
        Code::PluginFailed => "server_error",
        Code::LoginsTooMany | Code::PluginUnavailable => "temporarily_unavailable",
        Code::GrantType => "unsupported_grant_type",
        Code::TargetInvalid | Code::GrantParameter => "invalid_request",
        Code::ClientAssertionParse
        | Code::ClientSecretExpired
        | Code::ClientSecretSignature
        | Code::ClientIssuerMismatch
        | Code::ClientTargetMismatch
        | Code::TokenAuthHeader
        | Code::ClientMismatch
        | Code::ClientAuthRequired
        | Code::ClientAssertionType => "invalid_client",
        Code::OwnerRefused
        | Code::GrantTokenParse
        | Code::GrantTokenExpired
        | Code::GrantTokenSignature
        | Code::GrantTokenTarget
        | Code::NotRefreshToken
        | Code::OwnerNotAllowed
        | Code::OwnerMissing
        | Code::AuthnFailed
        | Code::CodeParse
        | Code::CodeVerifier
        | Code::CodeRedirect
        | Code::PasswordChangeRequired => "invalid_grant",
        _ => return None,
    })
}

/// The body of a refusal; `None` if OAuth2 has no error code for it.
pub fn body(refusal: &Error) -> Option<Value> {
    let description = format!("[{}] - {}", refusal.code().as_str(), refusal.message());
    oauth_error(refusal).map(|error| json!({"error": error, "error_description": description}))
}

/// The response for a refusal.
///
/// # Errors
/// The refusal itself, if OAuth2 has no error code for it.
pub fn render(refusal: Error, realm: &str, request_key: &str) -> Result<Response> {
    match body(&refusal) {
        Some(body) => {
            error::log(&refusal, request_key);
            log_refusal(&refusal, request_key);
            let out = respond(refusal.code(), &body, realm);
            Ok(error::with_error_headers(out, &refusal))
        }
        None => Err(refusal),
    }
}

/// Logs a refused grant or client. A refused login has a line of its own.
fn log_refusal(refusal: &Error, request_key: &str) {
    let has_own_line = matches!(
        refusal.code(),
        Code::AuthnFailed | Code::LoginsTooMany | Code::PluginRefused | Code::PluginDenied
    );
    if !has_own_line && !refusal.code().is_server_error() {
        tracing::info!(
            request.key = request_key,
            reason.code = refusal.code().as_str(),
            "token request refused"
        );
    }
}

/// The response with a body for a code. It has a challenge if the client can try again with Basic credentials.
pub fn respond(code: Code, body: &Value, realm: &str) -> Response {
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let out = response::json(status, body);
    match code {
        Code::ClientAuthRequired | Code::PasswordChangeRequired => out.append_header(
            header::WWW_AUTHENTICATE,
            &format!("Basic realm=\"{realm}\""),
        ),
        _ => out,
    }
}
