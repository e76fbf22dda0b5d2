//! Baselines: the least work that any server would have to do for the same requests, each in a process of its own.

mod archive_writes;
pub(crate) mod body_writes;
mod database;
pub(crate) mod document_server;
pub(crate) mod event_server;
mod file_reads;
mod password_hashes;
mod record_writes;
mod script_contexts;
mod threads;
pub(crate) mod web_server;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::BenchResult;
use crate::server_process::ProcessMonitor;
use archive_writes::ArchiveLoad;
use database::{DatabaseLoad, DatabaseWrites};
use record_writes::RecordLoad;

/// Serves requests on a port of this machine until the process is stopped.
async fn serve(app: axum::Router, port: u16) -> BenchResult {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|error| format!("cannot listen: {error}"))?;
    axum::serve(listener, app)
        .await
        .map_err(|error| format!("cannot serve: {error}"))
}

/// The baselines that this program implements.
#[derive(Subcommand)]
pub(crate) enum Baseline {
    /// Serves documents by key from SQLite.
    Documents {
        #[arg(long)]
        file: PathBuf,
        #[arg(long)]
        port: u16,
    },
    /// Sends events to WebSockets, and counts requests.
    Events {
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
    /// Writes, syncs and renames files.
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
    /// Packs files into an archive, and writes entities into one SQLite file.
    Archive {
        #[arg(long)]
        files: PathBuf,
        #[arg(long)]
        scratch: PathBuf,
        #[arg(long)]
        rows: u64,
        #[arg(long)]
        group: u64,
        #[arg(long)]
        entries: u64,
    },
    /// Reads files, and all files below folders, whose paths are the lines of a list.
    FileReads {
        #[arg(long)]
        list: PathBuf,
        /// Empty folder to which they are copied, each synced.
        #[arg(long)]
        copies: Option<PathBuf>,
        /// The system forgets what it has of them in memory before.
        #[arg(long)]
        from_disk: bool,
        /// It only forgets them.
        #[arg(long)]
        only_forget: bool,
    },
    /// Copies and syncs a file, and computes its digest.
    Copy {
        #[arg(long)]
        from: PathBuf,
        #[arg(long)]
        to: PathBuf,
    },
    /// Hashes passwords in several threads.
    Hashes {
        #[arg(long)]
        threads: u64,
        #[arg(long)]
        seconds: f64,
    },
    /// Hashes passwords one after the other.
    HashSequence {
        #[arg(long)]
        count: u64,
    },
    /// Reads entities from PostgreSQL by their primary keys.
    DatabaseReads(DatabaseLoad),
    /// Writes entities into PostgreSQL.
    DatabaseWrites(DatabaseWrites),
    /// Evaluates a script, each time in a fresh context of QuickJS.
    ScriptContexts {
        #[arg(long)]
        file: PathBuf,
        #[arg(long)]
        threads: u64,
        #[arg(long)]
        seconds: f64,
    },
    /// Appends to a file and syncs it, one after the other.
    Syncs {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        seconds: f64,
    },
}

impl Baseline {
    /// Runs the baseline. Returns `per_second`, or `seconds` if the amount of work is fixed.
    ///
    /// # Errors
    /// A message if the work fails, and for [`Baseline::Documents`] and [`Baseline::Events`], which serve instead of measuring.
    pub(crate) fn measure(self) -> BenchResult<Value> {
        let duration = Duration::from_secs_f64;
        let per_second = match self {
            Self::Documents { .. } | Self::Events { .. } => {
                return Err("this baseline is a server".to_owned());
            }
            Self::Records {
                folder,
                files,
                writers,
                group,
                entries,
                seconds,
            } => {
                let load = RecordLoad {
                    files,
                    writers,
                    group,
                    entries,
                    duration: duration(seconds),
                };
                record_writes::run(&folder, load)?
            }
            Self::Bodies {
                folder,
                threads,
                size,
                seconds,
            } => body_writes::run(&folder, threads, size, duration(seconds))?,
            Self::Hashes { threads, seconds } => {
                password_hashes::per_second(threads, duration(seconds))?
            }
            Self::Syncs { folder, seconds } => {
                body_writes::syncs_per_second(&folder, duration(seconds))?
            }
            Self::ScriptContexts {
                file,
                threads,
                seconds,
            } => script_contexts::per_second(&file, threads, duration(seconds))?,
            Self::DatabaseReads(load) => database::reads(load)?,
            Self::DatabaseWrites(writes) => database::writes(writes)?,
            Self::Copy { from, to } => {
                return Ok(json!({"seconds": body_writes::copy(&from, &to)?}));
            }
            Self::Archive {
                files,
                scratch,
                rows,
                group,
                entries,
            } => {
                let load = ArchiveLoad {
                    rows,
                    group,
                    entries,
                };
                return Ok(json!({"seconds": archive_writes::seconds(&files, &scratch, load)?}));
            }
            Self::FileReads {
                list,
                copies,
                from_disk,
                only_forget,
            } => {
                if only_forget {
                    return Ok(json!({"forgotten": file_reads::forget_cached(&list)?}));
                }
                if from_disk {
                    file_reads::forget_cached(&list)?;
                }
                let seconds = file_reads::seconds(&list, copies.as_deref())?;
                return Ok(json!({"seconds": seconds}));
            }
            Self::HashSequence { count } => {
                return Ok(json!({"seconds": password_hashes::sequence_seconds(count)?}));
            }
        };
        let cpu_us = ProcessMonitor::this()
            .cpu_time()
            .map_or(0.0, |time| time.as_secs_f64() * 1e6);
        Ok(json!({"per_second": per_second, "cpu_us": cpu_us}))
    }
}

/// Runs a baseline that ends by itself in a process of its own. Returns the JSON that it prints.
///
/// # Errors
/// A message if it fails or prints something else.
pub(crate) fn run(arguments: &[&str]) -> BenchResult<Value> {
    let program =
        std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let name = arguments.join(" ");
    let output = Command::new(program)
        .arg("baseline")
        .args(arguments)
        .output()
        .map_err(|error| format!("cannot start a baseline: {error}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("baseline {name} failed: {stderr}"));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("baseline {name} printed no JSON: {error}"))
}

/// Runs a baseline in a process of its own. Returns its rate.
///
/// # Errors
/// A message if it fails.
pub(crate) fn per_second(arguments: &[&str]) -> BenchResult<f64> {
    number(&run(arguments)?, "per_second")
}

/// Returns a member of the JSON that a program printed.
///
/// # Errors
/// A message if it is missing.
pub(crate) fn number(printed: &Value, name: &str) -> BenchResult<f64> {
    printed
        .get(name)
        .and_then(Value::as_f64)
        .ok_or_else(|| format!("the program printed no {name}"))
}
