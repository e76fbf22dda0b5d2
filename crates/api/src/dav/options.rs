//! OPTIONS with credentials.

use personium_model::Resource;
use personium_model::locate::Target;
use personium_types::{Operation, Result};

use super::TargetKind;
use crate::preflight;
use crate::response::Response;

/// OPTIONS with credentials: the methods of the resource.
///
/// # Errors
/// The refusal of the access check.
pub(super) fn handle(resource: &Resource, target: &Target, kind: TargetKind) -> Result<Response> {
    resource.permit(target, Operation::Options)?;
    Ok(preflight::allow(match kind {
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
