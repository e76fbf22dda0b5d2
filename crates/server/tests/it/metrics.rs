//! The metrics of a running unit: each moves when what it counts happens.

use std::fs;
use std::time::{Duration, Instant};

use personium_testkit::RawConnection;

use crate::storage_unit::{StorageUnit, cell_files};

/// The time within which a metric must move.
const MOVE_TIMEOUT: Duration = Duration::from_secs(20);

/// A cause that moves a metric.
#[derive(Debug, Clone, Copy)]
enum Happening {
    /// A request of an administrator: method and path.
    Request(&'static str, &'static str),
    /// A request of the administrator for a file that has not changed since.
    NotModified,
    /// Connections that send nothing.
    Connections(usize),
    /// Uploads that are not finished, with so many bytes each.
    Uploads(usize, usize),
    /// A second passes.
    Second,
}

use Happening::{Connections, NotModified, Request, Second, Uploads};

const REQUEST: Happening = Request("GET", "c/b/file");
/// The database file of this cell is lost.
const DAMAGED: Happening = Request("PUT", "lost/__/file");

/// The metrics that move at once. Bounds of the histogram are left out.
const METRICS: &[(&str, Happening)] = &[
    ("personium_requests_total{status=\"2xx\"}", REQUEST),
    ("personium_requests_total{status=\"3xx\"}", NotModified),
    (
        "personium_requests_total{status=\"4xx\"}",
        Request("GET", "c/b/none"),
    ),
    ("personium_requests_total{status=\"5xx\"}", DAMAGED),
    ("personium_request_seconds_sum", REQUEST),
    ("personium_request_seconds_count", REQUEST),
    ("personium_requests_in_flight", Uploads(1, 1)),
    ("personium_connections", Connections(1)),
    ("personium_connections_accepted_total", Connections(1)),
    ("personium_uptime_seconds", Second),
    ("process_resident_memory_bytes", Uploads(100, 250_000)),
    (
        "personium_resident_memory_peak_bytes",
        Uploads(200, 250_000),
    ),
    ("process_open_fds", Connections(20)),
    ("process_cpu_seconds_total", REQUEST),
    ("personium_damage_reports_total", DAMAGED),
    // The log is on a device that is always full.
    ("personium_access_log_lost_lines_total", REQUEST),
];

/// The metrics whose tests are elsewhere: `metrics.rs`, `stall_watchdog.rs` and `certificate_expiry.rs` of the program, `audit.rs` of `api`, `rule_limits.rs` of `model`, `script_workers.rs`,
/// `event_feed.rs`, `outbox_metrics.rs`, `acme.rs`, `event_bus.rs`, `stream_broker.rs`, `full_disk.rs`, `low_disk.rs`, `damage.rs`, `monitoring.rs`, `traces.rs` and `node_differences.rs` beside this file.
const ELSEWHERE: &[&str] = &[
    "personium_requests_total{status=\"1xx\"}",
    "personium_panics_total",
    "personium_certificate_expiry_timestamp_seconds",
    "personium_trusted_root_expiry_timestamp_seconds",
    "personium_runtime_stalls_total",
    "personium_runtime_stalled_seconds_total",
    "process_max_fds",
    "personium_storage_free_bytes",
    "personium_storage_size_bytes",
    "personium_disk_free_bytes{content=\"records\"}",
    "personium_disk_low{content=\"records\"}",
    "personium_disk_displaced{content=\"records\"}",
    "personium_disk_displaced{content=\"bodies\"}",
    "personium_disk_displaced{content=\"temporary\"}",
    "personium_storage_full",
    "personium_storage_read_only",
    "personium_damaged_spaces",
    "personium_event_listeners",
    "personium_rule_requests_waiting",
    "personium_messages_waiting",
    "personium_rule_requests_failed_total",
    "personium_rule_requests_skipped_total",
    "personium_event_bus_waiting",
    "personium_event_bus_published_total",
    "personium_event_bus_lost_total",
    "personium_event_bus_set_aside_total",
    "personium_stream_broker_failing",
    "personium_stream_broker_errors_total",
    "personium_stream_broker_dead_letters_total",
    "personium_scripts_running",
    "personium_scripts_stuck",
    "personium_jobs_running",
    "personium_jobs_waiting",
    "personium_script_workers",
    "personium_script_workers_lost_total",
    "personium_answer_memory_bytes",
    "personium_answer_memory_refusals_total",
    "personium_server_nodes_with_other_settings",
    "personium_audit_lost_entries_total",
    "personium_trace_spans_exported_total",
    "personium_trace_spans_lost_total{reason=\"queue_full\"}",
    "personium_trace_spans_lost_total{reason=\"unreachable\"}",
    "personium_trace_spans_lost_total{reason=\"refused\"}",
];

