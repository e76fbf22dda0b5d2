//! Deliveries of messages that wait for their next attempt.
//!
//! They are entries of the outbox of the sending cell, in the order in which they are due, and are sent by the owner of the outbox.
//! What a delivery has come to is stored in the sent message by the batch that removes or postpones its entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use personium_odata::value::{Properties, Value};
use personium_store::{Batch, Direction, Expect, Key};
use personium_types::{CellId, Code, Operation, Result, ServerNodeId};
use serde::{Deserialize, Serialize};

use super::super::creation_batch::CreationBatch;
use super::super::load::{self, Entity};
use super::super::pending_entity::PendingEntity;
use super::super::root::ServiceRoot;
use super::attempt::{AttemptOutcome, DeliveryResult};
use super::creation;
use super::sending::OutgoingMessage;
use crate::backoff::LONGEST_DELAY_MS;
use crate::commit::Invalidation;
use crate::event::outbox_owner::{self, OutboxState};
use crate::event::{ChainHeaders, RuleChain};
use crate::keys::{self, ControlSet};
use crate::outbox_queue::OutboxPartition;
use crate::records::{self, Records};
use crate::{Access, CellContext, Permit, PostCommit, Unit};

/// The largest number of deliveries of a cell that wait.
const WAITING_MAX: i64 = 10_000;
/// The longest version of the API that is sent on, in bytes.
const MAX_VERSION_BYTES: usize = 64;
/// The largest size of all reasons of a message, in characters, and of one of them.
const REASONS_MAX_CHARS: usize = 256 << 10;
const REASON_MAX_CHARS: usize = 1024;

/// The properties of the request that sent a message which each attempt to deliver it needs. The names of members are stored: never change
/// one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliverySender {
    /// The application in the token of the sender.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(super) app: Option<String>,
    /// The scopes in the token of the sender.
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) scopes: Vec<String>,
    /// The version of the API that the sender asked for.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The chain of rules that led to the request, as the values of its headers: none, or the number and the
    /// proofs.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) chain: Vec<String>,
}

impl DeliverySender {
    /// The sender with this access, who asked for this version of the API by a request that this chain of rules led to.
    #[must_use]
    pub fn of(access: &Access, version: Option<&str>, chain: &RuleChain) -> Self {
        let version = version.filter(|version| version.len() <= MAX_VERSION_BYTES);
        Self {
            app: access.schema.clone(),
            scopes: access.scopes.clone(),
            version: version.map(str::to_owned),
            chain: chain
                .headers()
                .into_iter()
                .map(|(_, value)| value)
                .collect(),
        }
    }

    /// The headers of the chain of rules for an attempt that is made now by the sending cell. They end the replies of rules to each
    /// other.
    #[must_use]
    pub fn chain_headers(&self, unit: &Unit, cell: &CellId) -> Vec<(&'static str, String)> {
        let mut values = self.chain.iter().map(String::as_str);
        let headers = ChainHeaders {
            number: values.next(),
            proofs: values.next(),
            is_of_unit: true,
        };
        let chain = RuleChain::received(unit, cell, headers);
        chain.renewed(unit, cell).headers()
    }

    /// The application in its token.
    #[must_use]
    pub fn app(&self) -> Option<&str> {
        self.app.as_deref()
    }

    /// The scopes in its token.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }
}

/// The stored form of a [`WaitingDelivery`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredDelivery {
    #[serde(rename = "m")]
    message: String,
    #[serde(rename = "t")]
    to: String,
    #[serde(rename = "n")]
    attempts: u32,
    #[serde(rename = "x")]
    expires_ms: i64,
    #[serde(rename = "s")]
    sender: DeliverySender,
    /// The schema that the message is bound to.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
}

/// A delivery that waits for its next attempt.
#[derive(Debug, Clone)]
pub struct WaitingDelivery {
    key: Key,
    stored: StoredDelivery,
}

impl WaitingDelivery {
    /// The id of the sent message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.stored.message
    }

    /// The URL of the recipient.
    #[must_use]
    pub fn to(&self) -> &str {
        &self.stored.to
    }

    /// The sender.
    #[must_use]
    pub fn sender(&self) -> &DeliverySender {
        &self.stored.sender
    }

    /// The number of attempts that were made.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.stored.attempts
    }
}

/// The deliveries of a cell that are due.
#[derive(Debug, Default)]
pub struct DueDeliveries {
    /// They, the earliest first, up to a limit.
    pub due: Vec<WaitingDelivery>,
    /// When the first of those is due that wait longer, milliseconds since 1970. `None` if there is none, or if more are due.
    pub next_ms: Option<i64>,
    /// Whether more are due.
    pub has_more: bool,
}

