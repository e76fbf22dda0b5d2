//! Masks secrets in request targets: tokens, codes, passwords.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use personium_token::local::LocalKind;

/// The text that is shown instead of a secret.
const MASK: &str = "***";

/// Query parameters whose values are shown. Values of all others are masked: a name does not tell what is secret in an
/// application.
const SHOWN_PARAMETERS: &[&str] = &[
    "$top",
    "$skip",
    "$skiptoken",
    "$orderby",
    "$select",
    "$expand",
    "$format",
    "$inlinecount",
    "$count",
    "response_type",
    "grant_type",
];

/// Parts of the names of values that are secret in a path.
const SECRET_NAMES: &[&str] = &[
    "token",
    "password",
    "passwd",
    "pswd",
    "secret",
    "credential",
    "assertion",
    "code",
    "apikey",
    "api_key",
    "authorization",
    "bearer",
    "cookie",
    "session",
    "signature",
];

/// The longest name of a query parameter that is shown.
const MAX_NAME_BYTES: usize = 40;

/// The shortest text of a base64 alphabet that is taken for a secret.
const MIN_OPAQUE_BYTES: usize = 100;

/// The shortest part of a token after its prefix.
const MIN_TOKEN_BYTES: usize = 16;

/// A path with its secrets masked.
#[must_use]
pub fn path(path: &str) -> Cow<'_, str> {
    // Most paths are short and have nothing that a token or a named value needs.
    let is_plain = path.len() < MIN_OPAQUE_BYTES && !path.contains(['=', ':', '~', '%']);
    if is_plain && !path.contains("eyJ") {
        return path.into();
    }
    let segments = path.split('/').map(segment);
    segments.collect::<Vec<_>>().join("/").into()
}

/// A query with its secrets masked.
#[must_use]
pub fn query(query: &str) -> String {
    let parameters = query.split('&').map(parameter);
    parameters.collect::<Vec<_>>().join("&")
}

fn segment(raw: &str) -> Cow<'_, str> {
    let decoded = percent_decode_str(raw).decode_utf8_lossy();
    if is_secret(&decoded) {
        return MASK.into();
    }
    // Matrix parameters and what looks like them.
    if !decoded.contains(['=', ':']) {
        return raw.into();
    }
    let named_secret = decoded
        .split([';', '&', ',', '(', ')', '?'])
        .filter_map(|part| part.split_once(['=', ':']))
        .find(|(name, value)| !value.is_empty() && has_secret_name(name));
    match named_secret {
        Some((name, _)) => masked_value(raw, name).into(),
        None => raw.into(),
    }
}

/// A segment that is masked from the value of a name on; wholly if the name is encoded in another way.
fn masked_value(raw: &str, name: &str) -> String {
    let name_end = raw.find(name).map(|at| at + name.len());
    let Some((shown, rest)) = name_end.and_then(|end| raw.split_at_checked(end)) else {
        return MASK.to_owned();
    };
    let separator = rest.get(..1).filter(|separator| "=:".contains(separator));
    format!("{shown}{}{MASK}", separator.unwrap_or_default())
}

fn has_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

fn parameter(raw: &str) -> Cow<'_, str> {
    let Some((name, value)) = raw.split_once('=') else {
        return if raw.is_empty() || is_shown(raw) {
            raw.into()
        } else {
            MASK.into()
        };
    };
    if value.is_empty() || (is_shown(name) && !is_secret(value)) {
        return raw.into();
    }
    let decoded = percent_decode_str(name).decode_utf8_lossy();
    if name.len() > MAX_NAME_BYTES || is_secret(&decoded) {
        return format!("{MASK}={MASK}").into();
    }
    format!("{name}={MASK}").into()
}

fn is_shown(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy();
    SHOWN_PARAMETERS.contains(&name.as_ref())
}

/// Whether a text looks like a token, a cookie or a key.
fn is_secret(text: &str) -> bool {
    let is_opaque = |part: &str| {
        part.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+' | b'=' | b'~')
        })
    };
    let has_prefix = LocalKind::ALL.iter().any(|kind| {
        text.split_once(kind.prefix())
            .is_some_and(|(_, rest)| rest.len() >= MIN_TOKEN_BYTES)
    });
    let is_jwt =
        text.contains("eyJ") && text.matches('.').count() >= 2 && text.len() > MIN_TOKEN_BYTES;
    has_prefix || is_jwt || (text.len() >= MIN_OPAQUE_BYTES && is_opaque(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "AR~0123456789abcdefghij";

    #[test]
    fn secrets_in_queries_are_masked() {
        for (given, expected) in [
            (
                "$top=1&$skip=2&%24format=json",
                "$top=1&$skip=2&%24format=json".to_owned(),
            ),
            ("code=abc&state=x", "code=***&state=***".to_owned()),
            ("access_token=abc", "access_token=***".to_owned()),
            (
                "ACCESS_TOKEN=abc&p_cookie_peer=1",
                "ACCESS_TOKEN=***&p_cookie_peer=***".to_owned(),
            ),
            ("%70assword=abc", "%70assword=***".to_owned()),
            ("$filter=Name%20eq%20'x'", "$filter=***".to_owned()),
            ("hunter2", "***".to_owned()),
            ("a=", "a=".to_owned()),
            ("", String::new()),
            (
                "grant_type=password&password=x",
                "grant_type=password&password=***".to_owned(),
            ),
            (&format!("$select={TOKEN}"), "$select=***".to_owned()),
            (&format!("{TOKEN}=1"), "***=***".to_owned()),
            (&format!("a=b=c&{TOKEN}"), "a=***&***".to_owned()),
        ] {
            assert_eq!(query(given), expected, "{given}");
        }
    }

    #[test]
    fn secrets_in_paths_are_masked_and_names_are_kept() {
        let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln";
        let long = "Ab9_".repeat(30);
        for (given, expected) in [
            ("/", "/".to_owned()),
            (
                "/c/b/My%20Documents/a=b.txt",
                "/c/b/My%20Documents/a=b.txt".to_owned(),
            ),
            (
                "/c/__ctl/Account('me')",
                "/c/__ctl/Account('me')".to_owned(),
            ),
            ("/c/b/tokens/code.js", "/c/b/tokens/code.js".to_owned()),
            (
                "/c/b/T(Name='a',_Box.Name='b')",
                "/c/b/T(Name='a',_Box.Name='b')".to_owned(),
            ),
            (&format!("/c/{TOKEN}/x"), "/c/***/x".to_owned()),
            (
                &format!("/c/{}/x", TOKEN.replace('~', "%7E")),
                "/c/***/x".to_owned(),
            ),
            (&format!("/c/{jwt}"), "/c/***".to_owned()),
            (&format!("/c/{long}"), "/c/***".to_owned()),
            ("/c/f;token=abc/x", "/c/f;token=***/x".to_owned()),
            ("/c/password=abc", "/c/password=***".to_owned()),
            ("/c/f%3Bpassword%3Dabc", "/c/f%3Bpassword***".to_owned()),
        ] {
            assert_eq!(path(given), expected, "{given}");
        }
    }
}
