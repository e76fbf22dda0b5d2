//! A snapshot whose records are kept in memory if they are few, so that a small cell is read at once.

use async_trait::async_trait;
use personium_store::{
    CommitSeq, Key, KeyRange, Limit, Record, RecordSnapshot, RecordStore, Result, Space,
};

use super::PAGE;

/// A snapshot.
pub(super) struct BufferedSnapshot {
    /// `None` if all records were read at once.
    snapshot: Option<Box<dyn RecordSnapshot>>,
    last_commit: CommitSeq,
    /// All records, if they are fewer than a page. `None`: not known, or more.
    all: Option<Vec<(Key, Record)>>,
}

impl BufferedSnapshot {
    /// Reads a small space at once, where the store can do so, or begins a snapshot.
    ///
    /// # Errors
    /// As [`RecordStore::snapshot`].
    pub(super) async fn read(records: &dyn RecordStore, space: &Space) -> Result<Self> {
        match records.small_space(space, PAGE).await? {
            Some(small) => Ok(Self {
                snapshot: None,
                last_commit: small.last_commit,
                all: Some(small.records),
            }),
            None => Ok(Self::new(records.snapshot(space).await?)),
        }
    }

    fn new(snapshot: Box<dyn RecordSnapshot>) -> Self {
        Self {
            last_commit: snapshot.last_commit(),
            snapshot: Some(snapshot),
            all: None,
        }
    }

    /// Reads the records if they are fewer than a page.
    ///
    /// # Errors
    /// As a scan.
    pub(super) async fn fill(&mut self) -> Result<()> {
        let Some(snapshot) = &mut self.snapshot else {
            return Ok(());
        };
        let page = snapshot.scan(&KeyRange::all(), PAGE).await?;
        let bytes = page.iter().map(|(_, record)| record.value.len()).sum();
        self.all = (!PAGE.is_reached(page.len(), bytes)).then_some(page);
        Ok(())
    }
}

#[async_trait]
impl RecordSnapshot for BufferedSnapshot {
    fn last_commit(&self) -> CommitSeq {
        self.last_commit
    }

    async fn scan(&mut self, range: &KeyRange, limit: Limit) -> Result<Vec<(Key, Record)>> {
        let all = match (&self.all, &mut self.snapshot) {
            (Some(all), _) => all,
            (None, Some(snapshot)) => return snapshot.scan(range, limit).await,
            (None, None) => return Ok(Vec::new()),
        };
        let first = all.partition_point(|(key, _)| *key < range.start);
        let (mut found, mut bytes) = (Vec::new(), 0);
        for (key, record) in all.iter().skip(first) {
            if limit.is_reached(found.len(), bytes) || !range.contains(key) {
                break;
            }
            bytes += record.value.len();
            found.push((key.clone(), record.clone()));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use personium_store::Batch;
    use personium_store::memory::MemoryRecords;

    use super::*;

    #[tokio::test]
    async fn few_records_are_read_as_from_the_snapshot_and_many_are_not_kept() {
        let key = |n: usize| Key::table(b'k').u64(n as u64).build();
        for number in [0, 7, PAGE.records, PAGE.records + 1] {
            let records = MemoryRecords::new();
            let mut batch = Batch::new();
            for n in 0..number {
                batch.put(key(n), n.to_string());
            }
            records.create_space(&Space::Unit).await.unwrap();
            records.commit(&Space::Unit, batch).await.unwrap();
            let mut plain = records.snapshot(&Space::Unit).await.unwrap();
            let snapshot = records.snapshot(&Space::Unit).await.unwrap();
            let mut buffered = BufferedSnapshot::new(snapshot);
            buffered.fill().await.unwrap();
            assert_eq!(buffered.all.is_some(), number < PAGE.records);
            assert_eq!(buffered.last_commit(), plain.last_commit());
            let of = |start, end| KeyRange {
                start: key(start),
                end: Some(key(end)),
            };
            for range in [KeyRange::all(), of(2, 5), of(5, 2), of(6, 900)] {
                for limit in [Limit::records(3), Limit::records(9_999).or_bytes(4), PAGE] {
                    let wanted = plain.scan(&range, limit).await.unwrap();
                    assert_eq!(buffered.scan(&range, limit).await.unwrap(), wanted);
                }
            }
        }
    }
}
