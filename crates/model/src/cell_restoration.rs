//! The restoration of one cell from the records and bodies of a back-up.
//!
//! The restored cell is a new one: its space has another id, since a removed space stays removed, and the living cell keeps its own. So
//! what depends on the id is rewritten: the main box and the node of the cell have the id of the cell, and an encrypted body is
//! bound to it. The new space is garbage until it is in the catalogue; then one batch in the space of the unit adds it, or
//! puts it in the place of the living cell.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use personium_store::{
    Batch, BlobReader, BlobStore, Direction, Expect, Key, KeyRange, Limit, Record, RecordStore,
    Space, StoreError,
};
use personium_types::name::CellName;
use personium_types::{BlobId, CellId, Code, Error, NodeId, Operation, Result};

use crate::cell_deletion::CellDeletion;
use crate::commit::Invalidation;
use crate::entity::StoredEntity;
use crate::file::encryption::{SealedReader, SealedWriter};
use crate::keys::{self, ControlSet, SetKey};
use crate::node::Node;
use crate::odata::message::waiting::{self, CopiedDeliveries, note_copied};
use crate::records::{self, store_error};
use crate::{
    Cell, Permit, PermitTarget, PostCommit, Unit, cell_usage, entity, garbage_collection, quota,
    timer_index, usage,
};

/// The size of a page and of a batch.
const PAGE: Limit = Limit::records(500).or_bytes(2 << 20);
/// The bytes of a body that are read at once.
const CHUNK_BYTES: usize = 256 << 10;
/// The number of times that the last step is tried while others change the catalogue.
const MAX_ATTEMPTS: usize = 20;

/// A cell that is being restored.
pub struct CellRestoration {
    unit: Arc<Unit>,
    old: CellId,
    new: CellId,
    /// The assertion that the new space was not given up, and the end of its being garbage.
    creation: Batch,
}

/// The place of a restored cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoredPlace {
    /// A name that no cell has.
    Beside(CellName),
    /// That of the living cell with this id, which is removed.
    InPlaceOf(CellId),
}

/// The content that was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoredCounts {
    /// The number of records.
    pub records: u64,
    /// The number of bodies outside of the records.
    pub bodies: u64,
    /// The sum of their lengths.
    pub body_bytes: u64,
}

/// The encrypted bodies of a cell: the salt and the length of the content.
type EncryptedBodies = HashMap<BlobId, (String, u64)>;

