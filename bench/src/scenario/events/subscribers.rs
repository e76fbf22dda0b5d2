//! Many WebSockets that all get each event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use personium_testkit::{RawBody, RawConnection, request_bytes};
use serde_json::json;

use super::EventsBench;
use crate::BenchResult;
use crate::listener::WebSocketListener;
use crate::load::{Measurement, Target, percentile};
use crate::report::Bound;

/// The number of subscribers, if the limit of open files permits it.
const SUBSCRIBERS: usize = 10_000;
/// A quick run has a part of them.
const QUICK_PART: usize = 40;
/// The open files that are left for other purposes, here and in the servers.
const OTHER_FILES: usize = 500;
/// The events per second.
const EVENTS_PER_SECOND: u64 = 8;
/// The time within which all must have arrived after the last event was posted.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);
/// The limit of the memory of a connection.
const MEMORY_MAX_KIB: f64 = 15.0;
/// The limit of the deliveries over those that are due.
const DELIVERED_MIN: f64 = 0.95;

/// The state that the listeners of a run share.
#[derive(Default)]
struct Arrivals {
    /// When each event was posted.
    posted: Mutex<Vec<Instant>>,
    delays_us: Mutex<Vec<u32>>,
    count: AtomicU64,
}

/// The result for one server.
struct Fanout {
    measurement: Measurement,
    /// Bytes of memory of the server for a connection, at most.
    bytes_per_connection: f64,
}

/// A server with many listeners.
struct FanoutTarget {
    target: Target,
    /// The memory before there were listeners.
    bytes_before: u64,
    listeners: Vec<WebSocketListener>,
    /// The request that posts an event, and its status.
    post: (Vec<u8>, u16),
}

