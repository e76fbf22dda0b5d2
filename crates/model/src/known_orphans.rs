//! The orphaned file bodies that this process has found on a shared store, where the age of a body says little.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use personium_types::{BlobId, CellId};

/// The time for which a body on a shared store is known to be orphaned before it is removed.
const SHARED_ORPHAN_AGE: Duration = Duration::from_secs(3_600);
/// The largest number of orphans that are remembered between two scans. Others are found again by later scans.
const ORPHANS_MAX: usize = 100_000;

/// The orphans that a server node has found on a shared store, with the times.
#[derive(Debug, Default)]
pub(crate) struct KnownOrphans(Mutex<HashMap<CellId, HashMap<BlobId, Instant>>>);

impl KnownOrphans {
    /// Notes the orphans of a cell that were found now, and returns those that were known for long enough.
    pub(crate) fn update(&self, cell: &CellId, found: Vec<BlobId>, now: Instant) -> Vec<BlobId> {
        let mut known = self.0.lock();
        let mut before = known.remove(cell).unwrap_or_default();
        let mut count: usize = known.values().map(HashMap::len).sum();
        let (mut due, mut young) = (Vec::new(), HashMap::new());
        for id in found {
            let since = before.remove(&id).unwrap_or(now);
            if now.saturating_duration_since(since) >= SHARED_ORPHAN_AGE {
                due.push(id);
            } else if count < ORPHANS_MAX {
                young.insert(id, since);
                count += 1;
            }
        }
        if !young.is_empty() {
            known.insert(*cell, young);
        }
        due
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may use the real clock")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn orphan_is_due_an_hour_after_it_was_found() {
        let (cell, start) = (CellId::from_bytes([1; 16]), tokio::time::Instant::now());
        let (start, known) = (start.into_std(), KnownOrphans::default());
        let id = BlobId::from_bytes([2; 16]);
        let at = |secs| start + Duration::from_secs(secs);
        assert!(known.update(&cell, vec![id], at(0)).is_empty());
        assert!(known.update(&cell, vec![id], at(3_599)).is_empty());
        assert_eq!(known.update(&cell, vec![id], at(3_600)), [id]);
        // It was referred to meanwhile.
        assert!(known.update(&cell, vec![id], at(4_000)).is_empty());
        assert!(known.update(&cell, vec![], at(5_000)).is_empty());
        assert!(known.update(&cell, vec![id], at(8_000)).is_empty());
    }

    #[tokio::test]
    async fn number_of_known_orphans_is_bounded() {
        let now = tokio::time::Instant::now().into_std();
        let known = KnownOrphans::default();
        let id = |number: usize| BlobId::from_bytes((number as u128).to_be_bytes());
        for cell in 0..2 {
            let cell = CellId::from_bytes([cell; 16]);
            let found = (0..ORPHANS_MAX * 3 / 4).map(id).collect();
            known.update(&cell, found, now);
        }
        let count: usize = known.0.lock().values().map(HashMap::len).sum();
        assert_eq!(count, ORPHANS_MAX);
    }
}
