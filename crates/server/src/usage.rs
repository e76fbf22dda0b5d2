//! `personium usage`: what the cells store and may store. Reads the counters of the cells, not their content; journals only if they are asked for.

mod journals;

use std::collections::BTreeMap;
use std::sync::Arc;

use personium_model::Cell;
use personium_model::cell_usage::{self, CellUsage};
use personium_model::entity::EntityPages;
use personium_model::keys::{ControlSet, SetKey};
use personium_model::quota::{self, SetQuotas};
use personium_model::records::Records;
use personium_store::{Space, StoreError};
use personium_types::error::chain;
use serde_json::{Map, Value, json};

use self::journals::JournalUsage;
use crate::config::{Config, QuotaConfig};
use crate::unit_reader::UnitReader;

/// The number of columns of a table.
const COLUMNS: usize = 12;

/// The sums of an owner.
#[derive(Debug, Clone, Copy, Default)]
struct OwnerSums {
    cells: usize,
    usage: CellUsage,
}

/// A cell with what it stores.
struct ListedCell {
    cell: Cell,
    usage: Result<CellUsage, String>,
    journal: Option<JournalUsage>,
}

/// The cells of a unit with their quotas.
struct UnitUsage {
    cells: Vec<ListedCell>,
    quotas: SetQuotas,
    /// The journals of all cells that are listed, and of the unit itself.
    journals: Option<JournalUsage>,
}

/// The selection of what is shown.
#[derive(Debug, Clone, Copy)]
pub struct UsageRequest<'a> {
    /// The name of the cell that alone is shown.
    pub cell: Option<&'a str>,
    /// Whether journals are read too.
    pub with_journals: bool,
    /// Whether the form is JSON.
    pub as_json: bool,
}

/// Returns what the cells store, or only the one with this name, and whether all of them could be read.
///
/// # Errors
/// A text for the operator if there is no unit, or no such cell.
pub async fn run(config: &Config, request: UsageRequest<'_>) -> Result<(String, bool), String> {
    let UsageRequest { cell, as_json, .. } = request;
    let unit = Box::pin(UnitReader::open(config)).await?;
    let read = read(&unit, request).await;
    unit.close().await;
    let usage = read?;
    if let Some(name) = cell.filter(|_| usage.cells.is_empty()) {
        return Err(format!("the unit has no cell {name}"));
    }
    let is_complete = usage.cells.iter().all(|listed| listed.usage.is_ok());
    let text = match as_json {
        true => format!("{}\n", usage.json(&config.quotas, cell.is_none())),
        false => usage.text(&config.quotas, cell.is_none()),
    };
    Ok((text, is_complete))
}

async fn read(unit: &UnitReader, request: UsageRequest<'_>) -> Result<UnitUsage, String> {
    let name = request.cell;
    let store = &*unit.records;
    let quotas = quota::read_set_quotas(store).await;
    let quotas = quotas.map_err(|error| chain(&error))?;
    let all_counted = cell_usage::all_counted(store).await;
    let all_counted = all_counted.map_err(|error| chain(&error))?;
    let records = Records::new(Arc::clone(&unit.records), Space::Unit);
    let mut pages = EntityPages::of(&records, &SetKey::control(ControlSet::Cell));
    let mut cells = Vec::new();
    let mut journals = JournalUsage::default();
    loop {
        let page = pages.next_page().await.map_err(|error| chain(&error))?;
        if page.is_empty() {
            break;
        }
        for (id, stored) in page {
            let Some(cell) = Cell::from_entity(&id, &stored, &stored.doc) else {
                continue;
            };
            if name.is_some_and(|name| cell.name != name) {
                continue;
            }
            let mut usage = match cell_usage::read(store, &cell.id, all_counted).await {
                // Removed meanwhile.
                Err(StoreError::SpaceDropped) => continue,
                usage => usage.map_err(|error| chain(&error)),
            };
            let mut journal = None;
            if request.with_journals {
                match JournalUsage::read(unit, &Space::Cell(cell.id)).await {
                    Ok(read) => {
                        journals.add(read);
                        journal = Some(read);
                    }
                    Err(error) => usage = Err(chain(&error)),
                }
            }
            cells.push(ListedCell {
                cell,
                usage,
                journal,
            });
        }
    }
    if request.with_journals && name.is_none() {
        let read = JournalUsage::read(unit, &Space::Unit).await;
        journals.add(read.map_err(|error| chain(&error))?);
    }
    cells.sort_by(|one, other| one.cell.name.cmp(&other.cell.name));
    Ok(UnitUsage {
        cells,
        quotas,
        journals: request.with_journals.then_some(journals),
    })
}

impl UnitUsage {
    fn owners(&self) -> BTreeMap<&str, OwnerSums> {
        let mut owners: BTreeMap<&str, OwnerSums> = BTreeMap::new();
        for listed in &self.cells {
            let owner = listed.cell.owner.as_deref().unwrap_or_default();
            let sums = owners.entry(owner).or_default();
            sums.cells += 1;
            if let Ok(usage) = &listed.usage {
                sums.usage.add(usage);
            }
        }
        owners
    }

    fn sum(&self) -> OwnerSums {
        let mut all = OwnerSums::default();
        for sums in self.owners().values() {
            all.cells += sums.cells;
            all.usage.add(&sums.usage);
        }
        all
    }

