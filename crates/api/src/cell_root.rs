//! The root of a cell: its description in a format that the client accepts, WebDAV methods, its deletion.

use http::StatusCode;
use personium_model::{Identity, odata};
use personium_types::preconditions::ResourceState;
use personium_types::{Code, Error, Operation, Preconditions, Result};
use serde_json::json;

use crate::error::{self, Challenge};
use crate::headers::{ERASE, RECURSIVE};
use crate::request_context::CellRequest;
use crate::response::{self, Response};
use crate::{accept, dav, describe, html_proxy, preflight};

/// The methods of a cell. OPTIONS lists others, see there.
const METHODS: &str = "OPTIONS, GET, HEAD, DELETE, PROPFIND, PROPPATCH, ACL";

/// Answers a request to the root of a cell.
///
/// # Errors
/// The refusal of the request.
pub(crate) async fn handle(request: CellRequest, challenge: &mut Challenge) -> Result<Response> {
    let method = request.method.clone();
    if method.as_str() == "PROPFIND" {
        *challenge = Challenge::BearerOrBasic(request.cell_url());
    }
    let outcome = answer(request).await;
    outcome.map_err(|refusal| error::with_methods(refusal, &method, METHODS))
}

async fn answer(request: CellRequest) -> Result<Response> {
    match request.method.as_str() {
        "GET" => get(request).await,
        "OPTIONS" => options(request).await,
        "DELETE" => delete(request).await,
        "PROPFIND" | "PROPPATCH" | "ACL" => dav::cell_root(request).await,
        _ => Err(request.method_not_allowed()),
    }
}

async fn get(request: CellRequest) -> Result<Response> {
    let headers = &request.headers;
    if accept::lists(headers, "application/json") {
        let cell = json!({"name": request.context.cell().name, "url": request.cell_url()});
        let body = json!({"cell": cell, "unit": describe::unit(request.unit.urls())});
        return Ok(response::json(StatusCode::OK, &body));
    }
    if accept::lists(headers, "application/xml") {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
             <cell xmlns=\"urn:x-personium:xmlns\"><uuid>{}</uuid><ctl>{}__ctl/</ctl></cell>",
            request.context.cell().id,
            request.cell_url(),
        );
        return Ok(response::content(StatusCode::OK, "application/xml", text));
    }
    html_proxy::cell_page(*request.request, request.context).await
}

async fn options(request: CellRequest) -> Result<Response> {
    // Programs that mount a box ask its cell first. Everybody may know the answer: without credentials it is given too.
    if !matches!(request.access.identity, Identity::Basic { .. }) {
        request.permit(Operation::OptionsCell).await?;
    }
    Ok(preflight::allow_webdav("OPTIONS, POST, PROPFIND"))
}

/// Removes the cell with everything in it, for good if a header says so.
async fn delete(request: CellRequest) -> Result<Response> {
    if request.header(RECURSIVE) != Some("true") {
        return Err(Error::new(Code::RecursiveHeader).with(RECURSIVE));
    }
    let is_erased = match request.header(ERASE) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Error::new(Code::RecursiveHeader).with(ERASE)),
    };
    let (urls, cell) = (request.unit.urls(), request.context.cell());
    let permit = request
        .request
        .access
        .permit_manage(urls, cell, Operation::RemoveCell)?;
    // Only conditions need the records of the cell: it can be removed although they are lost.
    if request.preconditions() != *Preconditions::NONE {
        let node = request.context.cell_node().await?;
        let state = ResourceState::of_node(Some(node.value.etag()));
        request.evaluate_conditions(state, Code::DavTagMismatch)?;
    }
    let (unit, context) = (request.unit.clone(), request.context);
    match is_erased {
        true => odata::erase_cell(&unit, &context, &permit).await?,
        false => odata::remove_cell(&unit, &context, &permit).await?,
    }
    Ok(response::status(StatusCode::NO_CONTENT))
}
