//! The types of user data, as documents describe them.

use std::collections::HashMap;

use personium_archive::snapshot::Document;
use personium_model::keys::ControlSet;
use personium_types::Result;

use super::values::ImportedType;
use crate::snapshot_package::invalid;

/// The entity types and complex types of a cell.
#[derive(Default)]
pub(crate) struct TypeMap {
    /// By their ids in the source.
    pub types: HashMap<String, ImportedType>,
    /// The ids of complex types in the source, by their collections and names.
    complex_types: HashMap<(String, String), String>,
}

impl TypeMap {
    /// Notes a type, or a property of one. Other objects are ignored. `name` is that of the object.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) for a property without a type.
    pub fn note(&mut self, set: ControlSet, document: &Document, name: &str) -> Result<()> {
        let collection = document.source.collection.clone().unwrap_or_default();
        let owner = match set {
            ControlSet::EntityType | ControlSet::ComplexType => {
                if set == ControlSet::ComplexType {
                    let place = (collection, name.to_owned());
                    self.complex_types.insert(place, document.id.clone());
                }
                let created = ImportedType::new(name);
                self.types.insert(document.id.clone(), created);
                return Ok(());
            }
            ControlSet::Property => ControlSet::EntityType,
            ControlSet::ComplexTypeProperty => ControlSet::ComplexType,
            _ => return Ok(()),
        };
        let links = document.source.links.as_ref();
        let owner = links.and_then(|links| links.get(owner.name()));
        let hidden = document.source.hidden.as_ref();
        let alias = hidden.and_then(|hidden| hidden.get("Alias")?.as_str());
        let properties = document.source.properties.as_ref();
        let kind = properties.and_then(|properties| properties.get("Type")?.as_str());
        let (Some(owner), Some(kind)) = (owner, kind) else {
            return Err(invalid(&document.kind, "a property has no type"));
        };
        let place = (collection, kind.to_owned());
        let complex = self.complex_types.get(&place).cloned();
        if let Some(owner) = self.types.get_mut(owner) {
            owner.add(alias.unwrap_or(name), name, (kind, complex));
        }
        Ok(())
    }
}
