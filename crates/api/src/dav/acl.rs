//! ACL of boxes, collections, files and cells.

use http::{StatusCode, header};
use personium_dav::acl::{self, AclError, AclLevel};
use personium_model::locate::Target;
use personium_model::{Acl, CellView, Resource, properties, roles};
use personium_types::{Code, Error, Operation, Result};

use super::xml_limits;
use crate::answer::{self, Answer, WithHeader};
use crate::call::{Call, CellCall};

/// ACL of a box or of something in it.
pub(super) async fn handle(mut call: Call, resource: Resource, target: Target) -> Result<Answer> {
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
    let list = read(&mut call, &resource.view, AclLevel::Box, &resource.box_name).await?;
    let etag = properties::set_acl(&resource, &list).await?;
    Ok(answer::status(StatusCode::OK).with(header::ETAG, &etag))
}

/// ACL of a cell.
pub(super) async fn handle_cell(call: CellCall) -> Result<Answer> {
    let CellCall { mut call, view } = call;
    let node = view.cell_node().await?;
    let now = &node.value.acl;
    call.access
        .permit_cell(call.unit.urls(), view.cell(), now, Operation::WriteCellAcl)?;
    let list = read(&mut call, &view, AclLevel::Cell, "__").await?;
    let (unit, access) = (call.unit.clone(), call.access.clone());
    let etag = properties::set_cell_acl(&unit, &view, &access, &list).await?;
    Ok(answer::status(StatusCode::OK).with(header::ETAG, &etag))
}

async fn read(call: &mut Call, view: &CellView, level: AclLevel, box_name: &str) -> Result<Acl> {
    let limits = xml_limits(call);
    let body = call.read_body(limits.bytes).await?;
    let unit = call.unit.clone();
    let base = format!("{}__role/{box_name}/", unit.urls().cell(&view.cell().name));
    let sent = acl::parse(&body, level, &base, &limits).map_err(|error| match &error {
        AclError::NotXml(_) | AclError::WrongRoot => Error::new(Code::DavXmlContent).because(error),
        AclError::Invalid(part) => Error::new(Code::AclInvalid).with(part.to_string()),
        AclError::Unresolvable(href) => Error::new(Code::AclRoleMissing).with(href),
    })?;
    roles::from_wire(unit.urls(), view, &sent).await
}
