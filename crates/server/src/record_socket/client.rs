//! The record port over the socket of a running unit.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use parking_lot::Mutex;
use personium_store::{
    Batch, CommitSeq, Direction, ErrorDetail, JournalPage, JournalPosition, Key, KeyRange, Limit,
    RangeState, Record, RecordSnapshot, RecordStore, Result, SmallSpace, Snapshot, Space,
    StoreError, StructureVersion,
};
use tokio::net::UnixStream;

use crate::command_audit::AuditedCommand;
use crate::system_user;

use super::message::{
    ChangeMark, MessageReader, RESPONSE_MAX_BYTES, RecordRequest, decode_response, malformed,
    receive, send,
};

/// The records of a unit that runs. They can be read only.
pub(crate) struct RemoteRecords {
    path: PathBuf,
    /// The connections that no call uses.
    idle: Mutex<Vec<UnixStream>>,
}

/// The number of connections that are kept for further calls.
const IDLE_MAX: usize = 8;

impl RemoteRecords {
    /// Connects to the unit that runs on this data folder.
    ///
    /// # Errors
    /// If none listens.
    pub(crate) async fn connect(data_dir: &Path) -> Result<Self> {
        let path = super::path(data_dir);
        let stream = connect(&path).await?;
        Ok(Self {
            path,
            idle: Mutex::new(vec![stream]),
        })
    }