/// The value of a metric, given by its name with its labels.
fn value(text: &str, name: &str) -> Option<f64> {
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    let mut found = lines.filter(|(metric, _)| *metric == name);
    found.next().map(|(_, value)| value.parse().unwrap())
}

async fn metrics(unit: &StorageUnit) -> String {
    let (status, text) = unit.admin_text("metrics").await;
    assert_eq!(status, 200);
    text
}

/// Lets something happen. Connections stay as long as the result.
async fn happen(unit: &StorageUnit, happening: Happening) -> Vec<RawConnection> {
    let open = async || RawConnection::open_once(unit.port()).await.unwrap();
    let mut connections = Vec::new();
    match happening {
        Request(method, path) => drop(unit.admin_request(method, path).send().await),
        NotModified => {
            let request = unit.admin_request("GET", "c/b/file");
            let far = "Fri, 01 Jan 2100 00:00:00 GMT";
            let response = request.header("if-modified-since", far).send().await;
            response.expect(304);
        }
        Connections(count) => {
            for _ in 0..count {
                connections.push(open().await);
            }
        }
        Uploads(count, length) => {
            let token = unit.admin().token().to_owned();
            for number in 0..count {
                let mut connection = open().await;
                let head = format!(
                    "PUT /c/b/f{number} HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: Bearer {token}\r\n\
                     Content-Length: 1000000\r\n\r\n",
                    unit.port()
                );
                connection.send(head.as_bytes()).await.unwrap();
                connection.send(&vec![b'x'; length]).await.unwrap();
                connections.push(connection);
            }
        }
        Second => tokio::time::sleep(Duration::from_millis(1_100)).await,
    }
    connections
}

#[tokio::test]
async fn every_metric_moves_when_what_it_measures_happens() {
    let unit = crate::unit()
        .setting("io.personium.core.log.access", "common")
        .setting("io.personium.core.log.access.file", "/dev/full");
    let unit = StorageUnit::start(unit);
    unit.create_cell("lost").await;
    for path in cell_files(&unit.data()) {
        fs::remove_file(path).unwrap();
    }
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    unit.put_file("c/b/file", "content").await;
    let idle = value(&metrics(&unit).await, "personium_connections").unwrap();
    for (name, happening) in METRICS {
        let before = value(&metrics(&unit).await, name);
        let before = before.unwrap_or_else(|| panic!("there is no {name}"));
        let kept = happen(&unit, *happening).await;
        let until = Instant::now() + MOVE_TIMEOUT;
        loop {
            let now = value(&metrics(&unit).await, name).unwrap();
            if now > before {
                break;
            }
            assert!(
                Instant::now() < until,
                "{name} stays {now} after {happening:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        drop(kept);
        // What is closed now must not be taken for a part of the next state.
        while value(&metrics(&unit).await, "personium_connections").unwrap() > idle {
            assert!(
                Instant::now() < until + MOVE_TIMEOUT,
                "connections stay open"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let text = metrics(&unit).await;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.rsplit_once(' ').unwrap().0;
        let is_known = METRICS.iter().any(|(known, _)| *known == name)
            || ELSEWHERE.contains(&name)
            || name.starts_with("personium_request_seconds_bucket{")
            || name.starts_with("personium_server_nodes{");
        assert!(is_known, "{name} has no test");
    }
}
