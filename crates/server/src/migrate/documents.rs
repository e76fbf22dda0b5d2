//! Reads an export of the documents: a JSON object a line, compressed or not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use personium_install::{DocumentCollector, DocumentCounts, Documents, reason_of};
use personium_types::error::chain;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::MigrateResult;

/// The largest line.
const MAX_LINE_BYTES: u64 = 16 << 20;
/// The lines that were read and not stored yet.
const WAITING_LINES: usize = 4;
/// The largest number of refused lines that are kept.
const MAX_REFUSED: usize = 10_000;
/// The largest list of indexes.
const MAX_LIST_BYTES: u64 = 256 << 20;

/// The documents that were refused, with the reasons.
pub(super) type RefusedLines = Vec<(String, String)>;

/// An export.
pub(super) struct DocumentSource {
    /// The documents.
    pub file: PathBuf,
    /// The list of indexes with the numbers of their documents.
    pub indices: Option<PathBuf>,
}

/// A line, or that it was too long.
enum Line {
    Whole(Vec<u8>),
    TooLong,
}

impl DocumentSource {
    /// Collects all documents of a unit. Returns their number, and what was refused.
    ///
    /// # Errors
    /// A text for the operator if the export cannot be read, ends in the middle, or does not have what the list says.
    pub async fn collect(
        &self,
        documents: &Documents,
        prefix: &str,
    ) -> MigrateResult<(u64, RefusedLines)> {
        let place = self.file.display().to_string();
        let mut collection = Collection::begin(documents, prefix).await?;
        let (sender, mut lines) = mpsc::channel(WAITING_LINES);
        let file = self.file.clone();
        let reading = spawn_blocking(move || read_lines(&file, &sender));
        let mut number = 0;
        while let Some(line) = lines.recv().await {
            number += 1;
            let place = || format!("line {number}");
            match line {
                Line::Whole(line) => collection.add(&line, place).await?,
                Line::TooLong => {
                    let reason = format!("it is longer than {MAX_LINE_BYTES} bytes");
                    collection.refuse(place(), reason);
                }
            }
        }
        let read = reading.await.map_err(|error| error.to_string())?;
        read.map_err(|error| format!("cannot read {place}: {error}"))?;
        let (counts, refused) = collection.finish().await?;
        if let Some(list) = &self.indices {
            check_counts(list, prefix, &counts)?;
        }
        if !counts.contains_key(&format!("{prefix}_ad.cell")) {
            return Err(format!(
                "{place} has no cells of a unit with the prefix {prefix}"
            ));
        }
        Ok((counts.values().sum(), refused))
    }
}

/// Documents that are being collected.
pub(super) struct Collection {
    collector: DocumentCollector,
    refused: RefusedLines,
}

impl Collection {
    /// Begins with no documents.
    ///
    /// # Errors
    /// A text for the operator.
    pub async fn begin(documents: &Documents, prefix: &str) -> MigrateResult<Self> {
        let collector = documents.collect(prefix).await;
        Ok(Self {
            collector: collector.map_err(|error| chain(&error))?,
            refused: RefusedLines::new(),
        })
    }

    /// Adds a document, given by its line. One that is none is noted with its place.
    ///
    /// # Errors
    /// A text for the operator.
    pub async fn add(&mut self, line: &[u8], place: impl Fn() -> String) -> MigrateResult {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        match self.collector.add(line).await {
            Ok(()) => Ok(()),
            Err(error) if error.code().is_server_error() => Err(chain(&error)),
            Err(error) => {
                self.refuse(place(), reason_of(&error, "documents"));
                Ok(())
            }
        }
    }

    fn refuse(&mut self, place: String, reason: String) {
        if self.refused.len() < MAX_REFUSED {
            self.refused.push((place, reason));
        }
    }

    /// Ends. Returns the numbers of documents by index, and what was refused.
    ///
    /// # Errors
    /// A text for the operator.
    pub async fn finish(self) -> MigrateResult<(DocumentCounts, RefusedLines)> {
        let counts = self.collector.finish().await;
        Ok((counts.map_err(|error| chain(&error))?, self.refused))
    }
}

fn read_lines(path: &Path, sender: &mpsc::Sender<Line>) -> io::Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let is_compressed = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    match is_compressed {
        true => send_lines(BufReader::new(MultiGzDecoder::new(file)), sender),
        false => send_lines(file, sender),
    }
}

fn send_lines(mut source: impl BufRead, sender: &mpsc::Sender<Line>) -> io::Result<()> {
    loop {
        let mut line = Vec::new();
        (&mut source)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)?;
        let is_whole = line.ends_with(b"\n");
        let line = match line.len() {
            0 => return Ok(()),
            _ if is_whole => Line::Whole(line),
            length if length as u64 >= MAX_LINE_BYTES => {
                skip_line(&mut source)?;
                Line::TooLong
            }
            _ if serde_json::from_slice::<Value>(&line).is_err() => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it ends in the middle of a document",
                ));
            }
            _ => Line::Whole(line),
        };
        if sender.blocking_send(line).is_err() {
            return Ok(());
        }
    }
}

fn skip_line(source: &mut impl BufRead) -> io::Result<()> {
    source.skip_until(b'\n').map(drop)
}

/// Compares the numbers of documents with a list of indexes: an object `indices`, each with its number of `documents`.
fn check_counts(list: &Path, prefix: &str, counts: &DocumentCounts) -> MigrateResult {
    let read = || -> io::Result<Value> {
        let mut file = BufReader::new(File::open(list)?);
        let mut text = Vec::new();
        let is_compressed = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        match is_compressed {
            true => MultiGzDecoder::new(file)
                .take(MAX_LIST_BYTES)
                .read_to_end(&mut text)?,
            false => file.take(MAX_LIST_BYTES).read_to_end(&mut text)?,
        };
        Ok(serde_json::from_slice(&text)?)
    };
    let place = list.display();
    let list = read().map_err(|error| format!("cannot read {place}: {error}"))?;
    let indices = list.get("indices").and_then(Value::as_object);
    let indices = indices.ok_or_else(|| format!("{place} has no member indices"))?;
    let prefix = format!("{prefix}_");
    let expected: BTreeMap<&str, u64> = indices
        .iter()
        .filter(|(name, _)| name.starts_with(&prefix))
        .filter_map(|(name, index)| Some((name.as_str(), index.get("documents")?.as_u64()?)))
        .collect();
    for (name, expected) in expected {
        let found = counts.get(name).copied().unwrap_or(0);
        if found != expected {
            return Err(format!(
                "the export has {found} documents of the index {name}, and {place} says {expected}"
            ));
        }
    }
    Ok(())
}
