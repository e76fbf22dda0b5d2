//! The modes of maintenance, and the knowledge of a process of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::RwLock;
use personium_types::{Code, Result};
use serde::{Deserialize, Serialize};

/// The modes that are on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Whether requests may only read and delete, in the whole unit.
    #[serde(rename = "d", default)]
    pub is_read_delete_only: bool,
    /// The owners whose cells may only be read, in unit-local form if they are of this unit.
    #[serde(rename = "o", default)]
    pub read_only_owners: BTreeSet<String>,
}

impl Maintenance {
    /// Refuses a change of a cell of an owner, or by one. `owner` is in unit-local form if it is of this unit.
    ///
    /// # Errors
    /// [`Code::Maintenance`]
    pub fn check_owner(&self, owner: Option<&str>) -> Result<()> {
        match owner {
            Some(owner) if self.read_only_owners.contains(owner) => Err(Code::Maintenance.into()),
            _ => Ok(()),
        }
    }
}

/// The modes of a store that is not shared, as its process knows them; nothing at its start.
#[derive(Debug, Default)]
pub(crate) struct KnownMaintenance(RwLock<Option<Arc<Maintenance>>>);

impl KnownMaintenance {
    pub(crate) fn get(&self) -> Option<Arc<Maintenance>> {
        self.0.read().clone()
    }

    pub(crate) fn set(&self, modes: Option<Arc<Maintenance>>) {
        *self.0.write() = modes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_recorded_owners_are_refused() {
        let modes = Maintenance {
            read_only_owners: BTreeSet::from(["personium-localunit:a:/#o".to_owned()]),
            ..Maintenance::default()
        };
        let code = |owner| modes.check_owner(owner).map_err(|error| error.code());
        let owner = Some("personium-localunit:a:/#o");
        assert_eq!(code(owner), Err(Code::Maintenance));
        for other in [None, Some("personium-localunit:a:/#other"), Some("")] {
            assert_eq!(code(other), Ok(()), "{other:?}");
        }
        assert!(Maintenance::default().check_owner(owner).is_ok());
    }
}
