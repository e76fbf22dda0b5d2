//! The replacement of a cell by another one with the same name and owner: so an import takes effect all at once.
//!
//! The new cell is filled while nobody can see it ([`NewCell`]). One batch in the space of the unit puts it into the catalogue in
//! place of the old one, which is garbage from then on. What is not replaced (event log, signing key, snapshots) is copied before.

use std::sync::Arc;

use personium_store::{Batch, Expect, KeyRange, StoreError};
use personium_types::{CellId, Code, Error, Result};

use crate::cell::IMPORT_FAILED;
use crate::cell_deletion::CellDeletion;
use crate::commit::Invalidation;
use crate::entity::StoredEntity;
use crate::event::feed;
use crate::file::{self, FileHeaders, Upload};
use crate::keys::{self, ControlSet, SetKey};
use crate::listing::Members;
use crate::new_cell::NewCell;
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
    new: NewCell,
}

impl CellReplacement {
    /// Creates the space of a cell that will replace another one.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn begin(unit: &Arc<Unit>, old: &CellContext) -> Result<Self> {
        let replaced = match unit.is_unlimited() {
            true => 0,
            false => unit.usage_of(old.cell()).await?.total(),
        };
        let replaced = Some((old.cell().id, replaced));
        Ok(Self {
            unit: Arc::clone(unit),
            old: old.cell().id,
            new: NewCell::begin(unit, old.cell().clone(), replaced).await?,
        })
    }

    /// The new cell, which may grow as far as the quotas of the old one permit.
    #[must_use]
    pub fn new_cell(&self) -> &NewCell {
        &self.new
    }

    /// Removes what was stored of the new cell, in the background.
    pub async fn abandon(self) {
        self.new.abandon().await;
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
                member.node.count_put(None, &mut batch);
                records::put(&mut batch, key, &member.node)?;
                batch.add(keys::child_count(&keys::SNAPSHOT_FOLDER), 1);
                transfer::commit(&self.new.records(), batch).await?;
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
        let mut upload = Upload::into_cell(&self.unit, self.new.cell().id);
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
        transfer::commit(&self.new.records(), copied).await?;
        feed::begin_replacement(&self.unit, &self.old, &self.new.records()).await?;
        timer_index::announce_all(&self.unit, &self.new.records(), &self.new.cell().id).await?;
        let found = self.find_entry().await?;
        let name = found.value.text("Name").ok_or(Code::OdataInconsistent)?;
        let set = SetKey::control(ControlSet::Cell);
        let key = keys::entity(&set, &self.old.to_string());
        batch.assert(key.clone(), Expect::Version(found.version));
        batch.delete(key);
        usage::add_entity(batch, found.bytes, 0);
        let new_id = self.new.cell().id.to_string();
        let mut entry = found.value;
        entry.version += 1;
        entry.updated = self.unit.now_ms();
        entry.hidden.remove(IMPORT_FAILED);
        records::put_entity_checked(batch, keys::entity(&set, &new_id), None, &entry)?;
        batch.put(keys::unique(&set, 0, &[Some(&name)]), new_id.into_bytes());
        garbage_collection::add_removed_cell(&self.unit, batch, &self.old);
        quota::follow_cell(&self.unit, batch, &self.old, &self.new.cell().id).await?;
        self.new.keep(batch);
        let old_cell = Cell {
            id: self.old,
            name: name.clone(),
            ..self.new.cell().clone()
        };
        let post_commit = PostCommit::invalidating(&old_cell, Invalidation::Cell)
            .invalidate_cell_name(name)
            .end_feed(self.old)
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
        let (old, new) = (self.unit.cell_records(&self.old), self.new.records());
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
