//! Queues in the records of a cell.
//!
//! A message is two records: a small one in the order of the queue, and its content. A delivery is a change of the small one: it names
//! the server node that has delivered the message, and its version is the receipt. So two receivers never have the same delivery, a
//! delivery of a dead server node can be told from others, and a late acknowledgement changes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use personium_store::{
    Batch, Channel, CommitSeq, Delivery, Direction, Expect, Key, Message, StoreError,
};
use personium_types::error::chain;
use personium_types::{Code, Error, Result, ServerNodeId};
use tokio::sync::oneshot;

use super::counts::{self, MessageCounts};
use super::expiry_index;
use super::stored::StoredQueuedMessage;
use crate::records::{self, Records, Versioned, store_error};
use crate::{PostCommit, Unit, keys};

/// The largest number of messages of a queue that wait for their acknowledgement at the same time.
const DELIVERED_MAX: usize = 64;
/// The number of messages that are removed by one batch.
const REMOVED_AT_ONCE: usize = 100;
/// The number of times that a receiver tries to get a message which others get.
const MAX_ATTEMPTS: usize = 20;
/// The length of an id in a receipt.
const ID_DIGITS: usize = 32;

/// Adds a message to a queue.
pub(super) async fn send(unit: &Unit, queue: &Channel, message: &Message) -> Result<()> {
    let records = super::limited_records(unit, &queue.cell).await?;
    let settings = &unit.settings().streams;
    let limits = (settings.queue_messages_max, settings.queue_max_bytes);
    let index = expiry_index::announce(unit, queue, message.expires_ms).await?;
    let bytes = message.body.len();
    let mut counts = MessageCounts::read(&records, queue).await?;
    if !counts.fits(bytes, limits) {
        remove_expired(unit, queue).await?;
        counts = MessageCounts::read(&records, queue).await?;
    }
    if !counts.fits(bytes, limits) {
        return Err(Error::new(Code::QueueFull).with(&queue.name));
    }
    let (records, index) = (&records, &index);
    unit.transact_with(records, || async move {
        let counts = MessageCounts::read(records, queue).await?;
        if !counts.fits(bytes, limits) {
            return Err(Error::new(Code::QueueFull).with(&queue.name));
        }
        let mut batch = Batch::new();
        counts.assert_near(&mut batch, bytes, limits);
        let (key, id) = next_key(unit, records, queue).await?;
        batch.assert(key.clone(), Expect::Absent);
        records::put(&mut batch, key, &StoredQueuedMessage::of(message))?;
        let body = keys::message_body(&queue.collection, &id);
        batch.put(body, message.body.clone());
        counts::add(&mut batch, queue, 1, counts::as_i64(bytes));
        batch.put(index.clone(), Vec::new());
        batch.tell_news();
        Ok((batch, PostCommit::none().wake_receivers(queue.cell), ()))
    })
    .await
}

/// The key and the id of the next message: after all of the queue, also those of server nodes whose clocks are ahead.
async fn next_key(unit: &Unit, records: &Records, queue: &Channel) -> Result<(Key, [u8; 16])> {
    let (collection, name) = (&queue.collection, &queue.name);
    let id = unit.next_event_id();
    let key = keys::queued_message(collection, name, &id);
    let messages = keys::queued_messages(collection, name);
    let last = records.list_keys(&messages, Direction::Down, 1).await?;
    let after = last.first().filter(|last| **last >= key);
    Ok(match after.and_then(keys::id_of_queued_message) {
        Some(last) => {
            let id = keys::successor_of_event_id(&last);
            (keys::queued_message(collection, name, &id), id)
        }
        None => (key, id),
    })
}

/// A delivery that is released when it is dropped, unless it was taken.
struct PendingDelivery {
    unit: Arc<Unit>,
    queue: Channel,
    delivery: Option<Delivery>,
}

impl Drop for PendingDelivery {
    fn drop(&mut self) {
        let Some(delivery) = self.delivery.take() else {
            return;
        };
        let (unit, queue) = (Arc::clone(&self.unit), self.queue.clone());
        tokio::spawn(async move {
            if let Err(error) = release(&unit, &queue, &delivery.receipt).await {
                tracing::warn!(
                    cell.id = %queue.cell,
                    error = %chain(&error),
                    "failed to release a message, which stays delivered until it expires"
                );
            }
        });
    }
}

