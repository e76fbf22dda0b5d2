//! Imports the schemas of OData collections.

use std::collections::HashSet;
use std::sync::Arc;

use personium_archive::snapshot::{self, Document};
use personium_model::keys::ControlSet;
use personium_model::locate::{self, Located};
use personium_model::odata::ServiceRoot;
use personium_types::Result;
use personium_types::error::chain;

use super::CellFilling;
use super::objects::in_entry;
use crate::snapshot_package::invalid;

/// The file of association ends.
const ENDS: &str = "10_odata/60_associationend.pjson";
/// The number of objects of one commit. All of them belong to one collection.
const BATCH_OBJECTS: usize = 50;

impl CellFilling<'_> {
    /// Imports entity types, complex types, properties, association ends, and what these are linked to.
    pub(super) async fn import_schemas(&mut self) -> Result<()> {
        let is_of_schema = |kind: &str| {
            let set = ControlSet::named(kind);
            set.filter(|set| crate::cell_export::is_of_schema(*set))
        };
        for (kind, path) in snapshot::DOCUMENTS {
            if let Some(set) = is_of_schema(kind) {
                self.import_schema_set(set, path).await?;
            }
        }
        self.link_ends().await
    }

    async fn import_schema_set(&mut self, set: ControlSet, path: &str) -> Result<()> {
        let mut lines = self.source.lines(path).await?;
        let mut batch: Vec<Document> = Vec::new();
        while let Some(document) = lines.next().await? {
            let collection = &document.source.collection;
            let is_other = batch
                .first()
                .is_some_and(|first| first.source.collection != *collection);
            if is_other || batch.len() >= BATCH_OBJECTS {
                self.create_in_collection(set, path, std::mem::take(&mut batch))
                    .await?;
            }
            batch.push(document);
        }
        self.create_in_collection(set, path, batch).await
    }

    async fn create_in_collection(
        &mut self,
        set: ControlSet,
        path: &str,
        documents: Vec<Document>,
    ) -> Result<()> {
        let Some(first) = documents.first() else {
            return Ok(());
        };
        let collection = first.source.collection.clone().unwrap_or_default();
        match self.schema_root(path, &collection).await {
            Ok(root) => self.create_all(&root, set, path, documents).await,
            Err(error) if error.code().is_server_error() => Err(error),
            Err(error) => documents.iter().try_for_each(|document| {
                let error = invalid(path, chain(&error));
                self.refuse(set.name(), &document.id, error)
            }),
        }
    }

    async fn schema_root(&self, path: &str, collection: &str) -> Result<ServiceRoot> {
        let context = self.new.context().await?;
        let located = self.locate_collection(&context, path, collection).await?;
        let unit = Arc::clone(self.unit());
        Ok(ServiceRoot::of_schema(unit, context, &located))
    }

    /// The service root of the data of a collection, with its schema.
    pub(super) async fn data_root(&self, path: &str, collection: &str) -> Result<ServiceRoot> {
        let context = self.new.context().await?;
        let located = self.locate_collection(&context, path, collection).await?;
        let unit = Arc::clone(self.unit());
        ServiceRoot::of_data(unit, context, &located).await
    }

    async fn locate_collection(
        &self,
        context: &personium_model::CellContext,
        path: &str,
        id: &str,
    ) -> Result<Located> {
        let missing = || invalid(path, format!("it has no collection {id}"));
        let found = self.collections.get(id).ok_or_else(missing)?;
        let located = locate::child(context, &found.parent, &found.name).await?;
        located.ok_or_else(missing)
    }

    /// Links the two ends of each association.
    async fn link_ends(&self) -> Result<()> {
        let mut lines = self.source.lines(ENDS).await?;
        let mut linked = HashSet::new();
        while let Some(document) = lines.next().await? {
            let links = document.source.links.as_ref();
            let partner = links.and_then(|links| links.get("AssociationEnd")).cloned();
            let Some(partner) = partner else {
                continue;
            };
            if !linked.insert((document.id.clone(), partner.clone()))
                || linked.contains(&(partner.clone(), document.id.clone()))
            {
                continue;
            }
            if let Err(error) = self.link_end(&document, &partner).await {
                self.refuse("AssociationEnd", &document.id, in_entry(ENDS, error))?;
            }
        }
        Ok(())
    }

    async fn link_end(&self, document: &Document, partner: &str) -> Result<()> {
        let collection = document.source.collection.clone().unwrap_or_default();
        let root = self.schema_root(ENDS, &collection).await?;
        let own = self.object(ENDS, ControlSet::AssociationEnd, &document.id)?;
        let other = self.object(ENDS, ControlSet::AssociationEnd, partner)?;
        self.link(&root, own, other).await
    }
}
