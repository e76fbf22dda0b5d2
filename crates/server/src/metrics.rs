//! Metrics of the running unit, in the OpenMetrics text format that Prometheus reads.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use personium_model::AnswerMemory;
use personium_store::StoreHealth;
use personium_types::Clock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the buckets of response times, in seconds.
const BUCKETS_SECS: [f64; 12] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0,
];

/// The values of the label `status`, by first digit of the status.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

type StatusLabel = [(&'static str, &'static str); 1];

/// Counts requests and connections.
#[derive(Debug)]
pub struct Metrics {
    clock: Arc<dyn Clock>,
    registry: Registry,
    /// Responses by class of status, in the order of [`STATUS_CLASSES`].
    responses: [Counter; STATUS_CLASSES.len()],
    response_seconds: Histogram,
    requests_in_flight: Gauge,
    connections: Gauge,
    connections_accepted: Counter,
    panics: Counter,
}

/// Counts a request or connection as in flight until it is dropped.
#[derive(Debug)]
pub struct InFlightGuard<'m>(&'m Gauge);

impl<'m> InFlightGuard<'m> {
    fn new(gauge: &'m Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Measures the time from a request to its response, and counts the request as in flight until it is dropped.
#[derive(Debug)]
pub struct RequestTimer<'m> {
    metrics: &'m Metrics,
    start: Instant,
    _in_flight: InFlightGuard<'m>,
}

impl RequestTimer<'_> {
    /// Counts the response to the request. Returns the time between them.
    pub fn response_started(&self, status: u16) -> Duration {
        let elapsed = self
            .metrics
            .clock
            .monotonic()
            .saturating_duration_since(self.start);
        self.metrics.response_started(status, elapsed);
        elapsed
    }
}

impl Metrics {
    /// Creates the metrics of a unit that starts now.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let responses = Family::<StatusLabel, Counter>::default();
        let metrics = Self {
            clock,
            registry: Registry::default(),
            // Looked up once: a look-up takes a lock that all requests share.
            responses: STATUS_CLASSES
                .map(|class| responses.get_or_create(&[("status", class)]).clone()),
            response_seconds: Histogram::new(BUCKETS_SECS),
            requests_in_flight: Gauge::default(),
            connections: Gauge::default(),
            connections_accepted: Counter::default(),
            panics: Counter::default(),
        };
        metrics.register(responses)
    }

    fn register(mut self, responses: Family<StatusLabel, Counter>) -> Self {
        let registry = &mut self.registry;
        registry.register(
            "personium_requests",
            "Handled requests by class of the response status",
            responses,
        );
        registry.register(
            "personium_request_seconds",
            "Seconds from the end of the request head to the head of the response",
            self.response_seconds.clone(),
        );
        registry.register(
            "personium_requests_in_flight",
            "Requests whose response has not begun",
            self.requests_in_flight.clone(),
        );
        registry.register(
            "personium_connections",
            "Open connections",
            self.connections.clone(),
        );
        registry.register(
            "personium_connections_accepted",
            "Accepted connections",
            self.connections_accepted.clone(),
        );
        registry.register(
            "personium_panics",
            "Requests whose handler panicked",
            self.panics.clone(),
        );
        registry.register_collector(Box::new(ProcessCollector {
            started: self.clock.monotonic(),
            clock: Arc::clone(&self.clock),
        }));
        self
    }

    /// The clock.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Adds metrics that are collected for each scrape.
    #[must_use]
    pub fn with_collector(mut self, collector: Box<dyn Collector>) -> Self {
        self.registry.register_collector(collector);
        self
    }

    /// The same with metrics of the storage, and of the file system of its folder.
    #[must_use]
    pub fn with_storage(mut self, health: Arc<StoreHealth>, folder: PathBuf) -> Self {
        let collector = StorageCollector { health, folder };
        self.registry.register_collector(Box::new(collector));
        self
    }

    /// The same with metrics of the memory of answers.
    #[must_use]
    pub fn with_answer_memory(mut self, memory: AnswerMemory) -> Self {
        let collector = AnswerMemoryCollector { memory };
        self.registry.register_collector(Box::new(collector));
        self
    }

    /// Counts an accepted connection; it is open until the guard is dropped.
    pub fn connection_opened(&self) -> InFlightGuard<'_> {
        self.connections_accepted.inc();
        InFlightGuard::new(&self.connections)
    }

    /// Starts the timer of a request, which is in flight until the timer is dropped.
    pub fn request_started(&self) -> RequestTimer<'_> {
        RequestTimer {
            metrics: self,
            start: self.clock.monotonic(),
            _in_flight: InFlightGuard::new(&self.requests_in_flight),
        }
    }

    /// Counts a response with its status and the time from the request to it.
    fn response_started(&self, status: u16, elapsed: Duration) {
        let class = usize::from(status / 100).checked_sub(1);
        if let Some(counter) = class.and_then(|class| self.responses.get(class)) {
            counter.inc();
        }
        self.response_seconds.observe(elapsed.as_secs_f64());
    }

    /// Counts a request whose handler panicked.
    pub fn handler_panicked(&self) {
        self.panics.inc();
    }

    /// Returns all metrics as text; its media type is [`CONTENT_TYPE`].
    ///
    /// # Errors
    /// [`fmt::Error`] if a metric cannot be written; the library gives no reason for that to happen.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(4096);
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Metrics of the storage, read from what its engines report.
#[derive(Debug)]
struct StorageCollector {
    health: Arc<StoreHealth>,
    folder: PathBuf,
}

