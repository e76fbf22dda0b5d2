//! The event log of a cell: lines that rules write. They are records, so that they are as durable as the events.
//!
//! The current log is a generation of lines. When it is full it becomes an archive, and the next generation begins. A
//! batch that adds lines asserts that the state of the log is as it was read, so that no line is added to an archive.

mod import;

use std::borrow::Cow;
use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use personium_store::{Batch, Direction, Expect, Key};
use personium_types::error::chain;
use personium_types::time::iso_time;
use personium_types::{Code, Error, Operation, Result};
use serde::{Deserialize, Serialize};

pub use self::import::LogImport;
use super::record::Event;
use crate::commit::Invalidation;
use crate::monotonic_ids::new_request_key;
use crate::records::{self, Records, Versioned};
use crate::{CellContext, Permit, PermitTarget, Unit, keys};

/// The size from which on a log is archived.
const ARCHIVE_FROM_BYTES: i64 = 1 << 20;
/// The largest number of archives.
const MAX_ARCHIVES: usize = 12;
/// The largest memory that is reserved for a log before its lines are read.
const LOG_CAPACITY_MAX_BYTES: usize = 4 << 20;
/// The number of lines that are read at once.
const LINES_PER_READ: usize = 500;
/// The beginning of the name of an archive; the milliseconds since 1970 follow.
const ARCHIVE_NAME: &str = "default.log.";
/// The name of the current log.
pub const CURRENT_LOG_NAME: &str = "default.log";

/// The level of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// `INFO`
    Info,
    /// `WARN`
    Warn,
    /// `ERROR`
    Error,
}

/// The stored state of the log of a cell.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct LogState {
    /// The generation that lines are added to.
    #[serde(rename = "g")]
    generation: u32,
    #[serde(rename = "a")]
    archives: Vec<StoredArchive>,
    /// The generations whose lines are to be removed.
    #[serde(rename = "x", default)]
    removed: Vec<u32>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct StoredArchive {
    #[serde(rename = "g")]
    generation: u32,
    /// When it was archived, milliseconds since 1970. The name contains it.
    #[serde(rename = "t")]
    at: i64,
}

/// A log in the form of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Its name.
    pub name: String,
    /// When its first line was written, milliseconds since 1970.
    pub created: i64,
    /// When its last line was written, milliseconds since 1970.
    pub updated: i64,
    /// Its length in bytes.
    pub length: u64,
    generation: u32,
}

/// The log of a cell at one time.
pub struct EventLog {
    records: Records,
    state: LogState,
}

async fn find_state(records: &Records) -> Result<Option<Versioned<LogState>>> {
    records.find(&keys::log_state()).await
}

/// An event with a request key, a new one if it has none, so that the lines about it have the same.
pub(super) fn with_request_key<'e>(unit: &Unit, event: &'e Event) -> Cow<'e, Event> {
    if event.request_key.is_some() {
        return Cow::Borrowed(event);
    }
    Cow::Owned(Event {
        request_key: Some(new_request_key(unit.random())),
        ..event.clone()
    })
}

/// Adds a character of a value.
fn push_escaped(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\"\""),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        c if c != '\t' && (c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) => {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
        c => out.push(c),
    }
}

/// The line of an event: comma-separated values in quotes, with quotes doubled; `null` without quotes for a missing value. Line breaks in
/// values are `\n` and `\r`, other control characters but the tabulator, and the line ends of Unicode, are like `\u001b`: a client that
/// posts events could write lines that look like others.
pub(super) fn line(event: &Event, level: LogLevel, at: i64) -> String {
    let time = iso_time(at);
    let time = time
        .strip_suffix(".000Z")
        .map_or_else(|| time.clone(), |whole| format!("{whole}Z"));
    let level = match level {
        LogLevel::Info => "INFO ",
        LogLevel::Warn => "WARN ",
        LogLevel::Error => "ERROR",
    };
    let external = Some(event.external.to_string());
    let mut out = format!("{time},[{level}]");
    for value in [
        &event.request_key,
        &external,
        &event.schema,
        &event.subject,
        &event.kind,
        &event.object,
        &event.info,
    ] {
        match value {
            Some(text) => {
                out.push_str(",\"");
                text.chars().for_each(|c| push_escaped(&mut out, c));
                out.push('"');
            }
            None => out.push_str(",null"),
        }
    }
    out.push('\n');
    out
}

