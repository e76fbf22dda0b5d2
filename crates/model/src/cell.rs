//! The catalogue of cells.

use personium_odata::value::Properties;
use personium_types::{CellId, NodeId};

use crate::entity::StoredEntity;

/// An entry of the catalogue of cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Its id, which a new name does not change.
    pub id: CellId,
    /// Its name in URLs.
    pub name: String,
    /// The subject of its owner, a unit user; in unit-local form if that is of this unit.
    pub owner: Option<String>,
    /// When it was created, milliseconds since 1970.
    pub published: i64,
    /// Whether its last import failed. Then only imports, token requests and its deletion are served.
    pub import_failed: bool,
}

/// The hidden value of a cell entity that holds its owner.
pub const OWNER: &str = "Owner";
/// The hidden value of a cell entity that says that its import failed.
pub const IMPORT_FAILED: &str = "ImportFailed";

impl Cell {
    /// Reads the catalogue entry; `None` if the id or document is not that of a cell.
    #[must_use]
    pub fn from_entity(id: &str, entity: &StoredEntity, properties: &Properties) -> Option<Self> {
        Some(Self {
            id: id.parse().ok()?,
            name: properties.text("Name")?.to_owned(),
            owner: entity.hidden.get(OWNER).cloned(),
            published: entity.published,
            import_failed: entity.hidden.contains_key(IMPORT_FAILED),
        })
    }

    /// The id of the main box and of the cell's own node.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId::from_bytes(*self.id.as_bytes())
    }
}
