//! Answers requests over the socket.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use personium_model::Unit;
use personium_model::records::Records;
use personium_store::{Batch, ErrorDetail, RecordSnapshot, RecordStore, Space, StoreError};
use personium_types::error::chain;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::command_audit::{AuditedCommand, FORGET_OPERATION};
use crate::system;

use super::message::{
    ChangeMark, MessageWriter, RUN_BYTES, RecordRequest, encode_response, receive, send,
};

/// The largest number of connections at the same time. A command that holds snapshots needs a second one for each.
const CONNECTIONS_MAX: usize = 64;

/// The largest request.
const REQUEST_MAX_BYTES: u32 = 8 << 20;

/// The largest page, in records and in bytes of values.
const PAGE_MAX_RECORDS: usize = 10_000;
const PAGE_MAX_BYTES: usize = 32 << 20;

/// The longest user and target of an entry of the audit log, together.
const NOTE_MAX_BYTES: usize = 16 << 10;

/// The pause after a failed accept.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The socket of a unit. Its file is removed when it is dropped.
pub(crate) struct RecordSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl RecordSocket {
    /// Listens in the data folder, which no other process uses. New files must be accessible to their owner only.
    ///
    /// # Errors
    /// If the socket cannot be made, for instance because its path is longer than the system permits.
    pub(crate) fn bind(data_dir: &Path) -> io::Result<Self> {
        let path = super::path(data_dir);
        // That of a former run.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        Ok(Self { listener, path })
    }
}

impl Drop for RecordSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Answers requests from the records of the unit until the task is aborted, as work beside the requests of clients.
pub(crate) async fn serve(
    socket: RecordSocket,
    (records, unit): (Arc<dyn RecordStore>, Arc<Unit>),
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let run = system::random().uuid().into_bytes();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = socket.listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
            continue;
        };
        let records = Arc::clone(&records);
        unit.background_work().spawn(async move {
            if let Err(error) = Box::pin(answer_all(stream, (&records, run))).await {
                tracing::debug!(%error, "a connection to the socket of the records ended");
            }
            drop(permit);
        });
    }
}

/// Answers the requests of a connection. `run` is the name of this run of the unit.
async fn answer_all(
    mut stream: UnixStream,
    (records, run): (&Arc<dyn RecordStore>, [u8; RUN_BYTES]),
) -> io::Result<()> {
    let mut snapshot = None;
    while let Some(message) = receive(&mut stream, REQUEST_MAX_BYTES).await? {
        let answered = answer(message, (records, run), &mut snapshot).await;
        send(&mut stream, &encode_response(answered)).await?;
    }
    Ok(())
}

