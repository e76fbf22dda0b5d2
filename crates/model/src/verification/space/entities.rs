//! Entities, and what follows from them: unique keys, index entries, links, numbers of entities.

use personium_store::{Key, KeyRange, Record, Result};

use super::SpaceVerification;
use super::page_checks::{FollowingRecord, PageChecks, WantedRecord};
use super::repairs::corrected_number;
use crate::entity::StoredEntity;
use crate::keys::{self, SetKey, SetParts};
use crate::odata::derived_records::{DerivedKind, id_of_index_entry};
use crate::records::{count_of, decode};
use crate::verification::walk::Slot;

/// The times that a number is compared with what it counts while that changes.
const COUNTS_MAX: u32 = 5;

impl SpaceVerification<'_> {
    /// Looks at an entity.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn look_at_entity(
        &mut self,
        key: &Key,
        record: &Record,
        checks: &mut PageChecks,
    ) -> Result<()> {
        let Some((set, _)) = SetKey::of_key(key) else {
            return self.undecodable(key).await;
        };
        let id = keys::last_text(key, 1 + set.as_bytes().len());
        let (Some(id), Ok(stored)) = (id, decode::<StoredEntity>(&record.value)) else {
            return self.undecodable(key).await;
        };
        let wanted = |key: Key, problem| WantedRecord {
            source: keys::entity(&set, &id),
            version: record.version,
            key,
            value: None,
            problem,
            entity: None,
        };
        if self.last_set.as_ref() != Some(&set) {
            let number = keys::entity_count(&set);
            checks.wanted.push(wanted(
                number,
                "the number of entities of its set is missing",
            ));
            self.last_set = Some(set.clone());
        }
        // What a schema says cannot be known if it is damaged, which is reported elsewhere.
        let derived = self.schemas.derive(&set, &id, stored).await.ok().flatten();
        for record in derived.unwrap_or_default() {
            let problem = match record.kind {
                DerivedKind::Unique => "its unique key is missing or of another entity",
                DerivedKind::Index => "its index entry is missing",
                DerivedKind::Link => "its link is missing",
            };
            checks.wanted.push(WantedRecord {
                value: record.value,
                entity: Some((set.clone(), id.clone())),
                ..wanted(record.key, problem)
            });
        }
        Ok(())
    }

    /// Looks at an index entry.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn look_at_index_entry(
        &mut self,
        key: &Key,
        record: &Record,
        checks: &mut PageChecks,
    ) -> Result<()> {
        let Some((set, id)) = id_of_index_entry(key) else {
            return self.undecodable(key).await;
        };
        checks.following.push(FollowingRecord {
            key: key.clone(),
            version: record.version,
            set,
            id,
        });
        Ok(())
    }

    /// Looks at a unique key.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn look_at_unique_key(
        &mut self,
        key: &Key,
        record: &Record,
        checks: &mut PageChecks,
    ) -> Result<()> {
        let id = String::from_utf8(record.value.to_vec());
        let (Some((set, _)), Ok(id)) = (SetKey::of_key(key), id) else {
            return self.undecodable(key).await;
        };
        checks.following.push(FollowingRecord {
            key: key.clone(),
            version: record.version,
            set,
            id,
        });
        Ok(())
    }

    /// Looks at a link: both entities and the link back must exist.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn look_at_link(
        &mut self,
        key: &Key,
        record: &Record,
        checks: &mut PageChecks,
    ) -> Result<()> {
        let parts = SetKey::of_key(key);
        let parts = parts.and_then(|(set, parts)| {
            let (id, tag, other_id) = keys::parts_of_link(key, &set)?;
            Some((set, parts, id, tag, other_id))
        });
        let Some((set, of_set, id, tag, other_id)) = parts else {
            return self.undecodable(key).await;
        };
        // Links along associations that were removed stay.
        let other = self.schemas.linked_set(&set, &tag).await.ok().flatten();
        let Some(other) = other else {
            return Ok(());
        };
        let back = match of_set {
            SetParts::Data(..) => SetKey::parse(&tag).map(|(tag, _)| tag),
            _ => Some(set.clone()),
        };
        let Some(back) = back else {
            return Ok(());
        };
        for (wanted, problem) in [
            (keys::entity(&set, &id), "its entity is missing"),
            (
                keys::entity(&other, &other_id),
                "the other entity is missing",
            ),
            (
                keys::link(&other, &other_id, &back, &id),
                "the link back is missing",
            ),
        ] {
            checks.wanted.push(WantedRecord {
                source: key.clone(),
                version: record.version,
                key: wanted,
                value: None,
                problem,
                entity: None,
            });
        }
        Ok(())
    }

    /// Looks at the number of entities of a set.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn look_at_entity_count(&mut self, key: &Key, record: &Record) -> Result<()> {
        match SetKey::of_key(key) {
            Some((set, _)) if record.value.len() == size_of::<i64>() => {
                self.check_number(key, &keys::entities(&set)).await
            }
            _ => self.undecodable(key).await,
        }
    }

    /// Compares a number with the records that it counts, which change together with it.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn check_number(&mut self, key: &Key, range: &KeyRange) -> Result<()> {
        for _ in 0..COUNTS_MAX {
            let before = self.names.reader.get_one(key).await?;
            let counted = self.names.reader.count(range).await?;
            let after = self.names.reader.get_one(key).await?;
            let Slot::Present(record) = &after else {
                return Ok(());
            };
            if before != after {
                continue;
            }
            let stored = count_of(&record.value);
            if u64::try_from(stored) != Ok(counted) {
                let name = self.names.of_key(key, &mut self.schemas).await;
                let problem = format!("it is {stored}, and there are {counted}");
                let repair = Some(corrected_number((key, record), counted));
                return self.repair_or_report(name, problem, repair).await;
            }
            return Ok(());
        }
        Ok(())
    }
}
