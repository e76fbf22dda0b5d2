//! Reads the documents of a unit from its search engine into the working folder, index by index, each in windows by time of creation.
//!
//! A window is read by one scroll without a break. If the scroll is lost, the window is read again; a run that was killed goes on with
//! the first window that is not whole. An index without changes since it was read is not read again.

use std::collections::HashSet;
use std::io::Write;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use personium_install::{Documents, Downloads, IndexState};
use serde_json::{Value, json};

use super::documents::{Collection, RefusedLines};
use super::elasticsearch::{Elasticsearch, HitPage, IndexFacts, PageFailure};
use super::{MigrateResult, failed};
use crate::progress::Progress;

/// The number of pages of a window, unless more documents were created in the same millisecond.
const WINDOW_PAGES: u64 = 40;

/// Reads a unit.
pub(super) struct Download<'d> {
    pub engine: &'d Elasticsearch,
    pub downloads: &'d Downloads,
    pub progress: &'d Progress,
    /// Whether the original must not change any more.
    pub is_last: bool,
    /// The number of documents that are read at once.
    pub page: u64,
}

/// The numbers of indexes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DownloadCounts {
    pub read: u64,
    pub unchanged: u64,
}

/// Documents by their time of creation, and where the next ones begin.
struct Window {
    query: Value,
    next: Option<i64>,
}

