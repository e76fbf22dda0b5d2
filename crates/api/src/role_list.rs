//! `__role`: roles as resources, so that their URLs lead somewhere.

use http::StatusCode;
use personium_types::{Code, Operation, Result};

use crate::answer::{self, Answer};
use crate::cell_root::only_get;
use crate::request_context::CellRequest;

/// The boxes of a cell, or the box and role that the path names.
pub(crate) async fn handle(call: CellRequest) -> Result<Answer> {
    only_get(&call.call.method)?;
    call.permit(Operation::ReadRolePages).await?;
    let text = match call.call.path.decoded.get(1..).unwrap_or_default() {
        [] => {
            let mut boxes = call.context.boxes().await?.to_vec();
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
    Ok(answer::content(StatusCode::OK, "text/plain", text))
}
