//! The long ones: a unit with very many cells, and two million requests without growth.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Bench, read_by_key};
use crate::Outcome;
use crate::connection::request;
use crate::load::{self, Drive, Figures, Maker, Shot};
use crate::report::{Bound, Section};
use crate::unit::Unit;

const REQUESTS: u64 = 2_000_000;

/// Makes the cells in a unit of their own, ends it as a crash would, and starts it again.
pub(super) async fn run(bench: &Bench) -> Outcome<Section> {
    let cells = bench.options.cells;
    let folder = bench.scratch.join("many-cells");
    let mut unit = Unit::start(&bench.options.server, &folder).await?;
    let began = Instant::now();
    for number in 0..cells {
        unit.call(
            "POST",
            "/__ctl/Cell",
            &[],
            format!("{{\"Name\":\"cell{number}\"}}").as_bytes(),
        )
        .await?;
    }
    let made = began.elapsed().as_secs_f64();
    let mut unit = unit.crash_and_restart().await?;
    let idle = unit.watched().resident() as f64 / 1e6;
    let asked = Instant::now();
    unit.call(
        "GET",
        &format!("/__ctl/Cell('cell{}')", cells - 1),
        &[],
        b"",
    )
    .await?;
    let ready = (unit.ready_after + asked.elapsed()).as_secs_f64();
    drop(unit);
    let _ = std::fs::remove_dir_all(&folder);
    let mut section = Section::new("many-cells");
    section.rate(
        format!("making {cells} cells, one after the other"),
        cells as f64 / made,
    );
    section.demand(
        "seconds until a unit with all these cells has answered for one of them after a crash",
        ready,
        Bound::AtMost,
        0.5,
    );
    section.demand(
        "MB of memory when idle after that",
        idle,
        Bound::AtMost,
        40.0,
    );
    Ok(section)
}

/// Reads and writes until two million requests are done; memory after the first tenth is compared with memory at the end.
pub(super) async fn endurance(bench: &mut Bench) -> Outcome<Section> {
    let wanted = if bench.options.quick {
        REQUESTS / 20
    } else {
        REQUESTS
    };
    let reads = read_by_key::maker(bench).await?;
    let asked = Arc::new(AtomicU64::new(0));
    let (counter, bearer) = (Arc::clone(&asked), bench.fresh_bearer().await?);
    let path = format!("/{}/box/endurance", bench.cell.name);
    let mixed: Maker = Arc::new(move |random, sequence| {
        counter.fetch_add(1, Ordering::Relaxed);
        if sequence % 20 == 0 {
            let headers = [
                ("Authorization", bearer.as_str()),
                ("Content-Type", "text/plain"),
            ];
            return Shot {
                bytes: request(
                    "PUT",
                    &format!("{path}{}", random.below(50)),
                    &headers,
                    &[b'x'; 500],
                ),
                wished: &[201, 204],
            };
        }
        reads(random, sequence)
    });
    let drive = Drive {
        connections: 32,
        warm_up: Duration::ZERO,
        time: Duration::from_secs(10),
    };
    let (mut after_tenth, mut last) = (0, Figures::default());
    while asked.load(Ordering::Relaxed) < wanted {
        last = load::run(bench.unit.port(), drive, &bench.unit.watched(), &mixed).await?;
        if after_tenth == 0 && asked.load(Ordering::Relaxed) > wanted / 10 {
            after_tenth = bench.unit.watched().resident();
        }
    }
    let grown = bench.unit.watched().resident() as f64 / after_tenth.max(1) as f64;
    let mut section = Section::new("endurance");
    section.side(
        format!(
            "the last 10 s of {} requests, 1 of 20 writes",
            asked.load(Ordering::Relaxed)
        ),
        last,
    );
    section.demand(
        "memory at the end over memory after a tenth",
        grown,
        Bound::AtMost,
        1.1,
    );
    Ok(section)
}
