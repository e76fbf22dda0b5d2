//! The headers that every response has.

use http::HeaderMap;
use http::header::{self, HeaderValue};

use crate::headers::{REQUEST_KEY, VERSION};
use crate::response::Response;

/// Adds the headers that every response has: the API version, the request key, and those of CORS if the request names an
/// origin.
pub fn add(request: &HeaderMap, response: &mut Response, request_key: &str) {
    let headers = response.headers_mut();
    headers.insert(VERSION, HeaderValue::from_static(crate::API_VERSION));
    if let Ok(value) = HeaderValue::from_str(request_key) {
        headers.insert(REQUEST_KEY, value);
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
    if let Some(requested) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
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
