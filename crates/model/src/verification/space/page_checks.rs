//! The records that those of a page expect, read at once.

use std::collections::{BTreeSet, HashMap};

use personium_store::{CommitSeq, Key, Result};

use super::SpaceVerification;
use super::repairs::without_record;
use crate::entity::StoredEntity;
use crate::keys::{self, SetKey};
use crate::odata::derived_records::DerivedRecord;
use crate::records::decode;
use crate::verification::walk::Slot;

/// A record that a record of the page expects.
#[derive(Debug, Clone)]
pub(super) struct WantedRecord {
    /// The record that expects it.
    pub(super) source: Key,
    pub(super) version: CommitSeq,
    pub(super) key: Key,
    /// The value, unless any will do.
    pub(super) value: Option<String>,
    /// The problem if it is not there.
    pub(super) problem: &'static str,
    /// The entity that it follows from, if it does.
    pub(super) entity: Option<(SetKey, String)>,
}

/// An index entry or a unique key, and the entity that it must follow from.
#[derive(Debug, Clone)]
pub(super) struct FollowingRecord {
    pub(super) key: Key,
    pub(super) version: CommitSeq,
    pub(super) set: SetKey,
    pub(super) id: String,
}

/// The expectations of a page.
#[derive(Debug, Default)]
pub(super) struct PageChecks {
    pub(super) wanted: Vec<WantedRecord>,
    pub(super) following: Vec<FollowingRecord>,
}

impl SpaceVerification<'_> {
    /// Reads what is expected. What is not as expected is looked at again, and reported.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn finish_page(&mut self, checks: PageChecks) -> Result<()> {
        let of_entities = checks.following.iter().map(|f| keys::entity(&f.set, &f.id));
        let wanted = checks.wanted.iter().map(|wanted| wanted.key.clone());
        let unique: BTreeSet<Key> = of_entities.chain(wanted).collect();
        let unique: Vec<Key> = unique.into_iter().collect();
        let slots = self.names.reader.get(&unique).await?;
        let found: HashMap<Key, Slot> = unique.into_iter().zip(slots).collect();
        for wanted in &checks.wanted {
            if !is_met(found.get(&wanted.key), wanted) {
                self.confirm_wanted(wanted).await?;
            }
        }
        let mut derived: HashMap<Key, Option<Vec<DerivedRecord>>> = HashMap::new();
        for following in &checks.following {
            let key = keys::entity(&following.set, &following.id);
            if !derived.contains_key(&key) {
                let slot = found.get(&key).unwrap_or(&Slot::Absent);
                let (set, id) = (&following.set, following.id.as_str());
                let records = self.derived_of(set, id, slot).await;
                derived.insert(key.clone(), records);
            }
            let follows = match derived.get(&key) {
                Some(Some(records)) => records.iter().any(|record| record.key == following.key),
                _ => true,
            };
            if !follows {
                self.confirm_following(following).await?;
            }
        }
        Ok(())
    }

    /// The records that follow from an entity: none if it is absent, `None` if that is not known.
    async fn derived_of(
        &mut self,
        set: &SetKey,
        id: &str,
        slot: &Slot,
    ) -> Option<Vec<DerivedRecord>> {
        match slot {
            Slot::Absent => Some(Vec::new()),
            Slot::Damaged => None,
            Slot::Present(record) => {
                let stored = decode::<StoredEntity>(&record.value).ok()?;
                self.schemas.derive(set, id, stored).await.ok().flatten()
            }
        }
    }

    /// Reports a record that is not as expected, if it is not so in one snapshot with the record that expects it.
    async fn confirm_wanted(&mut self, wanted: &WantedRecord) -> Result<()> {
        let both = [wanted.source.clone(), wanted.key.clone()];
        let slots = self.names.reader.get(&both).await?;
        let [source, found] = &slots[..] else {
            return Ok(());
        };
        let Slot::Present(source) = source else {
            return Ok(());
        };
        if is_met(Some(found), wanted) {
            return Ok(());
        }
        match &wanted.entity {
            None if source.version != wanted.version => return Ok(()),
            None => {}
            // The schema may have changed.
            Some((set, id)) => {
                self.schemas.forget();
                let slot = Slot::Present(source.clone());
                let now = self.derived_of(set, id, &slot).await.unwrap_or_default();
                if !now.iter().any(|record| record.key == wanted.key) {
                    return Ok(());
                }
            }
        }
        let name = self.names.of_key(&wanted.source, &mut self.schemas).await;
        let part = self.names.of_key(&wanted.key, &mut self.schemas).await;
        let problem = format!("{} ({part})", wanted.problem);
        let record = (&wanted.key, wanted.value.as_deref());
        let repair = self.missing_record((&wanted.source, source), record, found);
        let repair = repair.await?;
        self.repair_or_report(name, problem, repair).await
    }

    /// Reports a record that follows from no entity, if it does so in one snapshot with the entity.
    async fn confirm_following(&mut self, following: &FollowingRecord) -> Result<()> {
        let entity = keys::entity(&following.set, &following.id);
        let both = [following.key.clone(), entity.clone()];
        let slots = self.names.reader.get(&both).await?;
        let [record, found] = &slots[..] else {
            return Ok(());
        };
        let Slot::Present(record) = record else {
            return Ok(());
        };
        if record.version != following.version {
            return Ok(());
        }
        self.schemas.forget();
        let (set, id) = (&following.set, following.id.as_str());
        let Some(now) = self.derived_of(set, id, found).await else {
            return Ok(());
        };
        if now.iter().any(|record| record.key == following.key) {
            return Ok(());
        }
        let problem = match found {
            Slot::Absent => "its entity is missing",
            _ => "it does not follow from its entity",
        };
        let repair = without_record((&following.key, record), (&entity, found));
        let name = self.names.of_key(&following.key, &mut self.schemas).await;
        let entity = self.names.of_key(&entity, &mut self.schemas).await;
        let problem = format!("{problem} ({entity})");
        self.repair_or_report(name, problem, repair).await
    }
}

/// Whether the state of a record is as expected. A damaged one was reported when it was read.
fn is_met(slot: Option<&Slot>, wanted: &WantedRecord) -> bool {
    match (slot, &wanted.value) {
        (None | Some(Slot::Absent), _) => false,
        (Some(Slot::Damaged), _) | (Some(Slot::Present(_)), None) => true,
        (Some(Slot::Present(record)), Some(value)) => record.value == value.as_bytes(),
    }
}
