//! A pass: the segments of the journals of all cells since the pass before it.
//!
//! Its list is a body of JSON lines: a head, a line for each segment, for each cell that was gone and for each gap, and an end without which it
//! is not complete. Its small file has what is needed to find the times that can be reached.

use personium_store::{BlobStore, CommitSeq, Result, Space};
use personium_types::{BlobId, CellId};
use serde_json::{Value, json};

use super::Generation;
use super::manifest::member;
use super::parts::{ListReader, damaged, store_list};

/// The version of the format.
const FORMAT: u64 = 1;

/// A pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalPass {
    pub(crate) name: String,
    /// Its list.
    pub(crate) list: BlobId,
    /// The id of the stores of the unit. Numbers of commits of other stores say nothing.
    pub(crate) stores: Option<String>,
    /// The pass that it goes on from. Without one, it goes on from its generation.
    pub(crate) after: Option<String>,
    /// The last generation when it was made.
    pub(crate) generation: String,
    /// The time until which the journals were read before.
    pub(crate) from_ms: i64,
    /// All that was acknowledged before this time is in it and those before. Earlier than `from_ms` if the clock was set back.
    pub(crate) until_ms: i64,
    /// The number of spaces whose journal does not go on from where it was read before.
    pub(crate) gaps: u64,
}

/// A segment of the journal of a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) space: Space,
    /// The name of the cell.
    pub(crate) name: String,
    pub(crate) file: BlobId,
    /// The last commit in it.
    pub(crate) last: CommitSeq,
}

/// The list of a pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PassList {
    pub(crate) segments: Vec<Segment>,
    /// The cells that the unit did not have any more.
    pub(crate) gone: Vec<CellId>,
    /// The spaces whose journal does not go on from where it was read before, or could not be read.
    pub(crate) gaps: Vec<Space>,
}

impl Segment {
    /// The cell; `None` if it is the unit's.
    pub(super) const fn cell(&self) -> Option<CellId> {
        match self.space {
            Space::Unit => None,
            Space::Cell(id) => Some(id),
        }
    }
}

impl JournalPass {
    /// Whether the clock was set back while it and the one before were made. Then its commits can be of any time.
    pub(super) const fn is_set_back(&self) -> bool {
        self.until_ms < self.from_ms
    }

    /// Whether it can have something that was acknowledged before this time.
    pub(crate) const fn can_have(&self, at_ms: i64) -> bool {
        self.from_ms <= at_ms || self.is_set_back()
    }

    /// The pass in a small file.
    pub(super) fn parse(file: &Generation) -> Option<Self> {
        let of = |name: &str| member(&file.summary, name);
        let text = |name: &str| of(name).as_str().map(str::to_owned);
        Some(Self {
            name: file.name.clone(),
            list: file.manifest,
            stores: text("stores"),
            after: text("after"),
            generation: text("generation")?,
            from_ms: of("from").as_i64()?,
            until_ms: of("until").as_i64()?,
            gaps: of("gaps").as_u64()?,
        })
    }

    /// The content of its small file beside its list.
    pub(super) fn summary(&self) -> Value {
        json!({
            "stores": self.stores, "after": self.after, "generation": self.generation,
            "from": self.from_ms, "until": self.until_ms, "gaps": self.gaps,
        })
    }
}

impl PassList {
    /// Whether nothing has happened.
    pub(super) const fn is_empty(&self) -> bool {
        self.lines() == 0
    }

    /// The number of its lines between head and end.
    const fn lines(&self) -> usize {
        self.segments.len() + self.gone.len() + self.gaps.len()
    }