impl EventsBench<'_> {
    pub(super) async fn subscribers(&mut self) -> BenchResult {
        let limit = open_file_limit();
        let mut count = SUBSCRIBERS.min(limit.saturating_sub(OTHER_FILES));
        if self.context.options.quick {
            count /= QUICK_PART;
        }
        let unit = self.unit_fanout(count).await?;
        let bare = self.bare_fanout(count).await?;
        let due = (EVENTS_PER_SECOND * count as u64) as f64;
        let kib = |fanout: &Fanout| fanout.bytes_per_connection / 1024.0;
        self.section.measured(
            format!("{EVENTS_PER_SECOND} events per s to each of {count} WebSockets"),
            unit.measurement,
        );
        self.section
            .measured("baseline: axum, broadcast channel", bare.measurement);
        self.section.require(
            format!("{count} WebSockets: deliveries over the {due:.0} per s that are due"),
            unit.measurement.per_second / due,
            Bound::AtLeast,
            DELIVERED_MIN,
        );
        self.section.require(
            format!(
                "{count} WebSockets: KiB of memory of each (baseline: {:.1})",
                kib(&bare)
            ),
            kib(&unit),
            Bound::AtMost,
            MEMORY_MAX_KIB,
        );
        self.section.note(format!(
            "{count} WebSockets: a process may have {limit} open files here; a delivery takes {:.2} times the processor time of the baseline's",
            unit.measurement.cpu_us / bare.measurement.cpu_us
        ));
        Ok(())
    }

    async fn unit_fanout(&self, count: usize) -> BenchResult<Fanout> {
        let target = self.context.unit.target();
        let bytes_before = target.monitor.resident_bytes();
        let mut listeners = Vec::new();
        let path = format!("/{}/__event", self.cell.name);
        for _ in 0..count {
            let mut listener = WebSocketListener::open(target.port, &path).await?;
            listener.subscribe(&self.cell.bearer, "fanout").await?;
            listeners.push(listener);
        }
        let event = json!({"Type": "fanout", "Object": "personium-localbox:/bench", "Info": "x".repeat(200)});
        let headers = [
            ("Authorization", self.cell.bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        let post = request_bytes("POST", &path, &headers, event.to_string().as_bytes());
        self.deliver(FanoutTarget {
            target,
            bytes_before,
            listeners,
            post: (post, 200),
        })
        .await
    }

    async fn bare_fanout(&self, count: usize) -> BenchResult<Fanout> {
        let target = self.bare_target();
        let bytes_before = target.monitor.resident_bytes();
        let mut listeners = Vec::new();
        for _ in 0..count {
            listeners.push(WebSocketListener::open(target.port, "/subscribe").await?);
        }
        let post = request_bytes("POST", "/publish", &[], "x".repeat(400).as_bytes());
        self.deliver(FanoutTarget {
            target,
            bytes_before,
            listeners,
            post: (post, 200),
        })
        .await
    }

    /// Posts events and waits until all have arrived.
    async fn deliver(&self, fanout: FanoutTarget) -> BenchResult<Fanout> {
        let FanoutTarget {
            target,
            bytes_before,
            listeners,
            post: (post, status),
        } = fanout;
        let arrivals = Arc::<Arrivals>::default();
        let count = listeners.len() as u64;
        let tasks: Vec<_> = listeners
            .into_iter()
            .map(|listener| tokio::spawn(receive(listener, Arc::clone(&arrivals))))
            .collect();
        let mut writer = RawConnection::open(target.port)
            .await
            .map_err(|error| format!("cannot connect: {error}"))?;
        target.monitor.reset_peak();
        let (cpu_before, start) = (target.monitor.cpu_time()?, Instant::now());
        let options = &self.context.options;
        let events = options.seconds * options.runs as u64 * EVENTS_PER_SECOND;
        let interval = Duration::from_secs(1) / u32::try_from(EVENTS_PER_SECOND).unwrap_or(1);
        for number in 1..=events {
            arrivals.posted.lock().push(Instant::now());
            let response = writer.exchange(&post, RawBody::Count).await;
            let response = response.map_err(|error| format!("a connection failed: {error}"))?;
            if response.status != status {
                return Err(format!("an event was answered {}", response.status));
            }
            let next = start + interval.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
            tokio::time::sleep_until(next.into()).await;
        }
        let posted = Instant::now();
        while arrivals.count.load(Ordering::Relaxed) < count * events {
            if let Some(ended) = tasks.iter().position(tokio::task::JoinHandle::is_finished) {
                return Err(format!("listener {ended} was dropped"));
            }
            if posted.elapsed() > ARRIVAL_LIMIT {
                return Err("not all events arrived".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let elapsed = start.elapsed().as_secs_f64();
        let cpu = target.monitor.cpu_time()?.saturating_sub(cpu_before);
        let peak_bytes = target.monitor.peak_bytes();
        for task in tasks {
            task.abort();
        }
        let mut delays_us = arrivals.delays_us.lock();
        delays_us.sort_unstable();
        let deliveries = (count * events) as f64;
        Ok(Fanout {
            measurement: Measurement {
                per_second: deliveries / elapsed,
                p50_us: percentile(&delays_us, 0.5),
                p99_us: percentile(&delays_us, 0.99),
                cpu_us: cpu.as_secs_f64() * 1e6 / deliveries,
                bytes_per_second: 0.0,
                peak_bytes,
            },
            bytes_per_connection: peak_bytes.saturating_sub(bytes_before) as f64 / count as f64,
        })
    }
}

/// Receives events until the connection ends.
async fn receive(mut listener: WebSocketListener, arrivals: Arc<Arrivals>) {
    let mut number = 0;
    while listener.next().await.is_ok() {
        let posted = arrivals.posted.lock().get(number).copied();
        if let Some(posted) = posted {
            let delay = u32::try_from(posted.elapsed().as_micros()).unwrap_or(u32::MAX);
            arrivals.delays_us.lock().push(delay);
        }
        number += 1;
        arrivals.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns the number of files that this process may open; the servers that it starts have the same limit.
fn open_file_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(1024)
}
