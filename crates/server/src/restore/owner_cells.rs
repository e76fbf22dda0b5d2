//! The cells of an owner of a generation, restored into its unit, beside other cells or in the place of the living ones.

use std::path::Path;
use std::sync::Arc;

use personium_model::erased_cell::ErasedCells;
use personium_store::Space;
use personium_types::CellId;
use personium_types::error::chain;

use super::living_keys::LivingKeys;
use super::one_cell::{self, CellOptions};
use super::{OpenGeneration, RestoreOptions, catalogue, check_spaces, open_unchecked};
use crate::backup::BackupResult;
use crate::backup::scope::{BackupScope, owner_of};
use crate::command_audit::AuditedCommand;
use crate::components;
use crate::local_api::LocalApi;
use crate::progress::Progress;
use crate::{copy, first_start, serve, system};

/// The cells to restore.
#[derive(Debug, Clone)]
pub struct OwnerOptions {
    /// Their owner, as `personium admin list` shows it.
    pub owner: String,
    /// Whether living cells of their names are replaced.
    pub replace: bool,
}

/// The number of cells that a message names.
const NAMED_MAX: usize = 5;

/// Restores the cells of an owner into the unit with these settings, one after the other. Returns the text that is shown at the end.
///
/// # Errors
/// A text for the operator. Each cell is as it was, or restored as a whole.
pub async fn run(
    options: &RestoreOptions,
    cells: &OwnerOptions,
    to: &Path,
) -> BackupResult<String> {
    let loaded = copy::load_settings(to)?;
    if first_start::is_due(&loaded.config) {
        return Err(format!(
            "{} has no unit; cells are restored into the unit that they were backed up of",
            to.display()
        ));
    }
    let owner = owner_of(&loaded, &cells.owner)?;
    let progress = Progress::new("restore", system::clock());
    let (opened, found) = Box::pin(open(options, owner.clone(), &progress)).await?;
    let components = one_cell::build(loaded).await?;
    let done = match LocalApi::new(&components) {
        Ok(api) => {
            let done = Box::pin(restore_all(
                &api,
                (&opened, found),
                (cells, &owner),
                &progress,
            ))
            .await;
            components::leave_unit(&api.unit).await;
            done
        }
        Err(error) => Err(chain(&error)),
    };
    serve::close(&*components.records.port()).await;
    progress.end();
    done
}

/// Opens a generation and compares the checksums of the cells of an owner. Returns them with their names.
async fn open(
    options: &RestoreOptions,
    owner: String,
    progress: &Progress,
) -> BackupResult<(OpenGeneration, Vec<(CellId, String)>)> {
    let opened = open_unchecked(options, progress).await?;
    let manifest = Arc::clone(&opened.manifest);
    let scope = BackupScope::Owner(owner);
    let found = catalogue(&opened.records(), &scope).await;
    let found = found.map_err(|error| format!("the unit: {}", chain(&error)))?;
    let mut spaces = vec![(Space::Unit, &manifest.unit_space)];
    for (id, name) in &found {
        let entry = manifest.cells.get(id);
        let entry = entry.ok_or_else(|| format!("the generation does not have the cell {name}"))?;
        if let Some(problem) = &entry.problem {
            return Err(format!(
                "the cell {name} is not complete in this generation: {problem}; give another --generation"
            ));
        }
        spaces.push((Space::Cell(*id), entry));
    }
    if found.is_empty() {
        return Err(format!("the {} does not have {scope}", opened.name()));
    }
    let problems = check_spaces(&opened, spaces.into_iter(), progress).await?;
    if let Some((_, problem)) = problems.first() {
        return Err(format!(
            "a cell is not complete at this time: {problem}; give an earlier time, or one after the next generation"
        ));
    }
    Ok((opened, found.into_iter().collect()))
}

async fn restore_all(
    api: &LocalApi,
    (opened, found): (&OpenGeneration, Vec<(CellId, String)>),
    (options, owner): (&OwnerOptions, &str),
    progress: &Progress,
) -> BackupResult<String> {
    let (mut living, mut of_others) = (Vec::new(), Vec::new());
    let erased = ErasedCells::read(&api.unit.records()).await;
    let erased = erased.map_err(|error| chain(&error))?;
    let is_erased = |id: &CellId, name: &str| erased.find(id, name, Some(owner)).is_some();
    let (gone, found): (Vec<_>, Vec<_>) =
        (found.into_iter()).partition(|(id, name)| is_erased(id, name));
    for (_, name) in &found {
        let cell = api.unit.find_cell(name).await;
        if let Some(cell) = cell.map_err(|error| chain(&error))? {
            living.push(name.as_str());
            if cell.cell().owner.as_deref() != Some(owner) {
                of_others.push(name.as_str());
            }
        }
    }
    let named = |names: &[&str]| {
        let names: Vec<&str> = names.iter().take(NAMED_MAX).copied().collect();
        names.join(", ")
    };
    // They would get the content of this owner, and lose their own.
    if !of_others.is_empty() {
        return Err(format!(
            "{} of the {} cells belong to others now ({}): restore single cells with --cell, under other names with --as",
            of_others.len(),
            found.len(),
            named(&of_others)
        ));
    }
    if !options.replace && !living.is_empty() {
        return Err(format!(
            "the unit has {} of the {} cells ({}): give --replace to put the restored ones in their place, or restore single cells with --cell",
            living.len(),
            found.len(),
            named(&living)
        ));
    }
    progress.start("restored", found.len());
    let (mut text, all) = (String::new(), found.len());
    for (_, name) in gone {
        text.push_str(&format!(
            "the cell {name} was removed for good, and is left out; --cell {name} --erased restores it\n"
        ));
    }
    let mut keys = LivingKeys::default();
    for (number, (id, name)) in found.into_iter().enumerate() {
        let cell = CellOptions {
            name,
            new_name: None,
            replace: options.replace,
            erased: false,
        };
        let audited = AuditedCommand {
            operation: "cell.restore",
            target: api.unit.urls().cell(cell.living_name()),
        };
        let restored = one_cell::restore(api, opened, (&cell, id), progress, &mut keys);
        let restored = Box::pin(audited.run(&api.unit, restored)).await;
        let line = restored.map_err(|error| {
            format!(
                "{text}the cell {}: {error}\n{number} of {all} cells were restored; give --replace to repeat it",
                cell.name
            )
        })?;
        text.push_str(&line);
    }
    Ok(text)
}
