//! DELETE of files and collections.

use http::StatusCode;
use personium_dav::headers::Recursive;
use personium_model::locate::Target;
use personium_model::node::NodeKind;
use personium_model::{Resource, collection, file};
use personium_types::{Code, Error, Operation, Result};

use crate::headers::{RECURSIVE, refuse_erasure};
use crate::request_context::RequestContext;
use crate::response::{self, Response};

/// DELETE of a file or a collection.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn handle(
    request: RequestContext,
    resource: Resource,
    target: Target,
) -> Result<Response> {
    let header = request.header(RECURSIVE).map(str::to_owned);
    resource.permit(&target, Operation::Remove)?;
    if !target.exists() {
        return Err(resource.not_found());
    }
    refuse_erasure(&request.headers)?;
    if target.node().value().kind == NodeKind::File {
        file::remove(&resource).await?;
    } else {
        let recursive = Recursive::of_collection(header.as_deref()).map_err(|_| {
            Error::new(Code::HeaderInvalid)
                .with(RECURSIVE)
                .with(header.unwrap_or_default())
        })?;
        collection::remove(&resource, recursive == Recursive::Yes).await?;
    }
    Ok(response::status(StatusCode::NO_CONTENT))
}
