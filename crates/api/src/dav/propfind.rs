//! PROPFIND of boxes, collections, files, cells and the unit.

mod listing;
mod printer;

use std::sync::Arc;

use http::StatusCode;
use personium_dav::headers::Depth;
use personium_dav::multistatus::{
    AclProperty, DeadProperties, Multistatus, Quota, ResourceKind, ResponseProps,
    precondition_response,
};
use personium_dav::propfind::PropFind;
use personium_model::listing::Members;
use personium_model::locate::Target;
use personium_model::quota::SumAge;
use personium_model::roles::RoleNames;
use personium_model::{Identity, Resource};
use personium_types::preconditions::ResourceState;
use personium_types::{Code, Error, Operation, Result};

use self::listing::{Descent, ListedTarget, Listing};
use self::printer::{Inherited, Lists, Printer};
use crate::hrefs::NodeUrls;
use crate::propfind_request;
use crate::request_context::{CellRequest, RequestContext};
use crate::response::{self, Response};

/// The number of resources below the target up to which a request with infinite depth is answered.
const INFINITE_DEPTH_MAX_RESOURCES: usize = 10_000;

/// PROPFIND of a box or of something in it. Without `Depth`, everything below it is listed (RFC 4918, section 9.1), within
/// [`INFINITE_DEPTH_MAX_RESOURCES`].
///
/// # Errors
/// The refusal of the request.
pub(super) async fn handle(
    mut request: RequestContext,
    resource: Resource,
    target: Target,
) -> Result<Response> {
    resource.permit(&target, Operation::ReadProperties)?;
    if !target.exists() {
        return Err(resource.not_found());
    }
    resource.check_conditions(&target)?;
    let wanted = propfind_request::read_body(&mut request, Code::DavXml).await?;
    let depth = propfind_request::depth(request.header("depth"), Depth::Infinity)?;
    let memory = request.answers.reservation();
    drop(request);
    let urls = resource.unit.urls();
    let info = &target.target_box;
    let role_box = target.role_box();
    let base = format!(
        "{}__role/{}/",
        urls.cell(&target.context.cell().name),
        role_box.name
    );
    let lists = match resource.permit(&target, Operation::ReadAcl) {
        Ok(_) => Lists::Shown(RoleNames::relative_to(&target.context, Some(&role_box)).await?),
        Err(_) => Lists::Hidden,
    };
    let quota = quota(&resource, &target, &wanted).await;
    let members = match depth {
        Depth::Zero => None,
        Depth::One => Some(Members::of(&target)),
        Depth::Infinity => {
            if !Members::of(&target)
                .has_at_most(INFINITE_DEPTH_MAX_RESOURCES)
                .await?
            {
                return Ok(infinite_depth_refused());
            }
            Some(Members::of(&target))
        }
    };
    let hrefs = NodeUrls::of(urls, &target);
    let listed = ListedTarget {
        href: hrefs.deepest().to_owned(),
        name: resource.segments.last().unwrap_or(&info.name),
        node: target.node().value(),
    };
    let printer = Printer {
        wanted,
        base,
        lists,
        inherited: Inherited::of(&target, hrefs),
        cell_status: None,
        quota,
    };
    let descent = (depth == Depth::Infinity).then(|| Descent {
        unit: Arc::clone(&resource.unit),
        context: Arc::clone(&target.context),
        target_box: Arc::clone(&target.target_box),
        access: resource.access.clone(),
    });
    Listing::start(printer, listed, (members, descent), memory)
        .await?
        .into_response()
        .await
}

/// The storage of the cell and what is left for it, by its quotas and in the storage of the unit, for who can store something in the
/// target (RFC 4331). It costs a system call, so it must be asked for.
async fn quota(resource: &Resource, target: &Target, wanted: &PropFind) -> Option<Quota> {
    let is_wanted = wanted.names("quota-available-bytes") || wanted.names("quota-used-bytes");
    if !is_wanted || resource.permit(target, Operation::ReadQuota).is_err() {
        return None;
    }
    let (unit, cell) = (&resource.unit, target.context.cell());
    let cell = unit.storage_of(cell, SumAge::Any).await.ok()?;
    let disk = resource.unit.blobs().usage().await.ok().flatten();
    let free = disk.map(|usage| usage.available_bytes);
    Some(Quota {
        available_bytes: free.into_iter().chain(cell.left).min()?,
        used_bytes: cell.usage.total(),
    })
}

