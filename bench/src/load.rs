//! The load generator: several connections that each send the next request as soon as they receive a response, or at a given rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use personium_testkit::{RawBody, RawConnection, SplitMix64};

use crate::BenchResult;
use crate::server_process::ProcessMonitor;

const WARM_UP: u8 = 0;
const MEASUREMENT: u8 = 1;
const END: u8 = 2;

/// A run is void if more than one of this number of responses is unexpected.
const UNEXPECTED_LIMIT_ONE_IN: u64 = 1000;

/// A request and the statuses that are expected.
pub(crate) struct LoadRequest {
    /// The bytes of the request.
    pub(crate) bytes: Vec<u8>,
    /// The expected statuses.
    pub(crate) expected: &'static [u16],
}

/// Returns the next request of a run; the number counts its requests.
pub(crate) type RequestGenerator = Arc<dyn Fn(&mut SplitMix64, u64) -> LoadRequest + Send + Sync>;

/// The server under load.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// The port on which it listens.
    pub(crate) port: u16,
    /// The monitor of its process.
    pub(crate) monitor: ProcessMonitor,
}

/// The shape of a load.
#[derive(Clone, Copy)]
pub(crate) struct LoadProfile {
    /// The number of connections.
    pub(crate) connections: usize,
    /// The number of requests per second that all connections send together; as many as possible if absent. With a rate, the time of a request
    /// counts from when it was due, if its connection still waited for the response before.
    pub(crate) rate: Option<f64>,
    /// The time before the measurement.
    pub(crate) warm_up: Duration,
    /// The time of the measurement.
    pub(crate) duration: Duration,
}

/// The results of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measurement {
    /// Expected responses per second.
    pub(crate) per_second: f64,
    /// The median of the response times in microseconds.
    pub(crate) p50_us: f64,
    /// The 99th percentile of the response times in microseconds.
    pub(crate) p99_us: f64,
    /// The processor time of the server per response in microseconds.
    pub(crate) cpu_us: f64,
    /// Bytes of response bodies per second.
    pub(crate) bytes_per_second: f64,
    /// The largest resident memory of the server during the run.
    pub(crate) peak_bytes: u64,
}

/// The state that the connections of a run share.
struct SharedState {
    phase: AtomicU8,
    sequence: AtomicU64,
}

/// The counts of one or several connections of a run.
#[derive(Default)]
struct Tally {
    latencies_us: Vec<u32>,
    body_bytes: u64,
    unexpected: u64,
    first_unexpected: Option<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.latencies_us.extend(other.latencies_us);
        self.body_bytes += other.body_bytes;
        self.unexpected += other.unexpected;
        self.first_unexpected = self.first_unexpected.take().or(other.first_unexpected);
    }
}

/// Runs a load against a server.
///
/// # Errors
/// A message if a connection fails, or if more than one in a thousand responses is unexpected, which makes the run void.
pub(crate) async fn run(
    target: Target,
    profile: LoadProfile,
    generator: &RequestGenerator,
) -> BenchResult<Measurement> {
    // Begun after the warm-up.
    let end = async { tokio::time::sleep(profile.duration).await };
    let (measurement, ()) = run_until(target, profile, generator, end).await?;
    Ok(measurement)
}

/// Runs a load against a server while something else is done. Returns the output of that too.
///
/// # Errors
/// As [`run`].
pub(crate) async fn run_until<T>(
    target: Target,
    profile: LoadProfile,
    generator: &RequestGenerator,
    work: impl Future<Output = T>,
) -> BenchResult<(Measurement, T)> {
    let Target { port, monitor } = target;
    let shared = Arc::new(SharedState {
        phase: AtomicU8::new(WARM_UP),
        sequence: AtomicU64::new(0),
    });
    let mut tasks = Vec::new();
    for number in 0..profile.connections {
        let connection = RawConnection::open(port)
            .await
            .map_err(|error| format!("cannot connect to port {port}: {error}"))?;
        tasks.push(tokio::spawn(send_requests(
            connection,
            SendTimes::of_connection(&profile, number),
            SplitMix64::new(number as u64 + 1),
            Arc::clone(&shared),
            Arc::clone(generator),
        )));
    }
    tokio::time::sleep(profile.warm_up).await;
    monitor.reset_peak();
    let (cpu_before, start) = (monitor.cpu_time()?, Instant::now());
    shared.phase.store(MEASUREMENT, Ordering::Relaxed);
    let done = work.await;
    shared.phase.store(END, Ordering::Relaxed);
    let elapsed = start.elapsed();
    let cpu = monitor.cpu_time()?.saturating_sub(cpu_before);
    let peak_bytes = monitor.peak_bytes();
    let mut tally = Tally::default();
    for task in tasks {
        let counted = task
            .await
            .map_err(|error| format!("a connection task failed: {error}"))??;
        tally.add(counted);
    }
    let measurement = measurement(tally, elapsed, cpu)?;
    let measurement = Measurement {
        peak_bytes,
        ..measurement
    };
    Ok((measurement, done))
}

