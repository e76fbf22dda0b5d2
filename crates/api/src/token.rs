//! The OAuth2 token endpoint.

use personium_types::{Code, Result};

use crate::answer::Answer;
use crate::call::CellCall;

/// A request to `__token`.
pub async fn handle(_call: CellCall) -> Result<Answer> {
    Err(Code::NoSuchPath.into())
}
