//! PROPFIND of boxes, collections, files and cells.

mod listing;
mod printer;

use personium_dav::headers::Depth;
use personium_model::Resource;
use personium_model::listing::Members;
use personium_model::locate::Target;
use personium_model::roles::RoleNames;
use personium_types::{Code, Operation, Result};

use self::listing::Listing;
use self::printer::{Inherited, Printer};
use crate::hrefs::NodeUrls;
use crate::propfind_request;
use crate::request_context::{CellRequest, RequestContext};
use crate::response::Response;

/// PROPFIND of a box or of something in it.
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
    propfind_request::read_body(&mut request, Code::DavXml).await?;
    let depth = propfind_request::depth(request.header("depth"))?;
    drop(request);
    let urls = resource.unit.urls();
    let lists = resource.permit(&target, Operation::ReadAcl).is_ok();
    let info = &target.target_box;
    let base = format!(
        "{}__role/{}/",
        urls.cell(&target.context.cell().name),
        info.name
    );
    let names = match lists {
        true => Some(RoleNames::relative_to(&target.context, Some(info)).await?),
        false => None,
    };
    let members = match depth {
        Depth::Zero => None,
        Depth::One => Some(Members::of(&target)),
    };
    let hrefs = NodeUrls::of(urls, &target);
    let href = hrefs.deepest().to_owned();
    let printer = Printer {
        base,
        names,
        inherited: Inherited::of(&target, hrefs),
        cell_status: None,
    };
    let node = target.node().value();
    Listing::start(printer, href, node, members)
        .into_response()
        .await
}

/// PROPFIND of a cell. Its boxes are never listed.
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
    request
        .access
        .permit_cell(unit.urls(), cell, list, Operation::ReadCellProperties)?;
    propfind_request::read_body(&mut request, Code::DavXml).await?;
    propfind_request::depth(request.header("depth").or(Some("0")))?;
    let lists = request
        .access
        .permit_cell(unit.urls(), cell, list, Operation::ReadCellAcl)
        .is_ok();
    drop(request);
    let names = match lists {
        true => Some(RoleNames::relative_to(&context, None).await?),
        false => None,
    };
    let url = unit.urls().cell(&cell.name);
    let printer = Printer {
        base: format!("{url}__role/__/"),
        names,
        inherited: Inherited::default(),
        cell_status: Some(if cell.import_failed {
            "import failed"
        } else {
            "normal"
        }),
    };
    let href = url.strip_suffix('/').unwrap_or(&url).to_owned();
    Listing::start(printer, href, node, None)
        .into_response()
        .await
}
