//! The list of administrators, cells and owners.

use std::fmt::Write as _;

use personium_model::administrator_cells;
use personium_model::auth::account;
use personium_model::keys::{ControlSet, SetKey};
use personium_model::odata::ownership;
use personium_model::{CellContext, Unit, entity};
use personium_types::error::chain;

use super::CommandResult;
use crate::config::Config;
use crate::first_start;
use crate::local_api::ADMIN_ROLES;

/// The largest number of accounts of a cell that are looked at.
const MAX_ACCOUNTS: usize = 10_000;

/// Returns the text of the list.
///
/// # Errors
/// Failures of the store.
pub(super) async fn text(unit: &Unit, config: &Config) -> CommandResult<String> {
    let mut out = String::new();
    let recorded = administrator_cells::find(&unit.records()).await;
    let recorded = recorded.map_err(|error| chain(&error))?;
    let issuers = first_start::issuers(config, &recorded.unwrap_or_default());
    let _ = writeln!(
        out,
        "Cells whose accounts can administrate the unit (unitUser.issuers):"
    );
    for issuer in &issuers {
        let _ = writeln!(out, "  {issuer}");
    }
    if issuers.is_empty() {
        let _ = writeln!(
            out,
            "  none: only the master token administrates the unit, if there is one"
        );
    }
    let _ = writeln!(out, "Administrators:");
    for issuer in &issuers {
        push_administrators(&mut out, unit, issuer).await?;
    }
    let _ = writeln!(out, "Cells and their owners:");
    let cells = ownership::list_cells(unit)
        .await
        .map_err(|error| chain(&error))?;
    for cell in cells {
        let name = &cell.name;
        let Some(owner) = cell.owner else {
            let _ = writeln!(out, "  {name:<24} no owner: only administrators manage it");
            continue;
        };
        let note = match is_lost(unit, &owner).await? {
            true => "  LOST: there is no such account; see `personium admin transfer`",
            false => "",
        };
        let _ = writeln!(out, "  {name:<24} {owner}{note}");
    }
    Ok(out)
}

async fn push_administrators(out: &mut String, unit: &Unit, issuer: &str) -> CommandResult {
    let urls = unit.urls();
    let url = urls.resolve(issuer).unwrap_or_default();
    let Some((name, _)) = urls.split(&url) else {
        let _ = writeln!(out, "  {issuer} is a cell of another unit");
        return Ok(());
    };
    let found = unit.find_cell(&name).await.map_err(|error| chain(&error))?;
    let Some(context) = found else {
        let _ = writeln!(
            out,
            "  {issuer} does not exist: whoever makes this cell can administrate the unit"
        );
        return Ok(());
    };
    let accounts = SetKey::control(ControlSet::Account);
    let accounts = entity::list(context.records(), &accounts, MAX_ACCOUNTS).await;
    for (id, found) in accounts.map_err(|error| chain(&error))? {
        let roles = admin_roles(&context, &id).await?;
        if !roles.is_empty() {
            let account = found.value.text("Name").unwrap_or_default();
            let _ = writeln!(out, "  {url}#{account}  {}", roles.join(" "));
        }
    }
    Ok(())
}

/// The names of the roles of an account that count at the level of the unit.
async fn admin_roles(context: &CellContext, account_id: &str) -> CommandResult<Vec<String>> {
    let (accounts, roles) = (
        SetKey::control(ControlSet::Account),
        SetKey::control(ControlSet::Role),
    );
    let linked = entity::linked(
        context.records(),
        &accounts,
        account_id,
        &roles,
        MAX_ACCOUNTS,
    );
    let mut names = Vec::new();
    for id in linked.await.map_err(|error| chain(&error))? {
        let role = entity::find(context.records(), &roles, &id).await;
        let role = role.map_err(|error| chain(&error))?;
        if let Some(name) = role.and_then(|role| role.value.text("Name"))
            && (ADMIN_ROLES.contains(&name.as_str()) || name == "CellContentsReader")
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// Whether an owner is an account of this unit that does not exist.
async fn is_lost(unit: &Unit, owner: &str) -> CommandResult<bool> {
    let urls = unit.urls();
    let url = urls.resolve(owner).unwrap_or_default();
    let Some((cell, rest)) = urls.split(&url) else {
        return Ok(false);
    };
    let Some(account) = rest.strip_prefix('#') else {
        return Ok(false);
    };
    let found = unit.find_cell(&cell).await.map_err(|error| chain(&error))?;
    let Some(context) = found else {
        return Ok(true);
    };
    let account = account::find(&context, account).await;
    Ok(account.map_err(|error| chain(&error))?.is_none())
}
