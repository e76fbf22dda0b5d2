//! The report of what could not be taken over: a JSON object a line, with `cell`, `kind`, `id` and `reason`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use personium_install::ComparedCell;
use serde_json::json;

use super::MigrateResult;

/// A report that is being written.
pub(super) struct MigrationReport {
    path: PathBuf,
    out: BufWriter<File>,
    lines: u64,
    compared: ComparedCell,
}

impl MigrationReport {
    /// Creates the file.
    ///
    /// # Errors
    /// A text for the operator.
    pub fn create(path: &Path) -> MigrateResult<Self> {
        let created = File::create(path);
        let file = created.map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            out: BufWriter::new(file),
            lines: 0,
            compared: ComparedCell::default(),
        })
    }

    /// Adds a line. `cell` is empty for what belongs to no cell.
    ///
    /// # Errors
    /// A text for the operator.
    pub fn add(&mut self, cell: &str, kind: &str, id: &str, reason: &str) -> MigrateResult {
        self.lines += 1;
        let line = json!({"cell": cell, "kind": kind, "id": id, "reason": reason});
        let written = writeln!(self.out, "{line}");
        written.map_err(|error| self.failure(&error))
    }

    /// Adds that more was left out of a cell than is in the report.
    ///
    /// # Errors
    /// A text for the operator.
    pub fn add_uncounted(&mut self, cell: &str, more: u64) -> MigrateResult {
        match more {
            0 => Ok(()),
            more => self.add(cell, "more", "", &format!("{more} more were left out")),
        }
    }

    /// Counts what was compared.
    pub fn add_compared(&mut self, compared: &ComparedCell) {
        let sums = &mut self.compared;
        sums.documents += compared.documents;
        sums.entities += compared.entities;
        sums.files += compared.files;
        sums.links += compared.links;
        sums.descriptions += compared.descriptions;
    }

    /// Ends the report. Returns a summary.
    ///
    /// # Errors
    /// A text for the operator.
    pub fn finish(mut self) -> MigrateResult<String> {
        let written = self.out.flush();
        written.map_err(|error| self.failure(&error))?;
        let path = self.path.display();
        let mut text = match self.lines {
            0 => format!("Nothing was left out ({path} is empty).\n"),
            lines => format!("{path} has {lines} lines about what was left out or differs.\n"),
        };
        let ComparedCell {
            documents,
            entities,
            files,
            links,
            descriptions,
            ..
        } = self.compared;
        if documents > 0 {
            text.push_str(&format!(
                "Compared: the numbers of {documents} documents, {entities} entities, the checksums of {files} files, {links} links, \
                 the access control lists and properties of {descriptions} resources.\n"
            ));
        }
        Ok(text)
    }

    fn failure(&self, error: &std::io::Error) -> String {
        format!("cannot write {}: {error}", self.path.display())
    }
}