    /// Stores the list. Returns its id.
    ///
    /// # Errors
    /// A failure of the store of the back-up.
    pub(super) async fn store(&self, files: &dyn BlobStore) -> Result<BlobId> {
        let cell = |space: &Space| match space {
            Space::Unit => Value::Null,
            Space::Cell(id) => id.to_string().into(),
        };
        let segments = self.segments.iter().map(|segment| {
            json!({
                "cell": cell(&segment.space), "name": segment.name, "file": segment.file.to_string(),
                "last": segment.last,
            })
        });
        let gone = self.gone.iter().map(|id| json!({"gone": id.to_string()}));
        let gaps = self.gaps.iter().map(|space| json!({"gap": cell(space)}));
        let lines = self.lines();
        let head = [json!({"format": FORMAT, "program": crate::VERSION})];
        let end = [json!({"end": true, "lines": lines})];
        let lines = head.into_iter().chain(segments).chain(gone);
        store_list(files, lines.chain(gaps).chain(end)).await
    }

    /// Reads a list.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](personium_store::StoreError::Corrupt) if it is missing, damaged or not complete; another failure of the store.
    pub(crate) async fn load(files: &dyn BlobStore, id: &BlobId) -> Result<Self> {
        let unreadable = || damaged("the list of a pass cannot be read");
        let mut lines = ListReader::open(files, id).await?;
        let head = lines.next().await?.ok_or_else(unreadable)?;
        let head: Value = serde_json::from_slice(&head).map_err(|_| unreadable())?;
        if member(&head, "format") != FORMAT {
            return Err(unreadable());
        }
        let mut list = Self::default();
        while let Some(line) = lines.next().await? {
            if list.add(&line).ok_or_else(unreadable)? {
                lines.expect_end().await?;
                return Ok(list);
            }
        }
        Err(unreadable())
    }

    /// Adds a line. Returns whether it was the last one, and all were there; `None` if it cannot be read.
    fn add(&mut self, line: &[u8]) -> Option<bool> {
        let line: Value = serde_json::from_slice(line).ok()?;
        if member(&line, "end") == true {
            let found = u64::try_from(self.lines()).ok();
            return (member(&line, "lines").as_u64() == found).then_some(true);
        }
        if let Some(id) = member(&line, "gone").as_str() {
            self.gone.push(id.parse().ok()?);
            return Some(false);
        }
        let space = |name: &str| match member(&line, name) {
            Value::String(id) => id.parse().ok().map(Space::Cell),
            _ => Some(Space::Unit),
        };
        if line.get("gap").is_some() {
            self.gaps.push(space("gap")?);
            return Some(false);
        }
        self.segments.push(Segment {
            space: space("cell")?,
            name: member(&line, "name").as_str()?.to_owned(),
            file: member(&line, "file").as_str()?.parse().ok()?,
            last: member(&line, "last").as_u64()?,
        });
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use personium_store::StoreError;
    use personium_store::memory::MemoryBlobs;

    use super::*;
    use crate::system;

    #[tokio::test]
    async fn list_is_read_as_it_was_stored_and_a_cut_one_is_damage() {
        let files = MemoryBlobs::new(system::clock(), system::random());
        let segment = |space, name: &str| Segment {
            space,
            name: name.to_owned(),
            file: BlobId::from_bytes([3; 16]),
            last: 9,
        };
        let cell = CellId::from_bytes([7; 16]);
        let list = PassList {
            segments: vec![
                segment(Space::Unit, ""),
                segment(Space::Cell(cell), "alice"),
            ],
            gone: vec![CellId::from_bytes([8; 16])],
            gaps: vec![Space::Unit, Space::Cell(cell)],
        };
        let id = list.store(&files).await.unwrap();
        assert_eq!(PassList::load(&files, &id).await.unwrap(), list);
        let mut body = files.open(&Space::Unit, &id).await.unwrap().unwrap();
        let whole = body.read_at(0, 1 << 20).await.unwrap();
        for len in (0..whole.len()).step_by(5) {
            let mut cut = files.create(&Space::Unit).await.unwrap();
            cut.write(whole.slice(..len)).await.unwrap();
            let id = cut.finish().await.unwrap();
            let loaded = PassList::load(&files, &id).await;
            assert!(matches!(loaded, Err(StoreError::Corrupt(_))), "{len}");
        }
    }
}
