//! The scenarios, and what they share: a unit, rows that are created once, and how a load is run.

mod archives;
mod backups;
mod create_entities;
mod events;
mod fixture;
mod gigabyte;
mod layers;
mod list_entities;
mod logins;
mod many_cells;
mod many_rules;
mod put_files;
mod read_by_key;
mod read_files;
mod scripts;
mod steady_reads;
mod tokens;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::load::{self, LoadProfile, Measurement, RequestGenerator, Target};
use crate::options::ReportOptions;
use crate::report::{Section, markdown};
use crate::unit::{BenchCell, BenchUnit};
use crate::{BenchResult, baseline};

/// The names of the scenarios that run by default.
const DEFAULT: &[&str] = &[
    "w1", "w2", "w3", "w4", "w7", "w8", "w10", "auth", "script", "fixture", "gigabyte", "layers",
    "events", "archives",
];
/// The names of the long scenarios.
const LONG: &[&str] = &["many-cells", "many-rules", "endurance", "backup"];

/// The state that all scenarios share: the unit, its data, and the options.
struct BenchContext {
    options: ReportOptions,
    scratch: PathBuf,
    unit: BenchUnit,
    /// The cell that contains rows and files.
    cell: BenchCell,
    /// Collections of rows that exist already, with their number of rows.
    collections: HashMap<&'static str, u64>,
    /// The cell whose accounts log in, once it exists.
    login_cell: Option<String>,
    /// Rows per second while rows were created, newest last.
    load_rates: Vec<f64>,
}

/// A baseline that is a server, with the load for it.
struct BaselineServer<'b> {
    target: Target,
    generator: &'b RequestGenerator,
}

/// The measurements of a subject and its baseline.
struct Comparison {
    subject: Measurement,
    baseline: Measurement,
}

/// Runs the selected scenarios. Prints and writes the report.
///
/// # Errors
/// A message if the unit does not start or the report cannot be written. A scenario that fails is a note in the report,
/// and so is not an error; neither is a requirement that is not met.
pub(crate) async fn report(mut options: ReportOptions) -> BenchResult {
    if options.quick {
        options.seconds = 1;
        options.runs = 1;
        options.many /= 5;
        options.cells /= 5;
        options.rules /= 5;
        options.timers /= 5;
    }
    let names = selected(&options)?;
    let temp_folder = tempfile::tempdir()
        .map_err(|error| format!("cannot create a temporary folder: {error}"))?;
    let scratch = options
        .scratch
        .clone()
        .unwrap_or_else(|| temp_folder.path().to_owned());
    create_folder(&scratch)?;
    let machine = describe_machine(&scratch)?;
    println!("{machine}\n");
    let mut unit = BenchUnit::start(&options.server, &scratch.join("unit")).await?;
    let cell = unit.create_cell("load").await?;
    let mut context = BenchContext {
        options,
        scratch,
        unit,
        cell,
        collections: HashMap::new(),
        login_cell: None,
        load_rates: Vec::new(),
    };
    let mut sections = Vec::new();
    for name in names {
        let start = Instant::now();
        let section = run(name, &mut context).await.unwrap_or_else(|error| {
            let mut section = Section::new(name);
            section.note(format!("could not be measured: {error}"));
            section
        });
        sections.push(section);
        eprintln!("{name}: {:.0} s", start.elapsed().as_secs_f64());
    }
    let text = markdown(&machine, &sections);
    println!("{text}");
    if let Some(file) = &context.options.report {
        std::fs::write(file, &text)
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    Ok(())
}

async fn run(name: &str, context: &mut BenchContext) -> BenchResult<Section> {
    match name {
        "w1" => read_by_key::run(context).await,
        "w2" => list_entities::run(context).await,
        "w3" => create_entities::many_cells(context).await,
        "w4" => create_entities::one_cell(context).await,
        "w7" => read_files::run(context).await,
        "w8" => put_files::run(context).await,
        "w10" => logins::run(context).await,
        "auth" => tokens::run(context).await,
        "script" => scripts::run(context).await,
        "layers" => layers::run(context).await,
        "events" => events::run(context).await,
        "archives" => archives::run(context).await,
        "backup" => backups::run(context).await,
        "fixture" => fixture::run(context).await,
        "gigabyte" => gigabyte::run(context).await,
        "many-cells" => many_cells::run(context).await,
        "many-rules" => many_rules::run(context).await,
        "endurance" => many_cells::endurance(context).await,
        _ => Err("there is no such scenario".to_owned()),
    }
}

/// Returns the names of the scenarios to run.
fn selected(options: &ReportOptions) -> BenchResult<Vec<&'static str>> {
    let all = || DEFAULT.iter().chain(LONG).copied();
    if options.names.is_empty() {
        let by_default = |name: &&str| options.long || !LONG.contains(name);
        return Ok(all().filter(by_default).collect());
    }
    options
        .names
        .iter()
        .map(|wanted| {
            let wanted = wanted.to_lowercase();
            all().find(|name| *name == wanted).ok_or_else(|| {
                let names: Vec<&str> = all().collect();
                format!(
                    "there is no scenario {wanted}; there are {}",
                    names.join(" ")
                )
            })
        })
        .collect()
}

