//! The request in a part of a batch.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use personium_odata::batch::BatchPart;

use crate::odata::request::ODataRequest;

/// The headers with the version of the protocol. Those of the batch hold for its parts.
const VERSIONS: [&str; 2] = ["dataserviceversion", "maxdataserviceversion"];

/// The version of the protocol that the headers of a batch name.
pub(super) struct PartProtocol(Vec<(HeaderName, HeaderValue)>);

impl PartProtocol {
    pub(super) fn of_batch(headers: &HeaderMap) -> Self {
        let versions = VERSIONS.iter().filter_map(|name| {
            let value = headers.get(*name)?;
            Some((HeaderName::from_static(name), value.clone()))
        });
        Self(versions.collect())
    }

    /// The headers of a part. A response is JSON, unless the part asks for something else.
    pub(super) fn headers_of(&self, part: &BatchPart<'_>) -> HeaderMap {
        let mut headers: HeaderMap = self.0.iter().cloned().collect();
        for (name, value) in &part.headers {
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_str(value),
            ) {
                headers.insert(name, value);
            }
        }
        let asks_for_none = headers.get(header::ACCEPT).is_none_or(|accept| {
            let accept = accept.to_str().unwrap_or_default().trim();
            accept.is_empty() || accept == "*/*"
        });
        if asks_for_none {
            let json = HeaderValue::from_static("application/json");
            headers.insert(header::ACCEPT, json);
        }
        headers
    }
}

/// Makes the request of a batch that of a part. `batch_body` is the body of the batch, of which that of the part is a slice
/// without a copy.
pub(super) fn enter(
    request: &mut ODataRequest,
    part: &BatchPart<'_>,
    headers: HeaderMap,
    batch_body: &Bytes,
) {
    let body = match &part.body {
        Cow::Borrowed(text) if !text.is_empty() => batch_body.slice_ref(text.as_bytes()),
        text => Bytes::copy_from_slice(text.as_bytes()),
    };
    request.method = Method::from_bytes(part.method.name().as_bytes()).unwrap_or_default();
    request.headers = headers;
    request.query = part.query.to_owned();
    request.set_body(body);
}
