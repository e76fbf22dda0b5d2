//! PROPPATCH of boxes, collections, files and cells.

use http::{StatusCode, header};
use personium_dav::multistatus::proppatch_response;
use personium_dav::proppatch::{self, PropPatch, PropPatchError, PropertyChange};
use personium_dav::refused_properties::RefusedProperties;
use personium_model::locate::Target;
use personium_model::properties::{self, CellChange};
use personium_model::{AnswerReservation, Resource};
use personium_types::{Code, ETag, Error, Operation, Result};

use crate::answer;
use crate::hrefs;
use crate::request_context::{CellRequest, RequestContext};
use crate::response::{Response, WithHeader};

/// PROPPATCH of a box or of something in it.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn handle(
    mut request: RequestContext,
    resource: Resource,
    target: Target,
) -> Result<Response> {
    resource.permit(&target, Operation::WriteProperties)?;
    if !target.exists() {
        return Err(resource.not_found());
    }
    if target.is_service_source() {
        return Err(Code::MethodNotAllowed.into());
    }
    let href = hrefs::node_url(resource.unit.urls(), &target);
    drop(target);
    let (patch, memory) = read(&mut request).await?;
    let etag = properties::patch(&resource, &patch).await?;
    Ok(multistatus(&href, &patch, etag, memory))
}

/// PROPPATCH of a cell.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn handle_cell(request: CellRequest) -> Result<Response> {
    let href = request.cell_url();
    let CellRequest {
        mut request,
        context,
    } = request;
    request.access.permit_manage(
        request.unit.urls(),
        context.cell(),
        Operation::WriteCellProperties,
    )?;
    let (patch, memory) = read(&mut request).await?;
    let (unit, access) = (request.unit.clone(), request.access.clone());
    let conditions = request.preconditions();
    let change = CellChange {
        access: &access,
        conditions: &conditions,
        events: request.events.as_deref(),
    };
    let etag = properties::patch_cell(&unit, &context, &change, &patch).await?;
    Ok(multistatus(&href, &patch, etag, memory))
}

/// Reads the body, and reserves the memory for the answer, which repeats it.
async fn read(request: &mut RequestContext) -> Result<(PropPatch, AnswerReservation)> {
    let limits = request.xml_limits();
    let body = request.read_body(limits.bytes).await?;
    let patch = proppatch::parse(&body, &limits).map_err(|error| {
        let code = match error {
            PropPatchError::NotXml(_) | PropPatchError::WrongRoot => Code::DavXml,
            PropPatchError::NoProp => Code::DavXmlContent,
        };
        Error::new(code).with_source(error)
    })?;
    Ok((patch, request.memory_for_echo(&body).await?))
}

fn multistatus(href: &str, patch: &PropPatch, etag: ETag, memory: AnswerReservation) -> Response {
    let changes = patch.changes.iter().map(PropertyChange::xml);
    let text = if patch.protected.is_empty() {
        proppatch_response(href, changes, std::iter::empty())
    } else {
        let refused = RefusedProperties {
            protected: patch.protected.clone(),
            others: changes.map(str::to_owned).collect(),
        };
        refused.multistatus(href)
    };
    answer::bytes(StatusCode::MULTI_STATUS, "application/xml", text, memory)
        .with_header(header::ETAG, &etag.strong().to_string())
}