/// Adds lines to a batch. Returns whether the log is full with them.
pub(super) async fn append(
    unit: &Unit,
    records: &Records,
    batch: &mut Batch,
    lines: Vec<String>,
) -> Result<bool> {
    if lines.is_empty() {
        return Ok(false);
    }
    let state = find_state(records).await?;
    let expected = state
        .as_ref()
        .map_or(Expect::Absent, |state| Expect::Version(state.version));
    batch.assert(keys::log_state(), expected);
    let generation = state.map_or(0, |state| state.value.generation);
    let size = keys::log_size(generation);
    let added = lines.iter().map(String::len).sum::<usize>();
    let added = i64::try_from(added).unwrap_or(i64::MAX);
    for line in lines {
        batch.put(
            keys::log_line(generation, &unit.next_event_id()),
            line.into_bytes(),
        );
    }
    let before = records.counter(&size).await?;
    batch.add(size, added);
    Ok(before.saturating_add(added) >= ARCHIVE_FROM_BYTES)
}

/// Adds lines of a script to the log of a cell. They are no events: no rule is applied to them.
///
/// # Errors
/// A failure of the store. An internal error if the permit is not for executing this service of the cell.
pub async fn add_script_lines(
    (unit, context): (&Unit, &CellContext),
    (permit, service): (&Permit, &PermitTarget),
    lines: &[(LogLevel, Event)],
) -> Result<()> {
    permit.check(Operation::Execute, service)?;
    if !matches!(service, PermitTarget::Node { cell, .. } if *cell == context.cell().id) {
        return Err(Error::internal("the service is in another cell"));
    }
    let now = unit.now_ms();
    let lines: Vec<_> = lines
        .iter()
        .map(|(level, event)| line(event, *level, now))
        .collect();
    let log_is_full = unit
        .transact(context, Invalidation::None, || async {
            let mut batch = Batch::new();
            let is_full = append(unit, context.records(), &mut batch, lines.clone()).await?;
            Ok((batch, is_full))
        })
        .await?;
    if log_is_full {
        archive_in_background(unit, context);
    }
    Ok(())
}

/// Archives the log of a cell in the background, if it is full. A failure is logged; the next line retries.
pub(super) fn archive_in_background(unit: &Unit, context: &CellContext) {
    let (records, now, cell) = (context.records().clone(), unit.now_ms(), context.cell().id);
    tokio::spawn(async move {
        if let Err(error) = archive_if_full(&records, now).await {
            tracing::warn!(
                cell.id = %cell,
                error = %chain(&error),
                "failed to archive the event log, will retry"
            );
        }
    });
}

/// Makes the current log an archive if it is full, and removes the lines of removed generations.
async fn archive_if_full(records: &Records, now: i64) -> Result<()> {
    records
        .transact(|| async {
            let found = find_state(records).await?;
            let version = found.as_ref().map(|state| state.version);
            let mut state = found.map(|state| state.value).unwrap_or_default();
            let mut batch = Batch::new();
            let size = records.counter(&keys::log_size(state.generation)).await?;
            if size >= ARCHIVE_FROM_BYTES {
                state.archive(now);
                records::put_checked(&mut batch, keys::log_state(), version, &state)?;
            }
            Ok((batch, ()))
        })
        .await?;
    remove_lines(records).await
}

/// Removes the lines of removed generations.
async fn remove_lines(records: &Records) -> Result<()> {
    let Some(state) = find_state(records).await? else {
        return Ok(());
    };
    for removed in state.value.removed {
        records.remove_range(&keys::log_lines(removed)).await?;
        records
            .transact(|| async {
                let mut batch = Batch::new();
                if let Some(now) = find_state(records).await? {
                    let mut state = now.value;
                    state.removed.retain(|generation| *generation != removed);
                    batch.delete(keys::log_size(removed));
                    records::put_checked(&mut batch, keys::log_state(), Some(now.version), &state)?;
                }
                Ok((batch, ()))
            })
            .await?;
    }
    Ok(())
}

