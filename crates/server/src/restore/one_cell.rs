//! One cell of a generation, restored into its unit, beside the living cell or in its place.

use std::path::Path;
use std::sync::Arc;

use personium_model::auth::cell_key;
use personium_model::cell::{Cell, OWNER};
use personium_model::cell_restoration::{CellRestoration, RestoredCounts, RestoredPlace};
use personium_model::entity::StoredEntity;
use personium_model::erased_cell::ErasedCells;
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::records::{Records, decode};
use personium_model::{PermitTarget, Unit, unit_mark};
use personium_store::{RecordStore, Space};
use personium_types::error::chain;
use personium_types::name::CellName;
use personium_types::time::iso_time;
use personium_types::{CellId, Operation};

use super::generation_records::GenerationRecords;
use super::living_keys::LivingKeys;
use super::{OpenGeneration, RestoreOptions, check_spaces, open_unchecked, point_in_time};
use crate::backup::BackupResult;
use crate::command_audit::AuditedCommand;
use crate::components::{self, Components};
use crate::config::LoadedConfig;
use crate::local_api::LocalApi;
use crate::progress::Progress;
use crate::{copy, first_start, serve, system};

/// The cell to restore.
#[derive(Debug, Clone)]
pub struct CellOptions {
    /// Its name in the generation.
    pub name: String,
    /// Its name in the unit, if another one.
    pub new_name: Option<String>,
    /// Whether the living cell of the name is replaced.
    pub replace: bool,
    /// Whether it is restored also if it was removed for good.
    pub erased: bool,
}

impl CellOptions {
    /// Its name in the unit.
    pub(super) fn living_name(&self) -> &str {
        self.new_name.as_deref().unwrap_or(&self.name)
    }
}

/// Compares the checksums of one cell of a generation. Returns the text that is shown at the end.
///
/// # Errors
/// A text for the operator, which names what is damaged.
pub async fn check(options: &RestoreOptions, cell: &CellOptions) -> BackupResult<String> {
    let progress = Progress::new("restore", system::clock());
    let (opened, id, counts) = Box::pin(open(options, cell, &progress)).await?;
    progress.end();
    let name = &cell.name;
    let mut text = format!(
        "The cell {name} ({id}) is whole in the {}{counts}. Nothing was restored.\n",
        opened.name()
    );
    if opened.point.is_none() {
        text.push_str(&point_in_time::describe(&opened.store).await?);
    }
    Ok(text)
}

/// Opens a generation and compares the checksums of one cell. Returns its id and what it has.
async fn open(
    options: &RestoreOptions,
    cell: &CellOptions,
    progress: &Progress,
) -> BackupResult<(OpenGeneration, CellId, String)> {
    let opened = open_unchecked(options, progress).await?;
    let manifest = Arc::clone(&opened.manifest);
    let name = &cell.name;
    let mut named = manifest
        .cells
        .iter()
        .filter(|(_, entry)| entry.name == *name);
    let (id, entry) = named.next().ok_or_else(|| {
        let generation = opened.name();
        format!("the {generation} has no cell {name}; give another --generation, or another time")
    })?;
    if let Some(problem) = &entry.problem {
        return Err(format!(
            "the cell {name} is not complete in this generation: {problem}; give another --generation"
        ));
    }
    let spaces = [
        (Space::Unit, &manifest.unit_space),
        (Space::Cell(*id), entry),
    ];
    let problems = check_spaces(&opened, spaces.into_iter(), progress).await?;
    if let Some((_, problem)) = problems.first() {
        return Err(format!(
            "the cell {name} is not complete at this time: {problem}; give an earlier time, or one after the next generation"
        ));
    }
    let counts = match opened.point {
        Some(_) => String::new(),
        None => format!(
            ": {} records, {} file bodies ({} bytes)",
            entry.sum.records, entry.bodies, entry.body_bytes
        ),
    };
    Ok((opened, *id, counts))
}

