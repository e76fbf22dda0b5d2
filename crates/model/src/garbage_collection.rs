//! Garbage collection: removes in the background what was unlinked at once, the trees of collections and whole cells.
//!
//! Unlinking a collection adds a garbage record in the same batch. Before that the cell is marked in the space of the unit,
//! so that cells with garbage are found without reading every cell. The marker is a claim of the server node that collects;
//! when that is dead, another one goes on. Each step of a collection is one small batch, and every step may be repeated: late
//! steps of a server node that lost its claim do no harm.

mod orphaned_blobs;
mod resumption;

use std::sync::Arc;

use bytes::Bytes;
use personium_store::{
    Batch, ChannelKind, Direction, Expect, Key, KeyRange, Limit, Space, StoreError,
};
use personium_trace::within;
use personium_types::error::chain;
use personium_types::{CellId, NodeId, Result};
use serde::{Deserialize, Serialize};

use crate::cell_usage::ByteCounts;
use crate::keys::{self, ControlSet, SetKey};
use crate::node::{Node, NodeKind};
use crate::records::{self, Records, store_error};
use crate::server_node::{self, WorkMark};
use crate::{CellContext, Unit, entity, job_records, usage};

/// The number of records that one step reads or removes.
const BATCH_RECORDS: usize = 200;

/// The limits of the entities that one step removes.
const ENTITIES_AT_ONCE: Limit = Limit::records(BATCH_RECORDS).or_bytes(1 << 20);

/// The value of the marker of a cell whose space was created and that is not in the catalogue yet.
const NEW_SPACE: &[u8] = b"new";

/// The stored form of a garbage record: a collection that was unlinked and whose content is still stored.
#[derive(Debug, Serialize, Deserialize)]
struct GarbageRecord {
    #[serde(rename = "i")]
    id: NodeId,
    #[serde(rename = "k")]
    kind: NodeKind,
}

/// Marks a cell as one that may have garbage, and claims its collection for this process. To be done before a batch with
/// [`add_record`] is committed; the batch asserts the mark.
///
/// # Errors
/// A failure of the store.
pub async fn mark_pending(unit: &Unit, context: &CellContext) -> Result<WorkMark> {
    let cell = &context.cell().id;
    unit.begin_work(cell, keys::garbage_marker(cell)).await
}

/// Adds the garbage record of a collection or box to the batch that unlinks it.
///
/// # Errors
/// [`Code::StoreCorrupt`](personium_types::Code::StoreCorrupt) if the record cannot be encoded.
pub fn add_record(batch: &mut Batch, node: &Node) -> Result<()> {
    let record = GarbageRecord {
        id: node.id,
        kind: node.kind,
    };
    records::put(batch, keys::garbage_record(&node.id), &record)
}

/// Creates the space of a new cell. Until the batch that adds the cell to the catalogue is committed, the space is garbage, which
/// others collect when this process is dead.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn create_space(unit: &Unit, cell: &CellId, batch: &mut Batch) -> Result<()> {
    let claim = unit.put_claim(&keys::removed_cell(cell), NEW_SPACE).await?;
    let space = Space::Cell(*cell);
    unit.store()
        .create_space(&space)
        .await
        .map_err(store_error)?;
    batch.assert(claim.key.clone(), Expect::Version(claim.version));
    batch.delete(claim.key);
    Ok(())
}

/// Gives up a cell whose space was created and that is not in the catalogue. Its records and bodies are removed in the background.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn give_up_space(unit: &Arc<Unit>, cell: &CellId) -> Result<()> {
    if let Some(claim) = unit.find_claim(&keys::removed_cell(cell)).await?
        && claim.state == NEW_SPACE
    {
        // From now on the cell is not added to the catalogue any more.
        unit.take_over_as(&claim, Bytes::new()).await?;
    }
    start_for_removed_cell(unit, *cell);
    Ok(())
}

/// Adds to the batch that removes a cell that all its records and bodies are garbage, which this process collects.
pub fn add_removed_cell(unit: &Unit, batch: &mut Batch, cell: &CellId) {
    let value = server_node::encode_claim(unit.node_id().as_ref());
    batch.put(keys::removed_cell(cell), value);
}

