//! WebDAV over HTTP: cells, boxes, collections and files.

use personium_types::{Code, Result};

use crate::answer::Answer;
use crate::call::CellCall;
use crate::error::Challenge;

/// Requests to a box or to something in it.
pub async fn handle(_call: CellCall, _challenge: &mut Challenge) -> Result<Answer> {
    Err(Code::NoSuchPath.into())
}

/// WebDAV requests to the cell itself.
pub async fn cell_root(_call: CellCall) -> Result<Answer> {
    Err(Code::MethodNotAllowed.into())
}
