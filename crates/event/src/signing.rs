//! Signatures of the requests of rules that leave the unit.

use bytes::Bytes;
use http::{HeaderValue, Request, Uri};
use personium_model::auth::request_signature::{UnsignedRequest, sign_request};
use personium_model::event::EVENT_ID;
use personium_model::{CellContext, Unit};
use personium_types::Result;

/// The headers that a signature covers, if the request has them.
const COVERED: [&str; 2] = ["content-type", EVENT_ID];

/// Signs a request with the key of a cell, unless it is for this unit.
///
/// # Errors
/// A failure of the store; [`Code::ServerBusy`](personium_types::Code::ServerBusy) if the key cannot be made now.
pub(crate) async fn sign(
    unit: &Unit,
    context: &CellContext,
    request: &mut Request<Bytes>,
) -> Result<()> {
    let url = request.uri().to_string();
    if url.starts_with(&unit.urls().unit()) || unit.urls().split(&url).is_some() {
        return Ok(());
    }
    let headers: Vec<(&str, &str)> = COVERED
        .iter()
        .filter_map(|name| Some((*name, request.headers().get(*name)?.to_str().ok()?.trim())))
        .collect();
    let unsigned = UnsignedRequest {
        method: request.method().as_str(),
        target_uri: &target_uri(request.uri()),
        headers: &headers,
        body: request.body(),
    };
    for (name, value) in sign_request(unit, context, unsigned).await? {
        if let Ok(value) = HeaderValue::try_from(value) {
            request.headers_mut().insert(name, value);
        }
    }
    Ok(())
}

/// The URL as the receiver sees it: as in the header `Host`, without the port that is the default of the scheme.
fn target_uri(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let port = match (scheme, uri.port_u16()) {
        ("http", Some(80)) | ("https", Some(443)) | (_, None) => String::new(),
        (_, Some(port)) => format!(":{port}"),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    format!("{scheme}://{host}{port}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_uri_is_that_of_the_host_header() {
        for (uri, expected) in [
            ("https://Far.example:443/x?y", "https://far.example/x?y"),
            ("http://far.example:8080", "http://far.example:8080/"),
            ("http://[::1]:80/a", "http://[::1]/a"),
        ] {
            assert_eq!(target_uri(&uri.parse().unwrap()), expected);
        }
    }
}
