//! What a developer or the build server runs: `cargo xtask test`, `tidy`, `clients`, `bench`, `gen-errors`, `gen-privileges`,
//! `ci`.

mod bench;
mod clients;
mod conformance;
mod outside;
mod pages;
mod process;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tools of the personium workspace.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Format, lints, tidy, all tests, recorded exchanges; installs missing outside programs on Debian as root.
    Test,
    /// Like `test`, but what would be left out is a failure.
    Ci,
    /// The rules a compiler does not know.
    Tidy,
    /// Installs the Python and Node packages that tests use as clients, in the target folder.
    Clients,
    /// Load scenarios beside their floors; arguments go to the bench program (names of scenarios, --long, --quick).
    #[command(disable_help_flag = true)]
    Bench {
        /// Passed on as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Writes docs/errors.md from the table of codes.
    GenErrors,
    /// Writes docs/privileges.md from the tables of operations and privileges.
    GenPrivileges,
    /// Replays the recorded exchanges and compares with conformance/passing.txt.
    Conformance {
        /// Adds every test that passes now to conformance/passing.txt.
        #[arg(long)]
        record: bool,
        /// Replays only classes that begin with one of these.
        classes: Vec<String>,
    },
}

/// What a task fails with: a sentence for the person who ran it.
type Outcome<T = ()> = Result<T, String>;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = workspace::enter_root().and_then(|()| match options.task {
        Task::Test => test::run(test::LeftOut::IsSaid),
        Task::Ci => test::run(test::LeftOut::Fails),
        Task::Tidy => tidy::run(),
        Task::Clients => {
            outside::provide();
            clients::install()
        }
        Task::Bench { arguments } => bench::run(&arguments),
        Task::GenErrors => pages::ERRORS.write(),
        Task::GenPrivileges => pages::PRIVILEGES.write(),
        Task::Conformance { record, classes } => conformance::run(
            &classes,
            if record {
                conformance::List::Extend
            } else {
                conformance::List::Keep
            },
        ),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}