/// Restores one cell of a generation into the unit with these settings. Returns the text that is shown at the end.
///
/// # Errors
/// A text for the operator. The unit is as before then; what was made of the cell is removed by the unit.
pub async fn run(options: &RestoreOptions, cell: &CellOptions, to: &Path) -> BackupResult<String> {
    let loaded = copy::load_settings(to)?;
    if first_start::is_due(&loaded.config) {
        return Err(format!(
            "{} has no unit; a cell is restored into the unit that it was backed up of",
            to.display()
        ));
    }
    let progress = Progress::new("restore", system::clock());
    let (opened, id, _) = Box::pin(open(options, cell, &progress)).await?;
    let components = build(loaded).await?;
    let done = match LocalApi::new(&components) {
        Ok(api) => {
            let audited = AuditedCommand {
                operation: "cell.restore",
                target: api.unit.urls().cell(cell.living_name()),
            };
            progress.start("restored", 1);
            let mut keys = LivingKeys::default();
            let restored = restore(&api, &opened, (cell, id), &progress, &mut keys);
            let done = Box::pin(audited.run(&api.unit, restored)).await;
            components::leave_unit(&api.unit).await;
            done
        }
        Err(error) => Err(chain(&error)),
    };
    serve::close(&*components.records.port()).await;
    progress.end();
    done
}

pub(super) async fn build(loaded: LoadedConfig) -> BackupResult<Components> {
    let files_max = loaded.config.store.open_files_max;
    let (clock, random) = (system::clock(), system::random());
    // Boxed, because the future is large.
    let components = Box::pin(Components::build(loaded, files_max, clock, random)).await;
    components.map_err(|error| {
        error.for_command(
            "A unit with its database in itself must be stopped to restore one of its cells",
        )
    })
}

pub(super) async fn restore(
    api: &LocalApi,
    opened: &OpenGeneration,
    (cell, id): (&CellOptions, CellId),
    progress: &Progress,
    keys: &mut LivingKeys,
) -> BackupResult<String> {
    let failed = |error: personium_types::Error| chain(&error);
    let manifest = &opened.manifest;
    let unit = &api.unit;
    let mark = unit_mark::find(&unit.records()).await.map_err(failed)?;
    if mark.as_deref() != Some(&manifest.unit) {
        return Err("the back-ups are those of another unit".to_owned());
    }
    let records = opened.records();
    let entry = find_entry(&records, &id).await?;
    let erased = ErasedCells::read(&unit.records()).await.map_err(failed)?;
    let owner = entry.hidden.get(OWNER).map(String::as_str);
    if let Some(erased) = erased.find(&id, &cell.name, owner)
        && !cell.erased
    {
        let time = iso_time(erased.time_ms);
        return Err(format!(
            "the cell {} was removed for good at {time}, with its back-ups: --erased restores it all the same, if whoever it belonged to wants that",
            cell.name
        ));
    }
    let name = cell.new_name.as_ref().unwrap_or(&cell.name);
    let of_backup = Records::new(Arc::new(opened.records()), Space::Cell(id));
    let key = cell_key::find_id(&of_backup).await.map_err(failed)?;
    let former = FormerCell {
        name: &cell.name,
        owner,
        key: key.as_deref(),
    };
    let place = place(api, name, cell.replace, &former).await?;
    let kept_key = key.filter(|_| cell.replace || *name == cell.name);
    let holder = match &kept_key {
        Some(key) => {
            let replaced = match &place {
                RestoredPlace::InPlaceOf(living) => Some(living),
                RestoredPlace::Beside(_) => None,
            };
            let holder = keys.other_holder(unit, (key, replaced)).await;
            holder.map_err(failed)?
        }
        None => None,
    };
    let restoration = CellRestoration::begin(unit, id).await.map_err(failed)?;
    let note = |counts: RestoredCounts| {
        progress.set_records(counts.records);
        progress.set_bodies(counts.bodies, counts.body_bytes);
    };
    let bodies = &*opened.store.files;
    // Two cells with one key could sign for each other.
    let with_key = kept_key.is_some() && holder.is_none();
    let copied = restoration.copy((&records, bodies), with_key, &note).await;
    let permit = api.server.permit(Operation::WriteCells, PermitTarget::Unit);
    let done = match copied {
        Ok(counts) => {
            let completed = restoration.complete(&permit, &entry, &place).await;
            completed.map(|()| counts)
        }
        Err(error) => Err(error),
    };
    let counts = match done {
        Ok(counts) => counts,
        Err(error) => {
            restoration.abandon().await;
            return Err(format!("the cell was not restored: {}", chain(&error)));
        }
    };
    progress.end_space();
    if let (Some(key), None) = (kept_key, holder) {
        keys.add(key, *restoration.id());
    }
    let RestoredCounts {
        records,
        bodies,
        body_bytes,
    } = counts;
    let of = match name == &cell.name {
        true => String::new(),
        false => format!(", which was {}", cell.name),
    };
    let mut text = format!(
        "Restored the cell {name}{of}, from the {}: {records} records, {bodies} file bodies ({body_bytes} bytes).\n",
        opened.name()
    );
    if let Some(holder) = holder {
        text.push_str(&format!(
            "It gets a new key to sign with: the cell {holder} has the one of the back-up.\n"
        ));
    }
    Ok(text)
}