impl Download<'_> {
    /// Reads what has changed in the indexes of a unit since they were read.
    ///
    /// # Errors
    /// A text for the operator. What was read until then is kept.
    pub async fn run(&self, prefix: &str) -> MigrateResult<DownloadCounts> {
        self.engine.refresh(prefix).await?;
        let indices = self.engine.indices(prefix).await?;
        self.remove_others(&indices).await?;
        self.progress.start("read", indices.len());
        let mut counts = DownloadCounts::default();
        for index in &indices {
            match self.index(index).await? {
                true => counts.read += 1,
                false => counts.unchanged += 1,
            }
            self.progress.end_space();
        }
        if self.is_last {
            self.engine.refresh(prefix).await?;
            self.check_unchanged(&self.engine.indices(prefix).await?)
                .await?;
        }
        Ok(counts)
    }

    async fn remove_others(&self, indices: &[IndexFacts]) -> MigrateResult {
        let names: HashSet<&str> = indices.iter().map(|index| &*index.name).collect();
        let mut after: Option<String> = None;
        loop {
            let known = self
                .downloads
                .list(after.as_deref())
                .await
                .map_err(failed)?;
            let Some((last, _)) = known.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for (name, _) in known {
                if !names.contains(&*name) {
                    self.downloads.remove(&name).await.map_err(failed)?;
                }
            }
        }
    }

    /// The last pass takes over what the original has when it is stopped.
    async fn check_unchanged(&self, indices: &[IndexFacts]) -> MigrateResult {
        for index in indices {
            let state = self.downloads.state(&index.name).await.map_err(failed)?;
            let is_same = state.is_some_and(|state| {
                state.is_whole && state.uuid == index.uuid && state.changes == index.changes
            });
            if !is_same {
                return Err(format!(
                    "the index {} has changed while the documents were read: stop the original, or set it to reference-only mode, \
                     and repeat the command",
                    index.name
                ));
            }
            self.check_count(&index.name).await?;
        }
        Ok(())
    }

    /// An index that has not changed has the documents that were read.
    async fn check_count(&self, index: &str) -> MigrateResult {
        let state = self.downloads.state(index).await.map_err(failed)?;
        let read = state.map_or(0, |state| state.documents);
        let found = self.engine.count(index, &json!({"match_all": {}})).await?;
        if found == read {
            return Ok(());
        }
        self.downloads.remove(index).await.map_err(failed)?;
        Err(format!(
            "the index {index} has {found} documents, and {read} were read; repeat the command, which reads it again"
        ))
    }

    /// Reads an index. Returns whether there was something to read.
    async fn index(&self, index: &IndexFacts) -> MigrateResult<bool> {
        let name = &*index.name;
        let known = self.downloads.state(name).await.map_err(failed)?;
        let mut state = match known {
            Some(state) if self.is_current(&state, index) => match state.is_whole {
                true => return Ok(false),
                false => state,
            },
            _ => {
                self.downloads.remove(name).await.map_err(failed)?;
                IndexState {
                    uuid: index.uuid.clone(),
                    changes: index.changes.clone(),
                    ..IndexState::default()
                }
            }
        };
        while !state.is_whole {
            let window = self.window(name, &state).await?;
            state.documents += self.read(name, state.windows, &window.query).await?;
            state.windows += 1;
            state.is_whole = window.next.is_none();
            state.next = window.next.unwrap_or(state.next);
            let noted = self.downloads.set_state(name, &state).await;
            noted.map_err(failed)?;
            self.engine.note_progress();
        }
        Ok(true)
    }

    /// Whether a state is one to go on with. An index that changes all the time is read on nevertheless, until the last pass.
    fn is_current(&self, state: &IndexState, index: &IndexFacts) -> bool {
        let is_unchanged = state.changes == index.changes;
        let may_go_on = !state.is_whole && !self.is_last;
        state.uuid == index.uuid && (is_unchanged || may_go_on)
    }

    /// The next window of an index.
    async fn window(&self, index: &str, state: &IndexState) -> MigrateResult<Window> {
        let is_first = state.windows == 0;
        // The first window also has the documents without a time.
        let after = |from: i64| match is_first {
            true => json!({"match_all": {}}),
            false => json!({"range": {"p": {"gte": from}}}),
        };
        let rest = Window {
            query: after(state.next),
            next: None,
        };
        if self.engine.count(index, &rest.query).await? <= self.page * WINDOW_PAGES {
            return Ok(rest);
        }
        let Some((first, last)) = self.engine.times(index).await? else {
            return Ok(rest);
        };
        let from = if is_first { first } else { state.next };
        if last < from || last == i64::MAX {
            // No time divides them.
            return Ok(rest);
        }
        let mut end = last + 1;
        loop {
            let query = match is_first {
                true => json!({"bool": {"must_not": {"range": {"p": {"gte": end}}}}}),
                false => json!({"range": {"p": {"gte": from, "lt": end}}}),
            };
            let is_least = end.saturating_sub(from) <= 1;
            if is_least || self.engine.count(index, &query).await? <= self.page * WINDOW_PAGES {
                return Ok(Window {
                    query,
                    next: Some(end),
                });
            }
            end = from.midpoint(end);
        }
    }

    /// Reads a window, from its beginning after each failure. Returns the number of its documents.
    async fn read(&self, index: &str, window: u32, query: &Value) -> MigrateResult<u64> {
        let mut size = self.page;
        loop {
            let removed = self.downloads.remove_window(index, window).await;
            removed.map_err(failed)?;
            match self.read_once((index, window), query, size).await {
                Ok(count) => return Ok(count),
                Err(PageFailure::Lost(text)) => self.engine.note_failure(text).await?,
                Err(PageFailure::TooLarge) if size > 1 => size = (size / 8).max(1),
                Err(PageFailure::TooLarge) => {
                    return Err(format!(
                        "a document of the index {index} is too large to be read"
                    ));
                }
                Err(PageFailure::Fatal(text)) => return Err(text),
            }
        }
    }

    async fn read_once(
        &self,
        (index, window): (&str, u32),
        query: &Value,
        size: u64,
    ) -> Result<u64, PageFailure> {
        let mut page = self.engine.first_page(index, query, size).await?;
        let (mut count, mut number) = (0, 0);
        let mut expected = self.page * WINDOW_PAGES;
        while !page.lines.is_empty() {
            count += page.lines.len() as u64;
            if count > expected {
                // Many may have the same time, or be new. A scroll that does not end would fill the disk.
                let counted = self.engine.count(index, query).await;
                expected = counted.map_err(PageFailure::Fatal)?;
            }
            if count > expected {
                self.engine.end(&page.scroll).await;
                return Err(PageFailure::Lost(format!(
                    "the search engine returns more documents of the index {index} than the {expected} that it has"
                )));
            }
            self.progress.set_records(count);
            let chunk = compressed(&page);
            let chunk = chunk.map_err(|error| PageFailure::Fatal(error.to_string()))?;
            let added = self.downloads.add(index, (window, number), chunk).await;
            added.map_err(|error| PageFailure::Fatal(failed(error)))?;
            number += 1;
            page = self.engine.next_page(index, &page.scroll).await?;
        }
        self.engine.end(&page.scroll).await;
        Ok(count)
    }
}

