//! `docs/privileges.md`: privileges, and what needs which.

use std::fmt::Write as _;

use personium_types::{Level, Need, Operation, Privilege};

const HEAD: &str = "# Privileges\n\nWritten by `cargo xtask gen-privileges` from the tables in `crates/types`. The test \
     `crates/api/tests/it/permits.rs` tries every row with and without what it needs.\n";

const LEVELS: &[(Level, &str, &str)] = &[
    (
        Level::Unit,
        "The unit",
        "A unit user sees and changes the own cells, an administrator of the unit all.",
    ),
    (
        Level::Cell,
        "A cell",
        "Privileges are granted by the list of the cell (`ACL {cell}`). The scope of a token must include the privilege as \
         well, unless its name begins with `D:`. A link between two control objects needs the privileges of both, but for one \
         between a received message and an account, where that of messages is enough.",
    ),
    (
        Level::Box,
        "What lies in boxes",
        "Privileges are granted by the list of the resource, of any collection above it, of the box or of the cell. First the \
         application of the token must fit the box, as far as `p:requireSchemaAuthz` asks for it. The holder is the collection \
         or box that the resource lies in.",
    ),
];

/// The page as the tables demand it.
pub(super) fn text() -> String {
    let mut text = HEAD.to_owned();
    for (level, title, rule) in LEVELS {
        let _ = writeln!(
            text,
            "\n## {title}\n\n{rule}\n\n| Request | Needs | On |\n|---|---|---|"
        );
        for operation in Operation::ALL.iter().filter(|o| o.level() == *level) {
            let (needs, on) = need(*operation);
            let _ = writeln!(text, "| {} | {needs} | {on} |", operation.requests().trim());
        }
    }
    text.push_str(
        "\n## Which includes which\n\nA privilege includes everything indented below it.\n\n",
    );
    push_tree(&mut text, Privilege::Root, 0);
    text
}

fn need(operation: Operation) -> (String, &'static str) {
    let of_cell = operation.level() == Level::Cell
        || operation.privilege().is_some_and(Privilege::is_cell_level);
    let own = if of_cell { "the cell" } else { "the resource" };
    match operation.need() {
        Need::Nothing => ("nothing".to_owned(), ""),
        Need::SelfAuthenticated => ("what the request proves by itself".to_owned(), ""),
        Need::UnitUser => ("to be a unit user".to_owned(), ""),
        Need::UnitAdmin => ("to be administrator of the unit".to_owned(), ""),
        Need::Manager => (
            "to be administrator of the unit or owner of the cell".to_owned(),
            "",
        ),
        Need::On(privilege) => (format!("`{privilege}`"), own),
        Need::OnParent(privilege) => (format!("`{privilege}`"), "its holder"),
    }
}

fn push_tree(text: &mut String, privilege: Privilege, depth: usize) {
    let _ = writeln!(text, "{}- `{privilege}`", "  ".repeat(depth));
    for child in Privilege::EVERY {
        if child.parent() == Some(privilege) {
            push_tree(text, *child, depth + 1);
        }
    }
}
