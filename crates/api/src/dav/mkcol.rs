//! MKCOL of collections.

use http::{StatusCode, header};
use personium_dav::mkcol::{self, CollectionKind, MkcolError, NewCollection};
use personium_dav::multistatus::mkcol_error_response;
use personium_model::locate::Target;
use personium_model::node::NodeKind;
use personium_model::{Resource, collection};
use personium_types::{Code, Error, Result};

use crate::request_context::RequestContext;
use crate::response::{self, Response, WithHeader};

/// Whether a media type is one of XML (RFC 7303).
fn is_xml(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/xml" | "text/xml") || essence.ends_with("+xml")
}

/// MKCOL creates a collection. On an existing resource it is refused.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn handle(
    mut request: RequestContext,
    resource: Resource,
    target: Target,
) -> Result<Response> {
    collection::check_create(&resource, &target)?;
    drop(target);
    let new = if request.has_body() {
        let limits = request.xml_limits();
        let body = request.read_body(limits.bytes).await?;
        match mkcol::parse(&body, &limits) {
            Ok(new) => new,
            Err(MkcolError::Protected(refused)) => {
                return Ok(response::content(
                    StatusCode::FORBIDDEN,
                    "application/xml",
                    refused.mkcol_response(),
                ));
            }
            Err(MkcolError::ResourceType { reason, first_prop }) => {
                let text = mkcol_error_response(first_prop.as_deref(), reason);
                return Ok(response::content(
                    StatusCode::FORBIDDEN,
                    "application/xml",
                    text,
                ));
            }
            Err(unreadable) => {
                let media_type = request.header("content-type");
                let code = match media_type.is_none_or(is_xml) {
                    true => Code::DavXml,
                    // RFC 4918, section 9.3: a body of a kind that the server does not understand.
                    false => Code::UnsupportedMedia,
                };
                return Err(Error::new(code).with_source(unreadable));
            }
        }
    } else {
        NewCollection {
            kind: CollectionKind::WebDav,
            properties: Vec::new(),
        }
    };
    let kind = match new.kind {
        CollectionKind::WebDav => NodeKind::Collection,
        CollectionKind::OData => NodeKind::Odata,
        CollectionKind::Service => NodeKind::Service,
        CollectionKind::Stream => NodeKind::Stream,
    };
    let etag = collection::create_with(&resource, kind, &new.properties).await?;
    Ok(response::status(StatusCode::CREATED).with_header(header::ETAG, &etag.strong().to_string()))
}
