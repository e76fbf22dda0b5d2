//! `cargo xtask tidy`: the rules a compiler does not know.

mod dependencies;
mod lists;
mod sizes;
mod words;

use crate::{Outcome, pages, workspace};

/// Checks everything and prints each fault on its own line.
///
/// # Errors
/// When there is any fault; warnings do not count.
pub(crate) fn run() -> Outcome {
    let files = workspace::files()?;
    let mut faults = dependencies::faults(&workspace::packages()?)?;
    faults.extend(sizes::faults(&files)?);
    faults.extend(words::faults(&files));
    faults.extend(lists::faults());
    faults.extend(pages::faults());
    for fault in &faults {
        println!("tidy: {fault}");
    }
    if faults.is_empty() {
        println!("tidy: {} files are in order", files.len());
        return Ok(());
    }
    Err(format!("tidy found {} faults", faults.len()))
}
