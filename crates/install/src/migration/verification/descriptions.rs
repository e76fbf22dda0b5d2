//! Compares access control lists and WebDAV properties.

use std::collections::{BTreeSet, HashMap};

use personium_archive::snapshot::NodeMeta;
use personium_model::keys;
use personium_model::node::Node;
use personium_types::Result;

use super::Comparison;
use crate::cell_filling::{dead_properties, read_acl, roles_of_acl};

impl Comparison<'_> {
    /// Compares the list and the properties of the cell itself.
    pub(super) async fn compare_cell_node(&mut self) -> Result<()> {
        let Ok(Some(meta)) = self.source.cell_meta().await else {
            return Ok(());
        };
        match self.records.find::<Node>(&keys::cell_node()).await? {
            Some(node) => {
                self.compare_description("the cell", &meta, &node.value)
                    .await
            }
            None => Ok(()),
        }
    }

    /// Compares the list and the properties of a cell, box, collection or file.
    pub(super) async fn compare_description(
        &mut self,
        what: &str,
        meta: &NodeMeta,
        node: &Node,
    ) -> Result<()> {
        let mut roles = HashMap::new();
        for there in roles_of_acl(&meta.acl) {
            if let Some((set, id, _)) = self.noted_object(there).await?
                && set == "Role"
            {
                roles.insert(there.to_owned(), id);
            }
        }
        self.found.descriptions += 1;
        if read_acl(&meta.acl, |there| roles.get(there).cloned()) != node.acl {
            let text = format!("the access control list of {what} is another one");
            self.found.differ(text);
        }
        let (expected, _) = dead_properties(&meta.properties, &self.migration.unit);
        let names: BTreeSet<&String> = expected.keys().chain(node.properties.keys()).collect();
        for name in names {
            let difference = match (expected.get(name), node.properties.get(name)) {
                (Some(there), Some(here)) if there == here => continue,
                (Some(_), Some(_)) => "has another value",
                (Some(_), None) => "is missing",
                (None, _) => "is not in the original",
            };
            self.found
                .differ(format!("the property {name} of {what} {difference}"));
        }
        Ok(())
    }
}
