//! From credentials to [`Access`].

use http::header;
use personium_model::{Access, Identity, UnitRole};
use personium_types::{Code, Result};

use crate::call::{Call, CellCall};

/// Who asks something of the unit.
pub async fn of_unit_call(call: &Call) -> Result<Access> {
    Ok(by_master_token(call).unwrap_or_else(Access::anonymous))
}

/// Who asks something of a cell.
pub async fn of_cell_call(call: &CellCall) -> Result<Access> {
    Ok(by_master_token(&call.call).unwrap_or_else(Access::anonymous))
}

fn by_master_token(call: &Call) -> Option<Access> {
    let value = call.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let token = value.strip_prefix("Bearer ")?.trim();
    let master = call.unit.settings().auth.master_token.as_ref()?;
    if token.is_empty() || token != master.reveal() {
        return Some(Access::invalid(Code::TokenParse));
    }
    Some(Access::of(match call.header("x-personium-unit-user") {
        None => Identity::UnitMaster,
        Some(subject) => Identity::UnitUser {
            subject: subject.to_owned(),
            role: UnitRole::None,
        },
    }))
}
