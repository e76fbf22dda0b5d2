//! W3 and W4: creating entities, durable when answered, over 100 cells and into one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use super::{Bench, floor_rate, middle};
use crate::connection::request;
use crate::load::{self, Figures, Maker, Shot};
use crate::report::{Bound, Section};
use crate::unit::Cell;
use crate::{Outcome, rows};

const CELLS: usize = 100;
/// One of so many requests reads instead: the newest row of the set.
const READ_EVERY: u64 = 51;
/// Index entries that a unit writes with a row, as counted in its file: five properties, when it was made and when changed.
const ENTRIES: u64 = 7;

/// W3.
pub(super) async fn many_cells(bench: &mut Bench) -> Outcome<Section> {
    let mut cells = Vec::new();
    for number in 0..CELLS {
        let cell = bench.unit.make_cell(&format!("create{number:03}")).await?;
        bench.unit.make_rows_type(&cell.name, "rows").await?;
        cells.push(cell);
    }
    let (ours, floor) = create(
        bench,
        &cells,
        16,
        &Floor {
            files: 100,
            writers: 16,
            group: 1,
        },
    )
    .await?;
    let mut section = Section::new("W3");
    section.side(
        "creations over 100 cells, 16 connections, 1 of 51 reads",
        ours,
    );
    section.rate(
        "floor: 16 threads, 100 SQLite files, one row in a commit",
        floor,
    );
    section.notes.push(format!(
        "{:.0} % of the floor; every acknowledged row was counted afterwards",
        ours.per_second / floor * 100.0
    ));
    Ok(section)
}

/// W4.
pub(super) async fn one_cell(bench: &mut Bench) -> Outcome<Section> {
    let cell = bench.unit.make_cell("createone").await?;
    bench.unit.make_rows_type(&cell.name, "rows").await?;
    let (ours, floor) = create(
        bench,
        &[cell],
        64,
        &Floor {
            files: 1,
            writers: 1,
            group: 64,
        },
    )
    .await?;
    let mut section = Section::new("W4");
    section.side(
        "creations into one cell, 64 connections, 1 of 51 reads",
        ours,
    );
    section.rate(
        "floor: one thread, one SQLite file, 64 rows in a commit",
        floor,
    );
    section.demand(
        "rate over the bare loop's",
        ours.per_second / floor,
        Bound::AtLeast,
        0.4,
    );
    section.notes.push(format!("the bare loop writes {ENTRIES} index entries with each row; every acknowledged row was counted afterwards"));
    Ok(section)
}

struct Floor {
    files: u64,
    writers: u64,
    group: u64,
}

async fn create(
    bench: &mut Bench,
    cells: &[Cell],
    connections: usize,
    floor: &Floor,
) -> Outcome<(Figures, f64)> {
    let made = Arc::new(AtomicU64::new(0));
    let targets: Vec<(String, String)> = cells
        .iter()
        .map(|c| (format!("/{}/box/rows/Row", c.name), c.bearer.clone()))
        .collect();
    let counter = Arc::clone(&made);
    let ours: Maker = Arc::new(move |random, sequence| {
        let Some((path, bearer)) =
            targets.get(usize::try_from(random.below(targets.len() as u64)).unwrap_or(0))
        else {
            return Shot {
                bytes: Vec::new(),
                wished: &[],
            };
        };
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
        ];
        if sequence % READ_EVERY == READ_EVERY - 1 {
            let newest = format!("{path}?$orderby=__published%20desc&$top=1&$format=json");
            return Shot {
                bytes: request("GET", &newest, &headers, b""),
                wished: &[200],
            };
        }
        let number = counter.fetch_add(1, Ordering::Relaxed);
        Shot {
            bytes: request("POST", path, &headers, rows::json(number).as_bytes()),
            wished: &[201],
        }
    });
    let (mut subject, mut least) = (Vec::new(), Vec::new());
    for run in 0..bench.options.runs {
        subject.push(
            load::run(
                bench.unit.port(),
                bench.drive(connections),
                &bench.unit.watched(),
                &ours,
            )
            .await?,
        );
        let folder = bench
            .scratch
            .join(format!("floor-records-{}-{run}", floor.files));
        std::fs::create_dir_all(&folder)
            .map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        let text = |n: u64| n.to_string();
        least.push(floor_rate(&[
            "records",
            "--folder",
            &folder.display().to_string(),
            "--files",
            &text(floor.files),
            "--writers",
            &text(floor.writers),
            "--group",
            &text(floor.group),
            "--entries",
            &text(ENTRIES),
            "--seconds",
            &bench.seconds(),
        ])?);
        let _ = std::fs::remove_dir_all(&folder);
    }
    count(bench, cells, made.load(Ordering::Relaxed)).await?;
    Ok((load::median(&subject), middle(least)))
}

/// Whether everything that was acknowledged is there.
async fn count(bench: &mut Bench, cells: &[Cell], made: u64) -> Outcome {
    let mut found = 0;
    for cell in cells {
        let path = format!(
            "/{}/box/rows/Row?$top=1&$inlinecount=allpages&$format=json",
            cell.name
        );
        let answer = bench.unit.call("GET", &path, &[], b"").await?;
        let json: Value =
            serde_json::from_slice(&answer).map_err(|e| format!("a list is not JSON: {e}"))?;
        let count = json
            .get("d")
            .and_then(|d| d.get("__count"))
            .and_then(Value::as_str)
            .and_then(|c| c.parse::<u64>().ok());
        found += count.ok_or("a list has no count")?;
    }
    if found == made {
        Ok(())
    } else {
        Err(format!("{made} rows were acknowledged, {found} are there"))
    }
}