/// Collects the garbage of a cell in the background. A failure is logged; the collection is resumed later.
pub fn start(unit: &Arc<Unit>, cell: CellId) {
    let active = unit.activate(keys::garbage_marker(&cell));
    spawn(unit, cell, move |unit| async move {
        let _active = active;
        collect_cell(&unit, &cell).await
    });
}

/// Collects the records and bodies of a removed cell in the background.
pub fn start_for_removed_cell(unit: &Arc<Unit>, cell: CellId) {
    let active = unit.activate(keys::removed_cell(&cell));
    spawn(unit, cell, move |unit| async move {
        let _active = active;
        collect_removed_cell(&unit, &cell).await
    });
}

fn spawn<F, Fut>(unit: &Arc<Unit>, cell: CellId, collect: F)
where
    F: FnOnce(Arc<Unit>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    let unit = Arc::clone(unit);
    let collecting = async move {
        let permits = Arc::clone(&unit.limits().collections);
        let Ok(_permit) = permits.acquire_owned().await else {
            return;
        };
        let span = personium_trace::work("garbage.collect");
        if let Err(error) = span.scope(collect(unit)).await {
            span.fail("store");
            log_failure(&cell, &error);
        }
    };
    tokio::spawn(within(personium_trace::background(), collecting));
}

fn log_failure(cell: &CellId, error: &personium_types::Error) {
    tracing::warn!(
        cell.id = %cell,
        error = %chain(error),
        "failed to collect garbage, will retry later"
    );
}

/// Collects everything that was unlinked in a cell, then removes its marker. Does nothing if another server node does it.
async fn collect_cell(unit: &Unit, cell: &CellId) -> Result<()> {
    let records = unit.cell_records(cell);
    let key = keys::garbage_marker(cell);
    loop {
        let claim = match unit.find_claim(&key).await? {
            None => return Ok(()),
            Some(found) => unit.take_over_in_cell(&found, cell).await?,
        };
        let Some(claim) = claim else {
            return Ok(());
        };
        let is_marked = unit.is_marked(&key);
        while let Some((key, garbage)) = records
            .list::<GarbageRecord>(&keys::garbage_records(), Direction::Up, 1)
            .await?
            .pop()
        {
            if !unit.holds(&claim).await? {
                return Ok(());
            }
            collect_node(unit, &records, &key, &garbage.value).await?;
        }
        // Another removal may have marked the cell again, and its garbage record may not have been seen yet.
        if is_marked || unit.release_claim(&claim).await? {
            return Ok(());
        }
    }
}

/// Removes the content of one unlinked collection; collections in it get garbage records of their own.
async fn collect_node(
    unit: &Unit,
    records: &Records,
    key: &Key,
    garbage: &GarbageRecord,
) -> Result<()> {
    loop {
        let children = keys::children(&garbage.id);
        let found = records.list::<Node>(&children, Direction::Up, BATCH_RECORDS);
        let found = found.await?;
        if found.is_empty() {
            break;
        }
        let mut batch = Batch::new();
        let mut blobs = Vec::new();
        for (key, node) in found {
            // Another server node may be at it too. What it has removed is counted once.
            batch.assert(key.clone(), Expect::Version(node.version));
            batch.delete(key);
            node.value.count_removal(&mut batch);
            match &node.value.file {
                Some(body) => {
                    body.delete_record(&mut batch);
                    blobs.extend((!body.inline).then_some(body.blob));
                }
                None => add_record(&mut batch, &node.value)?,
            }
        }
        match records.commit(batch).await {
            // Whoever has removed the nodes may not have removed their bodies yet.
            Ok(_) | Err(StoreError::Conflict) => {}
            Err(error) => return Err(store_error(error)),
        }
        for blob in blobs {
            let removed = unit.blobs().remove(records.space(), &blob).await;
            removed.map_err(store_error)?;
        }
    }
    if garbage.kind == NodeKind::Odata {
        for table in keys::entities_of_collection(&garbage.id) {
            remove_entities(records, &table).await?;
        }
        for table in keys::collection_tables(&garbage.id) {
            records.remove_range(&table).await?;
        }
    }
    if garbage.kind == NodeKind::Stream {
        remove_messages(records, &garbage.id).await?;
    }
    if garbage.kind == NodeKind::Service {
        remove_jobs(records, &garbage.id).await?;
    }
    let mut batch = Batch::new();
    batch.delete(keys::child_count(&garbage.id));
    batch.delete(key.clone());
    records.commit(batch).await.map_err(store_error).map(drop)
}

