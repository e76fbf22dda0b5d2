//! The repair of what follows from the records of a unit: indexes, links back and numbers.

use std::fmt::Write as _;
use std::sync::Arc;

use personium_model::Unit;
use personium_model::verification::{
    CatalogueEntry, Finding, FindingKind, FindingSink, VerifiedSpace, VerifiedStores, repair_space,
    verify_catalogue,
};
use personium_store::Space;

use super::CommandResult;

/// The largest number of repairs that are named.
const NAMED_MAX: u64 = 1_000;

/// The repairs, as lines. All other findings are those of the verification that follows.
#[derive(Default)]
struct Repairs {
    lines: String,
    count: u64,
}

impl FindingSink for Repairs {
    fn add(&mut self, finding: Finding) {
        if finding.kind != FindingKind::Repaired {
            return;
        }
        self.count += 1;
        if self.count <= NAMED_MAX {
            let place = match finding.cell {
                Some(name) => format!("cell {name}"),
                None => "the unit".to_owned(),
            };
            let (resource, problem) = (finding.resource, finding.problem);
            let _ = writeln!(self.lines, "repaired: {place}: {resource}: {problem}");
        }
    }
}

/// Repairs the unit, or only the cell with this name. Returns a line for each repair, and their number.
///
/// # Errors
/// A text for the operator if there is no such cell.
pub(super) async fn derived_records(unit: &Unit, name: Option<&str>) -> CommandResult<String> {
    let stores = VerifiedStores {
        records: Arc::clone(unit.store()),
        bodies: Arc::clone(unit.blobs()),
    };
    let mut repairs = Repairs::default();
    if name.is_none() {
        let space = VerifiedSpace {
            space: Space::Unit,
            name: None,
        };
        Box::pin(repair_space(&stores, &space, &mut repairs)).await;
    }
    let cells = verify_catalogue(&stores, &mut repairs).await;
    let wanted = |cell: &&CatalogueEntry| name.is_none_or(|name| cell.name == name);
    for cell in cells.iter().filter(wanted) {
        let space = VerifiedSpace::cell(cell.id, cell.name.clone());
        Box::pin(repair_space(&stores, &space, &mut repairs)).await;
    }
    let Repairs { mut lines, count } = repairs;
    if count > NAMED_MAX {
        let _ = writeln!(lines, "and {} more", count - NAMED_MAX);
    }
    let _ = writeln!(lines, "Repaired: {count} index entries, links and numbers");
    Ok(lines)
}
