//! Imports the links between entities.

use personium_model::keys;
use personium_model::odata::{self, ServiceRoot};
use personium_odata::key::EntityKey;
use personium_types::{Code, Error, Result};
use tokio::task::JoinSet;

use super::CellFilling;
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
    /// The document of each link, with the outcome.
    running: JoinSet<(String, Result<()>)>,
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
}

impl CellFilling<'_> {
    /// Makes the links between entities. Those to entities that the snapshot does not have are left out.
    pub(super) async fn import_entity_links(&self) -> Result<()> {
        let mut work = LinkWork::new(USER_DATA);
        let mut lines = self.source.lines(USER_DATA).await?;
        while let Some(document) = lines.next().await? {
            let source = document.source;
            let collection = source.collection.unwrap_or_default();
            for link in source.entity_links.unwrap_or_default() {
                let ends = link
                    .split_once(':')
                    .map(|(_, other)| (&*document.id, other));
                let ends = ends.ok_or_else(|| invalid(USER_DATA, "a link has no entity"));
                let linked = match ends {
                    Ok(ends) => {
                        self.link_entities(&mut work, &collection, (&document.id, ends))
                            .await
                    }
                    Err(error) => Err(error),
                };
                if let Err(error) = linked {
                    self.refuse("link", &document.id, error)?;
                }
            }
        }
        self.wait(&mut work, 0).await?;
        let mut work = LinkWork::new(LINKS);
        let mut lines = self.source.lines(LINKS).await?;
        while let Some(document) = lines.next().await? {
            let source = document.source;
            if let (Some(collection), Some(one), Some(other)) =
                (source.collection, source.first, source.second)
            {
                let ends = (&*document.id, (&*one, &*other));
                if let Err(error) = self.link_entities(&mut work, &collection, ends).await {
                    self.refuse("link", &document.id, error)?;
                }
            }
        }
        self.wait(&mut work, 0).await
    }

    async fn link_entities(
        &self,
        work: &mut LinkWork,
        collection: &str,
        (document, (one, other)): (&str, (&str, &str)),
    ) -> Result<()> {
        let wanted = [keys::imported_entity(one), keys::imported_entity(other)];
        let records = self.new.records();
        let mut found = records.find_all::<EntityPlace>(&wanted).await?.into_iter();
        let mut next = || found.next().flatten().map(|found| found.value);
        let (Some(one), Some(other)) = (next(), next()) else {
            self.refusals
                .note("link", document, "an entity of it is missing");
            return Ok(());
        };
        if work.root.is_none() || work.collection != collection {
            self.wait(work, 0).await?;
            work.root = Some(self.data_root(work.entry, collection).await?);
            collection.clone_into(&mut work.collection);
        }
        let Some(root) = work.root.clone() else {
            return Ok(());
        };
        let name = |place: &EntityPlace| {
            self.types
                .types
                .get(&place.0)
                .map(|known| known.name.clone())
        };
        let (Some(own_type), Some(other_type)) = (name(&one), name(&other)) else {
            return Ok(());
        };
        let set = root.set(&own_type)?;
        let association = root.link_association(&set, &format!("_{other_type}"));
        let association = association.map_err(|error| in_entry(work.entry, error))?;
        let permit = self.authority.permit_link(&root, &association);
        self.wait(work, CONCURRENT_LINKS - 1).await?;
        let document = document.to_owned();
        work.running.spawn(async move {
            let (one, other) = (EntityKey::single(&one.1), EntityKey::single(&other.1));
            let linked = odata::add_link(&root, &permit, &association, &one, &other).await;
            (document, linked)
        });
        Ok(())
    }

    /// Waits until at most so many links are being made.
    async fn wait(&self, work: &mut LinkWork, max: usize) -> Result<()> {
        while work.running.len() > max {
            let Some(done) = work.running.join_next().await else {
                return Ok(());
            };
            let (document, done) = done.map_err(Error::internal)?;
            match done {
                // The document of each of the two entities has it.
                Err(error) if error.code() == Code::LinkExists => {}
                Err(error) => self.refuse("link", &document, in_entry(work.entry, error))?,
                Ok(()) => {}
            }
        }
        Ok(())
    }
}