impl LogState {
    /// Makes the current generation an archive, and removes the oldest archives beyond the largest number.
    fn archive(&mut self, now: i64) {
        let after = self.archives.last().map_or(now, |last| last.at + 1);
        self.archives.push(StoredArchive {
            generation: self.generation,
            at: now.max(after),
        });
        self.generation += 1;
        while self.archives.len() > MAX_ARCHIVES {
            self.removed.push(self.archives.remove(0).generation);
        }
    }
}

/// Removes an archive.
///
/// # Errors
/// [`Code::NoSuchResource`] if there is none of this name. An internal error if the permit is not for logs of this cell.
pub async fn remove_archive(
    unit: &Unit,
    context: &CellContext,
    permit: &Permit,
    name: &str,
) -> Result<()> {
    let target = PermitTarget::Cell(context.cell().id);
    permit.check(Operation::RemoveLog, &target)?;
    let records = context.records();
    unit.transact(context, Invalidation::None, || async {
        let found = find_state(records).await?;
        let found = found.ok_or_else(|| no_such_log(name))?;
        let mut state = found.value;
        let position = state.archives.iter().position(|a| archive_name(a) == name);
        let position = position.ok_or_else(|| no_such_log(name))?;
        let archive = state.archives.remove(position);
        state.removed.push(archive.generation);
        let mut batch = Batch::new();
        records::put_checked(&mut batch, keys::log_state(), Some(found.version), &state)?;
        Ok((batch, ()))
    })
    .await?;
    remove_lines(records).await
}

fn archive_name(archive: &StoredArchive) -> String {
    format!("{ARCHIVE_NAME}{}", archive.at)
}

fn no_such_log(name: &str) -> Error {
    Error::new(Code::NoSuchResource).with(name)
}

impl EventLog {
    /// The log of a cell.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn open(context: &CellContext) -> Result<Self> {
        let records = context.records().clone();
        let state = find_state(&records).await?;
        Ok(Self {
            state: state.map(|state| state.value).unwrap_or_default(),
            records,
        })
    }

    /// The current log; `None` if nothing was logged since the last one was archived.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn find_current(&self) -> Result<Option<LogFile>> {
        self.file(CURRENT_LOG_NAME.to_owned(), self.state.generation)
            .await
    }

    /// The archives, the oldest first.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn list_archives(&self) -> Result<Vec<LogFile>> {
        let mut out = Vec::with_capacity(self.state.archives.len());
        for archive in &self.state.archives {
            out.extend(self.file(archive_name(archive), archive.generation).await?);
        }
        Ok(out)
    }

    /// The archive of this name.
    ///
    /// # Errors
    /// [`Code::NoSuchResource`] if there is none; a failure of the store.
    pub async fn get_archive(&self, name: &str) -> Result<LogFile> {
        let found = self.state.archives.iter().find(|a| archive_name(a) == name);
        let file = match found {
            Some(archive) => self.file(name.to_owned(), archive.generation).await?,
            None => None,
        };
        file.ok_or_else(|| no_such_log(name))
    }

    async fn file(&self, name: String, generation: u32) -> Result<Option<LogFile>> {
        let lines = keys::log_lines(generation);
        let end = |order| self.records.list_keys(&lines, order, 1);
        let time = |found: Vec<Key>| found.first().and_then(keys::time_of_monotonic_id);
        let (Some(created), Some(updated)) = (
            time(end(Direction::Up).await?),
            time(end(Direction::Down).await?),
        ) else {
            return Ok(None);
        };
        let length = self.records.counter(&keys::log_size(generation)).await?;
        Ok(Some(LogFile {
            name,
            created,
            updated,
            length: length.unsigned_abs(),
            generation,
        }))
    }

    /// All lines of a log.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn read(&self, file: &LogFile) -> Result<Bytes> {
        let mut range = keys::log_lines(file.generation);
        let length = usize::try_from(file.length).unwrap_or(0);
        let mut out = BytesMut::with_capacity(length.min(LOG_CAPACITY_MAX_BYTES));
        loop {
            let found = self.records.list_bytes(&range, LINES_PER_READ).await?;
            for (_, line) in &found {
                out.extend_from_slice(line);
            }
            match found.last() {
                Some((last, _)) if found.len() == LINES_PER_READ => range = range.after(last),
                _ => return Ok(out.freeze()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
