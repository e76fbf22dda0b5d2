//! Imports the links between entities.

use personium_model::keys;
use personium_model::odata::{self, ServiceRoot};
use personium_odata::key::EntityKey;
use personium_types::{Code, Error, Result};
use tokio::task::JoinSet;

use super::CellImport;
use super::objects::{LINKS, in_entry};
use super::user_data::USER_DATA;
use crate::snapshot_package::invalid;

/// The number of links that are made at the same time.
const CONCURRENT_LINKS: usize = 16;

/// An entity by its entity type in the snapshot and its `__id`.
type EntityPlace = (String, String);

/// Links that are being made below the root of one collection.
struct LinkWork {
    collection: String,
    root: Option<ServiceRoot>,
    running: JoinSet<Result<()>>,
    entry: &'static str,
}

impl LinkWork {
    fn new(entry: &'static str) -> Self {
        Self {
            collection: String::new(),
            root: None,
            running: JoinSet::new(),
            entry,
        }
    }

    /// Waits until at most so many links are being made.
    async fn wait(&mut self, max: usize) -> Result<()> {
        while self.running.len() > max {
            let Some(done) = self.running.join_next().await else {
                return Ok(());
            };
            match done.map_err(Error::internal)? {
                // The document of each of the two entities has it.
                Err(error) if error.code() == Code::LinkExists => {}
                done => done.map_err(|error| in_entry(self.entry, error))?,
            }
        }
        Ok(())
    }
}

impl CellImport<'_> {
    /// Makes the links between entities. Those to entities that the snapshot does not have are left out.
    pub(super) async fn import_entity_links(&self) -> Result<()> {
        let mut work = LinkWork::new(USER_DATA);
        let mut lines = self.package().lines(USER_DATA).await?;
        while let Some(document) = lines.next().await? {
            let source = document.source;
            let collection = source.collection.unwrap_or_default();
            for link in source.entity_links.unwrap_or_default() {
                let (_, other) = link
                    .split_once(':')
                    .ok_or_else(|| invalid(USER_DATA, "a link has no entity"))?;
                self.link_entities(&mut work, &collection, (&document.id, other))
                    .await?;
            }
        }
        work.wait(0).await?;
        let mut work = LinkWork::new(LINKS);
        let mut lines = self.package().lines(LINKS).await?;
        while let Some(document) = lines.next().await? {
            let source = document.source;
            if let (Some(collection), Some(one), Some(other)) =
                (source.collection, source.first, source.second)
            {
                self.link_entities(&mut work, &collection, (&one, &other))
                    .await?;
            }
        }
        work.wait(0).await
    }

    async fn link_entities(
        &self,
        work: &mut LinkWork,
        collection: &str,
        (one, other): (&str, &str),
    ) -> Result<()> {
        let wanted = [keys::imported_entity(one), keys::imported_entity(other)];
        let records = self.new.records();
        let mut found = records.find_all::<EntityPlace>(&wanted).await?.into_iter();
        let mut next = || found.next().flatten().map(|found| found.value);
        let (Some(one), Some(other)) = (next(), next()) else {
            return Ok(());
        };
        if work.root.is_none() || work.collection != collection {
            work.wait(0).await?;
            work.root = Some(self.data_root(work.entry, collection).await?);
            collection.clone_into(&mut work.collection);
        }
        let Some(root) = work.root.clone() else {
            return Ok(());
        };
        let name = |place: &EntityPlace| self.types.get(&place.0).map(|known| known.name.clone());
        let (Some(own_type), Some(other_type)) = (name(&one), name(&other)) else {
            return Ok(());
        };
        let set = root.set(&own_type)?;
        let association = root.link_association(&set, &format!("_{other_type}"));
        let association = association.map_err(|error| in_entry(work.entry, error))?;
        let permit = self.importer.authority.permit_link(&root, &association);
        work.wait(CONCURRENT_LINKS - 1).await?;
        work.running.spawn(async move {
            let (one, other) = (EntityKey::single(&one.1), EntityKey::single(&other.1));
            odata::add_link(&root, &permit, &association, &one, &other).await
        });
        Ok(())
    }
}
