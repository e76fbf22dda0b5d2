//! Manual pages and completions, generated from the definition of the command line.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;

/// The name of the program.
const PROGRAM: &str = "personium";

/// Returns the completions for a shell.
pub(super) fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), PROGRAM, &mut text);
    text
}

/// Writes a manual page for the program and one for each command to a folder.
///
/// # Errors
/// A text if a page cannot be written.
pub(super) fn write_manual(folder: &Path) -> Result<(), String> {
    let command = Cli::command().version(crate::VERSION);
    clap_mangen::generate_to(command, folder)
        .map_err(|error| format!("cannot write to {}: {error}", folder.display()))
}
