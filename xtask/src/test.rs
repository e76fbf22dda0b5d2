//! `cargo xtask test`: everything that says whether the project is in order.

use crate::conformance::{self, List};
use crate::{Outcome, clients, outside, process, tidy, workspace};

/// What to do when an outside program or the recordings are missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// Say so at the end.
    IsSaid,
    /// Fail.
    Fails,
}

/// Runs every step, also after a failure, and sums up at the end.
///
/// # Errors
/// When any step failed.
pub(crate) fn run(left_out: LeftOut) -> Outcome {
    let mut missing = outside::provide();
    let mut failed = Vec::new();
    let mut note = |name: &str, outcome: Outcome| {
        if let Err(reason) = outcome {
            eprintln!("FAILED {name}: {reason}");
            failed.push(format!("{name}: {reason}"));
        }
    };
    note(
        "format",
        process::run(workspace::cargo().args(["fmt", "--all", "--check"])),
    );
    note(
        "lints",
        process::run(workspace::cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])),
    );
    println!("\n$ cargo xtask tidy");
    note("tidy", tidy::run());
    note("clients", clients::install());
    note(
        "tests",
        process::run(workspace::cargo().args(["test", "--workspace", "--no-fail-fast"])),
    );
    if !conformance::recordings_present() {
        missing.push("recorded exchanges: they do not lie beside the project".to_owned());
    } else if outside::present("python3") {
        note("recorded exchanges", conformance::run(&[], List::Keep));
    }

    println!();
    for line in &missing {
        println!("LEFT OUT {line}");
    }
    if !missing.is_empty() && left_out == LeftOut::Fails {
        failed.push("something was left out".to_owned());
    }
    if failed.is_empty() {
        println!("xtask test: all steps passed, {} left out", missing.len());
        return Ok(());
    }
    Err(format!(
        "{} of the steps failed:\n  {}",
        failed.len(),
        failed.join("\n  ")
    ))
}
