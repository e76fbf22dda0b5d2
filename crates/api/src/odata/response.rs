//! Parts of OData responses: entities as the writers take them, protocol versions, 204.

use http::{HeaderValue, StatusCode, header};
use personium_model::odata::{Entity, SetRef};
use personium_odata::entity_view::{EntityView, ExpandedNavigation};
use personium_odata::json;
use personium_odata::query::QueryOptions;
use personium_types::{Code, ETag, Result};

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

/// The function that a script calls with the JSON document, if the request names one.
#[derive(Clone, Copy)]
pub(super) struct Callback<'a>(Option<&'a str>);

impl<'a> Callback<'a> {
    /// Reads `$callback`.
    ///
    /// # Errors
    /// [`Code::CallbackName`] if it is not the name of a function.
    pub(super) fn read(options: &'a QueryOptions) -> Result<Self> {
        match options.get("$callback") {
            Some(name) if !json::is_callback(name) => Err(Code::CallbackName.into()),
            name => Ok(Self(name)),
        }
    }
}

/// A JSON document, or a script if the request names a callback.
pub(super) fn json_or_script(body: String, callback: Callback<'_>) -> Response {
    match callback.0 {
        Some(name) => response::content(
            StatusCode::OK,
            "text/javascript;charset=utf-8",
            json::with_callback(name, &body),
        ),
        None => response::content(StatusCode::OK, "application/json;charset=utf-8", body),
    }
}