/// Computes the results of a run, without the peak of the memory.
fn measurement(mut tally: Tally, elapsed: Duration, cpu: Duration) -> BenchResult<Measurement> {
    let expected = tally.latencies_us.len() as u64;
    let all = expected + tally.unexpected;
    if tally.unexpected * UNEXPECTED_LIMIT_ONE_IN > all || expected == 0 {
        let first = tally
            .first_unexpected
            .unwrap_or_else(|| "no response at all".to_owned());
        return Err(format!(
            "void: {} of {all} responses are unexpected; the first: {first}",
            tally.unexpected
        ));
    }
    tally.latencies_us.sort_unstable();
    let percentile = |share| percentile(&tally.latencies_us, share);
    Ok(Measurement {
        per_second: expected as f64 / elapsed.as_secs_f64(),
        p50_us: percentile(0.5),
        p99_us: percentile(0.99),
        cpu_us: cpu.as_secs_f64() * 1e6 / expected as f64,
        bytes_per_second: tally.body_bytes as f64 / elapsed.as_secs_f64(),
        peak_bytes: 0,
    })
}

/// Returns a percentile of sorted times; 0 if there are none.
pub(crate) fn percentile(sorted_us: &[u32], share: f64) -> f64 {
    let index = (sorted_us.len() as f64 * share) as usize;
    let last = sorted_us.len().saturating_sub(1);
    sorted_us
        .get(index.min(last))
        .copied()
        .map_or(0.0, f64::from)
}

/// When a connection sends its requests.
struct SendTimes {
    /// The time of the next request.
    next: Instant,
    /// The time from one request to the next; `None` if they follow responses.
    interval: Option<Duration>,
}

impl SendTimes {
    /// The requests of the connections are spread over the time.
    fn of_connection(profile: &LoadProfile, number: usize) -> Self {
        let interval = profile
            .rate
            .map(|rate| Duration::from_secs_f64(profile.connections as f64 / rate));
        let share = number as f64 / profile.connections as f64;
        Self {
            next: Instant::now() + interval.unwrap_or_default().mul_f64(share),
            interval,
        }
    }

    /// Waits until the next request is due. A connection that is late catches up. Returns the time from which the response time counts: if the
    /// response before came too late, when the request was due, and otherwise now, without the delay of the timer.
    async fn wait(&mut self) -> Instant {
        let Some(interval) = self.interval else {
            return Instant::now();
        };
        let due = self.next;
        self.next += interval;
        if due <= Instant::now() {
            return due;
        }
        tokio::time::sleep_until(due.into()).await;
        Instant::now()
    }
}

/// Sends requests over one connection until the run ends.
async fn send_requests(
    mut connection: RawConnection,
    mut times: SendTimes,
    mut random: SplitMix64,
    shared: Arc<SharedState>,
    generator: RequestGenerator,
) -> BenchResult<Tally> {
    let mut tally = Tally::default();
    loop {
        let sequence = shared.sequence.fetch_add(1, Ordering::Relaxed);
        let request = generator(&mut random, sequence);
        let start = times.wait().await;
        let response = connection
            .exchange(&request.bytes, RawBody::Count)
            .await
            .map_err(|error| format!("a connection failed: {error}"))?;
        let elapsed = start.elapsed();
        let phase = shared.phase.load(Ordering::Relaxed);
        if phase == END {
            return Ok(tally);
        }
        if !request.expected.contains(&response.status) {
            tally.unexpected += 1;
            tally.first_unexpected.get_or_insert_with(|| {
                let mut lines = request.bytes.split(|byte| *byte == b'\r');
                let line = String::from_utf8_lossy(lines.next().unwrap_or_default());
                format!("{} to {line}", response.status)
            });
        } else if phase == MEASUREMENT {
            let latency_us = u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX);
            tally.latencies_us.push(latency_us);
            tally.body_bytes += response.length;
        }
    }
}

