//! Quotas, and the counters that they are judged by.

use std::fmt::Write as _;

use personium_model::quota::{NewQuota, QuotaSubject};
use personium_model::{PermitTarget, Unit, cell_usage, unit_mark};
use personium_store::StoreError;
use personium_types::Operation;
use personium_types::error::chain;

use super::CommandResult;
use crate::local_api::LocalApi;

/// Returns the quotas that were set, and the defaults.
///
/// # Errors
/// A failure of the store.
pub(super) async fn show(unit: &Unit) -> CommandResult<String> {
    let set = unit.set_quotas().await.map_err(|error| chain(&error))?;
    let defaults = unit.settings().quotas;
    let mut cells = Vec::new();
    for (id, quota) in &set.cells {
        let found = unit.find_cell_by_id(id).await;
        if let Some(found) = found.map_err(|error| chain(&error))? {
            cells.push((found.cell().name.clone(), *quota));
        }
    }
    cells.sort();
    let mut owners: Vec<_> = set.owners.iter().collect();
    owners.sort();
    let mut out = format!(
        "Each cell: {}\nAll cells of each owner: {}\n",
        shown(defaults.cell_max_bytes),
        shown(defaults.owner_max_bytes)
    );
    for (name, quota) in cells {
        let _ = writeln!(out, "The cell {name}: {}", shown(quota));
    }
    for (owner, quota) in owners {
        let _ = writeln!(out, "All cells of {owner}: {}", shown(*quota));
    }
    Ok(out)
}

fn shown(quota: Option<u64>) -> String {
    quota.map_or_else(|| "unlimited".to_owned(), |bytes| format!("{bytes} bytes"))
}

/// Sets a quota. Returns those of then.
///
/// # Errors
/// A failure of the store.
pub(super) async fn set(
    api: &LocalApi,
    subject: QuotaSubject,
    quota: NewQuota,
) -> CommandResult<String> {
    let permit = api
        .server
        .permit(Operation::WriteQuotas, PermitTarget::Unit);
    let set = api.unit.set_quota(&permit, &subject, quota).await;
    set.map_err(|error| chain(&error))?;
    show(&api.unit).await
}

/// Counts anew what the cells store. Returns the cells whose counters were wrong.
///
/// # Errors
/// A text if there is no such cell; a failure of the store.
pub(super) async fn recount(unit: &Unit, name: Option<&str>) -> CommandResult<String> {
    let cells = match name {
        Some(name) => {
            let found = unit.find_cell(name).await.map_err(|error| chain(&error))?;
            let found = found.ok_or_else(|| format!("the unit has no cell {name}"))?;
            vec![found.cell().id]
        }
        None => {
            let cells = unit_mark::list_cells(&unit.records()).await;
            cells.map_err(|error| chain(&error))?
        }
    };
    let mut out = String::new();
    let mut corrected = 0;
    for cell in &cells {
        match cell_usage::correct(unit.store(), cell, true).await {
            Ok(0) | Err(StoreError::SpaceDropped) => {}
            Ok(bytes) => {
                corrected += 1;
                let _ = writeln!(out, "cell {cell}: its counters were wrong by {bytes} bytes");
            }
            Err(error) => {
                let _ = writeln!(
                    out,
                    "cell {cell}: it could not be counted: {}",
                    chain(&error)
                );
            }
        }
    }
    let _ = writeln!(out, "Counted: {} cells, {corrected} corrected", cells.len());
    Ok(out)
}
