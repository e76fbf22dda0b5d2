//! How errors look to clients. The only place that turns an [`Error`] into an answer.

use http::{StatusCode, header};
use personium_types::{Code, Error};
use serde_json::json;

use crate::answer::{self, Answer, WithHeader};

/// What a client may authenticate with at the place that refused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// Nothing is known about the place.
    None,
    /// A bearer token of this realm.
    Bearer(String),
    /// A bearer token, or name and password of an account.
    BearerOrBasic(String),
}

/// The answer for an error: JSON with `code` and `message`, challenges with a 401.
///
/// The causes of a 5xx go to the log once, here, and never to the client.
#[must_use]
pub fn render(error: &Error, challenge: &Challenge, request_key: &str) -> Answer {
    let status =
        StatusCode::from_u16(error.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    log(error, request_key);
    let lang = if error.code() == Code::Unknown {
        "en_US"
    } else {
        "en"
    };
    let body = json!({
        "code": error.code().as_str(),
        "message": {"lang": lang, "value": shown(error, request_key)},
    });
    let mut out = with_patience(answer::json(status, &body), error);
    if status == StatusCode::UNAUTHORIZED {
        let (realm, basic) = match challenge {
            Challenge::None => return out,
            Challenge::Bearer(realm) => (realm, false),
            Challenge::BearerOrBasic(realm) => (realm, true),
        };
        out = out.and(
            header::WWW_AUTHENTICATE,
            &format!("Bearer realm=\"{realm}\""),
        );
        if basic {
            out = out.and(
                header::WWW_AUTHENTICATE,
                &format!("Basic realm=\"{realm}\""),
            );
        }
    }
    out
}

/// Tells for how long to wait, where the error says so (RFC 9110 section 10.2.3).
pub(crate) fn with_patience(answer: Answer, error: &Error) -> Answer {
    match (error.code(), error.params()) {
        (Code::LoginsTooMany, [seconds]) => answer.with(header::RETRY_AFTER, seconds),
        _ => answer,
    }
}

/// The body for an error.
pub(crate) fn body(error: &Error, request_key: &str) -> serde_json::Value {
    let lang = if error.code() == Code::Unknown {
        "en_US"
    } else {
        "en"
    };
    json!({
        "code": error.code().as_str(),
        "message": {"lang": lang, "value": shown(error, request_key)},
    })
}

fn shown(error: &Error, request_key: &str) -> String {
    if error.code().status() >= 500 {
        format!("{} ({request_key})", error.message())
    } else {
        error.message()
    }
}

/// Logs a failure of the server with all its causes; refusals are not logged.
pub(crate) fn log(error: &Error, request_key: &str) {
    if error.code().status() < 500 {
        return;
    }
    let mut causes = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    tracing::error!(
        request.key = request_key,
        error.code = error.code().as_str(),
        error.causes = causes.join(": "),
        "request failed: {error}"
    );
}