/// Delivers the first message that nobody has, if there is one. A message that was delivered to a caller which is cancelled is released.
pub(super) async fn try_receive(unit: &Arc<Unit>, queue: &Channel) -> Result<Option<Delivery>> {
    let (to_caller, delivered) = oneshot::channel();
    let (unit, queue) = (Arc::clone(unit), queue.clone());
    tokio::spawn(async move {
        let found = deliver(&unit, &queue).await;
        let found = found.map(|delivery| {
            delivery.map(|delivery| PendingDelivery {
                unit,
                queue,
                delivery: Some(delivery),
            })
        });
        // If the caller is gone, this drops the delivery.
        drop(to_caller.send(found));
    });
    match delivered.await {
        Ok(found) => Ok(found?.and_then(|mut pending| pending.delivery.take())),
        Err(_) => Err(Error::internal(
            "the task that delivers a message has ended",
        )),
    }
}

async fn deliver(unit: &Unit, queue: &Channel) -> Result<Option<Delivery>> {
    let records = unit.cell_records(&queue.cell);
    let range = keys::queued_messages(&queue.collection, &queue.name);
    for _ in 0..MAX_ATTEMPTS {
        let found = records
            .list::<StoredQueuedMessage>(&range, Direction::Up, DELIVERED_MAX + 1)
            .await?;
        if found.is_empty() {
            return Ok(None);
        }
        let now = unit.now_ms();
        if found.iter().any(|(_, it)| it.value.expires_ms <= now) {
            remove_expired(unit, queue).await?;
            continue;
        }
        let own = unit.register_node().await?;
        let Some((key, stored)) = first_free(unit, found, &own).await? else {
            return Ok(None);
        };
        let Some(id) = keys::id_of_queued_message(&key) else {
            return Err(Code::StoreCorrupt.into());
        };
        let body = keys::message_body(&queue.collection, &id);
        let Some(body) = records.find_bytes(&body).await? else {
            // Somebody else has got it.
            if records.find_version(&key).await? == Some(stored.version) {
                let text = "a message has no content";
                return Err(Error::new(Code::StoreCorrupt).with_source(text));
            }
            continue;
        };
        let mut batch = Batch::new();
        batch.assert(key.clone(), Expect::Version(stored.version));
        records::put(&mut batch, key, &stored.value.leased_by(&own))?;
        match records.commit(batch).await {
            Ok(version) => {
                return Ok(Some(Delivery {
                    message: stored.value.into_message(body),
                    receipt: receipt(&id, version),
                }));
            }
            Err(StoreError::Conflict) => {}
            Err(other) => return Err(store_error(other)),
        }
    }
    Ok(None)
}

/// The first message that is not delivered, or was delivered by a server node that is dead.
async fn first_free(
    unit: &Unit,
    found: Vec<(Key, Versioned<StoredQueuedMessage>)>,
    own: &ServerNodeId,
) -> Result<Option<(Key, Versioned<StoredQueuedMessage>)>> {
    let mut alive = HashMap::new();
    for (key, stored) in found {
        let Some(node) = &stored.value.lease else {
            return Ok(Some((key, stored)));
        };
        let is_alive = match (alive.get(node), node.parse::<ServerNodeId>()) {
            (Some(known), _) => *known,
            (None, Ok(id)) => id == *own || unit.is_node_alive(&id).await?,
            (None, Err(_)) => false,
        };
        if !is_alive {
            return Ok(Some((key, stored)));
        }
        alive.insert(node.clone(), is_alive);
    }
    Ok(None)
}

/// Removes a delivered message. `false` if the delivery is over.
pub(super) async fn acknowledge(unit: &Unit, queue: &Channel, receipt: &str) -> Result<bool> {
    let Some((id, version)) = parse_receipt(receipt) else {
        return Ok(false);
    };
    let records = unit.cell_records(&queue.cell);
    let key = keys::queued_message(&queue.collection, &queue.name, &id);
    let Some(stored) = find_delivered(&records, &key, version).await? else {
        return Ok(false);
    };
    let mut batch = Batch::new();
    batch.assert(key.clone(), Expect::Version(version));
    batch.delete(key);
    batch.delete(keys::message_body(&queue.collection, &id));
    let bytes = i64::try_from(stored.bytes).unwrap_or(i64::MAX);
    counts::add(&mut batch, queue, -1, -bytes);
    end_delivery(&records, batch).await
}

