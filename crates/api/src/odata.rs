//! OData over HTTP: control objects of the unit and of cells, schemas and user data of collections.

use personium_types::{Code, Result};

use crate::answer::Answer;
use crate::call::{Call, CellCall};

/// Control objects of the unit.
pub async fn unit_control(call: Call) -> Result<Answer> {
    call.access.permit_unit()?;
    Err(Code::NoSuchPath.into())
}

/// Control objects of a cell.
pub async fn cell_control(_call: CellCall) -> Result<Answer> {
    Err(Code::NoSuchPath.into())
}