/// Returns a line that describes the speed of the machine.
fn describe_machine(scratch: &Path) -> BenchResult<String> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    let folder = scratch.display().to_string();
    let syncs = baseline::per_second(&["syncs", "--folder", &folder, "--seconds", "1"])?;
    let hashes = baseline::per_second(&["hashes", "--threads", "1", "--seconds", "1"])?;
    Ok(format!(
        "Machine: {processors} processors, load {load} before the run, {syncs:.0} synced appends of 4 KiB per s, {hashes:.1} scrypt 2^14 per s on one thread."
    ))
}

fn create_folder(folder: &Path) -> BenchResult {
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("cannot create {}: {error}", folder.display()))
}

impl BenchContext {
    fn profile(&self, connections: usize) -> LoadProfile {
        LoadProfile {
            connections,
            rate: None,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(self.options.seconds),
        }
    }

    /// Returns the seconds of a measurement as an argument of a baseline.
    fn seconds(&self) -> String {
        self.options.seconds.to_string()
    }

    /// Runs a load against a server. Returns the median of the runs.
    async fn measure(
        &self,
        target: Target,
        connections: usize,
        generator: &RequestGenerator,
    ) -> BenchResult<Measurement> {
        let mut runs = Vec::new();
        for _ in 0..self.options.runs {
            runs.push(load::run(target, self.profile(connections), generator).await?);
        }
        Ok(load::median(&runs))
    }

    /// Runs a load against the unit. Returns the median of the runs.
    async fn measure_unit(
        &self,
        connections: usize,
        generator: &RequestGenerator,
    ) -> BenchResult<Measurement> {
        self.measure(self.unit.target(), connections, generator)
            .await
    }

    /// Runs a load against the unit and one against a baseline, alternately. Returns the medians of both.
    async fn compare(
        &self,
        connections: usize,
        generator: &RequestGenerator,
        baseline: BaselineServer<'_>,
    ) -> BenchResult<Comparison> {
        let profile = self.profile(connections);
        let (mut subject_runs, mut baseline_runs) = (Vec::new(), Vec::new());
        for _ in 0..self.options.runs {
            subject_runs.push(load::run(self.unit.target(), profile, generator).await?);
            baseline_runs.push(load::run(baseline.target, profile, baseline.generator).await?);
        }
        Ok(Comparison {
            subject: load::median(&subject_runs),
            baseline: load::median(&baseline_runs),
        })
    }

    /// Creates a collection with `count` rows in the cell, unless it exists.
    async fn ensure_rows(&mut self, name: &'static str, count: u64) -> BenchResult {
        if self.collections.contains_key(name) {
            return Ok(());
        }
        let start = Instant::now();
        let cell = &self.cell.name;
        self.unit.create_collection(cell, name).await?;
        self.unit.load_rows(cell, name, count).await?;
        let seconds = start.elapsed().as_secs_f64();
        self.load_rates.push(count as f64 / seconds);
        eprintln!("created {count} rows in {seconds:.1} s");
        self.collections.insert(name, count);
        Ok(())
    }

    /// Returns a new access token for the cell; the token in `cell` may have expired.
    async fn new_bearer(&mut self) -> BenchResult<String> {
        self.unit.log_in(&self.cell.name, "me").await
    }
}