    /// Notes in the audit log of the unit that a cell was removed from back-ups.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) async fn note(&self, command: &AuditedCommand) -> Result<()> {
        let target = command.target.clone();
        let request = RecordRequest::NoteForgotten(system_user::describe(), target);
        self.call(&request).await.map(drop)
    }

    /// Returns the spaces that were changed after a time, unless it is one of another run of the unit, and the time of now. `None` if the unit
    /// does not know.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) async fn changed_spaces(
        &self,
        since: Option<ChangeMark>,
    ) -> Result<Option<(ChangeMark, Option<Vec<Space>>)>> {
        let answered = self.call(&RecordRequest::ChangedSpaces(since)).await;
        let mut parts = match answered {
            Ok(parts) => parts,
            // A unit of an earlier version.
            Err(StoreError::Unsupported(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        if parts.byte().map_err(malformed)? == 0 {
            return Ok(None);
        }
        let now = parts.change_time().map_err(malformed)?;
        let changed = match parts.byte().map_err(malformed)? {
            0 => None,
            _ => Some(parts.spaces().map_err(malformed)?),
        };
        Ok(Some((now, changed)))
    }

    async fn call(&self, request: &RecordRequest) -> Result<MessageReader> {
        // Calls at the same time have a connection each.
        let kept = self.idle.lock().pop();
        let mut stream = match kept {
            Some(stream) => stream,
            None => connect(&self.path).await?,
        };
        // A call that is given up, or fails, leaves no connection behind that has its response.
        let message = exchange(&mut stream, request).await?;
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(stream);
        }
        drop(idle);
        decode_response(message)
    }
}

async fn connect(path: &Path) -> Result<UnixStream> {
    UnixStream::connect(path).await.map_err(|error| {
        let text = format!("cannot connect to the running unit at {}", path.display());
        StoreError::Down(ErrorDetail::new(text).with_source(error))
    })
}

async fn exchange(stream: &mut UnixStream, request: &RecordRequest) -> Result<bytes::Bytes> {
    let failed = |error: std::io::Error| {
        let text = "the running unit does not answer; was it stopped?";
        StoreError::Down(ErrorDetail::new(text).with_source(error))
    };
    send(stream, &request.encode()).await.map_err(failed)?;
    let response = receive(stream, RESPONSE_MAX_BYTES).await.map_err(failed)?;
    response.ok_or_else(|| failed(std::io::ErrorKind::UnexpectedEof.into()))
}

fn read_only() -> StoreError {
    let text = "the records of a running unit can only be read";
    StoreError::Unsupported(ErrorDetail::new(text))
}

#[async_trait]
impl RecordStore for RemoteRecords {
    async fn get(&self, space: &Space, keys: &[Key]) -> Result<Snapshot<Vec<Option<Record>>>> {
        let mut parts = self
            .call(&RecordRequest::Get(*space, keys.to_vec()))
            .await?;
        let structure = parts.number().map_err(malformed)?;
        let mut value = Vec::with_capacity(keys.len());
        for _ in keys {
            value.push(match parts.byte().map_err(malformed)? {
                0 => None,
                _ => Some(parts.record().map_err(malformed)?),
            });
        }
        Ok(Snapshot { value, structure })
    }

    async fn scan(
        &self,
        space: &Space,
        range: &KeyRange,
        order: Direction,
        limit: Limit,
    ) -> Result<Snapshot<Vec<(Key, Record)>>> {
        let request = RecordRequest::Scan(*space, range.clone(), order, limit);
        let mut parts = self.call(&request).await?;
        let structure = parts.number().map_err(malformed)?;
        let value = parts.records().map_err(malformed)?;
        Ok(Snapshot { value, structure })
    }

    async fn count(&self, space: &Space, range: &KeyRange) -> Result<Snapshot<u64>> {
        let mut parts = self
            .call(&RecordRequest::Count(*space, range.clone()))
            .await?;
        let structure = parts.number().map_err(malformed)?;
        let value = parts.number().map_err(malformed)?;
        Ok(Snapshot { value, structure })
    }

    async fn structure(&self, space: &Space) -> Result<StructureVersion> {
        Ok(self.get(space, &[]).await?.structure)
    }

    async fn commit(&self, space: &Space, batch: Batch) -> Result<CommitSeq> {
        if !batch.is_empty() {
            return Err(read_only());
        }
        let mut parts = self.call(&RecordRequest::LastCommit(*space)).await?;
        parts.number().map_err(malformed)
    }

    async fn create_space(&self, _: &Space) -> Result<()> {
        Err(read_only())
    }

    async fn list_spaces(&self, after: Option<&Space>, limit: usize) -> Result<Vec<Space>> {
        let request = RecordRequest::ListSpaces(after.copied(), limit as u64);
        let mut parts = self.call(&request).await?;
        parts.spaces().map_err(malformed)
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn drop_space(&self, _: &Space) -> Result<()> {
        Err(read_only())
    }

    async fn find_damage(&self, space: &Space) -> Result<Option<String>> {
        let mut parts = self.call(&RecordRequest::FindDamage(*space)).await?;
        let is_damaged = parts.byte().map_err(malformed)? != 0;
        let text = parts.text().map_err(malformed)?;
        Ok(is_damaged.then_some(text))
    }

    async fn journal(
        &self,
        space: &Space,
        after: JournalPosition,
        limit: Limit,
    ) -> Result<Option<JournalPage>> {
        let request = RecordRequest::Journal(*space, after, limit);
        let mut parts = self.call(&request).await?;
        let is_kept = parts.byte().map_err(malformed)? != 0;
        let page = parts.journal().map_err(malformed)?;
        Ok(is_kept.then_some(page))
    }

    async fn small_space(&self, space: &Space, limit: Limit) -> Result<Option<SmallSpace>> {
        let answered = self.call(&RecordRequest::SmallSpace(*space, limit)).await;
        let mut parts = match answered {
            Ok(parts) => parts,
            // A unit of an earlier version.
            Err(StoreError::Unsupported(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_small = parts.byte().map_err(malformed)? != 0;
        let found = SmallSpace {
            last_commit: parts.number().map_err(malformed)?,
            records: parts.records().map_err(malformed)?,
        };
        Ok(is_small.then_some(found))
    }

    async fn snapshot(&self, space: &Space) -> Result<Box<dyn RecordSnapshot>> {
        // The snapshot belongs to its connection.
        let mut stream = connect(&self.path).await?;
        let response = exchange(&mut stream, &RecordRequest::Snapshot(*space)).await?;
        let last_commit = decode_response(response)?.number().map_err(malformed)?;
        Ok(Box::new(RemoteSnapshot {
            stream,
            last_commit,
        }))
    }

    async fn check(&self) -> Result<()> {
        self.get(&Space::Unit, &[]).await.map(drop)
    }

    async fn close(&self) -> Result<()> {
        self.idle.lock().clear();
        Ok(())
    }
}

/// A snapshot that the running unit keeps for a connection.
struct RemoteSnapshot {
    stream: UnixStream,
    last_commit: CommitSeq,
}

#[async_trait]
impl RecordSnapshot for RemoteSnapshot {
    fn last_commit(&self) -> CommitSeq {
        self.last_commit
    }

    async fn scan(&mut self, range: &KeyRange, limit: Limit) -> Result<Vec<(Key, Record)>> {
        let request = RecordRequest::ScanSnapshot(range.clone(), limit);
        let response = exchange(&mut self.stream, &request).await?;
        decode_response(response)?.records().map_err(malformed)
    }

    async fn state(&mut self, range: &KeyRange) -> Result<Option<RangeState>> {
        let request = RecordRequest::SnapshotState(range.clone());
        let response = exchange(&mut self.stream, &request).await?;
        let mut parts = match decode_response(response) {
            Ok(parts) => parts,
            // A unit of an earlier version.
            Err(StoreError::Unsupported(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_known = parts.byte().map_err(malformed)? != 0;
        let state = RangeState {
            records: parts.number().map_err(malformed)?,
            last_version: parts.number().map_err(malformed)?,
        };
        Ok(is_known.then_some(state))
    }
}
