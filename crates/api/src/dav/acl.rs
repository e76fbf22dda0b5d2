//! ACL of boxes, collections, files and cells.

use http::{StatusCode, header};
use personium_dav::acl::{self, AclError, AclLevel};
use personium_model::locate::Target;
use personium_model::properties::{self, CellChange};
use personium_model::{Acl, CellContext, Resource, roles};
use personium_types::{Code, Error, Operation, Result};

use crate::request_context::{CellRequest, RequestContext};
use crate::response::{self, Response, WithHeader};

/// ACL of a box or of something in it.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn handle(
    mut request: RequestContext,
    resource: Resource,
    target: Target,
) -> Result<Response> {
    resource.permit(&target, Operation::WriteAcl)?;
    if !target.exists() {
        return Err(resource.not_found());
    }
    if target.is_service_source() {
        return Err(Code::MethodNotAllowed.into());
    }
    if target.is_in_service_source() {
        return Err(Code::CollectionExists.into());
    }
    drop(target);
    let list = read(
        &mut request,
        &resource.context,
        AclLevel::Box,
        &resource.box_name,
    )
    .await?;
    let etag = properties::set_acl(&resource, &list).await?;
    Ok(response::status(StatusCode::OK).with_header(header::ETAG, &etag.strong().to_string()))
}

/// ACL of a cell.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn handle_cell(request: CellRequest) -> Result<Response> {
    let CellRequest {
        mut request,
        context,
    } = request;
    let node = context.cell_node().await?;
    let now = &node.value.acl;
    request.access.permit_cell(
        request.unit.urls(),
        context.cell(),
        now,
        Operation::WriteCellAcl,
    )?;
    let list = read(&mut request, &context, AclLevel::Cell, "__").await?;
    let (unit, access) = (request.unit.clone(), request.access.clone());
    let conditions = request.preconditions();
    let change = CellChange {
        access: &access,
        conditions: &conditions,
        events: request.events.as_deref(),
    };
    let etag = properties::set_cell_acl(&unit, &context, &change, &list).await?;
    Ok(response::status(StatusCode::OK).with_header(header::ETAG, &etag.strong().to_string()))
}

async fn read(
    request: &mut RequestContext,
    context: &CellContext,
    level: AclLevel,
    box_name: &str,
) -> Result<Acl> {
    let limits = request.xml_limits();
    let body = request.read_body(limits.bytes).await?;
    let unit = request.unit.clone();
    let base = format!(
        "{}__role/{box_name}/",
        unit.urls().cell(&context.cell().name)
    );
    let sent = acl::parse(&body, level, &base, &limits).map_err(|error| match &error {
        AclError::NotXml(_) | AclError::WrongRoot => {
            Error::new(Code::DavXmlContent).with_source(error)
        }
        AclError::Invalid(part) => Error::new(Code::AclInvalid).with(part.to_string()),
        AclError::Unresolvable(href) => Error::new(Code::AclRoleMissing).with(href),
    })?;
    roles::from_wire(unit.urls(), context, &sent).await
}
