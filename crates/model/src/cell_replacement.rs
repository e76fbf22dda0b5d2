//! The replacement of a cell by another one with the same name and owner: so an import takes effect all at once.
//!
//! The new cell is filled while nobody can see it. Its space is garbage until it is in the catalogue, so that a crash leaves
//! nothing. One batch in the space of the unit puts it into the catalogue in place of the old one, which is garbage from
//! then on. What is not replaced (event log, signing key, snapshots) is copied before.

use std::sync::Arc;

use personium_store::{Batch, Expect, KeyRange, StoreError};
use personium_types::{CellId, Code, Error, Result};

use crate::cell::IMPORT_FAILED;
use crate::cell_deletion::CellDeletion;
use crate::commit::Invalidation;
use crate::entity::StoredEntity;
use crate::file::{self, FileHeaders, Upload};
use crate::keys::{self, ControlSet, SetKey};
use crate::known_quotas::LimitedCell;
use crate::listing::Members;
use crate::node::{FileBody, NodeKind};
use crate::records::{self, Records, Versioned, store_error};
use crate::transfer::{self, RunningTransfer};
use crate::{Cell, CellContext, PostCommit, Unit, garbage_collection, quota, timer_index, usage};

/// The number of times that the replacement is tried while others change the catalogue.
const MAX_ATTEMPTS: usize = 20;
/// The number of records that are copied at once.
const COPIED_RECORDS: usize = 200;

/// A cell that is being filled, and will replace another one.
pub struct CellReplacement {
    unit: Arc<Unit>,
    old: CellId,
    new: Cell,
    limited: LimitedCell,
    /// The assertion that the space of the new cell was not given up, and the end of its being garbage.
    creation: Batch,
}

