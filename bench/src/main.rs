//! Load scenarios for a unit, each with its baseline in the same run. See `bench/README.md`.
#![expect(clippy::disallowed_methods, reason = "it measures real time")]

mod baseline;
mod keycloak;
mod listener;
mod load;
mod options;
mod report;
mod rows;
mod scenario;
mod server_process;
mod sizing;
mod unit;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use baseline::Baseline;
use options::ReportOptions;

/// A result whose error is a message for the user.
type BenchResult<T = ()> = Result<T, String>;

/// Load scenarios for a unit.
#[derive(Parser)]
#[command(name = "personium-bench")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs scenarios and writes the report.
    Report(ReportOptions),
    /// Runs one baseline; the scenarios start these.
    #[command(subcommand)]
    Baseline(Baseline),
    /// Prints what units of several sizes need, computed from measured costs.
    Sizing {
        /// The costs that the scenario layers has written.
        #[arg(long, default_value = "bench/costs.json")]
        costs: PathBuf,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().task.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Task {
    fn run(self) -> BenchResult {
        match self {
            // One thread: the load generator must leave the processors to the server.
            Self::Report(options) => runtime(&mut tokio::runtime::Builder::new_current_thread())?
                .block_on(scenario::report(options)),
            Self::Baseline(Baseline::Documents { file, port }) => {
                runtime(&mut tokio::runtime::Builder::new_multi_thread())?
                    .block_on(baseline::document_server::serve(file, port))
            }
            Self::Baseline(Baseline::Events { port }) => {
                runtime(&mut tokio::runtime::Builder::new_multi_thread())?
                    .block_on(baseline::event_server::serve(port))
            }
            Self::Sizing { costs } => {
                println!("{}", sizing::MeasuredCosts::read(&costs)?.table());
                Ok(())
            }
            Self::Baseline(baseline) => {
                println!("{}", baseline.measure()?);
                Ok(())
            }
        }
    }
}

fn runtime(builder: &mut tokio::runtime::Builder) -> BenchResult<tokio::runtime::Runtime> {
    builder
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))
}
