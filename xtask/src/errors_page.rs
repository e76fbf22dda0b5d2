//! `docs/errors.md`: the table of codes as a page.

use std::fmt::Write as _;

use personium_types::Code;

use crate::Outcome;

const PAGE: &str = "docs/errors.md";

/// The page as the table of codes demands it.
pub(crate) fn page() -> String {
    let mut rows: Vec<(u16, &str, &str)> = Code::ALL
        .iter()
        .map(|c| (c.status(), c.wire(), c.message()))
        .collect();
    rows.sort_unstable();
    let mut text = String::from(
        "# Error codes\n\nWritten by `cargo xtask gen-errors` from the table in `crates/types`. `{0}` and `{1}` are places for details.\n\n\
         | Code | Status | Text |\n|---|---|---|\n",
    );
    for (status, wire, message) in rows {
        let _ = writeln!(
            text,
            "| `{wire}` | {status} | {} |",
            message.replace('|', "\\|")
        );
    }
    text
}

/// Writes the page.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write() -> Outcome {
    std::fs::write(PAGE, page()).map_err(|e| format!("cannot write {PAGE}: {e}"))
}

/// Whether the page in the workspace is the one that `write` would make.
pub(crate) fn current() -> bool {
    std::fs::read_to_string(PAGE).is_ok_and(|text| text == page())
}
