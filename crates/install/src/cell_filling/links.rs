//! Imports the links between entities.

use personium_model::keys;
use personium_model::odata::{self, NewLink, ServiceRoot};
use personium_odata::key::EntityKey;
use personium_types::{Code, Result};

use super::CellFilling;
use super::objects::{LINKS, in_entry};
use super::user_data::USER_DATA;
use crate::installer::LINKS_PER_COMMIT;
use crate::snapshot_package::invalid;

/// An entity by its entity type in the snapshot and its `__id`.
type EntityPlace = (String, String);

/// Links below the root of one collection that are made by one commit.
struct LinkGroup {
    collection: String,
    root: Option<ServiceRoot>,
    links: Vec<NewLink>,
    /// The document of each link.
    documents: Vec<String>,
    entry: &'static str,
}

impl LinkGroup {
    fn new(entry: &'static str) -> Self {
        Self {
            collection: String::new(),
            root: None,
            links: Vec::new(),
            documents: Vec::new(),
            entry,
        }
    }
}

impl CellFilling<'_> {
    /// Makes the links between entities. Those to entities that the snapshot does not have are left out.
    pub(super) async fn import_entity_links(&self) -> Result<()> {
        let mut group = LinkGroup::new(USER_DATA);
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
                        self.link_entities(&mut group, &collection, (&document.id, ends))
                            .await
                    }
                    Err(error) => Err(error),
                };
                if let Err(error) = linked {
                    self.refuse("link", &document.id, error)?;
                }
            }
        }
        self.make_links(&mut group).await?;
        let mut group = LinkGroup::new(LINKS);
        let mut lines = self.source.lines(LINKS).await?;
        while let Some(document) = lines.next().await? {
            let source = document.source;
            if let (Some(collection), Some(one), Some(other)) =
                (source.collection, source.first, source.second)
            {
                let ends = (&*document.id, (&*one, &*other));
                if let Err(error) = self.link_entities(&mut group, &collection, ends).await {
                    self.refuse("link", &document.id, error)?;
                }
            }
        }
        self.make_links(&mut group).await
    }

    async fn link_entities(
        &self,
        group: &mut LinkGroup,
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
        if group.root.is_none() || group.collection != collection {
            self.make_links(group).await?;
            group.root = Some(self.data_root(group.entry, collection).await?);
            collection.clone_into(&mut group.collection);
        }
        let Some(root) = &group.root else {
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
        let association = association.map_err(|error| in_entry(group.entry, error))?;
        group.links.push(NewLink {
            permit: self.authority.permit_link(root, &association),
            association,
            source: EntityKey::single(&one.1),
            target: EntityKey::single(&other.1),
        });
        group.documents.push(document.to_owned());
        match group.links.len() < LINKS_PER_COMMIT {
            true => Ok(()),
            false => self.make_links(group).await,
        }
    }

    /// Makes the links of a group, which has none afterwards.
    async fn make_links(&self, group: &mut LinkGroup) -> Result<()> {
        let links = std::mem::take(&mut group.links);
        let documents = std::mem::take(&mut group.documents);
        let Some(root) = group.root.as_ref().filter(|_| !links.is_empty()) else {
            return Ok(());
        };
        let added = odata::add_links(root, &links).await?;
        for (document, added) in documents.iter().zip(added) {
            match added {
                // The document of each of the two entities has it.
                Err(error) if error.code() == Code::LinkExists => {}
                Err(error) => self.refuse("link", document, in_entry(group.entry, error))?,
                Ok(()) => {}
            }
        }
        Ok(())
    }
}
