//! Removing old entries. What is left still proves what was removed: the head keeps the hash of the last removed entry.

use personium_store::{Batch, KeyRange};
use personium_types::Result;
use personium_types::time::iso_time;

use super::chain::{AuditHead, AuditLink, hash, line};
use crate::audit_event::{AuditActor, AuditEvent, AuditEventKind};
use crate::records::{self, put_checked};
use crate::{Unit, keys};

/// The number of entries that one batch removes at most.
const REMOVAL_BATCH: usize = 200;

/// How long entries are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditRetention {
    /// The age from which on they are removed, in milliseconds; `None` if it does not matter.
    pub max_age_ms: Option<i64>,
    /// The number from which on the oldest are removed; `None` if it does not matter.
    pub entries_max: Option<u64>,
}

impl Unit {
    /// Removes the entries of the audit log that are too old or too many, and says so in a new entry. Returns their number. Several
    /// server nodes may do so at the same time.
    ///
    /// # Errors
    /// A failure of the store. An entry that cannot be read is not removed, and neither is what follows.
    pub async fn remove_old_audit_entries(&self, retention: AuditRetention) -> Result<u64> {
        let mut removed = None;
        loop {
            let step = self.records().transact(|| self.removal(retention)).await?;
            let Some((from, to)) = step else { break };
            let (first, _) = removed.unwrap_or((from, to));
            removed = Some((first, to));
        }
        let Some((first, last)) = removed else {
            return Ok(0);
        };
        let event = AuditEvent::new(AuditEventKind::Note, "audit.remove")
            .by(AuditActor::unit(), None)
            .with_target(&format!("entries {first} to {last}"));
        self.append_audit_entry(event).await?;
        Ok(last + 1 - first)
    }

    /// The removal of some entries, with the numbers of the first and the last.
    async fn removal(&self, retention: AuditRetention) -> Result<(Batch, Option<(u64, u64)>)> {
        let records = self.records();
        let mut batch = Batch::new();
        let Some(found) = records.find::<AuditHead>(&keys::audit_head()).await? else {
            return Ok((batch, None));
        };
        let mut head = found.value;
        let oldest_kept = retention
            .max_age_ms
            .map(|age| iso_time(self.now_ms().saturating_sub(age)));
        let first_kept = retention
            .entries_max
            .map_or(0, |max| (head.last + 1).saturating_sub(max));
        let first = head.first;
        let range = KeyRange {
            start: keys::audit_entry(first),
            end: Some(keys::audit_entry(head.last.saturating_add(1))),
        };
        for (key, value) in records.list_bytes(&range, REMOVAL_BATCH).await? {
            let link: AuditLink = records::decode(&value)?;
            let is_old = oldest_kept.as_ref().is_some_and(|kept| link.time < *kept);
            if !is_old && head.first >= first_kept {
                break;
            }
            batch.delete(key);
            head.first += 1;
            head.before_first = hash(line(&value)?);
        }
        if head.first == first {
            return Ok((Batch::new(), None));
        }
        let removed = (first, head.first - 1);
        put_checked(&mut batch, keys::audit_head(), Some(found.version), &head)?;
        Ok((batch, Some(removed)))
    }
}
