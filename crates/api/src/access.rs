//! Authentication: from the credentials of a request to its [`Access`].

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cookie::Cookie;
use http::header;
use personium_model::auth::{bearer, login};
use personium_model::{Access, Identity};
use personium_types::{Code, Result};

use crate::headers::UNIT_USER;
use crate::request_context::{CellRequest, RequestContext};
use crate::route::CellRoute;

/// The cookie that carries an access token for a browser.
pub const COOKIE: &str = "p_cookie";
/// The query parameter by which a script proves that it knows the peer of the cookie.
const COOKIE_PEER: &str = "p_cookie_peer";

/// The credentials of a request.
enum Credentials {
    None,
    Bad(Code),
    Bearer(String),
    Basic(String, String),
}

/// The access of a request to the unit.
///
/// # Errors
/// As [`bearer::unit_access`].
pub async fn of_unit_request(request: &RequestContext) -> Result<Access> {
    match credentials(request, || request.unit.urls().host().to_owned()) {
        Credentials::None => Ok(Access::anonymous()),
        Credentials::Bad(Code::BasicFormat) | Credentials::Basic(..) => {
            Ok(Access::invalid(Code::BasicRefused))
        }
        Credentials::Bad(reason) => Ok(Access::invalid(reason)),
        Credentials::Bearer(token) => {
            bearer::unit_access(&request.unit, &token, request.header(UNIT_USER)).await
        }
    }
}

/// The access of a request to a cell. It is anonymous for endpoints that authenticate requests themselves.
///
/// # Errors
/// As [`bearer::cell_access`] and [`login::authenticate_basic`].
pub async fn of_cell_request(request: &CellRequest) -> Result<Access> {
    let route = request.path.decoded.first().map(|s| CellRoute::of(s));
    if matches!(route, Some(CellRoute::Token | CellRoute::Authorize)) {
        return Ok(Access::anonymous());
    }
    let unit = &request.unit;
    match credentials(request, || host_of(&request.cell_url())) {
        Credentials::None => Ok(Access::anonymous()),
        Credentials::Bad(reason) => Ok(Access::invalid(reason)),
        Credentials::Basic(..) if route == Some(CellRoute::Introspect) => Ok(Access::anonymous()),
        Credentials::Basic(name, password) => Ok(
            match Box::pin(login::authenticate_basic(
                unit,
                &request.context,
                &name,
                &password,
                request.login_origin(),
            ))
            .await?
            {
                Err(reason) => Access::invalid(reason),
                Ok(account) => {
                    let known = request.context.find_account(&account.name).await?;
                    Access {
                        roles: known.map(|a| a.roles.clone()).unwrap_or_default(),
                        ..Access::of(Identity::Basic {
                            id: account.id,
                            account: account.name,
                        })
                    }
                }
            },
        ),
        Credentials::Bearer(token) => {
            bearer::cell_access(unit, &request.context, &token, request.header(UNIT_USER)).await
        }
    }
}

/// The header `Authorization` with the credentials of a request, also if they came in a cookie; `None` if there are none.
#[must_use]
pub fn authorization(request: &CellRequest) -> Option<String> {
    if let Some(value) = request.headers.get(header::AUTHORIZATION) {
        return value.to_str().ok().map(str::to_owned);
    }
    match credentials(request, || host_of(&request.cell_url())) {
        Credentials::Bearer(token) => Some(format!("Bearer {token}")),
        _ => None,
    }
}

/// The host name in a URL of this unit, without port.
#[must_use]
pub fn host_of(url: &str) -> String {
    url::Url::parse(url)
        .ok()
        .and_then(|u| u.host_str().map(str::to_owned))
        .unwrap_or_default()
}

fn credentials(request: &RequestContext, host: impl FnOnce() -> String) -> Credentials {
    let Some(value) = request.headers.get(header::AUTHORIZATION) else {
        return by_cookie(request, host);
    };
    let Ok(value) = std::str::from_utf8(value.as_bytes()) else {
        return Credentials::Bad(Code::AuthScheme);
    };
    if let Some(rest) = value.strip_prefix("Basic") {
        return match basic(rest) {
            Some((name, password)) => Credentials::Basic(name, password),
            None => Credentials::Bad(Code::BasicFormat),
        };
    }
    let Some(rest) = value.strip_prefix("Bearer") else {
        return Credentials::Bad(Code::AuthScheme);
    };
    match rest.strip_prefix(' ').map(str::trim) {
        Some(token) if !token.is_empty() => Credentials::Bearer(token.to_owned()),
        _ => Credentials::Bad(Code::TokenParse),
    }
}