    fn cell_quota(&self, cell: &Cell, defaults: &QuotaConfig) -> Option<u64> {
        let set = self.quotas.cells.get(&cell.id).copied();
        set.unwrap_or(defaults.cell_max_bytes)
    }

    fn owner_quota(&self, owner: &str, defaults: &QuotaConfig) -> Option<u64> {
        let set = self.quotas.owners.get(owner).copied();
        let default = defaults.unit_user_max_bytes.filter(|_| !owner.is_empty());
        set.unwrap_or(default)
    }

    fn json(&self, defaults: &QuotaConfig, with_owners: bool) -> Value {
        let cells = self.cells.iter().map(|listed| {
            let cell = &listed.cell;
            let mut out = Map::new();
            out.insert("cell".to_owned(), json!(cell.name));
            out.insert("id".to_owned(), json!(cell.id.to_string()));
            out.insert("owner".to_owned(), json!(cell.owner));
            match &listed.usage {
                Ok(usage) => put_usage(&mut out, usage, self.cell_quota(cell, defaults)),
                Err(problem) => drop(out.insert("problem".to_owned(), json!(problem))),
            }
            if let Some(journal) = listed.journal {
                journal.put(&mut out);
            }
            Value::from(out)
        });
        let mut out = Map::new();
        out.insert("cells".to_owned(), cells.collect());
        if with_owners {
            let owners = self.owners();
            let owners = owners.iter().map(|(owner, sums)| {
                let owner_name = Some(owner).filter(|owner| !owner.is_empty());
                let mut out = Map::new();
                out.insert("owner".to_owned(), json!(owner_name));
                out.insert("cells".to_owned(), json!(sums.cells));
                put_usage(&mut out, &sums.usage, self.owner_quota(owner, defaults));
                Value::from(out)
            });
            out.insert("owners".to_owned(), owners.collect());
            let used = self.sum().usage.total();
            out.insert("usedBytes".to_owned(), json!(used));
        }
        if let Some(journals) = self.journals {
            journals.put(&mut out);
        }
        out.into()
    }

    fn text(&self, defaults: &QuotaConfig, with_owners: bool) -> String {
        let mut rows = vec![header("Cell", "Owner")];
        for listed in &self.cells {
            let cell = &listed.cell;
            let owner = cell.owner.clone().unwrap_or_default();
            rows.push(match &listed.usage {
                Ok(usage) => row(
                    [cell.name.clone(), owner],
                    usage,
                    self.cell_quota(cell, defaults),
                ),
                Err(problem) => {
                    let mut row = vec![cell.name.clone(), owner];
                    row.push(format!("cannot be read: {problem}"));
                    row
                }
            });
        }
        let mut out = table(&rows);
        if with_owners {
            let mut rows = vec![header("Owner", "Cells")];
            for (owner, sums) in self.owners() {
                let names = [owner.to_owned(), sums.cells.to_string()];
                rows.push(row(names, &sums.usage, self.owner_quota(owner, defaults)));
            }
            let sum = self.sum();
            let names = ["all".to_owned(), sum.cells.to_string()];
            rows.push(row(names, &sum.usage, None));
            out.push('\n');
            out.push_str(&table(&rows));
        }
        if let Some(journals) = self.journals {
            out.push_str(&format!(
                "\nJournals, which no quota limits: {} bytes of changes, {} bytes of removed files\n",
                journals.changes, journals.removed_files
            ));
        }
        out
    }
}

fn put_usage(out: &mut Map<String, Value>, usage: &CellUsage, quota: Option<u64>) {
    for (name, bytes) in [
        ("fileBytes", usage.files),
        ("entityBytes", usage.entities),
        ("propertyBytes", usage.properties),
        ("linkBytes", usage.links),
        ("indexBytes", usage.indexes),
        ("messageBytes", usage.messages),
        ("jobBytes", usage.jobs),
        ("logBytes", usage.log),
        ("usedBytes", usage.total()),
    ] {
        out.insert(name.to_owned(), json!(bytes));
    }
    out.insert("quota".to_owned(), json!(quota));
}

fn header(first: &str, second: &str) -> Vec<String> {
    let rest = [
        "Files",
        "Entities",
        "Properties",
        "Links",
        "Indexes",
        "Messages",
        "Jobs",
        "Log",
        "Bytes",
        "Quota",
    ];
    let all = [first, second].into_iter().chain(rest);
    all.map(str::to_owned).collect()
}

fn row(names: [String; 2], usage: &CellUsage, quota: Option<u64>) -> Vec<String> {
    let quota = quota.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
    let numbers = [
        usage.files,
        usage.entities,
        usage.properties,
        usage.links,
        usage.indexes,
        usage.messages,
        usage.jobs,
        usage.log,
        usage.total(),
    ];
    let numbers = numbers.into_iter().map(|bytes| bytes.to_string());
    names.into_iter().chain(numbers).chain([quota]).collect()
}

/// Rows with aligned columns: the first two to the left, numbers to the right.
fn table(rows: &[Vec<String>]) -> String {
    let mut widths = [0_usize; COLUMNS];
    for row in rows.iter().filter(|row| row.len() == COLUMNS) {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = (*width).max(text.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        let cells =
            row.iter()
                .zip(widths)
                .enumerate()
                .map(|(column, (text, width))| match column {
                    0 | 1 => format!("{text:<width$}"),
                    _ => format!("{text:>width$}"),
                });
        let line = cells.collect::<Vec<_>>().join("  ");
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
