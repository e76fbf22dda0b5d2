//! Entities as they are stored, control objects and user data alike.

use std::collections::BTreeMap;

use personium_odata::value::Properties;
use personium_store::{Direction, Key, KeyRange, Limit};
use personium_types::{ETag, Result};
use serde::{Deserialize, Serialize};

use crate::keys::{self, SetKey};
use crate::records::{Records, Versioned};

/// The memory of a link or hidden value besides its texts.
const MEMBER_BYTES: usize = 64;

/// One entity.
///
/// For control sets the document maps property names to JSON values, for user data storage aliases, so that a
/// renamed property keeps its data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredEntity {
    /// Counts the rewrites of the entity, from 1; the first part of its ETag.
    #[serde(rename = "v")]
    pub version: u64,
    /// When it was created, milliseconds since 1970.
    #[serde(rename = "p")]
    pub published: i64,
    /// When it was last changed, milliseconds since 1970; the second part of its ETag.
    #[serde(rename = "u")]
    pub updated: i64,
    /// To-one links of this entity: association to the id of the other entity. For control sets the association
    /// is the name of the other set (`Box`, `Relation`, `EntityType` ...).
    #[serde(rename = "l", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// Values that clients never see: hashed credentials, owners.
    #[serde(rename = "h", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hidden: BTreeMap<String, String>,
    /// The properties that are not null.
    #[serde(rename = "d")]
    pub doc: Properties,
}

impl StoredEntity {
    /// A new entity without links and hidden values.
    #[must_use]
    pub fn new(doc: Properties, now_ms: i64) -> Self {
        Self {
            version: 1,
            published: now_ms,
            updated: now_ms,
            links: BTreeMap::new(),
            hidden: BTreeMap::new(),
            doc,
        }
    }

    /// A text property of a control object; `None` if absent, null or no text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.doc.text(name).map(str::to_owned)
    }

    /// The approximate memory of the entity in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let members = self.links.iter().chain(&self.hidden);
        let members = members.map(|(name, value)| MEMBER_BYTES + name.len() + value.len());
        size_of::<Self>() + self.doc.memory_bytes() + members.sum::<usize>()
    }

    /// The entity tag.
    #[must_use]
    pub fn etag(&self) -> ETag {
        ETag {
            version: self.version,
            updated_ms: self.updated,
        }
    }
}

/// The entity with this id.
///
/// # Errors
/// A failure of the store.
pub async fn find(
    records: &Records,
    set: &SetKey,
    id: &str,
) -> Result<Option<Versioned<StoredEntity>>> {
    records.find(&keys::entity(set, id)).await
}

/// The id of the entity with a unique value.
///
/// # Errors
/// A failure of the store.
pub async fn find_id(records: &Records, unique: &Key) -> Result<Option<String>> {
    let bytes = records.find_bytes(unique).await?;
    Ok(bytes.and_then(|b| String::from_utf8(b.to_vec()).ok()))
}

/// The entity with a unique value, with its id.
///
/// # Errors
/// A failure of the store.
pub async fn find_unique(
    records: &Records,
    set: &SetKey,
    constraint: u8,
    parts: &[Option<&str>],
) -> Result<Option<(String, Versioned<StoredEntity>)>> {
    let Some(id) = find_id(records, &keys::unique(set, constraint, parts)).await? else {
        return Ok(None);
    };
    Ok(find(records, set, &id).await?.map(|entity| (id, entity)))
}

/// Up to `limit` entities of a set in the order of their ids.
///
/// # Errors
/// A failure of the store.
pub async fn list(
    records: &Records,
    set: &SetKey,
    limit: usize,
) -> Result<Vec<(String, Versioned<StoredEntity>)>> {
    let range = keys::entities(set);
    let prefix = range.start.as_bytes().len();
    let found = records
        .list::<StoredEntity>(&range, Direction::Up, limit)
        .await?;
    Ok(found
        .into_iter()
        .filter_map(|(key, e)| Some((keys::last_text(&key, prefix)?, e)))
        .collect())
}

/// The ids of up to `limit` entities of `other` that an entity is linked to.
///
/// # Errors
/// A failure of the store.
pub async fn linked(
    records: &Records,
    set: &SetKey,
    id: &str,
    other: &SetKey,
    limit: usize,
) -> Result<Vec<String>> {
    let range = keys::links(set, id, other);
    let prefix = range.start.as_bytes().len();
    let found = records.list_keys(&range, Direction::Up, limit).await?;
    Ok(found
        .iter()
        .filter_map(|key| keys::last_text(key, prefix))
        .collect())
}

/// The limits of one page of [`EntityPages`]: 256 entities, or 1 MiB.
const PAGE_LIMIT: Limit = Limit::records(256).or_bytes(1 << 20);

/// Reads the entities of a set in the order of their ids. Those that are added or removed meanwhile may or may not be among
/// them.
pub struct EntityPages {
    records: Records,
    prefix: usize,
    rest: Option<KeyRange>,
}

impl EntityPages {
    /// The entities of a set.
    #[must_use]
    pub fn of(records: &Records, set: &SetKey) -> Self {
        let range = keys::entities(set);
        Self {
            records: records.clone(),
            prefix: range.start.as_bytes().len(),
            rest: Some(range),
        }
    }

    /// The next entities with their ids; none when all were read.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn next_page(&mut self) -> Result<Vec<(String, StoredEntity)>> {
        let Some(range) = self.rest.take() else {
            return Ok(Vec::new());
        };
        let records = &self.records;
        let (found, is_cut) = records
            .list_within::<StoredEntity>(&range, Direction::Up, PAGE_LIMIT)
            .await?;
        if is_cut {
            self.rest = found.last().map(|(key, _)| range.after(key));
        }
        let entities = found
            .into_iter()
            .filter_map(|(key, found)| Some((keys::last_text(&key, self.prefix)?, found.value)));
        Ok(entities.collect())
    }
}
