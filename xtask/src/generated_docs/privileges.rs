//! `docs/privileges.md`: the operations with their required privileges, and the tree of privileges.

use std::fmt::Write as _;

use personium_types::{Need, Operation, Privilege, TargetLevel};

const HEAD: &str = "# Privileges\n\nWritten by `cargo xtask gen-privileges` from the tables in `crates/types`. The test \
     `crates/api/tests/it/permits.rs` sends every request with and without the required privilege.\n";

const LEVELS: &[(TargetLevel, &str, &str)] = &[
    (
        TargetLevel::Unit,
        "The unit",
        "A unit user has access to the cells that it owns, a unit administrator to all cells.",
    ),
    (
        TargetLevel::Cell,
        "A cell",
        "Privileges are granted by the access control list of the cell (`ACL {cell}`). The scope of the token must include the \
         privilege too, unless its name begins with `D:`. A link between two control objects needs the privileges for both; a link \
         between a received message and an account needs only the privilege for messages. \
         `p:social` gives the cells that it links with a relation whatever roles this has.",
    ),
    (
        TargetLevel::Box,
        "Boxes and their contents",
        "Privileges are granted by the access control list of the resource, of any collection above it, of the box or of the \
         cell. If `p:requireSchemaAuthz` is set, the application of the token must match the schema of the box. The parent is the \
         collection or box that contains the resource.",
    ),
];

/// Returns the text of the page.
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
        "\n## Hierarchy of privileges\n\nA privilege includes all privileges below it.\n\n",
    );
    push_tree(&mut text, Privilege::Root, 0);
    text
}

fn need(operation: Operation) -> (String, &'static str) {
    let of_cell = operation.level() == TargetLevel::Cell
        || operation.privilege().is_some_and(Privilege::is_cell_level);
    let own = if of_cell { "the cell" } else { "the resource" };
    match operation.need() {
        Need::Nothing => ("nothing".to_owned(), ""),
        Need::SelfAuthenticated => ("credentials in the request".to_owned(), ""),
        Need::UnitUser => ("unit user".to_owned(), ""),
        Need::UnitAdmin => ("unit administrator".to_owned(), ""),
        Need::Manager => ("unit administrator or cell owner".to_owned(), ""),
        Need::On(privilege) => (format!("`{privilege}`"), own),
        Need::OnParent(privilege) => (format!("`{privilege}`"), "its parent"),
    }
}

fn push_tree(text: &mut String, privilege: Privilege, depth: usize) {
    let _ = writeln!(text, "{}- `{privilege}`", "  ".repeat(depth));
    for child in Privilege::ALL {
        if child.parent() == Some(privilege) {
            push_tree(text, *child, depth + 1);
        }
    }
}