/// The entry of the cell in the catalogue of the generation.
async fn find_entry(records: &GenerationRecords, id: &CellId) -> BackupResult<StoredEntity> {
    let key = keys::entity(&SetKey::control(ControlSet::Cell), &id.to_string());
    let found = records.get(&Space::Unit, &[key]).await;
    let found = found.map_err(|error| chain(&error))?.value;
    let found = found.into_iter().flatten().next();
    let found = found.ok_or("the catalogue of the generation does not name the cell")?;
    decode(&found.value).map_err(|error| chain(&error))
}

/// The cell as the back-up has it.
struct FormerCell<'c> {
    name: &'c str,
    owner: Option<&'c str>,
    /// The id of the key that it signs with, if it has one.
    key: Option<&'c str>,
}

impl FormerCell<'_> {
    /// Whether a living cell is this one: it signs with the same key, or has its name and its owner, as after a removal and a new
    /// creation.
    async fn is(&self, unit: &Unit, living: &Cell) -> bool {
        // The records of a damaged cell cannot be read, which is why it is restored.
        let key = cell_key::find_id(&unit.cell_records(&living.id)).await;
        let key = key.ok().flatten();
        let has_key = self.key.is_some() && self.key == key.as_deref();
        has_key || (living.name == self.name && living.owner.as_deref() == self.owner)
    }
}

async fn place(
    api: &LocalApi,
    name: &str,
    replace: bool,
    former: &FormerCell<'_>,
) -> BackupResult<RestoredPlace> {
    let living = api.unit.find_cell(name).await;
    let living = living.map_err(|error| chain(&error))?;
    match (living, replace) {
        (Some(living), true) if former.is(&api.unit, living.cell()).await => {
            Ok(RestoredPlace::InPlaceOf(living.cell().id))
        }
        // Its owner would lose it, and get the content of somebody else.
        (Some(living), true) => Err(format!(
            "the cell {name} of the unit is another one than {} of the back-up, and belongs to {}: restore under another name, with --as and without --replace",
            former.name,
            living.cell().owner.as_deref().unwrap_or("the unit")
        )),
        (Some(_), false) => Err(format!(
            "the unit has a cell {name}: give --replace to put the restored one in its place, or --as with another name"
        )),
        (None, _) => {
            let name: CellName = name.parse().map_err(|_| {
                format!("{name} is no name of a cell: give --as with letters, digits, - and _")
            })?;
            Ok(RestoredPlace::Beside(name))
        }
    }
}