/// Checks that a number of deliveries of a cell could wait.
///
/// # Errors
/// [`Code::ServerBusy`] if too many wait already; a failure of the store.
pub async fn check_limit(records: &Records, count: usize) -> Result<()> {
    let waiting = records.counter(&keys::waiting_deliveries()).await?;
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    match waiting.saturating_add(count) > WAITING_MAX {
        true => Err(Code::ServerBusy.into()),
        false => Ok(()),
    }
}

/// Stores a message whose first attempts of delivery were made, with what they have come to, and the deliveries that wait for
/// another attempt until `expires_ms`.
///
/// # Errors
/// [`Code::ParentMissing`] if its box was deleted meanwhile; [`Code::Unknown`] if the permit is not for messages of this
/// cell; failures of the store.
pub async fn store_sent(
    root: &ServiceRoot,
    permit: &Permit,
    (message, sender): (&OutgoingMessage, &DeliverySender),
    (results, expires_ms): (&[DeliveryResult], i64),
) -> Result<Entity> {
    permit.check(Operation::SendMessage, &root.permit_target())?;
    let mut properties = message.properties.clone();
    set_results(&mut properties, results);
    let creation = creation(&message.set, properties);
    let mut root = root.clone();
    // Recipients have the message: it must be stored, also if its results need more than the quota leaves.
    root.records = root.records.without_limit();
    let root = &root;
    root.transact_with(Invalidation::None, || async {
        let mut creations = CreationBatch::new(root);
        let entity = Box::pin(creations.add(&creation)).await?;
        let mut batch = creations.batch;
        let waiting = (results, expires_ms);
        let post_commit = add(root, &mut batch, (message, sender), waiting).await?;
        let post_commit = post_commit.posting(root.creation_event(&creation, &entity));
        Ok((batch, post_commit, entity))
    })
    .await
}

/// Adds to the batch of a sent message the deliveries that wait for another attempt.
async fn add(
    root: &ServiceRoot,
    batch: &mut Batch,
    (message, sender): (&OutgoingMessage, &DeliverySender),
    (results, expires_ms): (&[DeliveryResult], i64),
) -> Result<PostCommit> {
    let (unit, context) = (&root.unit, root.context().ok_or(Code::OdataInconsistent)?);
    let cell = context.cell().id;
    let mut count = 0;
    for result in results {
        let Some(due) = result.next_ms else {
            continue;
        };
        let stored = StoredDelivery {
            message: message.id().to_owned(),
            to: result.to.clone(),
            attempts: result.attempts,
            expires_ms,
            sender: sender.clone(),
            schema: message.schema.clone(),
        };
        let key = keys::waiting_delivery(due, &unit.next_event_id());
        records::put(batch, key, &stored)?;
        count += 1;
    }
    if count == 0 {
        return Ok(PostCommit::none());
    }
    batch.add(keys::waiting_deliveries(), count);
    let state = OutboxState::read(&root.records).await?;
    let owner = state.add_owner(unit, &cell, batch).await?;
    let mut post_commit = PostCommit::none();
    if let Some(mark) = &owner.mark {
        post_commit = post_commit.with_mark(mark);
    }
    // Another owner finds them by itself.
    if unit.node_id() == Some(owner.node) {
        post_commit = post_commit
            .own_outbox(cell, owner.node)
            .enqueue(OutboxPartition::of_messages(cell));
    }
    Ok(post_commit)
}

/// Lists deliveries of a cell that are due, at most `limit`.
///
/// # Errors
/// A failure of the store.
pub async fn list_due(unit: &Unit, records: &Records, limit: usize) -> Result<DueDeliveries> {
    let range = keys::outbox_entries(keys::MESSAGES);
    let found = records
        .list::<StoredDelivery>(&range, Direction::Up, limit.saturating_add(1))
        .await?;
    let now = unit.now_ms();
    let mut out = DueDeliveries::default();
    for (key, found) in found {
        let due = keys::time_of_monotonic_id(&key).unwrap_or(0);
        // If the clock was set back, they would wait too long.
        if due > now && due <= now.saturating_add(LONGEST_DELAY_MS) {
            out.next_ms = Some(due);
            break;
        }
        if out.due.len() == limit {
            out.has_more = true;
            break;
        }
        let stored = found.value;
        out.due.push(WaitingDelivery { key, stored });
    }
    Ok(out)
}

