//! Pages that are written from tables in the code.

mod errors;
mod privileges;

use crate::Outcome;

/// A page and what makes it.
pub(crate) struct Page {
    path: &'static str,
    command: &'static str,
    text: fn() -> String,
}

/// `docs/errors.md`
pub(crate) const ERRORS: Page = Page {
    path: "docs/errors.md",
    command: "gen-errors",
    text: errors::text,
};

/// `docs/privileges.md`
pub(crate) const PRIVILEGES: Page = Page {
    path: "docs/privileges.md",
    command: "gen-privileges",
    text: privileges::text,
};

impl Page {
    /// Writes the page.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self) -> Outcome {
        std::fs::write(self.path, (self.text)())
            .map_err(|e| format!("cannot write {}: {e}", self.path))
    }
}

/// The pages in the workspace that are not as [`Page::write`] would make them.
pub(crate) fn findings() -> Vec<String> {
    let is_current =
        |page: &Page| std::fs::read_to_string(page.path).is_ok_and(|text| text == (page.text)());
    [ERRORS, PRIVILEGES]
        .iter()
        .filter(|page| !is_current(page))
        .map(|page| {
            format!(
                "{} is out of date; run cargo xtask {}",
                page.path, page.command
            )
        })
        .collect()
}
