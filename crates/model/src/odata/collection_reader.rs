//! Reads all of an OData collection: its schema, its entities and the links between them.

use std::collections::HashMap;

use personium_odata::edm::{Association, EntityType, ID, Schema};
use personium_odata::value::Properties;
use personium_store::KeyRange;
use personium_types::{NodeId, Result};

use super::user_schema::{self, UserSchema};
use crate::entity::EntityPages;
use crate::keys::{self, SetKey};
use crate::records::Records;

/// The largest number of links that are read at once.
const PAGE_LINKS: usize = 1_000;

/// An OData collection with one version of its schema, whose entities are read page by page. Entities and links that are added
/// or removed meanwhile may or may not be among those that are read.
pub struct CollectionReader {
    records: Records,
    collection: NodeId,
    schema: UserSchema,
}

/// An entity with the properties that clients see, but for timestamps.
#[derive(Debug, Clone)]
pub struct ReadEntity {
    /// The value of `__id`.
    pub id: String,
    /// Its properties under the names of the schema.
    pub properties: Properties,
}

/// The entities of an entity type that were not read yet.
pub struct TypePages<'c> {
    reader: &'c CollectionReader,
    entity_type: &'c EntityType,
    pages: EntityPages,
}

/// The links from entities of an entity type that were not read yet. Each link is read from one of its ends only.
pub struct LinkPages<'c> {
    reader: &'c CollectionReader,
    set: SetKey,
    /// The names of the entity types at the other ends, by the set that stands for the association in keys; and whether it is
    /// the same entity type.
    targets: HashMap<Vec<u8>, (&'c str, bool)>,
    rest: Option<KeyRange>,
}

/// A link from an entity to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadLink<'c> {
    /// The id of the entity.
    pub source: String,
    /// The entity type of the other entity.
    pub target_type: &'c str,
    /// The id of the other entity.
    pub target: String,
}

impl CollectionReader {
    /// Reads the schema of a collection.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn open(records: &Records, collection: NodeId) -> Result<Self> {
        Ok(Self {
            schema: user_schema::read(records, &collection).await?,
            records: records.clone(),
            collection,
        })
    }

    /// The schema.
    #[must_use]
    pub fn edm(&self) -> &Schema {
        &self.schema.edm
    }

    /// Whether the schema was changed since it was read: then entities may be without values of newer properties.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn is_stale(&self) -> Result<bool> {
        let key = keys::schema_version(&self.collection);
        Ok(self.records.find_version(&key).await? != self.schema.version)
    }

    /// The id of the entity type of this name.
    #[must_use]
    pub fn type_id(&self, name: &str) -> Option<NodeId> {
        self.schema.type_id(name)
    }

    fn set(&self, type_name: &str) -> Option<SetKey> {
        let id = self.schema.type_id(type_name)?;
        Some(SetKey::data(&self.collection, &id))
    }

    /// The entities of an entity type.
    #[must_use]
    pub fn entities<'c>(&'c self, entity_type: &'c EntityType) -> Option<TypePages<'c>> {
        let set = self.set(&entity_type.name)?;
        Some(TypePages {
            reader: self,
            entity_type,
            pages: EntityPages::of(&self.records, &set),
        })
    }

    /// The ids of the entity types that entities of a type may be linked to one entity of, by the names of these links in
    /// stored entities.
    #[must_use]
    pub fn to_one_targets(&self, entity_type: &str) -> HashMap<String, NodeId> {
        let associations = self.edm().associations().iter();
        let targets = associations.filter_map(|association| {
            let other = match (&association.a, &association.b) {
                (own, other) if *own.entity_type == *entity_type => other,
                (other, own) if *own.entity_type == *entity_type => other,
                _ => return None,
            };
            let field = self.schema.association_id(&association.name)?.to_string();
            let target = self.schema.type_id(&other.entity_type)?;
            (!other.multiplicity.is_many()).then_some((field, target))
        });
        targets.collect()
    }

    /// As [`Self::links`], along associations of which both ends may have many links only.
    #[must_use]
    pub fn many_to_many_links<'c>(&'c self, entity_type: &EntityType) -> Option<LinkPages<'c>> {
        self.links_along(entity_type, |association| {
            association.a.multiplicity.is_many() && association.b.multiplicity.is_many()
        })
    }

    /// The links along the associations whose first end is an entity type.
    #[must_use]
    pub fn links<'c>(&'c self, entity_type: &EntityType) -> Option<LinkPages<'c>> {
        self.links_along(entity_type, |_| true)
    }

    fn links_along<'c>(
        &'c self,
        entity_type: &EntityType,
        is_wanted: impl Fn(&Association) -> bool,
    ) -> Option<LinkPages<'c>> {
        let set = self.set(&entity_type.name)?;
        let associations = self.edm().associations().iter();
        let own = associations.filter(|association| {
            association.a.entity_type == entity_type.name && is_wanted(association)
        });
        let targets: HashMap<_, _> = own
            .filter_map(|association| {
                let tag = self.schema.association_id(&association.name)?;
                let tag = SetKey::association(&tag).as_bytes().to_vec();
                let target = &*association.b.entity_type;
                Some((
                    tag,
                    (target, *association.b.entity_type == *entity_type.name),
                ))
            })
            .collect();
        let rest = (!targets.is_empty()).then(|| keys::links_of_set(&set));
        Some(LinkPages {
            reader: self,
            set,
            targets,
            rest,
        })
    }
}

impl TypePages<'_> {
    /// The next entities; none when all were read.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn next_page(&mut self) -> Result<Vec<ReadEntity>> {
        let page = self.pages.next_page().await?;
        let entities = page.into_iter().map(|(id, stored)| {
            let mut properties = stored
                .doc
                .into_wire_names(self.reader.edm(), self.entity_type);
            properties.set(ID, id.as_str());
            ReadEntity { id, properties }
        });
        Ok(entities.collect())
    }
}

impl<'c> LinkPages<'c> {
    /// The next links; `None` when all were read.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn next_page(&mut self) -> Result<Option<Vec<ReadLink<'c>>>> {
        let Some(range) = self.rest.take() else {
            return Ok(None);
        };
        let limit = PAGE_LINKS;
        let found = self.reader.records.list_records(&range, limit).await?;
        if found.len() >= limit {
            self.rest = found.last().map(|(key, _)| range.after(key));
        }
        let links = found.iter().filter_map(|(key, _)| {
            let (source, tag, target) = keys::parts_of_link(key, &self.set)?;
            let (target_type, is_same_type) = *self.targets.get(&tag)?;
            // Links between entities of one type are stored in both directions in the same set.
            let is_wanted = !is_same_type || source <= target;
            is_wanted.then_some(ReadLink {
                source,
                target_type,
                target,
            })
        });
        Ok(Some(links.collect()))
    }
}
