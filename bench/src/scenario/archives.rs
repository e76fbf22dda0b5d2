//! W14: export and import of a box and of a cell, beside a ZIP archive of the same files and the same rows in SQLite.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use personium_testkit::SplitMix64;

use super::BenchContext;
use super::create_entities::INDEX_ENTRIES;
use super::read_by_key::reads;
use super::steady_reads::SteadyReads;
use crate::load::{Measurement, median_of};
use crate::report::{Bound, Section};
use crate::unit::BenchUnit;
use crate::{BenchResult, baseline};

/// The cell that is exported.
const CELL: &str = "archived";
const ROWS: u64 = 10_000;
const FILES: u64 = 500;
/// The sizes of the files in bytes.
const FILE_BYTES: std::ops::Range<u64> = 4_096..200_000;
/// Rows in a commit of the baseline, as many as the unit puts into one while it imports.
const GROUP: u64 = 1000;

/// The times of one run in seconds.
struct Times {
    box_export: f64,
    box_install: f64,
    cell_export: f64,
    cell_import: f64,
    baseline: f64,
}

/// One of the times of a run.
type TimeOf = fn(&Times) -> f64;

/// The unit of all scenarios with the cell, and the folder of the same files.
struct ArchiveBench<'c> {
    context: &'c mut BenchContext,
    folder: PathBuf,
    rows: u64,
    files: u64,
}

pub(super) async fn run(context: &mut BenchContext) -> BenchResult<Section> {
    let divisor = if context.options.quick { 10 } else { 1 };
    let mut bench = ArchiveBench {
        folder: context.scratch.join("archives"),
        context,
        rows: ROWS / divisor,
        files: FILES / divisor,
    };
    bench.make_cell().await?;
    let mut runs = Vec::new();
    for number in 0..bench.context.options.runs {
        runs.push(bench.one_run(number).await?);
    }
    let mut section = section(&runs);
    bench.reads_beside(&mut section).await?;
    let ArchiveBench { rows, files, .. } = bench;
    section.note(format!(
        "{rows} rows and {files} files; p50 is the time of one"
    ));
    let _ = std::fs::remove_dir_all(&bench.folder);
    Ok(section)
}

/// The measurements of some runs, and their requirements.
fn section(runs: &[Times]) -> Section {
    let of = |time: TimeOf| median_of(runs.iter().map(time).collect());
    let mut section = Section::new("archives");
    let subjects: [(&str, TimeOf); 5] = [
        ("export of a box", |run| run.box_export),
        ("installation of that archive", |run| run.box_install),
        ("export of a cell", |run| run.cell_export),
        ("import of that snapshot", |run| run.cell_import),
        ("baseline: ZIP of the files, rows in SQLite", |run| {
            run.baseline
        }),
    ];
    for (name, time) in subjects {
        section.measured(name, elapsed(of(time)));
    }
    section.require(
        "box: export and installation over the baseline",
        of(|run| (run.box_export + run.box_install) / run.baseline),
        Bound::AtMost,
        3.0,
    );
    section.require(
        "cell: export and import over the baseline",
        of(|run| (run.cell_export + run.cell_import) / run.baseline),
        Bound::AtMost,
        3.0,
    );
    section
}

/// A measurement of something that takes so many seconds.
pub(super) fn elapsed(seconds: f64) -> Measurement {
    Measurement {
        p50_us: seconds * 1e6,
        ..Measurement::default()
    }
}

/// Every second file is text, the others cannot be compressed.
fn file_content(number: u64) -> Vec<u8> {
    let mut random = SplitMix64::new(number);
    let length = FILE_BYTES.start + random.below(FILE_BYTES.end - FILE_BYTES.start);
    let length = usize::try_from(length).unwrap_or_default();
    let mut content = Vec::with_capacity(length + 1024);
    while content.len() < length {
        if number.is_multiple_of(2) {
            content.extend_from_slice(&random.next_u64().to_le_bytes());
        } else {
            content.extend_from_slice(crate::rows::json(random.next_u64()).as_bytes());
        }
    }
    content.truncate(length);
    content
}