/// 403 with the precondition that RFC 4918 section 9.1 names.
fn infinite_depth_refused() -> Response {
    let refusal = Error::from(Code::PropfindInfinity);
    let code = refusal.code().as_str();
    let text = precondition_response("propfind-finite-depth", code, &refusal.message());
    response::content(StatusCode::FORBIDDEN, "application/xml", text)
}

/// The depth of a request to a cell or to the unit, whose members are never listed.
fn depth_without_members(request: &RequestContext) -> Result<()> {
    match propfind_request::depth(request.header("depth"), Depth::Zero)? {
        Depth::Zero | Depth::One => Ok(()),
        Depth::Infinity => Err(Code::PropfindInfinity.into()),
    }
}

/// PROPFIND of the unit, which programs send on their way to a box.
///
/// # Errors
/// The refusal of the request.
pub(crate) async fn handle_unit(mut request: RequestContext) -> Result<Response> {
    request.check_untagged(Code::DavTagMismatch)?;
    let wanted = propfind_request::read_body(&mut request, Code::DavXml).await?;
    depth_without_members(&request)?;
    let urls = request.unit.urls();
    Ok(plain_collection(&wanted, &urls.unit(), urls.host()))
}

/// The response for a collection of which everybody may know that it exists, and nothing else.
fn plain_collection(wanted: &PropFind, href: &str, name: &str) -> Response {
    let props = ResponseProps {
        href,
        kind: ResourceKind::Collection,
        display_name: Some(name),
        created_ms: None,
        updated_ms: None,
        length: None,
        content_type: None,
        etag: None,
        quota: None,
        cell_status: None,
        acl: AclProperty::Hidden,
        dead: &DeadProperties::new(),
    };
    let mut out = String::new();
    let document = Multistatus::start(&mut out);
    document.response(&mut out, wanted, &props);
    document.finish(&mut out);
    response::content(StatusCode::MULTI_STATUS, "application/xml", out)
}

/// PROPFIND of a cell. Its boxes are never listed.
///
/// Programs that mount a box send it on their way, with the name and password of an account. Basic authentication gives no
/// privilege of a cell, so they see what everybody may know.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn handle_cell(request: CellRequest) -> Result<Response> {
    let CellRequest {
        mut request,
        context,
    } = request;
    let cell = context.cell();
    let node = context.cell_node().await?;
    let (node, list) = (&node.value, &node.value.acl);
    let unit = request.unit.clone();
    let permitted = request
        .access
        .permit_cell(unit.urls(), cell, list, Operation::ReadCellProperties)
        .map(|_| true);
    let may_read = match request.access.identity {
        Identity::Basic { .. } => permitted.unwrap_or(false),
        _ => permitted?,
    };
    let state = match may_read {
        true => ResourceState::of_node(Some(node.etag())),
        false => ResourceState::Untagged,
    };
    request.evaluate_conditions(state, Code::DavTagMismatch)?;
    let wanted = propfind_request::read_body(&mut request, Code::DavXml).await?;
    depth_without_members(&request)?;
    let url = unit.urls().cell(&cell.name);
    let href = url.strip_suffix('/').unwrap_or(&url).to_owned();
    if !may_read {
        return Ok(plain_collection(&wanted, &href, &cell.name));
    }
    let may_read_list = request
        .access
        .permit_cell(unit.urls(), cell, list, Operation::ReadCellAcl)
        .is_ok();
    let memory = request.answers.reservation();
    drop(request);
    let lists = match may_read_list {
        true => Lists::Shown(RoleNames::relative_to(&context, None).await?),
        false => Lists::Hidden,
    };
    let printer = Printer {
        wanted,
        base: format!("{url}__role/__/"),
        lists,
        inherited: Inherited::default(),
        cell_status: Some(if cell.import_failed {
            "import failed"
        } else {
            "normal"
        }),
        quota: None,
    };
    let listed = ListedTarget {
        href,
        name: &cell.name,
        node,
    };
    Listing::start(printer, listed, (None, None), memory)
        .await?
        .into_response()
        .await
}
