//! OPTIONS with credentials, and the methods of each kind of resource.

use personium_model::Resource;
use personium_model::locate::Target;
use personium_types::{Operation, Result};

use super::TargetKind;
use crate::preflight;
use crate::response::Response;

/// The methods that a resource of this kind supports. The lists that OPTIONS gives contain others: clients of the reference
/// server know those.
pub(super) fn supported(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Box => "OPTIONS, GET, HEAD, DELETE, PROPFIND, PROPPATCH, ACL",
        TargetKind::Collection | TargetKind::Odata => {
            "OPTIONS, GET, HEAD, DELETE, MOVE, PROPFIND, PROPPATCH, ACL"
        }
        TargetKind::File => "OPTIONS, GET, HEAD, PUT, DELETE, MOVE, PROPFIND, PROPPATCH, ACL",
        TargetKind::Service | TargetKind::Stream => {
            "OPTIONS, DELETE, MOVE, PROPFIND, PROPPATCH, ACL"
        }
        TargetKind::Source => "OPTIONS, PROPFIND",
        TargetKind::Missing => "OPTIONS, PUT, MKCOL",
        TargetKind::BelowOdata => "OPTIONS, GET, HEAD, POST, PUT, MERGE, PATCH, DELETE",
        TargetKind::BelowService => "GET, HEAD, POST, PUT, DELETE",
        TargetKind::BelowStream => "OPTIONS, GET, HEAD, POST, PUT, DELETE",
        TargetKind::BelowFile => "OPTIONS",
    }
}

/// OPTIONS with credentials: the methods of the resource.
///
/// # Errors
/// The refusal of the access check.
pub(super) fn handle(resource: &Resource, target: &Target, kind: TargetKind) -> Result<Response> {
    resource.permit(target, Operation::Options)?;
    Ok(preflight::allow_webdav(match kind {
        TargetKind::Collection => {
            "OPTIONS, GET, PUT, DELETE, MKCOL, MOVE, PROPFIND, PROPPATCH, ACL"
        }
        TargetKind::File => "OPTIONS, GET, PUT, DELETE, MOVE, PROPFIND, PROPPATCH, ACL",
        TargetKind::Odata => "OPTIONS, GET, DELETE, MOVE, PROPFIND, PROPPATCH, ACL",
        TargetKind::Service | TargetKind::Stream => {
            "OPTIONS, DELETE, MOVE, PROPFIND, PROPPATCH, ACL"
        }
        TargetKind::Source => "OPTIONS, PROPFIND",
        _ => "OPTIONS, GET, PUT, DELETE, MKCOL, PROPFIND, PROPPATCH, ACL",
    }))
}
