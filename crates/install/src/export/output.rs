//! The archive that is written, on threads that may block.

use std::fs::File;
use std::io;

use bytes::Bytes;
use personium_archive::ArchiveWriter;
use personium_model::file::FileContent;
use personium_model::node::FileBody;
use personium_model::records::store_error;
use personium_model::temp_file::{self, TempFile};
use personium_model::temp_folder::TempFolder;
use personium_model::{AnswerReservation, BlobReader};
use personium_types::{Code, Error, Result};
use tokio::task::{JoinHandle, spawn_blocking};

/// The number of bytes, and of steps, that are collected before they are written.
const PENDING_BYTES: usize = 256 << 10;
const PENDING_STEPS: usize = 256;
/// The memory of the writer for an entry, besides its name.
const ENTRY_BYTES: usize = 512;
/// The size of the chunks of files.
const CHUNK_BYTES: usize = 256 << 10;

/// The largest number of entries of an archive, and the error beyond it: its parameters are a name and the number.
pub(crate) struct EntryLimit {
    pub max: usize,
    pub code: Code,
    pub name: String,
}

/// A step of writing.
enum WriteStep {
    Folder(String),
    File { path: String, length: u64 },
    Append(Bytes),
}

type Writer = Box<ArchiveWriter<File>>;

/// The writer, which writes while the next steps are collected.
enum WriterState {
    Idle(Writer),
    Writing(JoinHandle<io::Result<Writer>>),
}

impl WriterState {
    /// Waits until it writes nothing.
    async fn idle(self) -> Result<Writer> {
        match self {
            Self::Idle(writer) => Ok(writer),
            Self::Writing(task) => {
                let written = task.await.map_err(Error::internal)?;
                written.map_err(temp_file::failure)
            }
        }
    }
}

/// An archive in a temporary file.
pub(crate) struct ArchiveOutput {
    /// `None` after a failure.
    writer: Option<WriterState>,
    pending: Vec<WriteStep>,
    pending_bytes: usize,
    entries: usize,
    /// The memory of the list of entries.
    memory: AnswerReservation,
    limit: EntryLimit,
}

impl ArchiveOutput {
    /// Starts an archive in a folder.
    ///
    /// # Errors
    /// An internal error if there can be no file.
    pub async fn create(
        folder: &TempFolder,
        memory: AnswerReservation,
        limit: EntryLimit,
    ) -> Result<Self> {
        let file = TempFile::create(folder).await?.into_file()?;
        Ok(Self {
            writer: Some(WriterState::Idle(Box::new(ArchiveWriter::new(file)))),
            pending: Vec::new(),
            pending_bytes: 0,
            entries: 0,
            memory,
            limit,
        })
    }

