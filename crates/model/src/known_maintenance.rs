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
pub(crate) struct KnownMaintenance(RwLock<Knowledge>);

#[derive(Debug, Default)]
struct Knowledge {
    modes: Option<Arc<Maintenance>>,
    /// The number of changes that this process has made.
    changes: u64,
}

impl KnownMaintenance {
    pub(crate) fn get(&self) -> Option<Arc<Maintenance>> {
        self.0.read().modes.clone()
    }

    /// The number of changes until now, for [`Self::learn`].
    pub(crate) fn changes(&self) -> u64 {
        self.0.read().changes
    }

    /// Notes modes whose read has begun after that number of changes. They may be old if there were more since.
    pub(crate) fn learn(&self, modes: &Arc<Maintenance>, changes: u64) {
        let mut known = self.0.write();
        if known.changes == changes {
            known.modes = Some(Arc::clone(modes));
        }
    }

    /// Notes that the modes were changed, or may have been.
    pub(crate) fn forget(&self) {
        let mut known = self.0.write();
        known.modes = None;
        known.changes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_that_were_read_before_a_change_are_not_kept_after_it() {
        let known = KnownMaintenance::default();
        let modes = Arc::new(Maintenance::default());
        let begin = known.changes();
        known.forget();
        known.learn(&modes, begin);
        assert_eq!(known.get(), None);
        known.learn(&modes, known.changes());
        assert_eq!(known.get(), Some(modes));
    }

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
