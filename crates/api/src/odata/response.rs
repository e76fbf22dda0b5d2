//! Parts of OData responses: entities as the writers take them, protocol versions, 204.

use http::{HeaderValue, StatusCode, header};
use personium_model::odata::{Entity, SetRef};
use personium_odata::entity_view::{EntityView, ExpandedNavigation};
use personium_odata::json;
use personium_types::ETag;

use crate::response::{self, Response, WithHeader};

/// An entity for the JSON and Atom writers.
pub(super) fn entity_view<'a>(
    set: &'a SetRef,
    entity: &'a Entity,
    expanded: Vec<ExpandedNavigation<'a>>,
) -> EntityView<'a> {
    EntityView {
        entity_type: &set.entity_type,
        etag: entity.stored.etag(),
        published: entity.stored.published,
        properties: &entity.properties,
        expanded,
    }
}

/// Adds the protocol version of all successful responses but descriptions.
pub(super) fn version_2(response: Response) -> Response {
    with_version(response, HeaderValue::from_static("2.0"))
}

/// Adds the protocol version of descriptions.
pub(super) fn version_1(response: Response) -> Response {
    with_version(response, HeaderValue::from_static("1.0"))
}

fn with_version(mut response: Response, version: HeaderValue) -> Response {
    response.headers_mut().insert("dataserviceversion", version);
    response
}

/// 204, with an ETag if there is one.
pub(crate) fn no_content(etag: Option<ETag>) -> Response {
    let response = version_2(response::status(StatusCode::NO_CONTENT));
    match etag {
        Some(etag) => response.with_header(header::ETAG, &etag.weak().to_string()),
        None => response,
    }
}

/// A JSON document, or a script if the request names a callback.
pub(super) fn json_or_script(body: String, callback: Option<&str>) -> Response {
    match callback {
        Some(name) => response::content(
            StatusCode::OK,
            "text/javascript;charset=utf-8",
            json::with_callback(name, &body),
        ),
        None => response::content(StatusCode::OK, "application/json;charset=utf-8", body),
    }
}
