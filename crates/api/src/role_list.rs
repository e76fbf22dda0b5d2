//! `__role`: roles as resources, so that their URLs lead somewhere.

use http::StatusCode;
use personium_types::{Code, Operation, Result};

use crate::request_context::CellRequest;
use crate::response::{self, Response};

/// The boxes of a cell, or the box and role that the path names.
///
/// # Errors
/// The refusal of the request.
pub(crate) async fn handle(request: CellRequest) -> Result<Response> {
    request.require_get()?;
    request.permit(Operation::ReadRolePages).await?;
    let text = match request.path.decoded.get(1..).unwrap_or_default() {
        [] => {
            let mut boxes = request.context.boxes().await?.to_vec();
            boxes.sort_by_key(|b| std::cmp::Reverse((b.published, b.id)));
            let mut text = "__<br/>".to_owned();
            for found in boxes {
                text.push_str(&found.name);
                text.push_str("<br/>");
            }
            text
        }
        [box_name] => box_name.clone(),
        [box_name, role] => format!("{box_name}{role}"),
        _ => return Err(Code::NoSuchPath.into()),
    };
    Ok(response::content(StatusCode::OK, "text/plain", text))
}
