//! The tasks of developers and of the build server, as `cargo xtask <task>`.
#![expect(
    clippy::disallowed_methods,
    reason = "a tool that measures real time and reads its environment"
)]

mod bench;
mod child_process;
mod client_packages;
mod conformance;
mod external_programs;
mod generated_docs;
mod go_programs;
mod image;
mod package;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use conformance::{ListUpdate, UnitShape};
use test::IfIncomplete;

/// Tasks of the personium workspace.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks format, lints and tidy, runs all tests and recorded exchanges. Installs missing programs on Debian as root.
    Test,
    /// Like `test`, but fails if a step has to be skipped.
    Ci,
    /// Checks rules that the compiler does not check.
    Tidy,
    /// Installs the Python and Node packages that tests use as clients, in the target folder, and builds the object stores that
    /// tests start, in the user's cache folder.
    Clients,
    /// Runs load scenarios with their baselines. Arguments are passed to the bench program (names, --long, --quick).
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments of the bench program.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Writes docs/errors.md from the table of error codes.
    GenErrors,
    /// Writes docs/privileges.md from the tables of operations and privileges.
    GenPrivileges,
    /// Writes docs/operate/settings.md and the example of a settings file from the table of settings.
    GenSettings,
    /// Runs the tests of playbooks and images that take too long for `test`: three servers, a virtual machine.
    Deploy,
    /// Makes a Debian package, a tarball, a list of parts and checksums.
    Package(package::PackageOptions),
    /// Makes a virtual image of Debian and the package, for QEMU, clouds, VirtualBox and VMware. Needs root.
    Image(image::ImageOptions),
    /// Replays the recorded exchanges and compares the result with conformance/passing.txt.
    Conformance {
        /// Adds every test that passes now to conformance/passing.txt.
        #[arg(long)]
        record: bool,
        /// Replays them against three nodes over PostgreSQL, memcached and an object store behind Nginx instead of one process.
        #[arg(long)]
        nodes: bool,
        /// Prefixes of test classes [default: all].
        classes: Vec<String>,
    },
}

/// A result whose error is a message for the user.
type TaskResult<T = ()> = Result<T, String>;

impl Task {
    fn run(self) -> TaskResult {
        match self {
            Self::Test => test::run(IfIncomplete::Report),
            Self::Ci => test::run(IfIncomplete::Fail),
            Self::Tidy => tidy::run(),
            Self::Clients => {
                external_programs::install_missing();
                client_packages::install()?;
                go_programs::install()
            }
            Self::Bench { arguments } => bench::run(&arguments),
            Self::GenErrors => generated_docs::ERRORS.write(),
            Self::GenPrivileges => generated_docs::PRIVILEGES.write(),
            Self::GenSettings => generated_docs::write_settings(),
            Self::Deploy => test::run_deployments(),
            Self::Package(options) => package::run(options),
            Self::Image(options) => image::run(options),
            Self::Conformance {
                record,
                nodes,
                classes,
            } => {
                let update = if record {
                    ListUpdate::AddPassing
                } else {
                    ListUpdate::None
                };
                let shape = if nodes {
                    UnitShape::SeveralNodes
                } else {
                    UnitShape::OneProcess
                };
                conformance::run(&classes, update, shape)
            }
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match workspace::enter_root().and_then(|()| arguments.task.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