fn by_cookie(request: &RequestContext, host: impl FnOnce() -> String) -> Credentials {
    let Some(peer) = request.query_value(COOKIE_PEER).filter(|p| !p.is_empty()) else {
        return Credentials::None;
    };
    let opened = cookie(request, COOKIE)
        .and_then(|value| {
            request
                .unit
                .keys()
                .local_tokens
                .open_cookie(&value, &host())
                .ok()
        })
        .filter(|cookie| cookie.has_peer(&peer));
    match opened {
        Some(cookie) => Credentials::Bearer(cookie.token),
        None => Credentials::Bad(Code::CookieInvalid),
    }
}

/// The value of a cookie of the request; the first one if there are more.
#[must_use]
pub fn cookie(request: &RequestContext, name: &str) -> Option<String> {
    request
        .headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(Cookie::split_parse)
        .filter_map(|cookie| cookie.ok())
        .find(|cookie| cookie.name() == name)
        .map(|cookie| cookie.value_trimmed().to_owned())
}

/// Name and password of Basic credentials (the part after the scheme): Base64 with or without padding, each part
/// form-encoded. `None` if they cannot be read.
#[must_use]
pub fn basic(encoded: &str) -> Option<(String, String)> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let text: String = encoded
        .trim()
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    let decoded = String::from_utf8(LENIENT.decode(text).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((form_decode(name)?, form_decode(password)?))
}

/// Id and secret of an application in Basic credentials. The id is a URL. Clients that do not form-encode it, as RFC 6749
/// section 2.3.1 demands, are accepted too, because no secret contains a colon.
#[must_use]
pub fn client_basic(encoded: &str) -> Option<(String, String)> {
    let (name, rest) = basic(encoded)?;
    if matches!(name.as_str(), "http" | "https")
        && rest.starts_with("//")
        && let Some((id, secret)) = rest.rsplit_once(':')
    {
        return Some((format!("{name}:{id}"), secret.to_owned()));
    }
    Some((name, rest))
}

/// Decodes a form-encoded text; `None` if an escape is incomplete or the result is not UTF-8.
fn form_decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    let broken = text.match_indices('%').any(|(at, _)| {
        !text
            .get(at + 1..at + 3)
            .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
    });
    if broken {
        return None;
    }
    let decoded = percent_encoding::percent_decode_str(&text).decode_utf8();
    decoded.ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::{basic, client_basic};

    #[test]
    fn basic_credentials_are_decoded_leniently() {
        let encode =
            |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
        let read = |text: &str| basic(&format!(" {}", encode(text)));
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(read("a:b"), pair("a", "b"));
        assert_eq!(read("a:b:c"), pair("a", "b:c"));
        assert_eq!(read("a:"), pair("a", ""));
        assert_eq!(read("a+b:c%2Bd"), pair("a b", "c+d"));
        assert_eq!(
            basic("aHR0cHMlM0ElMkYlMkZhcHAxLnVuaXQxLmV4YW1wbGUlMkY6dG9r"),
            pair("https://app1.unit1.example/", "tok")
        );
        for bad in ["no colon", "a:%", "a:%4", "a:%zz", "a:%FF"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        for bad in ["", "*", "a:b"] {
            assert_eq!(basic(bad), None, "{bad}");
        }
    }

    #[test]
    fn client_id_without_form_encoding_is_accepted() {
        for (text, id) in [
            ("http%3A%2F%2Fapp.example%2F:tok", "http://app.example/"),
            ("http://app.example/:tok", "http://app.example/"),
            (
                "https://unit.example:8443/app/:tok",
                "https://unit.example:8443/app/",
            ),
            ("unit:tok", "unit"),
        ] {
            let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
            let expected = Some((id.to_owned(), "tok".to_owned()));
            assert_eq!(client_basic(&encoded), expected, "{text}");
        }
    }
}