impl CellRestoration {
    /// Creates the space of the restored cell. `old` is the id that the cell has in the back-up.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn begin(unit: &Arc<Unit>, old: CellId) -> Result<Self> {
        let new = CellId::at(unit.now_ms(), unit.random());
        let mut creation = Batch::new();
        garbage_collection::create_space(unit, &new, &mut creation).await?;
        Ok(Self {
            unit: Arc::clone(unit),
            old,
            new,
            creation,
        })
    }

    /// The id of the restored cell.
    #[must_use]
    pub fn id(&self) -> &CellId {
        &self.new
    }

    /// Removes what was stored of the new cell, in the background.
    pub async fn abandon(self) {
        if let Err(error) = garbage_collection::give_up_space(&self.unit, &self.new).await {
            // Another server node, or the next start, removes it.
            tracing::warn!(cell.id = %self.new, %error, "failed to remove an unfinished cell");
        }
    }

    /// Copies the content of the cell. `note` is told how far it is, after each page. With `with_key`, the cell signs with the
    /// key that it had.
    ///
    /// # Errors
    /// [`Code::DavContent`] if a body is missing or damaged; a failure of either store.
    pub async fn copy(
        &self,
        (records, bodies): (&dyn RecordStore, &dyn BlobStore),
        with_key: bool,
        note: &(dyn Fn(RestoredCounts) + Sync),
    ) -> Result<RestoredCounts> {
        let encrypted = self.encrypted_bodies(records).await?;
        // The cell is counted at the end.
        let target = self.unit.cell_records(&self.new).without_counting();
        let mut counts = RestoredCounts::default();
        let mut has_garbage = false;
        let mut rest = KeyRange::all();
        let mut deliveries = CopiedDeliveries::new();
        loop {
            let page = self.next_page(records, &mut rest).await?;
            if page.is_empty() {
                break;
            }
            let mut batch = Batch::new();
            for (key, record) in page {
                note_copied(&mut deliveries, (&key, &record.value))?;
                if is_of_the_living(&key) || (!with_key && key == keys::signing_key()) {
                    continue;
                }
                has_garbage |= keys::garbage_records().contains(&key);
                if let Some(id) = keys::referenced_blob(&key) {
                    counts.bodies += 1;
                    counts.body_bytes += self.copy_body(bodies, &id, encrypted.get(&id)).await?;
                }
                let value = self.rewritten(&key, record.value, &encrypted).await?;
                batch.put(self.rewritten_key(key), value);
                counts.records += 1;
            }
            target.commit(batch).await.map_err(store_error)?;
            note(counts);
        }
        self.end_deliveries(&deliveries).await?;
        // What an earlier version has backed up was not counted.
        let counted = cell_usage::correct(self.unit.store(), &self.new, true).await;
        counted.map_err(store_error)?;
        if has_garbage {
            let marker = keys::garbage_marker(&self.new);
            self.unit.put_claim(&marker, b"").await?;
        }
        Ok(counts)
    }

    /// Makes the results of the deliveries final that waited when the back-up was made: the restored cell does not make them.
    async fn end_deliveries(&self, deliveries: &CopiedDeliveries) -> Result<()> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let cell = Cell {
            id: self.new,
            // It has none yet, and none is used.
            name: self.new.to_string(),
            owner: None,
            published: self.unit.now_ms(),
            import_failed: false,
        };
        let records = self.unit.cell_records(&self.new);
        let context = self.unit.detached_context(&cell, records).await?;
        waiting::end_copied(&self.unit, &context, deliveries).await
    }

    async fn next_page(
        &self,
        records: &dyn RecordStore,
        rest: &mut KeyRange,
    ) -> Result<Vec<(Key, Record)>> {
        let space = Space::Cell(self.old);
        let page = records.scan(&space, rest, Direction::Up, PAGE).await;
        let page = page.map_err(store_error)?.value;
        if let Some((last, _)) = page.last() {
            *rest = rest.after(last);
        }
        Ok(page)
    }

    async fn encrypted_bodies(&self, records: &dyn RecordStore) -> Result<EncryptedBodies> {
        let mut found = EncryptedBodies::new();
        let mut rest = keys::all_nodes();
        loop {
            let page = self.next_page(records, &mut rest).await?;
            if page.is_empty() {
                return Ok(found);
            }
            for (_, record) in page {
                let node = records::decode::<Node>(&record.value)?;
                if let Some(file) = node.file
                    && let Some(salt) = file.salt
                {
                    found.insert(file.blob, (salt, file.length));
                }
            }
        }
    }

    /// Copies a body. Returns its length.
    async fn copy_body(
        &self,
        bodies: &dyn BlobStore,
        id: &BlobId,
        encrypted: Option<&(String, u64)>,
    ) -> Result<u64> {
        let (old, new) = (Space::Cell(self.old), Space::Cell(self.new));
        let missing = || Error::new(Code::DavContent).with_source(format!("file body {id}"));
        let reader = bodies.open(&old, id).await.map_err(store_error)?;
        let mut reader: Box<dyn BlobReader> = reader.ok_or_else(missing)?;
        let writer = self.unit.blobs().create_with_id(&new, id).await;
        let mut writer = writer.map_err(store_error)?;
        if let Some((salt, length)) = encrypted {
            let cipher = self.unit.body_cipher(&old, salt).await?;
            reader = Box::new(SealedReader::new(reader, cipher, *length).ok_or_else(missing)?);
            let cipher = self.unit.body_cipher(&new, salt).await?;
            writer = Box::new(SealedWriter::new(writer, cipher));
        }
        let (mut at, length) = (0, reader.len());
        while at < length {
            let chunk = reader.read_at(at, CHUNK_BYTES).await.map_err(store_error)?;
            if chunk.is_empty() {
                return Err(missing());
            }
            at += chunk.len() as u64;
            writer.write(chunk).await.map_err(store_error)?;
        }
        writer.finish().await.map_err(store_error)?;
        Ok(length)
    }

    /// The key of a record in the new space.
    fn rewritten_key(&self, key: Key) -> Key {
        let (old, new) = (self.old.as_bytes(), self.new.as_bytes());
        let bytes = key.as_bytes();
        match (bytes.first(), bytes.get(1..=old.len())) {
            (Some(tag @ (b'N' | b'D')), Some(parent)) if parent == old => {
                let rest = bytes.get(1 + old.len()..).unwrap_or_default();
                Key::from_bytes([&[*tag], &new[..], rest].concat())
            }
            _ if key == keys::box_node(&NodeId::from_bytes(*old)) => {
                keys::box_node(&NodeId::from_bytes(*new))
            }
            _ => key,
        }
    }

    /// The value of a record in the new space.
    async fn rewritten(
        &self,
        key: &Key,
        value: Bytes,
        encrypted: &EncryptedBodies,
    ) -> Result<Bytes> {
        let old = NodeId::from_bytes(*self.old.as_bytes());
        if *key == keys::cell_node() || *key == keys::box_node(&old) {
            let mut node = records::decode::<Node>(&value)?;
            node.id = NodeId::from_bytes(*self.new.as_bytes());
            return Ok(records::encode(&node)?.into());
        }
        let Some((salt, _)) = keys::inline_blob(key).and_then(|id| encrypted.get(&id)) else {
            return Ok(value);
        };
        let damaged = |error| Error::new(Code::DavContent).with_source(error);
        let cipher = self.unit.body_cipher(&Space::Cell(self.old), salt).await?;
        let content = cipher.open(value.into()).map_err(damaged)?;
        let cipher = self.unit.body_cipher(&Space::Cell(self.new), salt).await?;
        let sealed = cipher.seal(&content).map_err(Error::internal)?;
        Ok(sealed.into())
    }

    /// Puts the cell into the catalogue. `entry` is that of the back-up, which a cell beside others gets with its new name; one in
    /// place of another keeps the entry of that.
    ///
    /// # Errors
    /// [`Code::EntityExists`] if there is a cell with the name; [`Code::NoSuchCell`] if the one to be replaced was removed;
    /// [`Code::Conflict`] if others change the catalogue all the time; an internal error if the permit is not for cells; a failure of the store. Nothing is changed then.
    pub async fn complete(
        &self,
        permit: &Permit,
        entry: &StoredEntity,
        place: &RestoredPlace,
    ) -> Result<()> {
        permit.check(Operation::WriteCells, &PermitTarget::Unit)?;
        let target = self.unit.cell_records(&self.new);
        timer_index::announce_all(&self.unit, &target, &self.new).await?;
        for _ in 0..MAX_ATTEMPTS {
            let done = match place {
                RestoredPlace::Beside(name) => self.add(entry, name).await,
                RestoredPlace::InPlaceOf(living) => self.replace(living).await,
            };
            match done? {
                Err(StoreError::Conflict) => {}
                done => {
                    done.map_err(store_error)?;
                    self.unit.known_quotas().forget();
                    garbage_collection::start(&self.unit, self.new);
                    return Ok(());
                }
            }
        }
        Err(Code::Conflict.into())
    }

    async fn add(
        &self,
        entry: &StoredEntity,
        name: &CellName,
    ) -> Result<std::result::Result<(), StoreError>> {
        let set = SetKey::control(ControlSet::Cell);
        let unique = keys::unique(&set, 0, &[Some(name.as_str())]);
        let unit = self.unit.records();
        if unit.find_version(&unique).await?.is_some() {
            return Err(Code::EntityExists.into());
        }
        let mut entry = entry.clone();
        entry.doc.set("Name", name.as_str());
        let mut batch = Batch::new();
        batch.assert(unique.clone(), Expect::Absent);
        batch.put(unique, self.new.to_string().into_bytes());
        let key = keys::entity(&set, &self.new.to_string());
        records::put_entity_checked(&mut batch, key, None, &entry)?;
        batch.add(keys::entity_count(&set), 1);
        batch.append(self.creation.clone());
        let post_commit = PostCommit::none().invalidate_cell_name(name.as_str());
        let done = self.unit.commit(&unit, batch, post_commit).await;
        Ok(done.map(drop))
    }

    async fn replace(&self, living: &CellId) -> Result<std::result::Result<(), StoreError>> {
        let unit = self.unit.records();
        let set = SetKey::control(ControlSet::Cell);
        let found = entity::find(&unit, &set, &living.to_string()).await?;
        let found = found.ok_or(Code::NoSuchCell)?;
        let name = found.value.text("Name").ok_or(Code::OdataInconsistent)?;
        // Nothing is added to the living cell from here on.
        let deletion = match CellDeletion::begin_replacement(self.unit.store(), *living).await {
            Ok(deletion) => deletion,
            Err(error) => return Ok(Err(error)),
        };
        let built = async {
            let mut batch = Batch::new();
            deletion.add_to(&mut batch);
            let key = keys::entity(&set, &living.to_string());
            batch.assert(key.clone(), Expect::Version(found.version));
            batch.delete(key);
            usage::add_entity(&mut batch, found.bytes, 0);
            let new_id = self.new.to_string();
            let mut entry = found.value.clone();
            entry.version += 1;
            entry.updated = self.unit.now_ms();
            let key = keys::entity(&set, &new_id);
            records::put_entity_checked(&mut batch, key, None, &entry)?;
            batch.put(keys::unique(&set, 0, &[Some(&name)]), new_id.into_bytes());
            garbage_collection::add_removed_cell(&self.unit, &mut batch, living);
            quota::follow_cell(&self.unit, &mut batch, living, &self.new).await?;
            batch.append(self.creation.clone());
            Result::<Batch>::Ok(batch)
        };
        let batch = match built.await {
            Ok(batch) => batch,
            Err(error) => {
                deletion.give_up(self.unit.store()).await;
                return Err(error);
            }
        };
        let old_cell = Cell {
            id: *living,
            name: name.clone(),
            owner: None,
            published: found.value.published,
            import_failed: false,
        };
        let post_commit = PostCommit::invalidating(&old_cell, Invalidation::Cell)
            .invalidate_cell_name(name)
            .collect_removed_cell(*living);
        let done = self.unit.commit(&unit, batch, post_commit).await;
        if done.is_err() {
            deletion.give_up(self.unit.store()).await;
        }
        Ok(done.map(drop))
    }
}

/// Whether a record is about what a running unit does with the cell: events of listeners, requests that wait to be sent, messages of
/// streams, transfers, seals, claims. A restored cell begins without them.
fn is_of_the_living(key: &Key) -> bool {
    let singles = [
        keys::takeover(),
        keys::feed(),
        keys::outbox_count(),
        keys::published_count(),
        keys::outbox_owner(),
        keys::transfer(),
        keys::seal(),
        keys::waiting_deliveries(),
        keys::unfinished_jobs(),
    ];
    keys::feed_events().contains(key)
        || keys::is_of_messages(key)
        || keys::is_of_jobs(key)
        || keys::all_outbox_entries().contains(key)
        || keys::removed_orphans().contains(key)
        || keys::imported_entities().contains(key)
        || singles.contains(key)
}
