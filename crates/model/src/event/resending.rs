//! Requests of rules that were given up and are sent again.

use personium_store::{Batch, Expect};
use personium_types::{Code, Result};

use super::consequences::{Consequences, FullOutbox};
use super::dead_letter::{DeadLetter, DeadLetterId, StoredDeadLetter, check};
use super::rule_request::{Attempts, OutboxEntry, RequestKind};
use crate::{CellContext, Permit, Unit, keys};

/// Puts a request that was given up into the outbox again, behind those of its rule that wait.
///
/// # Errors
/// [`Code::NoSuchEntity`] if there is none; [`Code::ServerBusy`] if the outbox is full; a failure of the store; an internal error if
/// the permit is not for that.
pub async fn send_again(
    unit: &Unit,
    context: &CellContext,
    permit: &Permit,
    id: DeadLetterId,
) -> Result<()> {
    check(context, permit)?;
    let key = keys::dead_letter(&id.0);
    let records = context.records();
    unit.transact_with(records, || async {
        let found = records.find::<StoredDeadLetter>(&key).await?;
        let found = found.ok_or(Code::NoSuchEntity)?;
        let letter = DeadLetter::from(found.value);
        let mut batch = Batch::new();
        batch.assert(key.clone(), Expect::Version(found.version));
        batch.delete(key.clone());
        batch.add(keys::dead_letter_count(), -1);
        let mut consequences = Consequences::new(unit, context, records);
        let entry = OutboxEntry {
            attempts: Attempts::default(),
            ..letter.entry
        };
        match entry.kind {
            RequestKind::Publish => consequences.publish(&entry.event)?,
            _ => consequences.add_request(letter.rule, &entry)?,
        }
        let (post_commit, _) = consequences.add_to(&mut batch, FullOutbox::Refuse).await?;
        Ok((batch, post_commit, ()))
    })
    .await
}
