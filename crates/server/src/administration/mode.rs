//! The modes of maintenance.

use std::fmt::Write as _;

use personium_model::Unit;
use personium_model::maintenance::Maintenance;
use personium_types::error::chain;

use super::CommandResult;
use crate::unit_url::stored_owner;

/// Returns what is on.
///
/// # Errors
/// A failure of the store.
pub(super) async fn show(unit: &Unit) -> CommandResult<String> {
    let modes = unit.maintenance().await.map_err(|error| chain(&error))?;
    Ok(describe(&modes))
}

/// Lets requests read and delete only, or ends that. Returns what is on then.
///
/// # Errors
/// A failure of the store.
pub(super) async fn set_read_delete_only(unit: &Unit, is_on: bool) -> CommandResult<String> {
    let changed = unit.change_maintenance(|modes| modes.is_read_delete_only = is_on);
    let changed = changed.await.map_err(|error| chain(&error))?;
    Ok(describe(&changed))
}

/// Lets requests only read the cells of an owner, or ends that. Returns what is on then.
///
/// # Errors
/// A text if the owner is no URL of an account; a failure of the store.
pub(super) async fn set_read_only(unit: &Unit, owner: &str, is_on: bool) -> CommandResult<String> {
    let owner = self::owner(unit, owner)?;
    let changed = unit.change_maintenance(|modes| {
        match is_on {
            true => modes.read_only_owners.insert(owner.clone()),
            false => modes.read_only_owners.remove(&owner),
        };
    });
    let changed = changed.await.map_err(|error| chain(&error))?;
    Ok(describe(&changed))
}

/// The form in which an owner is stored.
///
/// # Errors
/// A text if the owner is no URL of an account.
pub(super) fn owner(unit: &Unit, owner: &str) -> CommandResult<String> {
    stored_owner(unit.urls(), owner)
}

fn describe(modes: &Maintenance) -> String {
    let mut out = match modes.is_read_delete_only {
        true => "The unit can be read and deleted from only.\n".to_owned(),
        false => "The unit is in its normal mode.\n".to_owned(),
    };
    if !modes.read_only_owners.is_empty() {
        out.push_str("The cells of these owners can be read only:\n");
    }
    for owner in &modes.read_only_owners {
        let _ = writeln!(out, "  {owner}");
    }
    out
}