/// The sent message of a delivery; `None` if it was deleted.
///
/// # Errors
/// A failure of the store.
pub async fn find_message(
    unit: &Unit,
    context: &Arc<CellContext>,
    delivery: &WaitingDelivery,
) -> Result<Option<OutgoingMessage>> {
    let root = ServiceRoot::of_cell(unit.share(), Arc::clone(context));
    let set = root.set(ControlSet::SentMessage.name())?;
    let Some(found) = load::find_by_id(&root, &set, delivery.message()).await? else {
        return Ok(None);
    };
    let recipients = results_of(&found.properties);
    let recipients = recipients.iter().filter_map(|result| match result {
        Value::Complex(members) => members.text("To").map(str::to_owned),
        _ => None,
    });
    Ok(Some(OutgoingMessage {
        recipients: recipients.collect(),
        set,
        properties: found.properties,
        schema: delivery.stored.schema.clone(),
    }))
}

/// Stores what attempts for one sent message have come to: in the message, and in their entries. Entries that were removed meanwhile
/// are left out; if the message was deleted, all of its entries end. `false` if the server node does not own the outbox of the cell
/// any more; then nothing is stored.
///
/// # Errors
/// A failure of the store.
pub async fn conclude(
    unit: &Unit,
    context: &Arc<CellContext>,
    attempts: &[(WaitingDelivery, AttemptOutcome)],
    node: &ServerNodeId,
) -> Result<bool> {
    let mut root = ServiceRoot::of_cell(unit.share(), Arc::clone(context));
    // The result must be stored, also if its quota is used up.
    root.records = root.records.without_limit();
    let set = root.set(ControlSet::SentMessage.name())?;
    let Some((first, _)) = attempts.first() else {
        return Ok(true);
    };
    let id = first.message().to_owned();
    root.transact_with(Invalidation::None, || async {
        let mut batch = Batch::new();
        if !outbox_owner::assert_owner(&root.records, node, &mut batch).await? {
            return Ok((Batch::new(), PostCommit::none(), false));
        }
        let message = load::find_by_id(&root, &set, &id).await?;
        let mut results = Vec::new();
        for (delivery, outcome) in attempts {
            if root.records.find_version(&delivery.key).await?.is_none() {
                continue;
            }
            batch.assert(delivery.key.clone(), Expect::Present);
            batch.delete(delivery.key.clone());
            let stored = &delivery.stored;
            let before = (stored.attempts, stored.expires_ms);
            let result = DeliveryResult::after(unit, delivery.to(), before, outcome.clone());
            match result.next_ms.filter(|_| message.is_some()) {
                Some(due) => {
                    let key = keys::waiting_delivery(due, &unit.next_event_id());
                    let stored = StoredDelivery {
                        attempts: result.attempts,
                        ..stored.clone()
                    };
                    records::put(&mut batch, key, &stored)?;
                }
                None => batch.add(keys::waiting_deliveries(), -1),
            }
            results.push(result);
        }
        if let Some(message) = message.filter(|_| !results.is_empty())
            && let Some(properties) = with_results(&root, &message, &results)
        {
            let mut pending = PendingEntity::of_stored(&set, message);
            pending.replace(properties, unit.now_ms());
            pending.write(&root, &mut batch)?;
        }
        Ok((batch, PostCommit::none(), true))
    })
    .await
}

/// The deliveries that a back-up of a cell has: the ids of sent messages, and the recipients of each.
pub(crate) type CopiedDeliveries = BTreeMap<String, Vec<String>>;

/// Notes a record of a back-up, if it is a delivery that waits.
///
/// # Errors
/// [`Code::StoreCorrupt`] if it cannot be decoded.
pub(crate) fn note_copied(found: &mut CopiedDeliveries, (key, value): (&Key, &[u8])) -> Result<()> {
    if keys::outbox_entries(keys::MESSAGES).contains(key) {
        let delivery = records::decode::<StoredDelivery>(value)?;
        let recipients = found.entry(delivery.message).or_default();
        recipients.push(delivery.to);
    }
    Ok(())
}

