//! A unit with very many rules, and with very many timers that wait: its start, its idle processor time, and the reads of a
//! cell that has none of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use personium_testkit::{MASTER_TOKEN, RawBody, RawConnection, request_bytes};
use serde_json::{Value, json};

use super::{BenchContext, read_by_key};
use crate::BenchResult;
use crate::load::{self, Measurement};
use crate::report::{Bound, Section};
use crate::unit::{BenchCell, BenchUnit};

/// The cells that share the rules: of one, 10,000 at most.
const CELLS: u64 = 2_000;
/// The connections that create rules.
const CONNECTIONS: u64 = 16;
/// The rows of the cell that is read.
const ROWS: u64 = 1_000;
const COLLECTION: &str = "rows";
/// The time in which the processor time of the unit without requests is measured.
const IDLE: Duration = Duration::from_secs(10);
/// The time before the timers are due: none fires during the measurement.
const DUE_IN: Duration = Duration::from_secs(30 * 24 * 3600);
/// The limits.
const START_MAX: f64 = 1.2;
const READS_MIN: f64 = 0.9;
const IDLE_MAX_MS: f64 = 5.0;
const MEMORY_MAX_MB: f64 = 10.0;

/// The measurements of the unit in one state.
struct State {
    start_secs: f64,
    idle_mb: f64,
    /// Milliseconds of processor time in each second without requests.
    idle_cpu_ms: f64,
    reads: Measurement,
}

/// Measures a unit of its own without rules, with rules, and with timers too.
pub(super) async fn run(context: &BenchContext) -> BenchResult<Section> {
    let options = &context.options;
    let folder = context.scratch.join("many-rules");
    let mut unit = BenchUnit::start(&options.server, &folder).await?;
    let cell = unit.create_cell("read").await?;
    unit.create_collection(&cell.name, COLLECTION).await?;
    unit.load_rows(&cell.name, COLLECTION, ROWS).await?;
    for number in 0..CELLS {
        unit.create_bare_cell(&format!("rules{number}")).await?;
    }
    let empty = measure(context, &mut unit, &cell).await?;
    create(unit.port(), options.rules, &|number| {
        json!({"Name": format!("rule{number}"), "EventExternal": true, "EventType": format!("t{number}."), "Action": "log"})
    })
    .await?;
    let with_rules = measure(context, &mut unit, &cell).await?;
    let due = due_ms();
    create(unit.port(), options.timers, &move |number| {
        let due = due + number * 1_000;
        json!({"Name": format!("timer{number}"), "EventType": "timer.oneshot", "EventObject": due.to_string(),
               "EventInfo": "", "Action": "log"})
    })
    .await?;
    let with_timers = measure(context, &mut unit, &cell).await?;
    drop(unit);
    let _ = std::fs::remove_dir_all(&folder);
    let mut section = Section::new("many-rules");
    section.measured("W1 of a small cell, no rules", empty.reads);
    for (what, state) in [
        (format!("{} rules", options.rules), with_rules),
        (
            format!("these and {} timers that wait", options.timers),
            with_timers,
        ),
    ] {
        section.measured(format!("the same, {what}"), state.reads);
        compare(&mut section, &what, &empty, &state);
    }
    Ok(section)
}

/// Adds the requirements of a state beside the unit without rules.
fn compare(section: &mut Section, what: &str, empty: &State, state: &State) {
    let ratio = |of: f64, to: f64| of / to.max(f64::EPSILON);
    section.require(
        format!("{what}: time of a start after a crash over that without"),
        ratio(state.start_secs, empty.start_secs),
        Bound::AtMost,
        START_MAX,
    );
    section.require(
        format!("{what}: reads of another cell over those without"),
        ratio(state.reads.per_second, empty.reads.per_second),
        Bound::AtLeast,
        READS_MIN,
    );
    section.require(
        format!("{what}: more milliseconds of processor time in an idle second"),
        state.idle_cpu_ms - empty.idle_cpu_ms,
        Bound::AtMost,
        IDLE_MAX_MS,
    );
    section.require(
        format!("{what}: more MB of memory after a start"),
        state.idle_mb - empty.idle_mb,
        Bound::AtMost,
        MEMORY_MAX_MB,
    );
}

/// Kills the unit, starts it again, and measures it.
async fn measure(
    context: &BenchContext,
    unit: &mut BenchUnit,
    cell: &BenchCell,
) -> BenchResult<State> {
    let mut starts = Vec::new();
    for _ in 0..context.options.runs {
        unit.crash_and_restart().await?;
        starts.push(unit.start_time().as_secs_f64());
    }
    let monitor = unit.monitor();
    let before = monitor.cpu_time()?;
    tokio::time::sleep(IDLE).await;
    let idle = monitor.cpu_time()?.saturating_sub(before);
    let idle_mb = monitor.resident_bytes() as f64 / 1e6;
    let bearer = unit.log_in(&cell.name, "me").await?;
    let reads = read_by_key::reads(&cell.name, COLLECTION, ROWS, bearer);
    let reads = context
        .measure(unit.target(), read_by_key::CONNECTIONS, &reads)
        .await?;
    Ok(State {
        start_secs: load::median_of(starts),
        idle_mb,
        idle_cpu_ms: idle.as_secs_f64() * 1e3 / IDLE.as_secs_f64(),
        reads,
    })
}

/// The time at which the first timer is due, milliseconds since 1970.
fn due_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    (now.unwrap_or_default() + DUE_IN).as_millis() as u64
}

/// Creates rules, distributed over the cells.
async fn create(port: u16, count: u64, rule: &(dyn Fn(u64) -> Value + Send + Sync)) -> BenchResult {
    let connections = (0..CONNECTIONS).map(|first| async move {
        let failed = |error| format!("a connection failed: {error}");
        let mut connection = RawConnection::open(port).await.map_err(failed)?;
        let authorization = format!("Bearer {MASTER_TOKEN}");
        let headers = [("Authorization", authorization.as_str())];
        for number in (first..count).step_by(CONNECTIONS as usize) {
            let path = format!("/rules{}/__ctl/Rule", number % CELLS);
            let body = rule(number).to_string();
            let request = request_bytes("POST", &path, &headers, body.as_bytes());
            let mut text = Vec::new();
            let response = connection.exchange(&request, RawBody::Keep(&mut text));
            let status = response.await.map_err(failed)?.status;
            if status != 201 {
                let text = String::from_utf8_lossy(&text);
                return Err(format!("POST {path} was refused with {status}: {text}"));
            }
        }
        Ok(())
    });
    futures_util::future::try_join_all(connections).await?;
    Ok(())
}
