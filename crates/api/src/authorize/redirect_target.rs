//! Redirects back to an application.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use personium_types::{Code, Error};
use url::form_urlencoded::byte_serialize;

/// The characters that are escaped in the value of `state`.
const STATE_ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The URL of an application that gets the outcome.
#[derive(Debug, Clone)]
pub struct RedirectTarget {
    /// The URL.
    pub redirect_uri: String,
    /// The `state` of the request.
    pub state: Option<String>,
    /// The separator of URL and parameters, unless the URL contains it already.
    pub separator: char,
    /// The URL of the cell, if it is a parameter (`iss`, RFC 9207).
    pub issuer: Option<String>,
}

impl RedirectTarget {
    /// The URL with parameters. Values are not encoded again.
    pub fn url_with(&self, parameters: &[(&str, String)]) -> String {
        let separator = if self.redirect_uri.contains(self.separator) {
            '&'
        } else {
            self.separator
        };
        let issuer = self
            .issuer
            .iter()
            .map(|url| format!("iss={}", form_encode(url)));
        let parameters = parameters
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let joined: Vec<String> = parameters.chain(issuer).collect();
        format!("{}{separator}{}", self.redirect_uri, joined.join("&"))
    }

    /// The URL that reports a refusal to the application.
    pub fn refusal_url(&self, code: Code) -> String {
        let error = match code {
            Code::ResponseTypeUnsupported => "unsupported_response_type",
            Code::AuthzCancelled => "unauthorized_client",
            Code::LoginRequired => "login_required",
            Code::InteractionRequired => "interaction_required",
            Code::AuthzExpiresIn
            | Code::ResponseTypeMissing
            | Code::CodeChallenge
            | Code::PromptInvalid => "invalid_request",
            _ => "server_error",
        };
        let description = form_encode(&Error::new(code).message());
        let mut parameters = vec![
            ("error", error.to_owned()),
            ("error_description", description),
        ];
        parameters.extend(self.state_parameter());
        parameters.push(("code", code.as_str().to_owned()));
        self.url_with(&parameters)
    }

    /// The `state`, encoded so that it cannot contain other parameters.
    pub fn state_parameter(&self) -> Option<(&'static str, String)> {
        let state = self.state.as_deref()?;
        let encoded = utf8_percent_encode(state, STATE_ESCAPED);
        Some(("state", encoded.to_string()))
    }
}

/// A text as a value in a query.
pub(super) fn form_encode(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(redirect_uri: &str, state: &str, separator: char) -> RedirectTarget {
        RedirectTarget {
            redirect_uri: redirect_uri.to_owned(),
            state: Some(state.to_owned()),
            separator,
            issuer: None,
        }
    }

    #[test]
    fn parameters_are_appended_after_the_separator() {
        let parameters = [("a", "1".to_owned()), ("b", "2".to_owned())];
        for (uri, separator, url) in [
            ("https://a/", '?', "https://a/?a=1&b=2"),
            ("https://a/?x=y", '?', "https://a/?x=y&a=1&b=2"),
            ("https://a/?x=y", '#', "https://a/?x=y#a=1&b=2"),
            ("https://a/#x", '#', "https://a/#x&a=1&b=2"),
        ] {
            assert_eq!(target(uri, "", separator).url_with(&parameters), url);
        }
    }

    #[test]
    fn state_is_encoded_so_that_it_adds_no_parameters() {
        let target = target("https://a/", "x&code=1#%\r\nä", '?');
        let url = target.refusal_url(Code::AuthzCancelled);
        assert!(
            url.contains("&state=x%26code%3D1%23%25%0D%0A%C3%A4&"),
            "{url}"
        );
    }
}