/// Makes the results of deliveries final that a copy of a cell does not make.
///
/// # Errors
/// A failure of the store.
pub(crate) async fn end_copied(
    unit: &Unit,
    context: &Arc<CellContext>,
    deliveries: &CopiedDeliveries,
) -> Result<()> {
    let mut root = ServiceRoot::of_cell(unit.share(), Arc::clone(context));
    root.records = root.records.without_limit();
    let set = root.set(ControlSet::SentMessage.name())?;
    for (id, recipients) in deliveries {
        let results: Vec<_> = recipients
            .iter()
            .map(|to| DeliveryResult::of_copy(to))
            .collect();
        root.transact_with(Invalidation::None, || async {
            let mut batch = Batch::new();
            if let Some(message) = load::find_by_id(&root, &set, id).await?
                && let Some(properties) = with_results(&root, &message, &results)
            {
                let updated = message.stored.updated;
                let mut pending = PendingEntity::of_stored(&set, message);
                pending.replace(properties, updated);
                pending.write(&root, &mut batch)?;
            }
            Ok((batch, PostCommit::none(), ()))
        })
        .await?;
    }
    Ok(())
}

/// The properties of a sent message with these results: without their reasons if they would be too large, `None` if they are all the
/// same. What happened to the deliveries must be concluded.
fn with_results(
    root: &ServiceRoot,
    message: &Entity,
    results: &[DeliveryResult],
) -> Option<Properties> {
    let max = root.unit.settings().odata.entity_max_bytes;
    let mut properties = message.properties.clone();
    set_results(&mut properties, results);
    if properties.size_bytes() > max {
        let without_reason = |result: &DeliveryResult| DeliveryResult {
            reason: String::new(),
            ..result.clone()
        };
        let results: Vec<_> = results.iter().map(without_reason).collect();
        set_results(&mut properties, &results);
    }
    (properties.size_bytes() <= max).then_some(properties)
}

/// The results in a sent message.
fn results_of(properties: &Properties) -> &[Value] {
    match properties.value("Result") {
        Value::List(results) => results,
        _ => &[],
    }
}

/// Puts results into a sent message, in place of the former ones about the same recipients.
fn set_results(properties: &mut Properties, results: &[DeliveryResult]) {
    let mut all = results_of(properties).to_vec();
    let count = all.len().max(results.len()).max(1);
    let reason_max = REASON_MAX_CHARS.min(REASONS_MAX_CHARS / count);
    for result in results {
        let mut members = Properties::with_capacity(3);
        members.set("To", result.to.as_str());
        members.set("Code", result.code.as_str());
        let reason: String = result.reason.chars().take(reason_max).collect();
        members.set("Reason", reason);
        let is_same = |other: &&mut Value| match other {
            Value::Complex(other) => other.text("To") == Some(&result.to),
            _ => false,
        };
        match all.iter_mut().find(is_same) {
            Some(found) => *found = Value::Complex(members),
            None => all.push(Value::Complex(members)),
        }
    }
    properties.set("Result", Value::List(all));
}

/// When a message that is sent now is not tried again any more, milliseconds since 1970.
#[must_use]
pub fn expiry(unit: &Unit) -> i64 {
    let secs = i64::try_from(unit.settings().events.delivery_secs).unwrap_or(i64::MAX);
    unit.now_ms().saturating_add(secs.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: &str = r#"{"m":"i","t":"https://u.example/c/","n":3,"x":9,"s":{"a":"app","o":["root"],"v":"1","c":["1","1,x"]},"b":"app"}"#;

    #[test]
    fn waiting_delivery_is_stored_with_short_names_and_read_back() {
        let stored = StoredDelivery {
            message: "i".to_owned(),
            to: "https://u.example/c/".to_owned(),
            attempts: 3,
            expires_ms: 9,
            sender: DeliverySender {
                app: Some("app".to_owned()),
                scopes: vec!["root".to_owned()],
                version: Some("1".to_owned()),
                chain: vec!["1".to_owned(), "1,x".to_owned()],
            },
            schema: Some("app".to_owned()),
        };
        assert_eq!(serde_json::to_string(&stored).unwrap(), STORED);
        let read: StoredDelivery = serde_json::from_str(STORED).unwrap();
        assert_eq!(read, stored);
    }

    #[test]
    fn result_replaces_that_of_the_same_recipient() {
        let result = |to: &str, code: &str| DeliveryResult {
            to: to.to_owned(),
            code: code.to_owned(),
            reason: String::new(),
            next_ms: None,
            attempts: 1,
        };
        let mut properties = Properties::new();
        set_results(&mut properties, &[result("a", "202"), result("b", "201")]);
        set_results(&mut properties, &[result("a", "500")]);
        let codes = results_of(&properties).iter().map(|value| match value {
            Value::Complex(members) => (members.text("To"), members.text("Code")),
            _ => (None, None),
        });
        let expected = [(Some("a"), Some("500")), (Some("b"), Some("201"))];
        assert_eq!(codes.collect::<Vec<_>>(), expected);
    }
}
