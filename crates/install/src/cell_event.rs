//! The events that tell of exports and imports of cells.

use personium_model::event::{self, Event};
use personium_model::url::LOCAL_CELL;
use personium_model::{ServerAuthority, Unit};
use personium_types::{CellId, Code, Result};

use crate::installer::event_permit;
use crate::request_origin::RequestOrigin;

/// Posts the event of a transfer, `kind` about `object`. A failure is logged.
pub(crate) async fn post(
    unit: &Unit,
    authority: &ServerAuthority,
    cell: &CellId,
    (kind, object): (&str, &str),
    origin: &RequestOrigin,
) {
    let event = Event {
        kind: Some(kind.to_owned()),
        object: Some(format!("{LOCAL_CELL}/{object}")),
        info: Some(String::new()),
        ..origin.event()
    };
    if let Err(error) = try_post(unit, authority, cell, event).await {
        tracing::warn!(cell.id = %cell, event.kind = kind, %error, "failed to post the event of a transfer");
    }
}

async fn try_post(
    unit: &Unit,
    authority: &ServerAuthority,
    cell: &CellId,
    event: Event,
) -> Result<()> {
    let context = unit.find_cell_by_id(cell).await?;
    let context = context.ok_or(Code::NoSuchCell)?;
    let permit = event_permit(authority, &context);
    event::post(unit, &context, &permit, event).await
}
