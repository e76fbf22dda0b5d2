//! W3 and W4: creating entities, durable before the response, in 100 cells and in one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use personium_testkit::request_bytes;
use serde_json::Value;

use super::{BenchContext, create_folder};
use crate::load::{self, LoadRequest, Measurement, RequestGenerator};
use crate::report::{Bound, Section};
use crate::unit::{BenchCell, BenchUnit};
use crate::{BenchResult, baseline, rows};

const CELLS: usize = 100;
/// Every 51st request reads the newest row instead of creating one.
const READ_EVERY: u64 = 51;
/// The number of index entries that a unit writes with a row, as counted in its file: five properties, and the times of
/// creation and change.
pub(super) const INDEX_ENTRIES: u64 = 7;

/// The load, and the parameters of its baseline.
struct CreationLoad {
    connections: usize,
    /// Database files of the baseline.
    files: u64,
    /// Threads of the baseline.
    writers: u64,
    /// Rows per commit of the baseline.
    group: u64,
}

/// The rates of the unit and of the baseline.
struct CreationRates {
    subject: Measurement,
    baseline_per_second: f64,
}

/// W3.
pub(super) async fn many_cells(context: &mut BenchContext) -> BenchResult<Section> {
    let mut cells = Vec::new();
    for number in 0..CELLS {
        let cell = context
            .unit
            .create_cell(&format!("create{number:03}"))
            .await?;
        context.unit.create_collection(&cell.name, "rows").await?;
        cells.push(cell);
    }
    let load = CreationLoad {
        connections: 16,
        files: 100,
        writers: 16,
        group: 1,
    };
    let rates = measure(context, &cells, &load).await?;
    let mut section = Section::new("W3");
    section.measured(
        "creations in 100 cells, 16 connections, 1 of 51 reads",
        rates.subject,
    );
    section.measured_rate(
        "baseline: 16 threads, 100 SQLite files, one row per commit",
        rates.baseline_per_second,
    );
    section.note(format!(
        "{:.0} % of the baseline; every acknowledged row was found afterwards",
        rates.subject.per_second / rates.baseline_per_second * 100.0
    ));
    Ok(section)
}

/// W4.
pub(super) async fn one_cell(context: &mut BenchContext) -> BenchResult<Section> {
    let cell = context.unit.create_cell("createone").await?;
    context.unit.create_collection(&cell.name, "rows").await?;
    let load = CreationLoad {
        connections: 64,
        files: 1,
        writers: 1,
        group: 64,
    };
    let rates = measure(context, &[cell], &load).await?;
    let mut section = Section::new("W4");
    section.measured(
        "creations in one cell, 64 connections, 1 of 51 reads",
        rates.subject,
    );
    section.measured_rate(
        "baseline: one thread, one SQLite file, 64 rows per commit",
        rates.baseline_per_second,
    );
    section.require(
        "rate over the baseline's",
        rates.subject.per_second / rates.baseline_per_second,
        Bound::AtLeast,
        0.4,
    );
    section.note(format!(
        "the baseline writes {INDEX_ENTRIES} index entries with each row; every acknowledged row was found afterwards"
    ));
    Ok(section)
}

async fn measure(
    context: &mut BenchContext,
    cells: &[BenchCell],
    load: &CreationLoad,
) -> BenchResult<CreationRates> {
    let created = Arc::new(AtomicU64::new(0));
    let generator = generator(cells, Arc::clone(&created));
    let profile = context.profile(load.connections);
    let (mut subject_runs, mut baseline_rates) = (Vec::new(), Vec::new());
    for run in 0..context.options.runs {
        subject_runs.push(load::run(context.unit.target(), profile, &generator).await?);
        baseline_rates.push(baseline_rate(context, load, run)?);
    }
    let created = created.load(Ordering::Relaxed);
    let found = count_rows(&mut context.unit, cells).await?;
    if found != created {
        return Err(format!(
            "{created} rows were acknowledged, {found} were found"
        ));
    }
    Ok(CreationRates {
        subject: load::median(&subject_runs),
        baseline_per_second: load::median_of(baseline_rates),
    })
}

/// Returns requests that create rows in any of the cells; `created` counts them.
pub(super) fn generator(cells: &[BenchCell], created: Arc<AtomicU64>) -> RequestGenerator {
    let targets: Vec<(String, String)> = cells
        .iter()
        .map(|cell| (format!("/{}/box/rows/Row", cell.name), cell.bearer.clone()))
        .collect();
    Arc::new(move |random, sequence| {
        let index = usize::try_from(random.below(targets.len() as u64)).unwrap_or(0);
        let Some((path, bearer)) = targets.get(index) else {
            return LoadRequest {
                bytes: Vec::new(),
                expected: &[],
            };
        };
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
        ];
        if sequence % READ_EVERY == READ_EVERY - 1 {
            let newest = format!("{path}?$orderby=__published%20desc&$top=1&$format=json");
            return LoadRequest {
                bytes: request_bytes("GET", &newest, &headers, b""),
                expected: &[200],
            };
        }
        let row = rows::json(created.fetch_add(1, Ordering::Relaxed));
        LoadRequest {
            bytes: request_bytes("POST", path, &headers, row.as_bytes()),
            expected: &[201],
        }
    })
}

fn baseline_rate(context: &BenchContext, load: &CreationLoad, run: usize) -> BenchResult<f64> {
    let folder = context
        .scratch
        .join(format!("baseline-records-{}-{run}", load.files));
    create_folder(&folder)?;
    let rate = baseline::per_second(&[
        "records",
        "--folder",
        &folder.display().to_string(),
        "--files",
        &load.files.to_string(),
        "--writers",
        &load.writers.to_string(),
        "--group",
        &load.group.to_string(),
        "--entries",
        &INDEX_ENTRIES.to_string(),
        "--seconds",
        &context.seconds(),
    ]);
    let _ = std::fs::remove_dir_all(&folder);
    rate
}

/// Returns the number of rows in the cells.
pub(super) async fn count_rows(unit: &mut BenchUnit, cells: &[BenchCell]) -> BenchResult<u64> {
    let mut found = 0;
    for cell in cells {
        let path = format!(
            "/{}/box/rows/Row?$top=1&$inlinecount=allpages&$format=json",
            cell.name
        );
        let body = unit.call("GET", &path, &[], b"").await?;
        let json: Value = serde_json::from_slice(&body)
            .map_err(|error| format!("a list is not JSON: {error}"))?;
        let count = json
            .get("d")
            .and_then(|d| d.get("__count"))
            .and_then(Value::as_str)
            .and_then(|count| count.parse::<u64>().ok());
        found += count.ok_or("a list has no count")?;
    }
    Ok(found)
}
