//! The names of objects.

use object_store::path::Path;
use personium_store::Space;
use personium_types::BlobId;

/// The last segment of the name of the unit's mark.
const MARK: &str = "unit.id";

/// The names of the objects of a unit.
#[derive(Debug, Clone)]
pub(crate) struct ObjectNames {
    prefix: Path,
}

impl ObjectNames {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: Path::from(prefix),
        }
    }

    /// The beginning of the names of all objects of the unit.
    pub(crate) const fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The beginning of the names of all bodies of a space.
    pub(crate) fn space(&self, space: &Space) -> Path {
        let name = match space {
            Space::Unit => "unit".to_owned(),
            Space::Cell(id) => id.to_string(),
        };
        self.prefix.clone().join(name)
    }

    /// The name of a body.
    pub(crate) fn body(&self, space: &Space, id: &BlobId) -> Path {
        let id = id.to_string();
        let shelf = id.get(..2).unwrap_or_default().to_owned();
        self.space(space).join(shelf).join(id)
    }

    /// The id of the body with this name.
    pub(crate) fn id_of(name: &Path) -> Option<BlobId> {
        name.filename()?.parse().ok()
    }

    /// The name of the unit's mark.
    pub(crate) fn mark(&self) -> Path {
        self.prefix.clone().join(MARK)
    }

    /// The name of an object that is written to try the store.
    pub(crate) fn trial(&self, id: &BlobId) -> Path {
        self.prefix.clone().join("check").join(id.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files_of_a_folder_store() {
        let id: BlobId = "0a1b2c3d4e5f60718293a4b5c6d7e8f9".parse().unwrap();
        for (prefix, name) in [
            ("", "unit/0a/0a1b2c3d4e5f60718293a4b5c6d7e8f9"),
            ("/a/b/", "a/b/unit/0a/0a1b2c3d4e5f60718293a4b5c6d7e8f9"),
        ] {
            let names = ObjectNames::new(prefix);
            let body = names.body(&Space::Unit, &id);
            assert_eq!(body.as_ref(), name);
            assert_eq!(ObjectNames::id_of(&body), Some(id));
        }
        assert_eq!(ObjectNames::new("p").mark().as_ref(), "p/unit.id");
    }
}