/// Returns the median of each result of some runs, and the largest peak of the memory.
pub(crate) fn median(runs: &[Measurement]) -> Measurement {
    let of = |field: fn(&Measurement) -> f64| median_of(runs.iter().map(field).collect());
    Measurement {
        per_second: of(|run| run.per_second),
        p50_us: of(|run| run.p50_us),
        p99_us: of(|run| run.p99_us),
        cpu_us: of(|run| run.cpu_us),
        bytes_per_second: of(|run| run.bytes_per_second),
        peak_bytes: runs
            .iter()
            .map(|run| run.peak_bytes)
            .max()
            .unwrap_or_default(),
    }
}

/// Returns the median of some numbers.
pub(crate) fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_with_many_unexpected_responses_is_void() {
        let tally = |unexpected| Tally {
            latencies_us: vec![10; 1000],
            body_bytes: 0,
            unexpected,
            first_unexpected: Some("500".into()),
        };
        let second = Duration::from_secs(1);
        assert!(measurement(tally(1), second, second).is_ok());
        assert!(measurement(tally(2), second, second).is_err());
        assert!(measurement(Tally::default(), second, Duration::ZERO).is_err());
    }

    #[test]
    fn measurement_and_median_are_computed_from_the_tally() {
        let tally = Tally {
            latencies_us: (1..=100).rev().collect(),
            body_bytes: 400,
            ..Tally::default()
        };
        let first = measurement(tally, Duration::from_secs(2), Duration::from_millis(1)).unwrap();
        assert_eq!(
            (
                first.per_second,
                first.p50_us,
                first.p99_us,
                first.cpu_us,
                first.bytes_per_second
            ),
            (50.0, 51.0, 100.0, 10.0, 200.0)
        );
        let second = Measurement {
            p50_us: 1.0,
            peak_bytes: 9,
            ..first
        };
        let third = Measurement {
            p50_us: 60.0,
            ..first
        };
        let median = median(&[first, second, third]);
        assert_eq!((median.p50_us, median.peak_bytes), (51.0, 9));
    }

    #[tokio::test]
    async fn load_with_a_rate_sends_no_more() {
        let answered = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&answered);
        let answer = move || async move { counter.fetch_add(1, Ordering::Relaxed).to_string() };
        let app = axum::Router::new().route("/", axum::routing::get(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target {
            port: listener.local_addr().unwrap().port(),
            monitor: ProcessMonitor::this(),
        };
        tokio::spawn(async move { axum::serve(listener, app).await });
        let profile = LoadProfile {
            connections: 4,
            rate: Some(100.0),
            warm_up: Duration::from_millis(50),
            duration: Duration::from_millis(300),
        };
        let get: RequestGenerator = Arc::new(|_, _| LoadRequest {
            bytes: b"GET / HTTP/1.1\r\nHost: unit\r\n\r\n".to_vec(),
            expected: &[200],
        });
        let start = Instant::now();
        run(target, profile, &get).await.unwrap();
        let due = start.elapsed().as_secs_f64() * 100.0 + 4.0;
        let sent = answered.load(Ordering::Relaxed);
        assert!(sent >= 4 && sent as f64 <= due, "{sent} of {due}");
    }

    #[tokio::test]
    async fn load_counts_expected_responses() {
        let app = axum::Router::new().route("/found", axum::routing::get(|| async { "abc" }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target {
            port: listener.local_addr().unwrap().port(),
            monitor: ProcessMonitor::this(),
        };
        tokio::spawn(async move { axum::serve(listener, app).await });
        let profile = LoadProfile {
            connections: 3,
            rate: None,
            warm_up: Duration::from_millis(50),
            duration: Duration::from_millis(200),
        };
        let get = |path: &'static str| -> RequestGenerator {
            Arc::new(move |_, _| LoadRequest {
                bytes: personium_testkit::request_bytes("GET", path, &[], b""),
                expected: &[200],
            })
        };
        let found = run(target, profile, &get("/found")).await.unwrap();
        assert!(
            found.per_second > 0.0 && found.p99_us >= found.p50_us && found.peak_bytes > 0,
            "{found:?}"
        );
        assert!(
            (found.bytes_per_second / found.per_second - 3.0).abs() < 1e-6,
            "{found:?}"
        );
        let error = run(target, profile, &get("/missing")).await.unwrap_err();
        assert!(error.contains("404"), "{error}");
    }
}