fn compressed(page: &HitPage) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for line in &page.lines {
        encoder.write_all(line)?;
    }
    encoder.finish()
}

/// Collects what was read. Returns the number of documents, and what was refused.
///
/// # Errors
/// A text for the operator if the indexes do not have what was read from them.
pub(super) async fn collect(
    downloads: &Downloads,
    documents: &Documents,
    prefix: &str,
) -> MigrateResult<(u64, RefusedLines)> {
    let mut collection = Collection::begin(documents, prefix).await?;
    let (mut after, mut all) = (None::<String>, 0);
    loop {
        let indices = downloads.list(after.as_deref()).await.map_err(failed)?;
        let Some((last, _)) = indices.last() else {
            break;
        };
        after = Some(last.clone());
        for (index, state) in indices {
            let mut found = 0;
            let mut chunks = downloads.chunks(&index);
            while let Some(chunk) = chunks.next().await.map_err(failed)? {
                let mut text = Vec::new();
                let read = std::io::Read::read_to_end(&mut GzDecoder::new(&*chunk), &mut text);
                read.map_err(|error| format!("the working folder is damaged: {error}"))?;
                for line in text.split_inclusive(|byte| *byte == b'\n') {
                    found += 1;
                    collection.add(line, || place(&index, line)).await?;
                }
            }
            if found != state.documents {
                return Err(format!(
                    "the working folder has {found} documents of the index {index}, and {} were read",
                    state.documents
                ));
            }
            all += found;
        }
    }
    let (_, refused) = collection.finish().await?;
    Ok((all, refused))
}

/// Where a document is: its index and its id.
fn place(index: &str, line: &[u8]) -> String {
    let document: Value = serde_json::from_slice(line).unwrap_or_default();
    let id = document.get("_id").and_then(Value::as_str);
    format!("{index}/{}", id.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;

    use personium_store::{RecordStore, Space, memory::MemoryRecords};

    use super::super::elasticsearch::{EngineAddress, EngineLimits};
    use super::*;
    use crate::system;

    /// A search engine whose scrolls never end.
    fn endless() -> EngineAddress {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut read = [0; 65_536];
                let length = stream.read(&mut read).unwrap_or(0);
                let head = String::from_utf8_lossy(&read[..length]).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default();
                let shards = r#""_shards":{"total":1,"successful":1,"failed":0}"#;
                let body = match path {
                    "/" => r#"{"version":{"number":"7.17.6"}}"#.to_owned(),
                    path if path.ends_with("/_count") => format!("{{\"count\":3,{shards}}}"),
                    _ => format!(
                        r#"{{"_scroll_id":"s",{shards},"hits":{{"hits":[{{"_index":"u0_a","_id":"1","_version":1,"_source":{{}}}}]}}}}"#
                    ),
                };
                let head = format!(
                    "HTTP/1.1 200 x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all((head + &body).as_bytes());
            }
        });
        EngineAddress::new(&url, None, None).unwrap()
    }

    #[tokio::test]
    async fn scroll_without_an_end_does_not_fill_the_disk() {
        let limits = EngineLimits {
            failures_max: 3,
            first: std::time::Duration::from_millis(1),
            longest: std::time::Duration::from_millis(1),
            ..EngineLimits::default()
        };
        let engine = Elasticsearch::connect(&endless(), limits).await.unwrap();
        let store: Arc<dyn RecordStore> = Arc::new(MemoryRecords::new());
        store.create_space(&Space::Unit).await.unwrap();
        let documents = Documents::open(Arc::clone(&store)).await.unwrap();
        let downloads = documents.downloads();
        let progress = Progress::new("test", system::clock());
        let download = Download {
            engine: &engine,
            downloads: &downloads,
            progress: &progress,
            is_last: true,
            page: 1,
        };
        let index = IndexFacts {
            name: "u0_a".to_owned(),
            uuid: "u".to_owned(),
            changes: "0:1 ".to_owned(),
        };
        let error = download.index(&index).await.unwrap_err();
        assert!(
            error.contains("more documents of the index u0_a"),
            "{error}"
        );
        assert!(error.contains("3 attempts have failed"), "{error}");
    }
}
