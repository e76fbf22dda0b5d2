//! The long scenarios: a unit with very many cells, and two million requests without growth of the memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use personium_testkit::request_bytes;

use super::{BenchContext, read_by_key};
use crate::BenchResult;
use crate::load::{self, LoadProfile, LoadRequest, Measurement, RequestGenerator};
use crate::report::{Bound, Section};
use crate::unit::BenchUnit;

/// The number of requests of the scenario endurance.
const REQUESTS: u64 = 2_000_000;
/// Every 20th request writes a file.
const WRITE_EVERY: u64 = 20;
/// The number of files that are written.
const FILES: u64 = 50;

/// Creates the cells in a unit of their own, kills it and starts it again.
pub(super) async fn run(context: &BenchContext) -> BenchResult<Section> {
    let cells = context.options.cells;
    let folder = context.scratch.join("many-cells");
    let mut unit = BenchUnit::start(&context.options.server, &folder).await?;
    let start = Instant::now();
    for number in 0..cells {
        let body = format!("{{\"Name\":\"cell{number}\"}}");
        unit.call("POST", "/__ctl/Cell", &[], body.as_bytes())
            .await?;
    }
    let creation_secs = start.elapsed().as_secs_f64();
    unit.crash_and_restart().await?;
    let idle_mb = unit.monitor().resident_bytes() as f64 / 1e6;
    let start = Instant::now();
    let last = format!("/__ctl/Cell('cell{}')", cells - 1);
    unit.call("GET", &last, &[], b"").await?;
    let ready_secs = (unit.start_time() + start.elapsed()).as_secs_f64();
    drop(unit);
    let _ = std::fs::remove_dir_all(&folder);
    let mut section = Section::new("many-cells");
    section.measured_rate(
        format!("creation of {cells} cells, one after the other"),
        cells as f64 / creation_secs,
    );
    section.require(
        "seconds from a start after a crash to the first response about one of these cells",
        ready_secs,
        Bound::AtMost,
        0.5,
    );
    section.require(
        "MB of memory after that start",
        idle_mb,
        Bound::AtMost,
        40.0,
    );
    Ok(section)
}

/// Reads and writes until two million requests were sent. Compares the memory after the first tenth with that at the
/// end.
pub(super) async fn endurance(context: &mut BenchContext) -> BenchResult<Section> {
    let wanted = if context.options.quick {
        REQUESTS / 20
    } else {
        REQUESTS
    };
    let sent = Arc::new(AtomicU64::new(0));
    let generator = reads_and_writes(context, Arc::clone(&sent)).await?;
    let profile = LoadProfile {
        connections: 32,
        rate: None,
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(10),
    };
    let monitor = context.unit.monitor();
    let (mut bytes_after_tenth, mut last) = (0, Measurement::default());
    while sent.load(Ordering::Relaxed) < wanted {
        last = load::run(context.unit.target(), profile, &generator).await?;
        if bytes_after_tenth == 0 && sent.load(Ordering::Relaxed) > wanted / 10 {
            bytes_after_tenth = monitor.resident_bytes();
        }
    }
    let growth = monitor.resident_bytes() as f64 / bytes_after_tenth.max(1) as f64;
    let mut section = Section::new("endurance");
    section.measured(
        format!(
            "the last 10 s of {} requests, 1 of {WRITE_EVERY} writes",
            sent.load(Ordering::Relaxed)
        ),
        last,
    );
    section.require(
        "memory at the end over memory after a tenth",
        growth,
        Bound::AtMost,
        1.1,
    );
    Ok(section)
}

/// Returns requests of W1, and some that write files; `sent` counts them.
async fn reads_and_writes(
    context: &mut BenchContext,
    sent: Arc<AtomicU64>,
) -> BenchResult<RequestGenerator> {
    let reads = read_by_key::generator(context).await?;
    let bearer = context.new_bearer().await?;
    let prefix = format!("/{}/box/endurance", context.cell.name);
    Ok(Arc::new(move |random, sequence| {
        sent.fetch_add(1, Ordering::Relaxed);
        if sequence % WRITE_EVERY != 0 {
            return reads(random, sequence);
        }
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "text/plain"),
        ];
        let path = format!("{prefix}{}", random.below(FILES));
        LoadRequest {
            bytes: request_bytes("PUT", &path, &headers, &[b'x'; 500]),
            expected: &[201, 204],
        }
    }))
}
