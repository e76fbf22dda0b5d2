//! Documents that are generated from tables in the code.

mod errors;
mod privileges;

use std::process::Command;

use crate::{TaskResult, workspace};

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

/// Writes the documents that the program itself prints: the table of settings is in it. Tests of `server` compare them.
///
/// # Errors
/// A message if the program cannot be built or run, or a file cannot be written.
pub(crate) fn write_settings() -> TaskResult {
    let program = workspace::built_program()?;
    for (format, path) in [
        ("markdown", "docs/operate/settings.md"),
        ("properties", "personium-unit-config.example.properties"),
    ] {
        let output = Command::new(&program)
            .args(["config", "docs", "--format", format])
            .output()
            .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{} config docs: {text}", program.display()));
        }
        std::fs::write(path, &output.stdout)
            .map_err(|error| format!("cannot write {path}: {error}"))?;
    }
    Ok(())
}

/// Returns a finding for each document that is out of date.
pub(crate) fn findings() -> Vec<String> {
    [ERRORS, PRIVILEGES]
        .iter()
        .filter(|doc| !doc.is_current())
        .map(|doc| format!("{} is out of date; run cargo xtask {}", doc.path, doc.task))
        .collect()
}
