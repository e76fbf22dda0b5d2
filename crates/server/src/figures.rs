//! Figures of the running unit, as Prometheus reads them.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of the classes of answer times, in microseconds.
const BOUNDS: [u64; 12] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000, 10_000_000,
];

/// Counts requests and connections.
#[derive(Debug)]
pub struct Figures {
    started: Instant,
    /// Answers by the first digit of their status.
    answers: [AtomicU64; 6],
    /// Answers by time, each class without those of the classes before; the last one is open.
    times: [AtomicU64; BOUNDS.len() + 1],
    time_sum: AtomicU64,
    in_flight: AtomicU64,
    connections: AtomicU64,
    accepted: AtomicU64,
    panics: AtomicU64,
}

/// Something that is going on; ends when it is dropped.
#[derive(Debug)]
pub struct Going<'f>(&'f AtomicU64);

impl Drop for Going<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn going(counter: &AtomicU64) -> Going<'_> {
    counter.fetch_add(1, Ordering::Relaxed);
    Going(counter)
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            answers: Default::default(),
            times: Default::default(),
            time_sum: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        }
    }
}

impl Figures {
    /// Counts a connection as long as the result lives.
    pub fn connection(&self) -> Going<'_> {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        going(&self.connections)
    }

    /// Counts a request in hand as long as the result lives.
    pub fn request(&self) -> Going<'_> {
        going(&self.in_flight)
    }

    /// Counts an answer with this status that took so long.
    pub fn answer(&self, status: u16, time: Duration) {
        if let Some(class) = self.answers.get(usize::from(status / 100)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let class = BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(class) = self.times.get(class) {
            class.fetch_add(1, Ordering::Relaxed);
        }
        self.time_sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// Counts a request whose handling broke down.
    pub fn panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// All figures in the text format of Prometheus.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::with_capacity(4096);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        head(
            &mut out,
            "personium_requests_total",
            "counter",
            "Answered requests by class of status.",
        );
        for (digit, counter) in self.answers.iter().enumerate().skip(1) {
            let _ = writeln!(
                out,
                "personium_requests_total{{status=\"{digit}xx\"}} {}",
                read(counter)
            );
        }
        head(
            &mut out,
            "personium_request_seconds",
            "histogram",
            "Time until the head of the answer.",
        );
        let mut sum = 0;
        for (bound, counter) in BOUNDS.iter().zip(&self.times) {
            sum += read(counter);
            let seconds = Duration::from_micros(*bound).as_secs_f64();
            let _ = writeln!(
                out,
                "personium_request_seconds_bucket{{le=\"{seconds}\"}} {sum}"
            );
        }
        sum += self.times.last().map_or(0, read);
        let seconds = Duration::from_micros(read(&self.time_sum)).as_secs_f64();
        let _ = writeln!(out, "personium_request_seconds_bucket{{le=\"+Inf\"}} {sum}");
        let _ = writeln!(
            out,
            "personium_request_seconds_sum {seconds}\npersonium_request_seconds_count {sum}"
        );
        for (name, kind, help, value) in [
            (
                "personium_requests_in_flight",
                "gauge",
                "Requests in hand.",
                read(&self.in_flight),
            ),
            (
                "personium_connections",
                "gauge",
                "Open connections.",
                read(&self.connections),
            ),
            (
                "personium_connections_total",
                "counter",
                "Accepted connections.",
                read(&self.accepted),
            ),
            (
                "personium_panics_total",
                "counter",
                "Requests whose handling broke down.",
                read(&self.panics),
            ),
            (
                "personium_uptime_seconds",
                "gauge",
                "Seconds since the start.",
                self.started.elapsed().as_secs(),
            ),
        ] {
            head(&mut out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
        process(&mut out);
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// What the system knows of the process. Left out where the system does not tell.
fn process(out: &mut String) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |field: &str| -> Option<u64> {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let memory = [
        ("VmRSS", "process_resident_memory_bytes"),
        ("VmHWM", "personium_resident_memory_peak_bytes"),
    ];
    for (field, name) in memory {
        if let Some(kib) = kib(field) {
            head(out, name, "gauge", "Memory in use by the process.");
            let _ = writeln!(out, "{name} {}", kib * 1024);
        }
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        head(out, "process_open_fds", "gauge", "Open file descriptors.");
        let _ = writeln!(out, "process_open_fds {}", open.count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_counted() {
        let figures = Figures::default();
        figures.answer(200, Duration::from_micros(250));
        figures.answer(204, Duration::from_micros(251));
        figures.answer(404, Duration::from_secs(100));
        figures.answer(999, Duration::ZERO);
        let open = figures.connection();
        drop(figures.connection());
        let text = figures.text();
        for line in [
            "personium_requests_total{status=\"2xx\"} 2",
            "personium_requests_total{status=\"4xx\"} 1",
            "personium_request_seconds_bucket{le=\"0.00025\"} 2",
            "personium_request_seconds_bucket{le=\"0.0005\"} 3",
            "personium_request_seconds_bucket{le=\"10\"} 3",
            "personium_request_seconds_bucket{le=\"+Inf\"} 4",
            "personium_request_seconds_count 4",
            "personium_connections 1",
            "personium_connections_total 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        drop(open);
        assert!(figures.text().contains("personium_connections 0"));
    }
}
