//! The scenarios, and what they share: one unit, rows that are loaded once, and how a load is driven.

mod auth;
mod create;
mod fixture;
mod gigabyte;
mod list;
mod login;
mod many_cells;
mod put_files;
mod read_by_key;
mod read_files;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::load::{self, Drive, Figures, Maker};
use crate::process::Watched;
use crate::report::{Section, markdown};
use crate::unit::{Cell, Unit};
use crate::{Outcome, ReportOptions, floor};

const ALL: &[&str] = &[
    "w1", "w2", "w3", "w4", "w7", "w8", "w10", "auth", "fixture", "gigabyte",
];
const LONG: &[&str] = &["many-cells", "endurance"];

/// What a scenario works with.
pub(crate) struct Bench {
    options: ReportOptions,
    scratch: PathBuf,
    unit: Unit,
    /// The cell that holds rows and files.
    cell: Cell,
    /// Collections of rows that are there already, with their number of rows.
    loaded: HashMap<&'static str, u64>,
    /// The cell whose accounts log in, once it is there.
    login_cell: Option<String>,
    /// Rows per second while loading, newest last.
    load_rates: Vec<f64>,
}

/// Runs the wished scenarios, prints and writes the report.
///
/// # Errors
/// When a scenario cannot be run; a demand that is not kept is no error.
pub(crate) async fn report(mut options: ReportOptions) -> Outcome {
    if options.quick {
        options.seconds = 1;
        options.runs = 1;
        options.many /= 5;
        options.cells /= 5;
    }
    let names = wished(&options)?;
    let own = tempfile::tempdir().map_err(|e| format!("no temporary folder: {e}"))?;
    let scratch = options
        .scratch
        .clone()
        .unwrap_or_else(|| own.path().to_owned());
    std::fs::create_dir_all(&scratch)
        .map_err(|e| format!("cannot make {}: {e}", scratch.display()))?;
    let calibration = calibrate(&scratch)?;
    println!("{calibration}\n");
    let mut unit = Unit::start(&options.server, &scratch.join("unit")).await?;
    let cell = unit.make_cell("load").await?;
    let mut bench = Bench {
        options,
        scratch,
        unit,
        cell,
        loaded: HashMap::new(),
        login_cell: None,
        load_rates: Vec::new(),
    };
    let mut sections = Vec::new();
    for name in names {
        let began = Instant::now();
        let done = match name {
            "w1" => read_by_key::run(&mut bench).await,
            "w2" => list::run(&mut bench).await,
            "w3" => create::many_cells(&mut bench).await,
            "w4" => create::one_cell(&mut bench).await,
            "w7" => read_files::run(&mut bench).await,
            "w8" => put_files::run(&mut bench).await,
            "w10" => login::run(&mut bench).await,
            "auth" => auth::run(&mut bench).await,
            "fixture" => fixture::run(&bench).await,
            "gigabyte" => gigabyte::run(&mut bench).await,
            "many-cells" => many_cells::run(&bench).await,
            _ => many_cells::endurance(&mut bench).await,
        };
        match done {
            Ok(section) => sections.push(section),
            Err(reason) => {
                let mut section = Section::new(name);
                section
                    .notes
                    .push(format!("could not be measured: {reason}"));
                sections.push(section);
            }
        }
        eprintln!("{name}: {:.0} s", began.elapsed().as_secs_f64());
    }
    let text = markdown(&calibration, &sections);
    println!("{text}");
    if let Some(file) = &bench.options.report {
        std::fs::write(file, &text).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    }
    Ok(())
}

fn wished(options: &ReportOptions) -> Outcome<Vec<&'static str>> {
    let known: Vec<&'static str> = ALL.iter().chain(LONG).copied().collect();
    if options.names.is_empty() {
        return Ok(ALL
            .iter()
            .chain(LONG.iter().filter(|_| options.long))
            .copied()
            .collect());
    }
    options
        .names
        .iter()
        .map(|name| {
            let name = name.to_lowercase();
            known.iter().copied().find(|k| *k == name).ok_or_else(|| {
                format!("there is no scenario {name}; there are {}", known.join(" "))
            })
        })
        .collect()
}

/// The line that says what the machine could do when the report was made.
fn calibrate(scratch: &Path) -> Outcome<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let busy = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let busy = busy.split_whitespace().next().unwrap_or("?").to_owned();
    let folder = scratch.display().to_string();
    let flushes = floor_rate(&["flushes", "--folder", &folder, "--seconds", "1"])?;
    let hashes = floor_rate(&["hashes", "--threads", "1", "--seconds", "1"])?;
    Ok(format!(
        "Machine: {cores} processors, load {busy} before the run, {flushes:.0} flushed appends of 4 KiB per s, {hashes:.1} scrypt 2^14 per s on one thread."
    ))
}

fn floor_rate(arguments: &[&str]) -> Outcome<f64> {
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    floor::figure(&floor::run(&arguments)?, "per_second")
}

/// The middle one of some numbers.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

impl Bench {
    fn drive(&self, connections: usize) -> Drive {
        Drive {
            connections,
            warm_up: Duration::from_secs(1),
            time: Duration::from_secs(self.options.seconds),
        }
    }

    fn seconds(&self) -> String {
        self.options.seconds.to_string()
    }

    /// Runs a load on the unit and the same on its floor, in turns; gives the medians of both.
    async fn beside(
        &self,
        connections: usize,
        ours: &Maker,
        floor: (u16, Watched, &Maker),
    ) -> Outcome<(Figures, Figures)> {
        let (mut subject, mut least) = (Vec::new(), Vec::new());
        for _ in 0..self.options.runs {
            subject.push(
                load::run(
                    self.unit.port(),
                    self.drive(connections),
                    &self.unit.watched(),
                    ours,
                )
                .await?,
            );
            least.push(load::run(floor.0, self.drive(connections), &floor.1, floor.2).await?);
        }
        Ok((load::median(&subject), load::median(&least)))
    }

    /// Runs a load on the unit as often as asked; gives the median.
    async fn alone(&self, connections: usize, ours: &Maker) -> Outcome<Figures> {
        let mut runs = Vec::new();
        for _ in 0..self.options.runs {
            runs.push(
                load::run(
                    self.unit.port(),
                    self.drive(connections),
                    &self.unit.watched(),
                    ours,
                )
                .await?,
            );
        }
        Ok(load::median(&runs))
    }

    /// Provides a collection with so many rows in the cell, once.
    async fn rows(&mut self, name: &'static str, count: u64) -> Outcome {
        if self.loaded.contains_key(name) {
            return Ok(());
        }
        let began = Instant::now();
        self.unit.make_rows_type(&self.cell.name, name).await?;
        self.unit.load_rows(&self.cell.name, name, count).await?;
        let seconds = began.elapsed().as_secs_f64();
        self.load_rates.push(count as f64 / seconds);
        eprintln!("loaded {count} rows in {seconds:.1} s");
        self.loaded.insert(name, count);
        Ok(())
    }

    /// A token that was made now; the one of the cell may have become old.
    async fn fresh_bearer(&mut self) -> Outcome<String> {
        let name = self.cell.name.clone();
        self.unit.log_in(&name, "me").await
    }
}