impl ArchiveBench<'_> {
    /// Makes the cell with rows and files, and a folder with the same files.
    async fn make_cell(&mut self) -> BenchResult {
        let files = self.folder.join("files");
        super::create_folder(&files)?;
        let unit = &mut self.context.unit;
        unit.create_cell(CELL).await?;
        unit.create_collection(CELL, "rows").await?;
        unit.load_rows(CELL, "rows", self.rows).await?;
        let path = format!("/{CELL}/box/files");
        unit.call("MKCOL", &path, &[], b"").await?;
        for number in 0..self.files {
            let content = file_content(number);
            let file = files.join(number.to_string());
            std::fs::write(&file, &content)
                .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
            let path = format!("/{CELL}/box/files/{number}");
            unit.call("PUT", &path, &[], &content).await?;
        }
        Ok(())
    }

    async fn one_run(&mut self, number: usize) -> BenchResult<Times> {
        let (box_export, box_install) = self.box_there_and_back(number).await?;
        let cell_export = self.export(number).await?;
        let cell_import = self.import(number).await?;
        Ok(Times {
            box_export,
            box_install,
            cell_export,
            cell_import,
            baseline: self.baseline(number)?,
        })
    }

    /// Exports the box, and installs the archive as another box, which is removed. Returns the seconds of both.
    async fn box_there_and_back(&mut self, number: usize) -> BenchResult<(f64, f64)> {
        let unit = &mut self.context.unit;
        let start = Instant::now();
        let headers = [("Accept", "application/zip+x-personium-bar")];
        let path = format!("/{CELL}/box");
        let archive = unit.call("GET", &path, &headers, b"").await?;
        let exported = start.elapsed().as_secs_f64();
        let installed = format!("/{CELL}/box{number}");
        let start = Instant::now();
        let headers = [("Content-Type", "application/zip")];
        unit.call("MKCOL", &installed, &headers, &archive).await?;
        unit.wait_until_ready(&installed, "/box/status").await?;
        let seconds = start.elapsed().as_secs_f64();
        check_rows(unit, &installed, self.rows).await?;
        let headers = [("X-Personium-Recursive", "true")];
        unit.call("DELETE", &installed, &headers, b"").await?;
        Ok((exported, seconds))
    }

    /// Exports the cell to a snapshot. Returns the seconds.
    async fn export(&mut self, name: usize) -> BenchResult<f64> {
        let unit = &mut self.context.unit;
        let start = Instant::now();
        let path = format!("/{CELL}/__export");
        let body = format!("{{\"Name\":\"{name}\"}}");
        unit.call("POST", &path, &[], body.as_bytes()).await?;
        unit.wait_until_ready(&path, "/status").await?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Imports a snapshot of the cell into another cell. Returns the seconds without those of its transfer.
    async fn import(&mut self, name: usize) -> BenchResult<f64> {
        let unit = &mut self.context.unit;
        let snapshot = format!("__snapshot/{name}.zip");
        let from = format!("/{CELL}/{snapshot}");
        let content = unit.call("GET", &from, &[], b"").await?;
        let cell = format!("imported{name}");
        unit.create_bare_cell(&cell).await?;
        let to = format!("/{cell}/{snapshot}");
        unit.call("PUT", &to, &[], &content).await?;
        let start = Instant::now();
        let path = format!("/{cell}/__import");
        let body = format!("{{\"Name\":\"{name}\"}}");
        unit.call("POST", &path, &[], body.as_bytes()).await?;
        unit.wait_until_ready(&path, "/status").await?;
        let seconds = start.elapsed().as_secs_f64();
        check_rows(unit, &format!("/{cell}/box"), self.rows).await?;
        Ok(seconds)
    }

    fn baseline(&self, number: usize) -> BenchResult<f64> {
        let scratch = self.folder.join(format!("baseline{number}"));
        super::create_folder(&scratch)?;
        let printed = baseline::run(&[
            "archive",
            "--files",
            &self.folder.join("files").display().to_string(),
            "--scratch",
            &scratch.display().to_string(),
            "--rows",
            &self.rows.to_string(),
            "--group",
            &GROUP.to_string(),
            "--entries",
            &INDEX_ENTRIES.to_string(),
        ])?;
        baseline::number(&printed, "seconds")
    }

    /// Measures reads of the rows at a rate alone and while the cell is exported, imported and its box installed again and again.
    async fn reads_beside(&mut self, section: &mut Section) -> BenchResult {
        let bearer = self.context.unit.log_in(CELL, "me").await?;
        let generator = reads(CELL, "rows", self.rows, bearer);
        let target = self.context.unit.target();
        let steady = SteadyReads::measure(self.context, target, generator, section).await?;
        let enough = Duration::from_secs(self.context.options.seconds);
        let mut name = self.context.options.runs;
        let work = async {
            let start = Instant::now();
            while start.elapsed() < enough {
                self.export(name).await?;
                name += 1;
            }
            Ok(name)
        };
        let mut name = steady.beside("exports of the cell", section, work).await?;
        let work = async {
            let start = Instant::now();
            while start.elapsed() < enough {
                self.export(name).await?;
                self.import(name).await?;
                name += 1;
            }
            Ok(name)
        };
        let what = "exports and imports of the cell";
        let name = steady.beside(what, section, work).await?;
        let work = async {
            let start = Instant::now();
            let mut name = name;
            while start.elapsed() < enough {
                self.box_there_and_back(name).await?;
                name += 1;
            }
            Ok(())
        };
        let what = "exports and installations of the box";
        steady.beside(what, section, work).await
    }
}

/// Checks the number of rows of a box that was made from an archive.
async fn check_rows(unit: &mut BenchUnit, box_path: &str, rows: u64) -> BenchResult {
    let path = format!("{box_path}/rows/Row/$count");
    let count = unit.call("GET", &path, &[], b"").await?;
    if count == rows.to_string().as_bytes() {
        return Ok(());
    }
    let count = String::from_utf8_lossy(&count);
    Err(format!("{box_path} has {count} rows"))
}
