//! A file of the archive that is written line by line. Its length must be known before, so a long one is written to a temporary
//! file first.

use personium_archive::snapshot::Document;
use personium_model::temp_file::TempFile;
use personium_model::temp_folder::TempFolder;
use personium_types::{Error, Result};
use serde_json::Value;

/// The size from which on lines are written to the temporary file.
const LINES_BYTES: usize = 128 << 10;

/// The lines that were written so far.
pub(super) struct Lines {
    folder: TempFolder,
    /// The text that is not in the temporary file yet.
    text: String,
    spool: Option<TempFile>,
    count: u64,
}

impl Lines {
    pub fn new(folder: TempFolder) -> Self {
        Self {
            folder,
            text: String::new(),
            spool: None,
            count: 0,
        }
    }

    /// Appends a document.
    ///
    /// # Errors
    /// As [`TempFile::append`].
    pub async fn push(&mut self, document: &Document) -> Result<()> {
        let line = serde_json::to_string(document).map_err(Error::internal)?;
        self.push_line(&line).await
    }

    /// Appends a JSON value.
    ///
    /// # Errors
    /// As [`TempFile::append`].
    pub async fn push_value(&mut self, value: &Value) -> Result<()> {
        self.push_line(&value.to_string()).await
    }

    /// The number of lines.
    pub fn count(&self) -> u64 {
        self.count
    }

    async fn push_line(&mut self, line: &str) -> Result<()> {
        self.count += 1;
        self.text.push_str(line);
        self.text.push('\n');
        if self.text.len() >= LINES_BYTES {
            self.spill().await?;
        }
        Ok(())
    }

    async fn spill(&mut self) -> Result<()> {
        let file = match &mut self.spool {
            Some(file) => file,
            None => self.spool.insert(TempFile::create(&self.folder).await?),
        };
        file.append(std::mem::take(&mut self.text).into()).await
    }

    /// The text, or the file with all of it.
    ///
    /// # Errors
    /// As [`TempFile::append`].
    pub async fn finish(mut self) -> Result<(String, Option<TempFile>)> {
        if self.spool.is_some() && !self.text.is_empty() {
            self.spill().await?;
        }
        Ok((self.text, self.spool))
    }
}
