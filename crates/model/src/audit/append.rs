//! Appending entries: those of requests at the same time are stored by one commit.

use std::sync::Arc;

use personium_store::Batch;
use personium_types::error::chain;
use personium_types::{Code, Result};

use super::chain::{AuditHead, AuditStamp};
use crate::audit_event::AuditEvent;
use crate::audit_log::QueuedEntry;
use crate::records::{Records, put_checked};
use crate::{Unit, keys};

/// The largest number of entries of one commit.
const ENTRIES_PER_COMMIT: usize = 200;

impl Unit {
    /// Appends an entry to the audit log. It is durable when this returns its number. An entry is also stored if the caller is
    /// cancelled.
    ///
    /// # Errors
    /// A failure of the store; [`Code::ServerBusy`] if other server nodes append all the time.
    pub async fn append_audit_entry(&self, event: AuditEvent) -> Result<u64> {
        let in_flight = Arc::clone(self.commits()).read_owned().await;
        let stored = self.audit_log().add(event);
        let unit = self.share();
        tokio::spawn(async move {
            unit.store_audit_entries().await;
            drop(in_flight);
        });
        match stored.await {
            Ok(outcome) => outcome.map_err(Into::into),
            Err(_) => Err(Code::StoreDown.into()),
        }
    }

    /// Appends an entry without waiting for it.
    pub fn append_audit_entry_later(&self, event: AuditEvent) {
        // Nobody waits for the outcome; a failure is logged.
        drop(self.audit_log().add(event));
        let unit = self.share();
        tokio::spawn(async move {
            let in_flight = Arc::clone(unit.commits()).read_owned().await;
            unit.store_audit_entries().await;
            drop(in_flight);
        });
    }

    async fn store_audit_entries(&self) {
        let log = self.audit_log();
        let _writing = log.writing.lock().await;
        loop {
            let entries = log.take(ENTRIES_PER_COMMIT);
            if entries.is_empty() {
                return;
            }
            match self.store_entries(&entries).await {
                Ok(first) => {
                    for (sequence, entry) in (first..).zip(entries) {
                        // Whoever waited may be gone.
                        let _ = entry.stored.send(Ok(sequence));
                    }
                }
                Err(error) => {
                    let lost = entries.len();
                    log.count_lost(lost);
                    tracing::error!(lost, error = %chain(&error), "failed to write the audit log");
                    let code = match error.code() {
                        Code::Conflict => Code::ServerBusy,
                        code => code,
                    };
                    for entry in entries {
                        let _ = entry.stored.send(Err(code));
                    }
                }
            }
        }
    }

    /// Stores entries. Returns the number of the first.
    async fn store_entries(&self, entries: &[QueuedEntry]) -> Result<u64> {
        let node = self.server_node().info.lock().host.clone();
        let events: Vec<&AuditEvent> = entries.iter().map(|entry| &entry.event).collect();
        append(
            &self.records(),
            &events,
            &AuditStamp::new(self.now_ms(), &node),
        )
        .await
    }
}

/// Appends entries to the audit log in the records of a unit, without a unit that runs. Returns the number of the first.
///
/// # Errors
/// A failure of the store; [`Code::Conflict`] if others append all the time.
pub async fn append(records: &Records, events: &[&AuditEvent], stamp: &AuditStamp) -> Result<u64> {
    let build = || async {
        let mut batch = Batch::new();
        let first = append_to(&mut batch, records, events, stamp).await?;
        Ok((batch, first))
    };
    records.transact(build).await
}

/// Adds entries to a batch, which conflicts with others that append. Returns the number of the first.
///
/// # Errors
/// A failure of the store.
pub(super) async fn append_to(
    batch: &mut Batch,
    records: &Records,
    events: &[&AuditEvent],
    stamp: &AuditStamp,
) -> Result<u64> {
    let found = records.find(&keys::audit_head()).await?;
    let version = found.as_ref().map(|found| found.version);
    let mut head: AuditHead = found.map(|found| found.value).unwrap_or_default();
    let first = head.last + 1;
    for event in events {
        let (sequence, value) = head.append(event, stamp)?;
        batch.put(keys::audit_entry(sequence), value);
    }
    put_checked(batch, keys::audit_head(), version, &head)?;
    Ok(first)
}
