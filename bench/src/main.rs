//! Load scenarios for a unit, each beside its floor in the same run. See `bench/README.md`.

mod connection;
mod floor;
mod keycloak;
mod load;
mod process;
mod random;
mod report;
mod rows;
mod scenario;
mod unit;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// What anything here fails with: a sentence for the person who ran it.
type Outcome<T = ()> = Result<T, String>;

/// Load scenarios for a unit.
#[derive(Parser)]
#[command(name = "personium-bench")]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs scenarios and writes the report.
    Report(ReportOptions),
    /// Runs one floor; the scenarios call these.
    #[command(subcommand)]
    Floor(Floor),
}

#[derive(Args, Clone)]
struct ReportOptions {
    /// The server program.
    #[arg(long)]
    server: PathBuf,
    /// Where the report goes besides the output.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Seconds in which figures are taken, for each run.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Runs of which the median is shown.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// A fifth of the data, one run, one second: shows that it works, not how fast.
    #[arg(long)]
    quick: bool,
    /// Also the scenarios that take long: many cells, two million requests.
    #[arg(long)]
    long: bool,
    /// Cells of the scenario with many cells.
    #[arg(long, default_value_t = 100_000)]
    cells: u64,
    /// Entities of the large collection.
    #[arg(long, default_value_t = 1_000_000)]
    many: u64,
    /// Folder for the data; a new one among the temporary files if none is given.
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// Folder of the recorded exchanges, for the fixture scenario.
    #[arg(long, default_value = "../shared/conformance")]
    recordings: PathBuf,
    /// Program that measures checks of tokens alone, for the scenario auth.
    #[arg(long)]
    token_checks: Option<PathBuf>,
    /// Folder of an unpacked Keycloak 26, for the scenario auth.
    #[arg(long)]
    keycloak: Option<PathBuf>,
    /// Scenarios: w1 w2 w3 w4 w7 w8 w10 auth fixture gigabyte, and with --long: many-cells endurance. All, if none is given.
    names: Vec<String>,
}

#[derive(Subcommand)]
enum Floor {
    /// Serves documents by key out of SQLite.
    Documents {
        #[arg(long)]
        file: PathBuf,
        #[arg(long)]
        port: u16,
    },
    /// Writes entities into SQLite.
    Records {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        files: u64,
        #[arg(long)]
        writers: u64,
        #[arg(long)]
        group: u64,
        #[arg(long)]
        entries: u64,
        #[arg(long)]
        seconds: f64,
    },
    /// Writes files, flushes and renames them.
    Bodies {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        threads: u64,
        #[arg(long)]
        size: usize,
        #[arg(long)]
        seconds: f64,
    },
    /// Copies a file, flushes it, computes its digest.
    Copy {
        #[arg(long)]
        from: PathBuf,
        #[arg(long)]
        to: PathBuf,
    },
    /// Hashes passwords on some threads.
    Hashes {
        #[arg(long)]
        threads: u64,
        #[arg(long)]
        seconds: f64,
    },
    /// Hashes passwords one after the other.
    HashRow {
        #[arg(long)]
        count: u64,
    },
    /// Appends and flushes one after the other.
    Flushes {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        seconds: f64,
    },
}

fn main() -> ExitCode {
    match Options::parse().task.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("bench: {reason}");
            ExitCode::FAILURE
        }
    }
}

impl Task {
    fn run(self) -> Outcome {
        match self {
            // One thread: the generator must leave the processors to the server.
            Self::Report(options) => runtime(&mut tokio::runtime::Builder::new_current_thread())?
                .block_on(scenario::report(options)),
            Self::Floor(floor) => floor.run(),
        }
    }
}

fn runtime(builder: &mut tokio::runtime::Builder) -> Outcome<tokio::runtime::Runtime> {
    builder
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start the runtime: {e}"))
}

impl Floor {
    fn run(self) -> Outcome {
        let rate = match self {
            Self::Documents { file, port } => {
                return runtime(&mut tokio::runtime::Builder::new_multi_thread())?
                    .block_on(floor::document_server::serve(file, port));
            }
            Self::Records {
                folder,
                files,
                writers,
                group,
                entries,
                seconds,
            } => {
                let time = Duration::from_secs_f64(seconds);
                floor::record_writes::run(
                    &folder,
                    floor::record_writes::Plan {
                        files,
                        writers,
                        group,
                        entries,
                        time,
                    },
                )?
            }
            Self::Bodies {
                folder,
                threads,
                size,
                seconds,
            } => floor::body_writes::run(&folder, threads, size, Duration::from_secs_f64(seconds))?,
            Self::Hashes { threads, seconds } => {
                floor::hashes::rate(threads, Duration::from_secs_f64(seconds))?
            }
            Self::Flushes { folder, seconds } => {
                floor::body_writes::flushes(&folder, Duration::from_secs_f64(seconds))?
            }
            Self::Copy { from, to } => return print_seconds(floor::body_writes::copy(&from, &to)?),
            Self::HashRow { count } => return print_seconds(floor::hashes::in_a_row(count)?),
        };
        println!(
            "{{\"per_second\":{rate},\"cpu_micros\":{}}}",
            floor::own_cpu_micros()
        );
        Ok(())
    }
}

fn print_seconds(seconds: f64) -> Outcome {
    println!("{{\"seconds\":{seconds}}}");
    Ok(())
}