impl CellReplacement {
    /// Creates the space of a cell that will replace another one.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn begin(unit: &Arc<Unit>, old: &CellContext) -> Result<Self> {
        let id = CellId::at(unit.now_ms(), unit.random());
        let mut creation = Batch::new();
        garbage_collection::create_space(unit, &id, &mut creation).await?;
        let replaced = match unit.is_unlimited() {
            true => 0,
            false => unit.usage_of(old.cell()).await?.total(),
        };
        Ok(Self {
            unit: Arc::clone(unit),
            old: old.cell().id,
            limited: LimitedCell {
                space: id,
                replaced: Some((old.cell().id, replaced)),
                owner: old.cell().owner.clone(),
            },
            new: Cell {
                id,
                ..old.cell().clone()
            },
            creation,
        })
    }

    /// The entry of the new cell.
    #[must_use]
    pub fn cell(&self) -> &Cell {
        &self.new
    }

    /// The records of the new cell, which may grow as far as the quotas of the old one permit.
    #[must_use]
    pub fn records(&self) -> Records {
        let limit = self.unit.cell_limit(self.limited.clone());
        let records = self.unit.cell_records(&self.new.id);
        records.with_limit(Some(Arc::new(limit)))
    }

    /// A context of the new cell as it is now.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn context(&self) -> Result<Arc<CellContext>> {
        self.unit.detached_context(&self.new, self.records()).await
    }

    /// Removes what was stored of the new cell, in the background.
    pub async fn abandon(self) {
        if let Err(error) = garbage_collection::give_up_space(&self.unit, &self.new.id).await {
            // Another server node, or the next start, removes it.
            tracing::warn!(cell.id = %self.new.id, %error, "failed to remove an unfinished cell");
        }
    }

    /// Copies the snapshots of the old cell. They may not be changed afterwards.
    ///
    /// # Errors
    /// A failure of the store; [`Code::DavContent`] if a body is damaged.
    pub async fn copy_snapshots(&self) -> Result<()> {
        let old = self.unit.cell_records(&self.old);
        let mut members = Members::of_collection(old.clone(), &keys::SNAPSHOT_FOLDER);
        while !members.is_finished() {
            for mut member in members.next_page().await? {
                let (NodeKind::File, Some(body)) = (member.node.kind, &member.node.file) else {
                    continue;
                };
                let mut batch = Batch::new();
                member.node.file = Some(self.copy_body(&old, body, &mut batch).await?);
                let key = keys::node(&keys::SNAPSHOT_FOLDER, &member.name);
                records::put(&mut batch, key, &member.node)?;
                batch.add(keys::child_count(&keys::SNAPSHOT_FOLDER), 1);
                transfer::commit(&self.records(), batch).await?;
            }
        }
        Ok(())
    }

    async fn copy_body(
        &self,
        old: &Records,
        body: &FileBody,
        batch: &mut Batch,
    ) -> Result<FileBody> {
        let mut upload = Upload::into_cell(&self.unit, self.new.id);
        let opened = file::open_body(&self.unit, old, body).await?;
        let mut content = opened.ok_or(Code::DavContent)?;
        let mut at = 0;
        while let Some(chunk) = content.chunk_at(at).await? {
            at += chunk.len() as u64;
            upload.write(chunk).await?;
        }
        let headers = FileHeaders {
            media_type: body.media_type.clone(),
            content_encoding: body.content_encoding.clone(),
        };
        Ok(upload.finish(headers).await?.keep(batch))
    }

    /// Replaces the old cell by the new one, which keeps the event log and the signing key.
    ///
    /// # Errors
    /// [`Code::NoSuchCell`] if the old cell was removed; [`Code::Conflict`] if this process was found dead, or others change
    /// the catalogue all the time; a failure of the store. The old cell is as it was then.
    pub async fn complete(&self, transfer: &RunningTransfer) -> Result<()> {
        let mut lines = self.copy_range(keys::all_log_lines()).await?;
        for _ in 0..MAX_ATTEMPTS {
            // Nothing is added to the old cell from here on.
            let sealed = CellDeletion::begin(self.unit.store(), self.old, &[]).await;
            let deletion = match sealed {
                Err(StoreError::Conflict) => {
                    self.find_entry().await?;
                    continue;
                }
                sealed => sealed.map_err(store_error)?,
            };
            let mut batch = Batch::new();
            batch.assert(keys::server_node(transfer.node()), Expect::Present);
            deletion.add_to(&mut batch);
            let post_commit = match self.build(&mut batch, lines.clone()).await {
                Ok((post_commit, rest)) => {
                    lines = rest;
                    post_commit
                }
                Err(error) => {
                    deletion.give_up(self.unit.store()).await;
                    return Err(error);
                }
            };
            match self
                .unit
                .commit(&self.unit.records(), batch, post_commit)
                .await
            {
                Ok(_) => {
                    self.unit.known_quotas().forget();
                    return Ok(());
                }
                Err(error) => {
                    deletion.give_up(self.unit.store()).await;
                    let lost = !transfer.is_own().await?;
                    match error {
                        StoreError::Conflict if !lost => {}
                        other => return Err(store_error(other)),
                    }
                }
            }
        }
        Err(Code::Conflict.into())
    }

    /// Copies what may have been added, and adds the replacement in the catalogue to a batch. `lines` are those of the log
    /// that were not copied yet; returns those that may be added after this.
    async fn build(&self, batch: &mut Batch, lines: KeyRange) -> Result<(PostCommit, KeyRange)> {
        let rest = self.copy_range(lines).await?;
        self.copy_range(keys::log_sizes()).await?;
        let old = self.unit.cell_records(&self.old);
        let mut copied = Batch::new();
        for key in [keys::log_state(), keys::signing_key()] {
            if let Some(value) = old.find_bytes(&key).await? {
                copied.put(key, value);
            }
        }
        transfer::commit(&self.records(), copied).await?;
        timer_index::announce_all(&self.unit, &self.records(), &self.new.id).await?;
        let found = self.find_entry().await?;
        let name = found.value.text("Name").ok_or(Code::OdataInconsistent)?;
        let set = SetKey::control(ControlSet::Cell);
        let key = keys::entity(&set, &self.old.to_string());
        batch.assert(key.clone(), Expect::Version(found.version));
        batch.delete(key);
        usage::add_entity(batch, found.bytes, 0);
        let new_id = self.new.id.to_string();
        let mut entry = found.value;
        entry.version += 1;
        entry.updated = self.unit.now_ms();
        entry.hidden.remove(IMPORT_FAILED);
        records::put_entity_checked(batch, keys::entity(&set, &new_id), None, &entry)?;
        batch.put(keys::unique(&set, 0, &[Some(&name)]), new_id.into_bytes());
        garbage_collection::add_removed_cell(&self.unit, batch, &self.old);
        quota::follow_cell(&self.unit, batch, &self.old, &self.new.id).await?;
        batch.append(self.creation.clone());
        let old_cell = Cell {
            id: self.old,
            name: name.clone(),
            ..self.new.clone()
        };
        let post_commit = PostCommit::invalidating(&old_cell, Invalidation::Cell)
            .invalidate_cell_name(name)
            .collect_removed_cell(self.old);
        Ok((post_commit, rest))
    }

    async fn find_entry(&self) -> Result<Versioned<StoredEntity>> {
        let set = SetKey::control(ControlSet::Cell);
        let key = keys::entity(&set, &self.old.to_string());
        let found = self.unit.records().find::<StoredEntity>(&key).await?;
        found.ok_or_else(|| Error::new(Code::NoSuchCell))
    }

    /// Copies the records of a range. Returns the rest of the range, after the last record.
    async fn copy_range(&self, range: KeyRange) -> Result<KeyRange> {
        let (old, new) = (self.unit.cell_records(&self.old), self.records());
        let mut rest = range;
        loop {
            let found = old.list_records(&rest, COPIED_RECORDS).await?;
            let Some((last, _)) = found.last() else {
                return Ok(rest);
            };
            rest = rest.after(last);
            let mut batch = Batch::new();
            for (key, record) in found {
                batch.put(key, record.value);
            }
            transfer::commit(&new, batch).await?;
        }
    }
}
