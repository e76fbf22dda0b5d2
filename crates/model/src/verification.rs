//! Verification of what a unit stores: records, file bodies, and whether they agree with each other.
//!
//! Nothing is changed but by [`repair_space`], and the unit may serve meanwhile: what seems to be wrong is read again, with the record that it follows from, in
//! one snapshot, before it is reported. Memory is bounded by a page of records and the collections of each cell that is looked at. A damaged
//! record is skipped, a damaged cell does not keep the others from being verified.

mod catalogue;
mod names;
mod space;
mod space_copy;
mod walk;

use std::sync::Arc;

use personium_store::{BlobStore, RecordStore, Space};
use personium_types::CellId;

pub use self::catalogue::{CatalogueEntry, verify_catalogue};
pub use self::space::{repair_space, verify_space};

/// The ports of the unit that is verified.
#[derive(Clone)]
pub struct VerifiedStores {
    /// The records.
    pub records: Arc<dyn RecordStore>,
    /// The file bodies.
    pub bodies: Arc<dyn BlobStore>,
}

/// The meaning of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// Something is lost, or differs from what it should be.
    Damage,
    /// Something that nothing refers to. It does no harm, and may belong to a request that is being processed.
    Orphan,
    /// Something that could not be looked at.
    Unverified,
    /// Something that was damaged, and is repaired.
    Repaired,
}

impl FindingKind {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Damage => "damage",
            Self::Orphan => "orphan",
            Self::Unverified => "unverified",
            Self::Repaired => "repaired",
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its meaning.
    pub kind: FindingKind,
    /// The space it is in.
    pub space: Space,
    /// The name of the cell; `None` for the unit, and for a cell that has none.
    pub cell: Option<String>,
    /// The resource, as people name it.
    pub resource: String,
    /// The problem.
    pub problem: String,
}

/// A cell or the unit, for a verification.
#[derive(Debug, Clone)]
pub struct VerifiedSpace {
    /// The space.
    pub space: Space,
    /// The name of the cell.
    pub name: Option<String>,
}

impl VerifiedSpace {
    /// The cell with this id and name.
    #[must_use]
    pub fn cell(id: CellId, name: String) -> Self {
        Self {
            space: Space::Cell(id),
            name: Some(name),
        }
    }
}

/// The receiver of findings.
pub trait FindingSink: Send {
    /// Takes a finding.
    fn add(&mut self, finding: Finding);
}

impl FindingSink for Vec<Finding> {
    fn add(&mut self, finding: Finding) {
        self.push(finding);
    }
}

/// The content that was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifiedCounts {
    /// The number of records.
    pub records: u64,
    /// The number of file bodies outside of the records.
    pub bodies: u64,
    /// The sum of their lengths.
    pub body_bytes: u64,
}

impl VerifiedCounts {
    /// Adds those of another space.
    pub fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.bodies += other.bodies;
        self.body_bytes += other.body_bytes;
    }
}
