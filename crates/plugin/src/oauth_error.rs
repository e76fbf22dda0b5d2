//! The errors of OAuth2 that a plugin may return.

/// The largest length of a description in characters.
const MAX_DESCRIPTION_CHARS: usize = 200;

/// The characters that `error_description` may have (RFC 6749 section 5.2), and no more than the limit.
#[must_use]
pub fn printable_description(text: &str) -> String {
    let is_allowed = |c: &char| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~');
    text.chars()
        .filter(is_allowed)
        .take(MAX_DESCRIPTION_CHARS)
        .collect()
}

/// An error of OAuth2 (RFC 6749, sections 4.1.2.1 and 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OAuthError {
    /// `invalid_request`
    InvalidRequest,
    /// `invalid_client`
    InvalidClient,
    /// `invalid_grant`
    InvalidGrant,
    /// `invalid_scope`
    InvalidScope,
    /// `unsupported_grant_type`
    UnsupportedGrantType,
    /// `unsupported_response_type`
    UnsupportedResponseType,
    /// `unauthorized_client`
    UnauthorizedClient,
    /// `access_denied`
    AccessDenied,
    /// `server_error`
    ServerError,
    /// `temporarily_unavailable`
    TemporarilyUnavailable,
}

impl OAuthError {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::InvalidScope,
        Self::UnsupportedGrantType,
        Self::UnsupportedResponseType,
        Self::UnauthorizedClient,
        Self::AccessDenied,
        Self::ServerError,
        Self::TemporarilyUnavailable,
    ];

    /// The value of `error`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidScope => "invalid_scope",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::AccessDenied => "access_denied",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// The error with this value of `error`; `None` for other texts.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|error| error.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_bounded_and_have_no_control_characters() {
        assert_eq!(
            printable_description("no \"way\"\r\n\\\u{202e}!"),
            "no way!"
        );
        assert_eq!(
            printable_description(&"x".repeat(10_000)).len(),
            MAX_DESCRIPTION_CHARS
        );
    }
}
