//! The way back to an application, and back to the form.

use personium_types::{Code, Error};
use url::form_urlencoded::byte_serialize;

use super::page::Notice;
use super::request::AuthorizationRequest;

/// Where an application gets its answer.
#[derive(Debug, Clone)]
pub struct RedirectTarget {
    /// The URL.
    pub redirect_uri: String,
    /// What the application wants to see again.
    pub state: Option<String>,
    /// What stands between the URL and the answer, unless the URL has it already.
    pub separator: char,
    /// The URL of the cell, if the answer names it (`iss`, RFC 9207).
    pub issuer: Option<String>,
}

impl RedirectTarget {
    /// The URL with these parameters. Values are written as they are, so they must be safe.
    pub fn with(&self, parameters: &[(&str, String)]) -> String {
        let separator = if self.redirect_uri.contains(self.separator) {
            '&'
        } else {
            self.separator
        };
        let joined: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .chain(
                self.issuer
                    .iter()
                    .map(|url| format!("iss={}", form_encoded(url))),
            )
            .collect();
        format!("{}{separator}{}", self.redirect_uri, joined.join("&"))
    }

    /// The URL that tells the application of a refusal.
    pub fn refusal(&self, code: Code) -> String {
        let word = match code {
            Code::ResponseTypeUnsupported => "unsupported_response_type",
            Code::AuthzCancelled => "unauthorized_client",
            Code::AuthzExpiresIn | Code::ResponseTypeMissing | Code::CodeChallenge => {
                "invalid_request"
            }
            _ => "server_error",
        };
        let mut parameters = vec![
            ("error", word.to_owned()),
            (
                "error_description",
                form_encoded(&Error::new(code).message()),
            ),
        ];
        parameters.extend(self.state());
        parameters.push(("code", code.as_str().to_owned()));
        self.with(&parameters)
    }

    /// The state, escaped so that it reads back as it was and cannot pass for another parameter.
    pub fn state(&self) -> Option<(&'static str, String)> {
        self.state.as_deref().map(|state| {
            const SAFE: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
                .remove(b'-')
                .remove(b'.')
                .remove(b'_')
                .remove(b'~');
            let escaped = percent_encoding::utf8_percent_encode(state, SAFE);
            ("state", escaped.to_string())
        })
    }
}

/// The URL of the form that shows a notice, for another try.
pub fn form_url(
    cell_url: &str,
    authorization: &AuthorizationRequest,
    change: Option<&str>,
    notice: &Notice,
) -> String {
    let mut url = format!("{cell_url}__authz?");
    let mut add = |name: &str, value: &str| {
        if !url.ends_with('?') {
            url.push('&');
        }
        url.push_str(name);
        url.push('=');
        url.push_str(&form_encoded(value));
    };
    add("response_type", &authorization.response_type);
    add("client_id", &authorization.client_id);
    add("redirect_uri", &authorization.redirect_uri);
    if let Some(state) = &authorization.back.state {
        add("state", state);
    }
    if !authorization.scopes.is_empty() {
        add("scope", &form_encoded(&authorization.scopes.join(" ")));
    }
    for name in super::page::CARRIED {
        if let Some(value) = authorization.form.get(name) {
            add(name, value);
        }
    }
    if let Some(token) = change {
        add("access_token", token);
        add("password_change_required", "true");
    }
    add("error", notice.error);
    add("error_description", notice.english);
    add("code", notice.code);
    url
}

fn form_encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(redirect_uri: &str, state: &str, separator: char) -> RedirectTarget {
        RedirectTarget {
            redirect_uri: redirect_uri.to_owned(),
            state: Some(state.to_owned()),
            separator,
            issuer: None,
        }
    }

    #[test]
    fn separators() {
        let one = [("a", "1".to_owned()), ("b", "2".to_owned())];
        for (uri, separator, url) in [
            ("https://a/", '?', "https://a/?a=1&b=2"),
            ("https://a/?x=y", '?', "https://a/?x=y&a=1&b=2"),
            ("https://a/?x=y", '#', "https://a/?x=y#a=1&b=2"),
            ("https://a/#x", '#', "https://a/#x&a=1&b=2"),
        ] {
            assert_eq!(back(uri, "", separator).with(&one), url);
        }
    }

    #[test]
    fn a_state_cannot_pass_for_another_parameter() {
        let url = back("https://a/", "x&code=1#%\r\nä", '?').refusal(Code::AuthzCancelled);
        assert!(
            url.contains("&state=x%26code%3D1%23%25%0D%0A%C3%A4&"),
            "{url}"
        );
    }
}
