//! Parts of a cell besides its content: its key, its event log, the histories of logins and its snapshots.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use personium_model::auth::cell_key;
use personium_model::auth::login_history::{self, LoginHistory};
use personium_model::event::log::LogImport;
use personium_model::file::{FileHeaders, Upload};
use personium_model::keys;
use personium_model::new_cell::NewCell;
use personium_model::node::{Node, NodeKind};
use personium_model::records::{self, store_error};
use personium_store::Batch;
use personium_types::name::MemberName;
use personium_types::{Error, NodeId, Result};
use serde::Deserialize;
use tokio::fs;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::cell_filling::{Filled, Refusals, valid_time};
use crate::original::{OriginalCell, read_small, subfolder};
use crate::snapshot_package::invalid;

/// The largest part of a line that is kept as one record.
const MAX_LINE_BYTES: u64 = 64 << 10;
/// The largest size of an archive of an event log after it was expanded.
const MAX_ARCHIVE_BYTES: u64 = 64 << 20;
/// The lines that were read and not stored yet.
const WAITING_LINES: usize = 64;
/// The beginning and the end of the name of an archive; the milliseconds since 1970 are between.
const ARCHIVE: (&str, &str) = ("default.log.", ".zip");
/// The media type of snapshots.
const ZIP: &str = "application/zip";

/// A login history as the original stores it.
#[derive(Deserialize)]
struct StoredHistory {
    last_authenticated: Option<i64>,
    #[serde(default)]
    failed_count: u64,
}

/// Copies everything. What cannot be copied is noted.
///
/// # Errors
/// A failure of the store.
pub(super) async fn copy(
    new: &NewCell,
    source: &OriginalCell,
    filled: &Filled,
    refusals: &Refusals,
) -> Result<()> {
    if let Err(error) = copy_key(new, source).await {
        refusals.add("key", "", error)?;
    }
    copy_histories(new, source, (filled, refusals)).await?;
    if let Some(folder) = &source.folders.event_log {
        copy_log(new, folder, refusals).await?;
    }
    copy_snapshots(new, source, refusals).await
}

/// Copies the key of the cell: the last one, if there are several.
async fn copy_key(new: &NewCell, source: &OriginalCell) -> Result<()> {
    let Some(folder) = &source.folders.dav else {
        return Ok(());
    };
    let Some(folder) = subfolder(folder, &[".pkeys"]).await? else {
        return Ok(());
    };
    let failed = |error: std::io::Error| invalid(".pkeys", error);
    let mut entries = fs::read_dir(&folder).await.map_err(failed)?;
    let mut last = None;
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        let found = entry.metadata().await.map_err(failed)?;
        let Ok(kid) = entry.file_name().into_string() else {
            continue;
        };
        if found.is_dir() {
            last = last.max(Some((found.modified().map_err(failed)?, kid)));
        }
    }
    let Some((_, kid)) = last else {
        return Ok(());
    };
    let place = format!(".pkeys/{kid}/.privatekey");
    let der = read_small(&place, &folder.join(&kid).join(".privatekey")).await?;
    let der = der.ok_or_else(|| invalid(&place, "it is missing"))?;
    let mut batch = Batch::new();
    let put = cell_key::put(new.unit(), &mut batch, (&kid, &der)).await;
    put.map_err(|error| invalid(&place, error))?;
    let committed = new.records().commit(batch).await;
    committed.map_err(store_error).map(drop)
}

async fn copy_histories(
    new: &NewCell,
    source: &OriginalCell,
    (filled, refusals): (&Filled, &Refusals),
) -> Result<()> {
    let Some(folder) = &source.folders.dav else {
        return Ok(());
    };
    for (there, here) in &filled.accounts {
        let place = format!(".pauthhistory/{there}/auth_history_last.json");
        let read = async {
            let Some(folder) = subfolder(folder, &[".pauthhistory", there]).await? else {
                return Ok(None);
            };
            let read = read_small(&place, &folder.join("auth_history_last.json")).await?;
            let Some(bytes) = read else {
                return Ok(None);
            };
            serde_json::from_slice::<StoredHistory>(&bytes)
                .map(Some)
                .map_err(|error| invalid(&place, error))
        };
        let read: Result<Option<StoredHistory>> = read.await;
        let history = match read {
            Ok(Some(history)) => history,
            Ok(None) => continue,
            Err(error) => {
                refusals.add(&place, there, error)?;
                continue;
            }
        };
        let mut batch = Batch::new();
        let history = LoginHistory {
            last_authenticated: history.last_authenticated.map(valid_time),
            failed_count: history.failed_count,
        };
        login_history::put(&mut batch, here, &history)?;
        let committed = new.records().commit(batch).await;
        committed.map_err(store_error)?;
    }
    Ok(())
}

