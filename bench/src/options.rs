//! The options of a report.

use std::path::PathBuf;

use clap::Args;

/// The options of a report.
#[derive(Args, Clone)]
pub(crate) struct ReportOptions {
    /// Server program.
    #[arg(long)]
    pub(crate) server: PathBuf,
    /// File to which the report is written as well as to the output.
    #[arg(long)]
    pub(crate) report: Option<PathBuf>,
    /// Seconds of measurement in each run.
    #[arg(long, default_value_t = 4)]
    pub(crate) seconds: u64,
    /// Number of runs; the report shows their median.
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: usize,
    /// A fifth of the data, one run, one second: shows that the scenarios work, not how fast the server is.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Runs the long scenarios too: many cells, two million requests.
    #[arg(long)]
    pub(crate) long: bool,
    /// Number of cells of the scenarios many-cells and backup.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) cells: u64,
    /// Number of rules of the scenario many-rules.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) rules: u64,
    /// Number of timers of the scenario many-rules.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) timers: u64,
    /// Number of entities of the large collection.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) many: u64,
    /// Folder for the data [default: a new temporary folder].
    #[arg(long)]
    pub(crate) scratch: Option<PathBuf>,
    /// Folder of the recorded exchanges, for the scenario fixture.
    #[arg(long, default_value = "../shared/conformance")]
    pub(crate) recordings: PathBuf,
    /// Program that measures token verification alone, for the scenario auth.
    #[arg(long)]
    pub(crate) token_checks: Option<PathBuf>,
    /// Folder of an unpacked Keycloak 26, for the scenario auth.
    #[arg(long)]
    pub(crate) keycloak: Option<PathBuf>,
    /// Component of the sample password plugin, for the scenario script.
    #[arg(long)]
    pub(crate) password_plugin: Option<PathBuf>,
    /// Scenarios: w1 w2 w3 w4 w7 w8 w10 auth script fixture gigabyte layers events archives, and with --long: many-cells many-rules endurance backup [default: all].
    pub(crate) names: Vec<String>,
}
