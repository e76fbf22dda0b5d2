//! Adds changes of links to a batch.

use personium_store::{Batch, Expect};
use personium_types::{Code, Error, Result};

use super::association::{Association, Cardinality};
use super::link_cursor::link_keys;
use super::load::{self, Entity};
use super::pending_entity::PendingEntity;
use super::root::ServiceRoot;
use super::schema_rules;
use crate::keys::{self, ControlSet};

/// The change of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkChange {
    Add,
    Remove,
}

/// Adds changes of links along an association to a batch.
pub(super) struct LinkWriter<'a> {
    pub root: &'a ServiceRoot,
    pub association: &'a Association,
    pub batch: &'a mut Batch,
}

impl LinkWriter<'_> {
    /// Links two entities.
    ///
    /// # Errors
    /// [`Code::LinkExists`] if they are linked, or if one may not have another link; [`Code::LinkLimit`] if one has as
    /// many links as it may have; the codes of [`schema_rules::check_association`] for association ends.
    pub async fn add(
        &mut self,
        source: &mut PendingEntity,
        target: &mut PendingEntity,
    ) -> Result<()> {
        let association = self.association;
        let ends = Some(ControlSet::AssociationEnd);
        let are_ends =
            association.source.set.control == ends && association.target.set.control == ends;
        if are_ends {
            schema_rules::check_association(self.root, &source.entity, &target.entity).await?;
        }
        set_single_links(association, source, target)?;
        if are_ends {
            schema_rules::tag_ends(self.root, &mut source.entity, &mut target.entity);
        }
        let is_many_to_many = association.source.cardinality == Cardinality::Many
            && association.target.cardinality == Cardinality::Many;
        if is_many_to_many {
            self.check_many_to_many(&source.entity, &target.entity)
                .await?;
        }
        let (forward, backward) = link_keys(association, &source.entity.id, &target.entity.id);
        if is_many_to_many {
            self.batch.assert(forward.clone(), Expect::Absent);
        }
        self.batch.put(forward, Vec::new());
        self.batch.put(backward, Vec::new());
        Ok(())
    }

    /// Checks that two entities are not linked, and that each may have one more link.
    async fn check_many_to_many(&self, source: &Entity, target: &Entity) -> Result<()> {
        let (association, records) = (self.association, &self.root.records);
        let (forward, _) = link_keys(association, &source.id, &target.id);
        if records.find_bytes(&forward).await?.is_some() {
            return Err(Code::LinkExists.into());
        }
        let max = self.root.unit.settings().odata.links_max;
        let (from, to) = (&association.source, &association.target);
        let of_source = keys::links(&from.set.key, &source.id, &to.tag);
        let of_target = keys::links(&to.set.key, &target.id, &from.tag);
        let others = [&to.set.key, &from.set.key].map(keys::entity_count);
        let others = records.counters(&others).await?;
        for (range, others) in [of_source, of_target].into_iter().zip(others) {
            // It has at most one link to each of them, and to one that is being created. To count links takes the longer the more there are.
            if (1..max).contains(&u64::try_from(others).unwrap_or(0)) {
                continue;
            }
            if records.count(&range).await? >= max {
                return Err(Code::LinkLimit.into());
            }
        }
        Ok(())
    }

    /// Removes the link between two entities.
    ///
    /// # Errors
    /// [`Code::LinkSourceMissing`] if they are not linked.
    pub async fn remove(
        &mut self,
        source: &mut PendingEntity,
        target: &mut PendingEntity,
    ) -> Result<()> {
        let association = self.association;
        let (forward, backward) = link_keys(association, &source.entity.id, &target.entity.id);
        if self.root.records.find_bytes(&forward).await?.is_none() {
            return Err(Code::LinkSourceMissing.into());
        }
        if association.target.cardinality == Cardinality::One {
            source.set_link(&association.target.field, None);
        }
        if association.source.cardinality == Cardinality::One {
            target.set_link(&association.source.field, None);
        }
        self.batch.assert(forward.clone(), Expect::Present);
        self.batch.delete(forward);
        self.batch.delete(backward);
        Ok(())
    }

    /// Moves the unique key of an entity after a change of its link to a parent, if the target of the association is
    /// part of the key of the source.
    ///
    /// # Errors
    /// [`Code::LinkCollides`] or [`Code::UnlinkCollides`] if the new key is taken.
    pub async fn move_key(
        &mut self,
        entity: &Entity,
        parent: &Entity,
        change: LinkChange,
    ) -> Result<()> {
        let set = &self.association.source.set;
        if !self.association.target.is_parent || load::is_keyed_by_id(set) {
            return Ok(());
        }
        let name = entity.properties.text("Name").unwrap_or_default();
        let with_parent = load::unique(set, name, Some(&parent.id));
        let without_parent = load::unique(set, name, None);
        let (old, new) = match change {
            LinkChange::Add => (without_parent, with_parent),
            LinkChange::Remove => (with_parent, without_parent),
        };
        if self.root.records.find_bytes(&new).await?.is_some() {
            let parent_name = parent.properties.text("Name").unwrap_or_default();
            return Err(match change {
                LinkChange::Add => Error::new(Code::LinkCollides)
                    .with(format!("{}('{name}', '{parent_name}')", set.name())),
                LinkChange::Remove => {
                    Error::new(Code::UnlinkCollides).with(format!("{}('{name}')", set.name()))
                }
            });
        }
        self.batch.assert(new.clone(), Expect::Absent);
        self.batch.delete(old);
        self.batch.put(new, entity.id.clone().into_bytes());
        Ok(())
    }
}

/// Stores the id of the other entity in each entity that may be linked to one only.
fn set_single_links(
    association: &Association,
    source: &mut PendingEntity,
    target: &mut PendingEntity,
) -> Result<()> {
    let (from, to) = (&association.source, &association.target);
    if to.cardinality == Cardinality::One {
        if source.entity.stored.links.contains_key(&to.field) {
            return Err(Code::LinkExists.into());
        }
        source.set_link(&to.field, Some(&target.entity.id));
    }
    if from.cardinality == Cardinality::One {
        let is_same_link = from.field == to.field && source.entity.id == target.entity.id;
        if target.entity.stored.links.contains_key(&from.field) && !is_same_link {
            return Err(Code::LinkExists.into());
        }
        target.set_link(&from.field, Some(&source.entity.id));
    }
    Ok(())
}
