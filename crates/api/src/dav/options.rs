//! OPTIONS with credentials.

use personium_model::Resource;
use personium_model::locate::Target;
use personium_types::{Operation, Result};

use super::Spot;
use crate::answer::Answer;
use crate::preflight;

/// The methods of a resource, for who may read it.
pub(super) fn answer(resource: &Resource, target: &Target, spot: Spot) -> Result<Answer> {
    resource.permit(target, Operation::Ask)?;
    Ok(preflight::allow(match spot {
        Spot::Collection => "OPTIONS, GET, PUT, DELETE, MKCOL, MOVE, PROPFIND, PROPPATCH, ACL",
        Spot::File => "OPTIONS, GET, PUT, DELETE, MOVE, PROPFIND, PROPPATCH, ACL",
        Spot::Odata => "OPTIONS, GET, DELETE, MOVE, PROPFIND, PROPPATCH, ACL",
        Spot::Service | Spot::Stream => "OPTIONS, DELETE, MOVE, PROPFIND, PROPPATCH, ACL",
        Spot::Source => "OPTIONS, PROPFIND",
        _ => "OPTIONS, GET, PUT, DELETE, MKCOL, PROPFIND, PROPPATCH, ACL",
    }))
}
