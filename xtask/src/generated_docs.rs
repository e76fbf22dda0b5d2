//! Documents that are generated from tables in the code.

mod errors;
mod privileges;

use crate::TaskResult;

/// A generated document.
pub(crate) struct GeneratedDoc {
    path: &'static str,
    /// The task that writes it.
    task: &'static str,
    text: fn() -> String,
}

/// `docs/errors.md`
pub(crate) const ERRORS: GeneratedDoc = GeneratedDoc {
    path: "docs/errors.md",
    task: "gen-errors",
    text: errors::text,
};

/// `docs/privileges.md`
pub(crate) const PRIVILEGES: GeneratedDoc = GeneratedDoc {
    path: "docs/privileges.md",
    task: "gen-privileges",
    text: privileges::text,
};

impl GeneratedDoc {
    /// Writes the document.
    ///
    /// # Errors
    /// A message if the file cannot be written.
    pub(crate) fn write(&self) -> TaskResult {
        std::fs::write(self.path, (self.text)())
            .map_err(|error| format!("cannot write {}: {error}", self.path))
    }

    fn is_current(&self) -> bool {
        std::fs::read_to_string(self.path).is_ok_and(|text| text == (self.text)())
    }
}

/// Returns a finding for each document that is out of date.
pub(crate) fn findings() -> Vec<String> {
    [ERRORS, PRIVILEGES]
        .iter()
        .filter(|doc| !doc.is_current())
        .map(|doc| format!("{} is out of date; run cargo xtask {}", doc.path, doc.task))
        .collect()
}