/// Copies the event log: the archives, the oldest first, then the current one.
async fn copy_log(new: &NewCell, folder: &Path, refusals: &Refusals) -> Result<()> {
    let mut log = LogImport::new(new.records(), new.cell().published);
    let mut archives = Vec::new();
    if let Some(folder) = subfolder(folder, &["archive"]).await? {
        let failed = |error: std::io::Error| invalid("archive", error);
        let mut entries = fs::read_dir(&folder).await.map_err(failed)?;
        while let Some(entry) = entries.next_entry().await.map_err(failed)? {
            let name = entry.file_name();
            let time = name.to_str().and_then(|name| {
                let rest = name.strip_prefix(ARCHIVE.0)?.strip_suffix(ARCHIVE.1)?;
                rest.parse::<i64>().ok()
            });
            match time {
                Some(time) => archives.push((time, entry.path())),
                None => {
                    let place = format!("archive/{}", name.display());
                    refusals.note("event log", &place, "it is no archive of an event log");
                }
            }
        }
    }
    archives.sort();
    for (time, path) in archives {
        let place = format!("{}{time}{}", ARCHIVE.0, ARCHIVE.1);
        match copy_lines(&mut log, LogFile::Archive(path)).await {
            Ok(()) => log.end_archive(valid_time(time)).await?,
            Err(error) => {
                refusals.add("event log", &place, error)?;
                log.end_archive(valid_time(time)).await?;
            }
        }
    }
    let current = folder.join("current").join("default.log");
    if let Err(error) = copy_lines(&mut log, LogFile::Current(current)).await {
        refusals.add("event log", "default.log", error)?;
    }
    log.finish().await
}

/// A file with lines.
enum LogFile {
    Archive(PathBuf),
    Current(PathBuf),
}

async fn copy_lines(log: &mut LogImport, file: LogFile) -> Result<()> {
    let (sender, mut lines) = mpsc::channel(WAITING_LINES);
    let reading = spawn_blocking(move || match file {
        LogFile::Archive(path) => read_archive(&path, &sender),
        LogFile::Current(path) => match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => read_lines(std::fs::File::open(&path)?, &sender),
            Ok(_) => Err(std::io::Error::other("it is no file")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        },
    });
    while let Some(line) = lines.recv().await {
        log.add(line).await?;
    }
    let read = reading.await.map_err(Error::internal)?;
    read.map_err(|error| invalid("event log", error))
}

fn read_archive(path: &Path, sender: &mpsc::Sender<Vec<u8>>) -> std::io::Result<()> {
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let file = std::fs::File::open(path)?;
    let mut out = Vec::new();
    personium_archive::first_file(file, MAX_ARCHIVE_BYTES, &mut out)
        .map_err(std::io::Error::other)?;
    read_lines(&*out, sender)
}

/// Sends the lines with their ends, in parts if they are long.
fn read_lines(source: impl Read, sender: &mpsc::Sender<Vec<u8>>) -> std::io::Result<()> {
    let mut source = BufReader::new(source);
    loop {
        let mut line = Vec::new();
        (&mut source)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)?;
        if line.is_empty() || sender.blocking_send(line).is_err() {
            return Ok(());
        }
    }
}

async fn copy_snapshots(new: &NewCell, source: &OriginalCell, refusals: &Refusals) -> Result<()> {
    let mut walk = source.walk_snapshots();
    loop {
        let (name, folder) = match walk.next().await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            Err(error) => {
                refusals.add("snapshot", "", error)?;
                continue;
            }
        };
        if let Err(error) = copy_snapshot(new, source, (&name, &folder)).await {
            refusals.add("snapshot", &name, error)?;
        }
    }
}

async fn copy_snapshot(
    new: &NewCell,
    source: &OriginalCell,
    (name, folder): (&str, &Path),
) -> Result<()> {
    let unit = new.unit();
    let meta = source.read_meta(name, folder).await?;
    let meta = meta.ok_or_else(|| invalid(name, "it has no description"))?;
    let name: MemberName = name
        .parse()
        .map_err(|_| invalid(name, "its name is not valid"))?;
    let content = source.open_content((name.as_str(), folder), &meta).await?;
    let mut content = content.ok_or_else(|| invalid(name.as_str(), "it has no content"))?;
    let mut upload = Upload::into_cell(unit, new.cell().id);
    loop {
        let chunk = content.next_chunk().await?;
        if chunk.is_empty() {
            break;
        }
        upload.write(chunk).await?;
    }
    let headers = FileHeaders {
        media_type: Some(meta.media_type.unwrap_or_else(|| ZIP.to_owned())),
        content_encoding: None,
    };
    let mut batch = Batch::new();
    let id = NodeId::random(unit.random());
    let mut node = Node::new(id, NodeKind::File, valid_time(meta.created));
    node.updated = valid_time(meta.updated);
    node.version = meta.version.clamp(1, u64::from(u32::MAX));
    node.file = Some(upload.finish(headers).await?.keep(&mut batch));
    let key = keys::node(&keys::SNAPSHOT_FOLDER, name.as_str());
    records::put(&mut batch, key, &node)?;
    batch.add(keys::child_count(&keys::SNAPSHOT_FOLDER), 1);
    let committed = new.records().commit(batch).await;
    committed.map_err(store_error).map(drop)
}
