//! The event log of a cell: lines that rules write, kept as records so that they are as durable as what they tell of.
//!
//! The current log is a generation of lines. When it is full it becomes an archive, and the next generation begins. A
//! batch that adds lines expects the state of the log to be as it was read, so that no line comes into an archive
//! unseen.

use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use personium_store::{Batch, Direction, Expect, Key};
use personium_types::time::iso_time;
use personium_types::{Code, Error, Operation, Result};
use serde::{Deserialize, Serialize};

use super::Event;
use crate::records::{self, Records, Versioned};
use crate::sweep::remove_range;
use crate::unit::Invalidation;
use crate::{CellContext, Permit, PermitTarget, Unit, keys};

/// Bytes from which on a log is archived.
const FULL: i64 = 1 << 20;
/// Archives that are kept.
const ARCHIVES: usize = 12;
/// Lines that are read at once.
const PAGE: usize = 500;
/// What the name of an archive begins with; the milliseconds since 1970 follow.
const ARCHIVE_NAME: &str = "default.log.";
/// The name of the current log.
pub const CURRENT_NAME: &str = "default.log";

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something happened.
    Info,
    /// Somebody should look at it.
    Warn,
    /// Something is wrong.
    Error,
}

/// What is kept about the log of a cell besides its lines.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    /// The generation that lines are added to.
    #[serde(rename = "g")]
    generation: u32,
    #[serde(rename = "a")]
    archives: Vec<Archive>,
    /// Generations whose lines are to be removed.
    #[serde(rename = "x", default)]
    gone: Vec<u32>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Archive {
    #[serde(rename = "g")]
    generation: u32,
    /// When it was archived, which is its name.
    #[serde(rename = "t")]
    at: i64,
}

/// A log as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Its name.
    pub name: String,
    /// When its first line was written, milliseconds since 1970.
    pub created: i64,
    /// When its last line was written, milliseconds since 1970.
    pub updated: i64,
    /// Its bytes.
    pub length: u64,
    generation: u32,
}

/// The log of a cell as it is at one moment.
pub struct Log {
    records: Records,
    state: State,
}

fn state_key() -> Key {
    keys::single("log")
}

async fn find_state(records: &Records) -> Result<Option<Versioned<State>>> {
    records.find(&state_key()).await
}

/// A line about an event: comma-separated values, quoted, quotes doubled, `null` without quotes for what is missing.
pub(super) fn line(event: &Event, level: Level, at: i64) -> String {
    let time = iso_time(at);
    let time = time
        .strip_suffix(".000Z")
        .map_or_else(|| time.clone(), |whole| format!("{whole}Z"));
    let level = match level {
        Level::Info => "INFO ",
        Level::Warn => "WARN ",
        Level::Error => "ERROR",
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
        // Writing to a string does not fail.
        let _ = match value {
            Some(text) => write!(out, ",\"{}\"", text.replace('"', "\"\"")),
            None => write!(out, ",null"),
        };
    }
    out.push('\n');
    out
}

/// Adds lines to a batch; whether the log is full then.
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
    batch.assert(state_key(), expected);
    let generation = state.map_or(0, |state| state.value.generation);
    let size = keys::log_size(generation);
    let added = lines.iter().map(String::len).sum::<usize>();
    let added = i64::try_from(added).unwrap_or(i64::MAX);
    for line in lines {
        batch.put(
            keys::log_line(generation, &unit.moment()),
            line.into_bytes(),
        );
    }
    let before = records.counter(&size).await?;
    batch.add(size, added);
    Ok(before.saturating_add(added) >= FULL)
}

/// Archives the log of a cell in the background, if it is full. A failure goes to the log of the server; the next line
/// tries again.
pub(super) fn roll_later(unit: &Unit, context: &CellContext) {
    let (records, now, name) = (
        context.records().clone(),
        unit.now_ms(),
        context.cell().name.clone(),
    );
    tokio::spawn(async move {
        if let Err(error) = roll(&records, now).await {
            tracing::warn!(cell.name = %name, "the event log of cell {name} could not be archived: {error}");
        }
    });
}

/// Makes the current log an archive if it is full, and removes what was given up before.
async fn roll(records: &Records, now: i64) -> Result<()> {
    records
        .transact(|| async {
            let found = find_state(records).await?;
            let version = found.as_ref().map(|state| state.version);
            let mut state = found.map(|state| state.value).unwrap_or_default();
            let mut batch = Batch::new();
            if records.counter(&keys::log_size(state.generation)).await? >= FULL {
                state.roll(now);
                records::put_checked(&mut batch, state_key(), version, &state)?;
            }
            Ok((batch, ()))
        })
        .await?;
    remove_gone(records).await
}

/// Removes the lines of generations that nobody sees any more.
async fn remove_gone(records: &Records) -> Result<()> {
    let Some(state) = find_state(records).await? else {
        return Ok(());
    };
    for gone in state.value.gone {
        remove_range(records, &keys::log_lines(gone)).await?;
        records
            .transact(|| async {
                let mut batch = Batch::new();
                if let Some(now) = find_state(records).await? {
                    let mut state = now.value;
                    state.gone.retain(|generation| *generation != gone);
                    batch.delete(keys::log_size(gone));
                    records::put_checked(&mut batch, state_key(), Some(now.version), &state)?;
                }
                Ok((batch, ()))
            })
            .await?;
    }
    Ok(())
}

impl State {
    fn roll(&mut self, now: i64) {
        let after = self.archives.last().map_or(now, |last| last.at + 1);
        self.archives.push(Archive {
            generation: self.generation,
            at: now.max(after),
        });
        self.generation += 1;
        while self.archives.len() > ARCHIVES {
            self.gone.push(self.archives.remove(0).generation);
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
        let place = state.archives.iter().position(|a| archive_name(a) == name);
        let archive = state
            .archives
            .remove(place.ok_or_else(|| no_such_log(name))?);
        state.gone.push(archive.generation);
        let mut batch = Batch::new();
        records::put_checked(&mut batch, state_key(), Some(found.version), &state)?;
        Ok((batch, ()))
    })
    .await?;
    remove_gone(records).await
}

fn archive_name(archive: &Archive) -> String {
    format!("{ARCHIVE_NAME}{}", archive.at)
}

fn no_such_log(name: &str) -> Error {
    Error::new(Code::NoSuchResource).with(name)
}

impl Log {
    /// The log of a cell.
    pub async fn open(context: &CellContext) -> Result<Self> {
        let records = context.records().clone();
        let state = find_state(&records).await?;
        Ok(Self {
            state: state.map(|state| state.value).unwrap_or_default(),
            records,
        })
    }

    /// The current log; `None` if nothing was logged since the last one was archived.
    pub async fn find_current(&self) -> Result<Option<LogFile>> {
        self.file(CURRENT_NAME.to_owned(), self.state.generation)
            .await
    }

    /// The archives, the oldest first.
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
    /// 404 if there is none.
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
        let moment = |found: Vec<Key>| found.first().and_then(keys::moment_ms);
        let (Some(created), Some(updated)) = (
            moment(end(Direction::Up).await?),
            moment(end(Direction::Down).await?),
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
    pub async fn read(&self, file: &LogFile) -> Result<Bytes> {
        let mut range = keys::log_lines(file.generation);
        let mut out = BytesMut::new();
        loop {
            let found = self.records.list_bytes(&range, PAGE).await?;
            for (_, line) in &found {
                out.extend_from_slice(line);
            }
            match found.last() {
                Some((last, _)) if found.len() == PAGE => range = range.after(last),
                _ => return Ok(out.freeze()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
