//! ACL of boxes, collections, files and cells.

use http::{StatusCode, header};
use personium_dav::acl::{self, AclError, AclLevel};
use personium_model::locate::Target;
use personium_model::{Acl, CellContext, Resource, properties, roles};
use personium_types::{Code, Error, Operation, Result};

use super::xml_limits;
use crate::answer::{self, Answer, WithHeader};
use crate::request_context::{CellRequest, RequestContext};

/// ACL of a box or of something in it.
pub(super) async fn handle(
    mut call: RequestContext,
    resource: Resource,
    target: Target,
) -> Result<Answer> {
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
        &mut call,
        &resource.context,
        AclLevel::Box,
        &resource.box_name,
    )
    .await?;
    let etag = properties::set_acl(&resource, &list).await?;
    Ok(answer::status(StatusCode::OK).with(header::ETAG, &etag))
}

/// ACL of a cell.
pub(super) async fn handle_cell(call: CellRequest) -> Result<Answer> {
    let CellRequest { mut call, context } = call;
    let node = context.cell_node().await?;
    let now = &node.value.acl;
    call.access.permit_cell(
        call.unit.urls(),
        context.cell(),
        now,
        Operation::WriteCellAcl,
    )?;
    let list = read(&mut call, &context, AclLevel::Cell, "__").await?;
    let (unit, access) = (call.unit.clone(), call.access.clone());
    let etag = properties::set_cell_acl(&unit, &context, &access, &list).await?;
    Ok(answer::status(StatusCode::OK).with(header::ETAG, &etag))
}

async fn read(
    call: &mut RequestContext,
    context: &CellContext,
    level: AclLevel,
    box_name: &str,
) -> Result<Acl> {
    let limits = xml_limits(call);
    let body = call.read_body(limits.bytes).await?;
    let unit = call.unit.clone();
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
