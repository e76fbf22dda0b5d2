//! Event logs that are taken over from another unit.

use personium_store::Batch;
use personium_types::Result;
use personium_types::time::parse_iso_time;

use super::{LogState, MAX_ARCHIVES, StoredArchive};
use crate::keys;
use crate::records::{self, Records, store_error};

/// The size of the lines of one commit, and their number.
const COMMIT_BYTES: usize = 1 << 20;
const COMMIT_LINES: usize = 1_000;

/// Fills the event log of a cell that nobody sees yet: the archives, the oldest first, then the current log.
pub struct LogImport {
    records: Records,
    state: LogState,
    batch: Batch,
    lines: usize,
    bytes: usize,
    /// The time of the last line, and its number among those.
    last: (i64, u32),
}

impl LogImport {
    /// Begins with the records of the cell. `from_ms` is the time of lines that have none.
    #[must_use]
    pub fn new(records: Records, from_ms: i64) -> Self {
        Self {
            records,
            state: LogState::default(),
            batch: Batch::new(),
            lines: 0,
            bytes: 0,
            last: (from_ms, 0),
        }
    }

    /// Adds a line, or a part of one, with its end.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn add(&mut self, line: Vec<u8>) -> Result<()> {
        let time = time_of(&line).unwrap_or(self.last.0);
        self.last = match time > self.last.0 {
            true => (time, 0),
            false => (self.last.0, self.last.1.saturating_add(1)),
        };
        let generation = self.state.generation;
        let id = keys::monotonic_id(self.last.0, self.last.1, 0);
        let length = i64::try_from(line.len()).unwrap_or(i64::MAX);
        self.bytes += line.len();
        self.lines += 1;
        self.batch.add(keys::log_size(generation), length);
        self.batch.put(keys::log_line(generation, &id), line);
        match self.bytes >= COMMIT_BYTES || self.lines >= COMMIT_LINES {
            true => self.commit().await,
            false => Ok(()),
        }
    }

    /// Makes what was added since the last archive an archive of this time.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn end_archive(&mut self, at: i64) -> Result<()> {
        self.commit().await?;
        let after = self.state.archives.last().map_or(at, |last| last.at + 1);
        self.state.archives.push(StoredArchive {
            generation: self.state.generation,
            at: at.max(after),
        });
        self.state.generation += 1;
        while self.state.archives.len() > MAX_ARCHIVES {
            let removed = self.state.archives.remove(0).generation;
            self.records.remove_range(&keys::log_lines(removed)).await?;
            let mut batch = Batch::new();
            batch.delete(keys::log_size(removed));
            self.records.commit(batch).await.map_err(store_error)?;
        }
        Ok(())
    }

    /// Ends the log.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn finish(mut self) -> Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        records::put(&mut batch, keys::log_state(), &self.state)?;
        self.records
            .commit(batch)
            .await
            .map_err(store_error)
            .map(drop)
    }

    async fn commit(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        (self.lines, self.bytes) = (0, 0);
        self.records
            .commit(batch)
            .await
            .map_err(store_error)
            .map(drop)
    }
}

/// The time at the beginning of a line.
fn time_of(line: &[u8]) -> Option<i64> {
    let end = line.iter().position(|byte| *byte == b',')?;
    parse_iso_time(std::str::from_utf8(line.get(..end)?).ok()?)
}