impl Collector for StorageCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: u64| -> fmt::Result {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)
        };
        let health = &self.health;
        if let Ok(stat) = rustix::fs::statvfs(&self.folder) {
            gauge(
                "personium_storage_free_bytes",
                "Free bytes of the file system of the data folder.",
                stat.f_bavail.saturating_mul(stat.f_frsize),
            )?;
            gauge(
                "personium_storage_size_bytes",
                "Size of the file system of the data folder.",
                stat.f_blocks.saturating_mul(stat.f_frsize),
            )?;
        }
        gauge(
            "personium_storage_full",
            "Whether the storage takes no new data.",
            health.is_full().into(),
        )?;
        gauge(
            "personium_storage_read_only",
            "Whether the file system is read-only.",
            health.is_read_only().into(),
        )?;
        gauge(
            "personium_damaged_spaces",
            "Cells with lost or damaged data, and the unit itself.",
            health.damaged_spaces().len() as u64,
        )?;
        let reports = ConstCounter::new(health.damage_reports());
        let metric = encoder.encode_descriptor(
            "personium_damage_reports",
            "Times that lost or damaged data was met.",
            None,
            reports.metric_type(),
        )?;
        reports.encode(metric)
    }
}

/// Metrics of the memory of answers.
#[derive(Debug)]
struct AnswerMemoryCollector {
    memory: AnswerMemory,
}

impl Collector for AnswerMemoryCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let used = i64::try_from(self.memory.used_bytes()).unwrap_or(i64::MAX);
        let used = ConstGauge::new(used);
        let metric = encoder.encode_descriptor(
            "personium_answer_memory_bytes",
            "Memory that is reserved for answers.",
            None,
            used.metric_type(),
        )?;
        used.encode(metric)?;
        let refusals = ConstCounter::new(self.memory.refusals());
        let metric = encoder.encode_descriptor(
            "personium_answer_memory_refusals",
            "Requests that were refused for lack of memory for their answer.",
            None,
            refusals.metric_type(),
        )?;
        refusals.encode(metric)
    }
}