async fn answer(
    message: Bytes,
    (records, run): (&Arc<dyn RecordStore>, [u8; RUN_BYTES]),
    snapshot: &mut Option<Box<dyn RecordSnapshot>>,
) -> Result<MessageWriter, StoreError> {
    let unsupported = |text| StoreError::Unsupported(ErrorDetail::new(text));
    let request = RecordRequest::decode(message).map_err(|_| {
        unsupported("the request has an unknown form; is the unit another version?")
    })?;
    let mut out = MessageWriter::default();
    match request {
        RecordRequest::Get(space, keys) => {
            let found = records.get(&space, &keys).await?;
            out.number(found.structure);
            for record in &found.value {
                out.byte(u8::from(record.is_some()));
                if let Some(record) = record {
                    out.record(record);
                }
            }
        }
        RecordRequest::Scan(space, range, order, mut limit) => {
            if limit.records > PAGE_MAX_RECORDS {
                return Err(unsupported("the page is too large"));
            }
            let wanted = limit.bytes;
            limit.bytes = wanted.min(PAGE_MAX_BYTES);
            let found = records.scan(&space, &range, order, limit).await?;
            let bytes: usize = found
                .value
                .iter()
                .map(|(_, record)| record.value.len())
                .sum();
            if bytes >= limit.bytes && limit.bytes < wanted {
                return Err(unsupported("the page is too large"));
            }
            out.number(found.structure);
            out.records(&found.value);
        }
        RecordRequest::Count(space, range) => {
            let found = records.count(&space, &range).await?;
            out.number(found.structure);
            out.number(found.value);
        }
        // A batch without operations changes nothing.
        RecordRequest::LastCommit(space) => {
            out.number(records.commit(&space, Batch::new()).await?);
        }
        RecordRequest::ListSpaces(after, limit) => {
            let limit = usize::try_from(limit).unwrap_or(PAGE_MAX_RECORDS);
            let limit = limit.min(PAGE_MAX_RECORDS);
            let found = records.list_spaces(after.as_ref(), limit).await?;
            out.number(found.len() as u64);
            for space in &found {
                out.space(space);
            }
        }
        RecordRequest::FindDamage(space) => {
            let found = records.find_damage(&space).await?;
            out.byte(u8::from(found.is_some()));
            out.bytes(found.unwrap_or_default().as_bytes());
        }
        RecordRequest::Snapshot(space) => {
            *snapshot = None;
            let begun = records.snapshot(&space).await?;
            out.number(begun.last_commit());
            *snapshot = Some(begun);
        }
        RecordRequest::ScanSnapshot(range, mut limit) => {
            let snapshot = snapshot
                .as_mut()
                .ok_or_else(|| unsupported("there is no snapshot"))?;
            limit.records = limit.records.min(PAGE_MAX_RECORDS);
            limit.bytes = limit.bytes.min(PAGE_MAX_BYTES);
            out.records(&snapshot.scan(&range, limit).await?);
        }
        RecordRequest::SnapshotState(range) => {
            let snapshot = snapshot
                .as_mut()
                .ok_or_else(|| unsupported("there is no snapshot"))?;
            let state = snapshot.state(&range).await?;
            out.byte(u8::from(state.is_some()));
            let state = state.unwrap_or_default();
            out.number(state.records);
            out.number(state.last_version);
        }
        RecordRequest::Journal(space, after, mut limit) => {
            limit.records = limit.records.min(PAGE_MAX_RECORDS);
            limit.bytes = limit.bytes.min(PAGE_MAX_BYTES);
            let found = records.journal(&space, after, limit).await?;
            out.byte(u8::from(found.is_some()));
            out.journal(&found.unwrap_or_default());
        }
        RecordRequest::NoteForgotten(user, target) => {
            if user.len() + target.len() > NOTE_MAX_BYTES {
                return Err(unsupported("the note is too long"));
            }
            let records = Records::new(Arc::clone(records), Space::Unit);
            let command = AuditedCommand {
                operation: FORGET_OPERATION,
                target,
            };
            let now_ms = system::clock().now_ms();
            let noted = command.note_by(&records, &user, now_ms).await;
            noted.map_err(|error| StoreError::Down(ErrorDetail::new(chain(&error))))?;
        }
        RecordRequest::SmallSpace(space, mut limit) => {
            limit.records = limit.records.min(PAGE_MAX_RECORDS);
            limit.bytes = limit.bytes.min(PAGE_MAX_BYTES);
            let found = records.small_space(&space, limit).await?;
            out.byte(u8::from(found.is_some()));
            let found = found.unwrap_or_default();
            out.number(found.last_commit);
            out.records(&found.records);
        }
        RecordRequest::ChangedSpaces(since) => {
            let since = since.filter(|since| since.run == run);
            let found = records.changed_spaces(since.map(|since| since.number));
            out.byte(u8::from(found.is_some()));
            if let Some(found) = found {
                let number = found.number;
                out.change_time(ChangeMark { run, number });
                out.byte(u8::from(found.changed.is_some()));
                let changed = found.changed.unwrap_or_default();
                out.number(changed.len() as u64);
                for space in &changed {
                    out.space(space);
                }
            }
        }
    }
    Ok(out)
}
