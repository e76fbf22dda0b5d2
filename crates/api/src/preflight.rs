//! What is the same for every URL: method and header overrides, request keys, CORS, OPTIONS without credentials.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use personium_types::{Code, Error, Random, Result};

use crate::forwarded;
use crate::response::{self, Response, WithHeader};

/// Every method that some resource of a unit knows.
const METHODS: &str =
    "OPTIONS, GET, POST, PUT, DELETE, HEAD, MERGE, MKCOL, MOVE, PROPFIND, PROPPATCH, ACL";

/// The request key: the client's own one, or a new one.
///
/// # Errors
/// 400 unless it is at most 128 of `A-Za-z0-9_-`.
pub fn request_key(headers: &HeaderMap, random: &dyn Random) -> Result<String> {
    let Some(value) = headers.get("x-personium-requestkey") else {
        let id = random.uuid();
        let text = base64::Engine::encode(
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
            id.as_bytes(),
        );
        let (begin, end) = text.split_at_checked(4).unwrap_or((&text, ""));
        return Ok(format!("{begin}_{end}"));
    };
    let text = value.to_str().unwrap_or("?");
    let good = text.len() <= 128
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if good {
        Ok(text.to_owned())
    } else {
        Err(Code::RequestKey.into())
    }
}

/// The method that is meant: `X-HTTP-Method-Override` counts on POST.
#[must_use]
pub fn method(method: &Method, headers: &HeaderMap) -> Method {
    if method != Method::POST {
        return method.clone();
    }
    headers
        .get("x-http-method-override")
        .filter(|v| !v.is_empty())
        .and_then(|v| Method::from_bytes(v.as_bytes()).ok())
        .unwrap_or_else(|| method.clone())
}

/// Carries out `X-Override: Name: Value`, which replaces the named header; not one that only a proxy may set.
pub fn override_headers(headers: &mut HeaderMap) {
    let overrides: Vec<HeaderValue> = headers.get_all("x-override").iter().cloned().collect();
    for value in overrides {
        let Ok(text) = value.to_str() else { continue };
        let Some((name, value)) = text.split_once(':') else {
            continue;
        };
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.trim().as_bytes()),
            HeaderValue::from_str(value.trim()),
        ) && !name.as_str().starts_with(forwarded::PREFIX)
        {
            headers.insert(name, value);
        }
    }
}

/// Refuses an `Accept` header with other than ASCII characters.
pub fn check_accept(headers: &HeaderMap) -> Result<()> {
    for value in headers.get_all(header::ACCEPT) {
        if !value.as_bytes().is_ascii() {
            let shown = String::from_utf8_lossy(value.as_bytes()).into_owned();
            return Err(Error::new(Code::HeaderIllegal).with("Accept").with(shown));
        }
    }
    Ok(())
}

/// The answer to OPTIONS without credentials: always allowed, whatever the URL.
#[must_use]
pub fn options_for_anybody() -> Response {
    allow(METHODS)
}

/// The answer to OPTIONS with these methods, separated by `, `.
#[must_use]
pub fn allow(methods: &str) -> Response {
    response::status(StatusCode::OK)
        .with_header(header::ALLOW, methods)
        .with_header(header::ACCESS_CONTROL_ALLOW_METHODS, methods)
}

/// Adds what every answer carries: the API's version, and CORS headers if the request came from another origin.
pub fn finish(request: &HeaderMap, response: &mut Response, request_key: &str) {
    let headers = response.headers_mut();
    headers.insert(
        "x-personium-version",
        HeaderValue::from_static(crate::API_VERSION),
    );
    if let Ok(value) = HeaderValue::from_str(request_key) {
        headers.insert("x-personium-requestkey", value);
    }
    let Some(origin) = request.get(header::ORIGIN) else {
        headers.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
        return;
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("86400"),
    );
    if let Some(asked) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    let own = headers
        .get(header::ACCESS_CONTROL_EXPOSE_HEADERS)
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned);
    let exposed = match own {
        Some(own) => format!("X-Personium-Version,{own}"),
        None => "X-Personium-Version".to_owned(),
    };
    if let Ok(value) = HeaderValue::from_str(&exposed) {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, value);
    }
}
