//! A unit with very many rules, and with very many timers that wait: its start, its idle processor time, and the reads of a
//! cell that has none of them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use personium_testkit::{MASTER_TOKEN, RawBody, RawConnection, request_bytes};
use serde_json::{Value, json};

use super::{BenchContext, read_by_key};
use crate::BenchResult;
use crate::load::{self, Measurement};
use crate::report::{Bound, Section};
use crate::unit::{BenchCell, BenchUnit};

/// The largest number of cells that share the rules, and the number of rules of each.
const CELLS_MAX: u64 = 2_000;
const RULES_OF_CELL: u64 = 50;
/// The cell whose snapshots fill the others.
const TEMPLATE: &str = "template";
/// The connections that fill cells.
const CONNECTIONS: u64 = 8;
/// The pause between two looks whether an import has ended, and the number of looks.
const IMPORT_PAUSE: Duration = Duration::from_millis(5);
const IMPORT_LOOKS: u32 = 20_000;
/// The number of minutes in which the timers of a cell are due.
const DUE_MINUTES: u64 = 10;
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
    let cells = (options.rules / RULES_OF_CELL).clamp(1, CELLS_MAX);
    for number in 0..cells {
        unit.create_bare_cell(&format!("rules{number}")).await?;
    }
    unit.create_bare_cell(TEMPLATE).await?;
    let empty = measure(context, &mut unit, &cell).await?;
    let rule = |number: u64| json!({"Name": format!("rule{number}"), "EventExternal": true, "EventType": format!("t{number}."), "Action": "log"});
    let begin = Instant::now();
    create(&mut unit, options.rules / cells, &rule).await?;
    fill(&mut unit, "rules", cells).await?;
    let with_rules = measure(context, &mut unit, &cell).await?;
    let due = due_ms();
    let timer = move |number: u64| {
        let due = due + number % DUE_MINUTES * 60_000;
        json!({"Name": format!("timer{number}"), "EventType": "timer.oneshot", "EventObject": due.to_string(),
               "EventInfo": "", "Action": "log"})
    };
    create(&mut unit, options.timers / cells, &timer).await?;
    fill(&mut unit, "timers", cells).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let with_timers = measure(context, &mut unit, &cell).await?;
    drop(unit);
    let _ = std::fs::remove_dir_all(&folder);
    let mut section = Section::new("many-rules");
    let (rules, timers) = (
        options.rules / cells * cells,
        options.timers / cells * cells,
    );
    section.measured("W1 of a small cell, no rules", empty.reads);
    for (what, state) in [
        (format!("{rules} rules"), with_rules),
        (format!("these and {timers} timers that wait"), with_timers),
    ] {
        section.measured(format!("the same, {what}"), state.reads);
        compare(&mut section, &what, &empty, &state);
    }
    section.note(format!(
        "{cells} cells were filled by imports of snapshots, with the measurement between them, in {seconds:.0} s"
    ));
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

/// Creates rules of the template.
async fn create(unit: &mut BenchUnit, count: u64, rule: &dyn Fn(u64) -> Value) -> BenchResult {
    let path = format!("/{TEMPLATE}/__ctl/Rule");
    for number in 0..count {
        let body = rule(number).to_string();
        unit.call("POST", &path, &[], body.as_bytes()).await?;
    }
    Ok(())
}

/// Imports a new snapshot of the template into each of the cells.
async fn fill(unit: &mut BenchUnit, name: &str, cells: u64) -> BenchResult {
    let name_in_body = json!({"Name": name}).to_string();
    let export = format!("/{TEMPLATE}/__export");
    unit.call("POST", &export, &[], name_in_body.as_bytes())
        .await?;
    unit.wait_until_ready(&export, "/status").await?;
    let snapshot = format!("/{TEMPLATE}/__snapshot/{name}.zip");
    let snapshot = unit.call("GET", &snapshot, &[], b"").await?;
    let port = unit.port();
    let (snapshot, name_in_body) = (&snapshot, &name_in_body);
    let connections = (0..CONNECTIONS).map(|first| async move {
        let mut connection = AdminConnection::open(port).await?;
        for number in (first..cells).step_by(CONNECTIONS as usize) {
            let cell = format!("/rules{number}");
            let put = format!("{cell}/__snapshot/{name}.zip");
            connection.send("PUT", &put, snapshot).await?;
            let import = format!("{cell}/__import");
            connection
                .send("POST", &import, name_in_body.as_bytes())
                .await?;
            connection.wait_for_import(&import).await?;
        }
        Ok::<(), String>(())
    });
    futures_util::future::try_join_all(connections).await?;
    Ok(())
}

/// A connection for requests of the administrator.
struct AdminConnection(RawConnection);

impl AdminConnection {
    async fn open(port: u16) -> BenchResult<Self> {
        let opened = RawConnection::open(port).await;
        let failed = |error| format!("cannot connect: {error}");
        Ok(Self(opened.map_err(failed)?))
    }

    /// Sends a request, which must succeed. Returns the body of the response.
    async fn send(&mut self, method: &str, path: &str, body: &[u8]) -> BenchResult<String> {
        let authorization = format!("Bearer {MASTER_TOKEN}");
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Accept", "application/json"),
        ];
        let request = request_bytes(method, path, &headers, body);
        let mut text = Vec::new();
        let response = self.0.exchange(&request, RawBody::Keep(&mut text)).await;
        let response = response.map_err(|error| format!("a connection failed: {error}"))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        match response.status {
            200..300 => Ok(text),
            status => Err(format!("{method} {path} was refused with {status}: {text}")),
        }
    }

    async fn wait_for_import(&mut self, path: &str) -> BenchResult {
        let mut state = String::new();
        for _ in 0..IMPORT_LOOKS {
            state = self.send("GET", path, b"").await?;
            let shown: Value = serde_json::from_str(&state)
                .map_err(|error| format!("the state at {path} is not JSON: {error}"))?;
            match shown.get("status").and_then(|status| status.as_str()) {
                Some("ready") => return Ok(()),
                Some(status) if status.contains("failed") => break,
                _ => tokio::time::sleep(IMPORT_PAUSE).await,
            }
        }
        Err(format!("{path} did not end: {state}"))
    }
}
