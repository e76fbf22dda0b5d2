//! `cargo xtask tidy`: rules that the compiler does not check.

mod dependencies;
mod exceptions;
mod growing_lists;
mod module_graph;
mod named_tests;
mod names;
mod sizes;
mod sources;
mod texts;
mod wall_time;

use crate::{TaskResult, generated_docs, workspace};

/// Checks all rules and prints each finding on its own line.
///
/// # Errors
/// When there is a finding; warnings do not count.
pub(crate) fn run() -> TaskResult {
    let files = workspace::files()?;
    let crates = sources::load(&files)?;
    let mut findings = dependencies::findings(&workspace::packages()?)?;
    findings.extend(dependencies::unused(&files)?);
    findings.extend(module_graph::findings(&crates));
    findings.extend(names::findings(&crates));
    findings.extend(sizes::findings(&files)?);
    findings.extend(exceptions::findings());
    findings.extend(texts::findings(&files));
    findings.extend(wall_time::findings(&files)?);
    findings.extend(growing_lists::findings());
    findings.extend(named_tests::findings());
    findings.extend(generated_docs::findings());
    for finding in &findings {
        println!("tidy: {finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} files, no findings", files.len());
        return Ok(());
    }
    Err(format!("tidy reports {} findings", findings.len()))
}