/// Metrics of the process, read from the operating system for each scrape. Those that it does not provide are left out.
#[derive(Debug)]
struct ProcessCollector {
    clock: Arc<dyn Clock>,
    started: Instant,
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: u64| -> fmt::Result {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)
        };
        gauge(
            "personium_uptime_seconds",
            "Seconds since the start.",
            self.clock
                .monotonic()
                .saturating_duration_since(self.started)
                .as_secs(),
        )?;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(kib) = status_kib(&status, "VmRSS") {
            gauge(
                "process_resident_memory_bytes",
                "Resident memory of the process.",
                kib * 1024,
            )?;
        }
        if let Some(kib) = status_kib(&status, "VmHWM") {
            gauge(
                "personium_resident_memory_peak_bytes",
                "Largest resident memory of the process so far.",
                kib * 1024,
            )?;
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            let count = u64::try_from(open.count()).unwrap_or(u64::MAX);
            gauge("process_open_fds", "Open file descriptors.", count)?;
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        if let Some(limit) = limit.current {
            let help = "The largest number of open file descriptors.";
            gauge("process_max_fds", help, limit)?;
        }
        let Some(seconds) = cpu_seconds() else {
            return Ok(());
        };
        let seconds = ConstCounter::new(seconds);
        let metric = encoder.encode_descriptor(
            "process_cpu_seconds",
            "Seconds of processor time that the process has used.",
            None,
            seconds.metric_type(),
        )?;
        seconds.encode(metric)
    }
}

/// The processor time of the process in seconds.
fn cpu_seconds() -> Option<f64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanos) = (time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?);
    Some(Duration::new(seconds, nanos).as_secs_f64())
}

/// Returns a field of `/proc/self/status` that is given in KiB.
fn status_kib(status: &str, field: &str) -> Option<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system;

    #[test]
    fn requests_and_connections_are_counted() {
        let metrics = Metrics::new(system::clock());
        metrics.response_started(200, Duration::from_micros(250));
        metrics.response_started(204, Duration::from_micros(251));
        metrics.response_started(404, Duration::from_secs(100));
        metrics.response_started(999, Duration::ZERO);
        metrics.response_started(0, Duration::ZERO);
        let open = metrics.connection_opened();
        drop(metrics.connection_opened());
        metrics.handler_panicked();
        let text = metrics.encode().unwrap();
        for line in [
            "# TYPE personium_requests counter",
            "personium_requests_total{status=\"2xx\"} 2",
            "personium_requests_total{status=\"4xx\"} 1",
            "personium_requests_total{status=\"5xx\"} 0",
            "personium_request_seconds_bucket{le=\"0.00025\"} 3",
            "personium_request_seconds_bucket{le=\"0.0005\"} 4",
            "personium_request_seconds_bucket{le=\"10.0\"} 4",
            "personium_request_seconds_bucket{le=\"+Inf\"} 5",
            "personium_request_seconds_count 5",
            "personium_connections 1",
            "personium_connections_accepted_total 2",
            "personium_panics_total 1",
            "personium_uptime_seconds 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        drop(open);
        let text = metrics.encode().unwrap();
        assert!(text.contains("\npersonium_connections 0\n"), "{text}");
    }

    #[tokio::test]
    async fn memory_of_answers_and_refusals_are_shown() {
        let memory = AnswerMemory::new(1 << 20);
        let metrics = Metrics::new(system::clock()).with_answer_memory(memory.clone());
        let share = memory.share(personium_store::Space::Unit);
        let mut held = share.reservation();
        held.hold(1 << 20).unwrap();
        tokio::time::pause();
        share.reserve(1 << 20).await.unwrap_err();
        let text = metrics.encode().unwrap();
        for line in [
            "personium_answer_memory_bytes 1048576",
            "personium_answer_memory_refusals_total 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        drop(held);
        let text = metrics.encode().unwrap();
        assert!(
            text.contains("\npersonium_answer_memory_bytes 0\n"),
            "{text}"
        );
    }

    #[test]
    fn free_space_of_the_data_folder_is_shown_with_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let health = Arc::<StoreHealth>::default();
        let metrics = Metrics::new(system::clock()).with_storage(health, folder.path().to_owned());
        let text = metrics.encode().unwrap();
        let value = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
        };
        let free = value("personium_storage_free_bytes").unwrap();
        let size = value("personium_storage_size_bytes").unwrap();
        assert!(free <= size && size > 0, "{free} of {size}");
    }

    #[test]
    fn process_metrics_are_read_from_the_system() {
        let text = Metrics::new(system::clock()).encode().unwrap();
        for name in [
            "process_resident_memory_bytes",
            "personium_resident_memory_peak_bytes",
            "process_open_fds",
            "process_max_fds",
            "process_cpu_seconds_total",
        ] {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            assert!(value.is_some_and(|value| value > 0.0), "{name} in\n{text}");
        }
    }
}
