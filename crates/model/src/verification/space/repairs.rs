//! The repair of records that follow from others: unique keys, index entries, links, references to bodies and numbers.
//!
//! Each repair is a batch that asserts what was read, so a change meanwhile is never undone.

use personium_store::{Batch, Expect, Key, Record, Result, StoreError};

use super::SpaceVerification;
use crate::keys::SetKey;
use crate::verification::FindingKind;
use crate::verification::walk::Slot;

impl SpaceVerification<'_> {
    /// Reports damage. If repairs are wanted and there is a batch for it, commits that and reports the repair instead. What has changed
    /// meanwhile is not reported.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn repair_or_report(
        &mut self,
        resource: String,
        problem: String,
        batch: Option<Batch>,
    ) -> Result<()> {
        let Some(mut batch) = batch.filter(|_| self.repairs) else {
            self.damage(resource, problem);
            return Ok(());
        };
        // Records that follow from roles or accounts may be in the memory of a process.
        batch.change_structure();
        let reader = &self.names.reader;
        match reader.store.commit(&reader.space, batch).await {
            Ok(_) => self.add(FindingKind::Repaired, resource, problem),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The batch that puts a record, with this value if it has one, which follows from a present one. `None` if what is there belongs to
    /// another entity, or what it should be is not known.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn missing_record(
        &self,
        (source, source_record): (&Key, &Record),
        (key, value): (&Key, Option<&str>),
        found: &Slot,
    ) -> Result<Option<Batch>> {
        if *found != Slot::Absent {
            return Ok(None);
        }
        let value = match key.as_bytes().first() {
            Some(b'C') => match SetKey::of_key(key) {
                Some((set, _)) => {
                    let entities = crate::keys::entities(&set);
                    number(self.names.reader.count(&entities).await?)
                }
                None => return Ok(None),
            },
            Some(b'I' | b'K' | b'L' | b'R') => value.unwrap_or_default().as_bytes().to_vec(),
            // An entity that is lost does not follow from its links.
            _ => return Ok(None),
        };
        let mut batch = Batch::new();
        batch.assert(source.clone(), Expect::Version(source_record.version));
        batch.assert(key.clone(), Expect::Absent);
        batch.put(key.clone(), value);
        Ok(Some(batch))
    }
}

/// The batch that removes a record which does not follow from its entity.
pub(super) fn without_record(
    (key, record): (&Key, &Record),
    (entity, found): (&Key, &Slot),
) -> Option<Batch> {
    let expected = match found {
        Slot::Absent => Expect::Absent,
        Slot::Present(entity) => Expect::Version(entity.version),
        Slot::Damaged => return None,
    };
    let mut batch = Batch::new();
    batch.assert(entity.clone(), expected);
    batch.assert(key.clone(), Expect::Version(record.version));
    batch.delete(key.clone());
    Some(batch)
}

/// The batch that corrects a number.
pub(super) fn corrected_number((key, record): (&Key, &Record), counted: u64) -> Batch {
    let mut batch = Batch::new();
    batch.assert(key.clone(), Expect::Version(record.version));
    batch.put(key.clone(), number(counted));
    batch
}

fn number(counted: u64) -> Vec<u8> {
    let counted = i64::try_from(counted).unwrap_or(i64::MAX);
    counted.to_le_bytes().to_vec()
}
