//! The root of a cell: its description in the form that the client accepts, WebDAV methods, its deletion.

use http::{HeaderMap, Method, StatusCode, header};
use personium_model::odata;
use personium_types::{Code, Error, Operation, Result};
use serde_json::json;

use crate::box_root::RECURSIVE;
use crate::request_context::CellRequest;
use crate::response::{self, Response};
use crate::{dav, preflight, relay, unit};

/// Answers a request to the root of a cell.
pub(crate) async fn handle(request: CellRequest) -> Result<Response> {
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
    if accepts(headers, "application/json") {
        let cell = json!({"name": request.context.cell().name, "url": request.cell_url()});
        let body = json!({"cell": cell, "unit": unit::document(&request)});
        return Ok(response::json(StatusCode::OK, &body));
    }
    if accepts(headers, "application/xml") {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
             <cell xmlns=\"urn:x-personium:xmlns\"><uuid>{}</uuid><ctl>{}__ctl/</ctl></cell>",
            request.context.cell().id,
            request.cell_url(),
        );
        return Ok(response::content(StatusCode::OK, "application/xml", text));
    }
    relay::cell_page(request.request, request.context).await
}

/// Whether a media type is listed as it is: neither wildcards nor parameters count.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|entry| entry.trim().eq_ignore_ascii_case(media_type))
}

/// The media type of a JSON document that has none of its own: clients that do not ask for JSON get it as text.
pub(crate) fn text_or_json(headers: &HeaderMap) -> &'static str {
    if accepts(headers, "application/json") {
        "application/json"
    } else {
        "text/plain"
    }
}

async fn options(request: CellRequest) -> Result<Response> {
    request.permit(Operation::OptionsCell).await?;
    Ok(preflight::allow("OPTIONS, POST, PROPFIND"))
}

/// Removes the cell with everything in it.
async fn delete(request: CellRequest) -> Result<Response> {
    if request.header(RECURSIVE) != Some("true") {
        return Err(Error::new(Code::RecursiveHeader).with(RECURSIVE));
    }
    let (urls, cell) = (request.unit.urls(), request.context.cell());
    let permit = request
        .request
        .access
        .permit_manage(urls, cell, Operation::RemoveCell)?;
    let (unit, context) = (request.unit.clone(), request.context);
    odata::remove_cell(&unit, &context, &permit).await?;
    Ok(response::status(StatusCode::NO_CONTENT))
}

/// GET only, or 405.
pub(crate) fn only_get(method: &Method) -> Result<()> {
    if *method == Method::GET {
        Ok(())
    } else {
        Err(Code::MethodNotAllowed.into())
    }
}