/// Lets a delivered message be delivered again. `false` if the delivery is over.
pub(super) async fn release(unit: &Unit, queue: &Channel, receipt: &str) -> Result<bool> {
    let Some((id, version)) = parse_receipt(receipt) else {
        return Ok(false);
    };
    let records = unit.cell_records(&queue.cell);
    let key = keys::queued_message(&queue.collection, &queue.name, &id);
    let Some(mut stored) = find_delivered(&records, &key, version).await? else {
        return Ok(false);
    };
    stored.lease = None;
    let mut batch = Batch::new();
    batch.assert(key.clone(), Expect::Version(version));
    records::put(&mut batch, key, &stored)?;
    batch.tell_news();
    let released = end_delivery(&records, batch).await?;
    if released {
        unit.message_news().wake(&queue.cell);
    }
    Ok(released)
}

async fn find_delivered(
    records: &Records,
    key: &Key,
    version: CommitSeq,
) -> Result<Option<StoredQueuedMessage>> {
    let found = records.find::<StoredQueuedMessage>(key).await?;
    let found = found.filter(|it| it.version == version && it.value.lease.is_some());
    Ok(found.map(|it| it.value))
}

async fn end_delivery(records: &Records, batch: Batch) -> Result<bool> {
    match records.commit(batch).await {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict) => Ok(false),
        Err(other) => Err(store_error(other)),
    }
}

/// Removes the messages of a queue that have expired, from its beginning up to the first that has not. Returns when that expires.
pub(super) async fn remove_expired(unit: &Unit, queue: &Channel) -> Result<Option<i64>> {
    let records = unit.cell_records(&queue.cell);
    let range = keys::queued_messages(&queue.collection, &queue.name);
    loop {
        let found = records
            .list::<StoredQueuedMessage>(&range, Direction::Up, REMOVED_AT_ONCE)
            .await?;
        let now = unit.now_ms();
        let (mut messages, mut bytes) = (0, 0);
        let mut batch = Batch::new();
        let mut next = None;
        for (key, stored) in found {
            if stored.value.expires_ms > now {
                next = Some(next.unwrap_or(i64::MAX).min(stored.value.expires_ms));
                continue;
            }
            messages += 1;
            bytes += i64::try_from(stored.value.bytes).unwrap_or(0);
            if let Some(id) = keys::id_of_queued_message(&key) {
                batch.delete(keys::message_body(&queue.collection, &id));
            }
            batch.assert(key.clone(), Expect::Version(stored.version));
            batch.delete(key);
        }
        if messages == 0 {
            return Ok(next);
        }
        counts::add(&mut batch, queue, -messages, -bytes);
        match records.commit(batch).await {
            Ok(_) | Err(StoreError::Conflict) => {}
            Err(other) => return Err(store_error(other)),
        }
    }
}

/// The receipt of a delivery: the id of the message, and the version of its record.
fn receipt(id: &[u8; 16], version: CommitSeq) -> String {
    let id = u128::from_be_bytes(*id);
    format!("{id:032x}-{version}")
}

fn parse_receipt(receipt: &str) -> Option<([u8; 16], CommitSeq)> {
    let (id, version) = receipt.split_once('-')?;
    if id.len() != ID_DIGITS || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let id = u128::from_str_radix(id, 16).ok()?;
    Some((id.to_be_bytes(), version.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipt_is_read_as_written_and_nothing_else() {
        let id = [0xab; 16];
        assert_eq!(parse_receipt(&receipt(&id, 7)), Some((id, 7)));
        let long = "9".repeat(10_000);
        for text in ["", "-", "1-2", "x", &receipt(&id, 7)[1..], &long, "é-1"] {
            assert_eq!(parse_receipt(text), None, "{text}");
        }
        let signed = format!("+{}-1", "0".repeat(31));
        assert_eq!(parse_receipt(&signed), None);
    }
}
