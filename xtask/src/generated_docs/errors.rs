//! `docs/errors.md`: the table of codes as a page.

use std::fmt::Write as _;

use personium_types::Code;

/// Returns the text of the page.
pub(super) fn text() -> String {
    let mut rows: Vec<(u16, &str, &str)> = Code::ALL
        .iter()
        .map(|c| (c.status(), c.as_str(), c.message()))
        .collect();
    rows.sort_unstable();
    let mut text = String::from(
        "# Error codes\n\nWritten by `cargo xtask gen-errors` from the table in `crates/types`. `{0}` and `{1}` are placeholders for details.\n\n\
         | Code | Status | Text |\n|---|---|---|\n",
    );
    for (status, code, message) in rows {
        let _ = writeln!(
            text,
            "| `{code}` | {status} | {} |",
            message.replace('|', "\\|")
        );
    }
    text
}