/// Removes the entities of a range, and the bytes that they take from what is counted.
async fn remove_entities(records: &Records, range: &KeyRange) -> Result<()> {
    loop {
        let found = records.list_records_within(range, ENTITIES_AT_ONCE).await?;
        if found.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for (key, record) in found {
            batch.assert(key.clone(), Expect::Version(record.version));
            batch.delete(key);
            usage::add_entity(&mut batch, record.value.len(), 0);
        }
        match records.commit(batch).await {
            // Another server node may be at it too.
            Ok(_) | Err(StoreError::Conflict) => {}
            Err(error) => return Err(store_error(error)),
        }
    }
}

/// Removes the messages of a stream collection, and the bytes that they take from what is counted.
async fn remove_messages(records: &Records, collection: &NodeId) -> Result<()> {
    // Afterwards nobody receives or acknowledges one, which would count it too.
    let queued = keys::queued_messages_of(collection);
    records.remove_range(&queued).await?;
    for range in keys::message_texts_of(collection) {
        loop {
            let found = records
                .list_records_within(&range, ENTITIES_AT_ONCE)
                .await?;
            if found.is_empty() {
                break;
            }
            let mut removed = ByteCounts::default();
            let mut batch = Batch::new();
            for (key, record) in found {
                removed.add(&key, &record);
                batch.assert(key.clone(), Expect::Version(record.version));
                batch.delete(key);
            }
            usage::add_messages(&mut batch, ChannelKind::Queue, -removed.queues);
            usage::add_messages(&mut batch, ChannelKind::Topic, -removed.topics);
            match records.commit(batch).await {
                // Another server node may be at it too.
                Ok(_) | Err(StoreError::Conflict) => {}
                Err(error) => return Err(store_error(error)),
            }
        }
    }
    for range in keys::messages_of_collection(collection) {
        records.remove_range(&range).await?;
    }
    Ok(())
}

/// Removes the jobs of a service, and the bytes that they take from what is counted. Those that run are stopped by whoever runs them.
async fn remove_jobs(records: &Records, service: &NodeId) -> Result<()> {
    let range = keys::jobs_of(service);
    loop {
        let found = records
            .list_records_within(&range, ENTITIES_AT_ONCE)
            .await?;
        if found.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        job_records::delete_records(&mut batch, found);
        match records.commit(batch).await {
            // Another server node may be at it too, or a job has gone on.
            Ok(_) | Err(StoreError::Conflict) => {}
            Err(error) => return Err(store_error(error)),
        }
    }
}

/// Removes the records and bodies of a cell that is no longer in the catalogue. Does nothing if another server node does it.
async fn collect_removed_cell(unit: &Unit, cell: &CellId) -> Result<()> {
    let key = keys::removed_cell(cell);
    let Some(found) = unit.find_claim(&key).await? else {
        return Ok(());
    };
    if unit.is_own(&found) && found.state == NEW_SPACE {
        // The creation of the cell may be on its way.
        return Ok(());
    }
    // This changes the marker of a new space, so that the cell is not added to the catalogue any more.
    let Some(claim) = unit.take_over_as(&found, Bytes::new()).await? else {
        return Ok(());
    };
    let set = SetKey::control(ControlSet::Cell);
    let found = entity::find(&unit.records(), &set, &cell.to_string()).await?;
    if found.is_none() {
        let space = Space::Cell(*cell);
        unit.store().drop_space(&space).await.map_err(store_error)?;
        unit.blobs().drop_space(&space).await.map_err(store_error)?;
    }
    let mut batch = Batch::new();
    batch.delete(claim.key);
    batch.delete(keys::garbage_marker(cell));
    batch.delete(keys::outbox_marker(cell));
    if found.is_none() {
        batch.delete(keys::cell_quota(cell));
    }
    let committed = unit.records().commit(batch).await;
    committed.map_err(store_error).map(drop)
}
