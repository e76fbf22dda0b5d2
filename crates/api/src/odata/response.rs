//! Parts of OData responses: entities as the writers take them, protocol versions, 204.

use http::{HeaderValue, StatusCode, header};
use personium_model::odata::{Entity, SetRef};
use personium_odata::entity_view::{EntityView, ExpandedNavigation};
use personium_odata::json;
use personium_odata::query::QueryOptions;
use personium_types::{Code, ETag, Result};

use crate::answer::AnswerText;
use crate::headers::ODATA_VERSION;
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
    response.headers_mut().insert(&ODATA_VERSION, version);
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

impl Callback<'_> {
    /// Begins the document: a script if the request names a callback.
    pub(super) fn push_start(self, out: &mut String) {
        if let Some(name) = self.0 {
            json::push_callback_start(out, name);
        }
    }

    /// Ends the document, and sends it as JSON or script.
    pub(super) fn respond(self, mut answer: AnswerText) -> Response {
        let media_type = match self.0 {
            Some(_) => {
                answer.out.push_str(json::CALLBACK_END);
                "text/javascript;charset=utf-8"
            }
            None => "application/json;charset=utf-8",
        };
        answer.into_response(media_type)
    }
}