    /// Adds a folder; `path` has no trailing `/`.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub async fn folder(&mut self, path: &str) -> Result<()> {
        self.count_entry(path).await?;
        self.push(WriteStep::Folder(path.to_owned()), 0).await
    }

    /// Adds a file with its content.
    ///
    /// # Errors
    /// [`Code::BarBoxTooLarge`], [`Code::ServerBusy`], [`Code::StorageFull`], or an internal error.
    pub async fn file(&mut self, path: &str, content: Bytes) -> Result<()> {
        self.start_file(path, content.len() as u64).await?;
        self.append(content).await
    }

    /// Starts a file of this length, whose content follows.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub async fn start_file(&mut self, path: &str, length: u64) -> Result<()> {
        self.count_entry(path).await?;
        let path = path.to_owned();
        self.push(WriteStep::File { path, length }, 0).await
    }

    /// Appends to the last file.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub async fn append(&mut self, content: Bytes) -> Result<()> {
        let bytes = content.len();
        self.push(WriteStep::Append(content), bytes).await
    }

    /// Adds a file with the body of a stored file. `memory` holds what is read.
    ///
    /// # Errors
    /// [`Code::DavContent`] if the body has another length than the file; as [`Self::file`].
    pub async fn body(
        &mut self,
        path: &str,
        (body, content): (&FileBody, FileContent),
        memory: &mut AnswerReservation,
    ) -> Result<()> {
        let length = content.length();
        if length != body.length {
            return Err(Code::DavContent.into());
        }
        self.start_file(path, length).await?;
        match content {
            FileContent::Whole(bytes) => self.append(bytes).await,
            FileContent::Chunks(reader) => self.copy(reader, memory).await,
        }
    }

    /// Appends all of a body to the last file. `memory` holds what is read.
    ///
    /// # Errors
    /// [`Code::DavContent`] if it ends early; as [`Self::file`].
    pub async fn copy(
        &mut self,
        mut reader: Box<dyn BlobReader>,
        memory: &mut AnswerReservation,
    ) -> Result<()> {
        let (mut offset, length) = (0, reader.len());
        memory.wait_to_hold(3 * CHUNK_BYTES).await?;
        while offset < length {
            let chunk = reader
                .read_at(offset, CHUNK_BYTES)
                .await
                .map_err(store_error)?;
            if chunk.is_empty() {
                return Err(Code::DavContent.into());
            }
            offset += chunk.len() as u64;
            self.append(chunk).await?;
        }
        memory.free(3 * CHUNK_BYTES);
        Ok(())
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub async fn finish(mut self) -> Result<TempFile> {
        self.flush().await?;
        let writer = self.writer.take().ok_or(Code::Unknown)?.idle().await?;
        let finished = spawn_blocking(move || writer.finish());
        let file = finished.await.map_err(Error::internal)?;
        TempFile::of_written(file.map_err(temp_file::failure)?)
    }

    async fn count_entry(&mut self, path: &str) -> Result<()> {
        self.entries += 1;
        if self.entries > self.limit.max {
            let too_large = Error::new(self.limit.code).with(&self.limit.name);
            return Err(too_large.with(self.limit.max.to_string()));
        }
        self.memory.wait_to_hold(ENTRY_BYTES + 2 * path.len()).await
    }

    async fn push(&mut self, step: WriteStep, bytes: usize) -> Result<()> {
        self.pending.push(step);
        self.pending_bytes += bytes;
        if self.pending_bytes >= PENDING_BYTES || self.pending.len() >= PENDING_STEPS {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let steps = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let mut writer = self.writer.take().ok_or(Code::Unknown)?.idle().await?;
        let task = spawn_blocking(move || {
            for step in steps {
                match step {
                    WriteStep::Folder(path) => writer.add_folder(&path)?,
                    WriteStep::File { path, length } => writer.start_file(&path, length)?,
                    WriteStep::Append(content) => writer.write(&content)?,
                }
            }
            Ok(writer)
        });
        self.writer = Some(WriterState::Writing(task));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use personium_model::AnswerMemory;
    use personium_store::Space;

    use super::*;

    const MAX_ENTRIES: usize = 100_000;

    fn limit() -> EntryLimit {
        EntryLimit {
            max: MAX_ENTRIES,
            code: Code::BarBoxTooLarge,
            name: "b".to_owned(),
        }
    }

    async fn output(memory: &AnswerMemory) -> ArchiveOutput {
        let reservation = memory.share(Space::Unit).reservation();
        let folder = TempFolder::new(&std::env::temp_dir());
        ArchiveOutput::create(&folder, reservation, limit())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn archive_has_at_most_as_many_entries_as_can_be_installed() {
        let memory = AnswerMemory::new(1 << 30);
        let mut output = output(&memory).await;
        for n in 0..MAX_ENTRIES {
            output.folder(&n.to_string()).await.unwrap();
        }
        let refused = output.file("more", Bytes::new()).await.unwrap_err();
        assert_eq!(refused.code(), Code::BarBoxTooLarge);
        assert!(memory.used_bytes() >= MAX_ENTRIES * ENTRY_BYTES);
        drop(output);
        assert_eq!(memory.used_bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn list_of_entries_is_refused_without_memory() {
        let memory = AnswerMemory::new(64 << 10);
        let mut output = output(&memory).await;
        let mut written = 0;
        let refused = loop {
            match output.folder(&written.to_string()).await {
                Ok(()) => written += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.code(), Code::ServerBusy);
        assert!(written < 200, "{written}");
    }
}
