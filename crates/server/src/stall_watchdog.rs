//! Finds stalls: times in which the runtime ran no new task, because its threads were blocked, or because the process was stopped.
//!
//! A thread of its own gives the runtime a task again and again, and measures the time until it runs.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use personium_types::Clock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use tokio::runtime::Handle;

/// The time between two tasks.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// The number of stalls so far, and how long they lasted.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    count: AtomicU64,
    millis: AtomicU64,
}

impl Stalls {
    fn add(&self, length: Duration) {
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.millis.fetch_add(millis, Ordering::Relaxed);
    }

    fn seconds(&self) -> f64 {
        Duration::from_millis(self.millis.load(Ordering::Relaxed)).as_secs_f64()
    }
}

/// The metrics of stalls.
pub(crate) struct StallCollector(pub(crate) Arc<Stalls>);

impl fmt::Debug for StallCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StallCollector")
    }
}

impl Collector for StallCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let count = ConstCounter::new(self.0.count.load(Ordering::Relaxed));
        let metric = encoder.encode_descriptor(
            "personium_runtime_stalls",
            "Times that the runtime ran no new task for longer than the threshold.",
            None,
            count.metric_type(),
        )?;
        count.encode(metric)?;
        let seconds = ConstCounter::new(self.0.seconds());
        let metric = encoder.encode_descriptor(
            "personium_runtime_stalled_seconds",
            "Seconds that these times lasted together.",
            None,
            seconds.metric_type(),
        )?;
        seconds.encode(metric)
    }
}

/// The watchdog of a runtime. It ends when this is dropped, or when the runtime ends.
#[derive(Debug)]
pub(crate) struct StallWatchdog {
    _stop: mpsc::Sender<()>,
}

impl StallWatchdog {
    /// Starts the watchdog of the runtime of the caller. Stalls that last at least `threshold` are logged and counted.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(
        threshold: Duration,
        stalls: Arc<Stalls>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let watch = Watch {
            runtime: Handle::current(),
            threshold,
            stalls,
            clock,
            stopped,
        };
        std::thread::Builder::new()
            .name("stall-watchdog".to_owned())
            .spawn(move || watch.run())?;
        Ok(Self { _stop: stop })
    }
}

struct Watch {
    runtime: Handle,
    threshold: Duration,
    stalls: Arc<Stalls>,
    clock: Arc<dyn Clock>,
    stopped: mpsc::Receiver<()>,
}

impl Watch {
    fn run(&self) {
        loop {
            let begin = self.clock.monotonic();
            let paused = self.stopped.recv_timeout(PROBE_INTERVAL);
            if paused != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let overslept = self.since(begin).saturating_sub(PROBE_INTERVAL);
            if overslept >= self.threshold {
                self.report(overslept, "the process was stopped, or got no processor");
            }
            if self.probe().is_none() {
                return;
            }
        }
    }

    /// Waits until the runtime has run a task. `None` if it has ended.
    fn probe(&self) -> Option<()> {
        let begin = self.clock.monotonic();
        let (ran, was_run) = mpsc::channel();
        self.runtime.spawn(async move {
            let _ = ran.send(());
        });
        match was_run.recv_timeout(self.threshold) {
            Ok(()) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {
                // Said before its end: it may have none.
                tracing::warn!("the runtime is stalled: it runs no new task");
                was_run.recv().ok()?;
            }
        }
        let length = self.since(begin);
        if length >= self.threshold {
            self.report(length, "the threads of the runtime were blocked");
        }
        Some(())
    }

    fn since(&self, begin: Instant) -> Duration {
        self.clock.monotonic().saturating_duration_since(begin)
    }

    fn report(&self, length: Duration, reason: &str) {
        self.stalls.add(length);
        let stall_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(stall_ms, reason, "the runtime was stalled");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::system;

    /// The time within which a stall must be counted.
    const COUNT_TIMEOUT: Duration = Duration::from_secs(20);

    #[test]
    fn blocked_thread_of_the_runtime_is_counted_with_its_time() {
        let stalls = Arc::<Stalls>::default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let (threshold, block) = (Duration::from_millis(50), Duration::from_millis(400));
        let entered = runtime.enter();
        let watchdog = StallWatchdog::start(threshold, Arc::clone(&stalls), system::clock());
        let _watchdog = watchdog.unwrap();
        drop(entered);
        let begin = system::clock().monotonic();
        while stalls.seconds() < 0.2 {
            runtime.block_on(async {
                let blocked = tokio::spawn(async move { std::thread::sleep(block) });
                blocked.await.unwrap();
            });
            assert!(system::clock().monotonic() - begin < COUNT_TIMEOUT);
        }
        let collector = Box::new(StallCollector(Arc::clone(&stalls)));
        let text = Metrics::new(system::clock()).with_collector(collector);
        let text = text.encode().unwrap();
        for name in [
            "personium_runtime_stalls_total",
            "personium_runtime_stalled_seconds_total",
        ] {
            let mut lines = text.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            assert!(value.is_some_and(|value| value > 0.0), "{name} in\n{text}");
        }
    }

    #[test]
    fn watchdog_ends_with_its_runtime() {
        let (stop, stopped) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let watch = Watch {
            runtime: runtime.handle().clone(),
            threshold: Duration::from_secs(1),
            stalls: Arc::default(),
            clock: system::clock(),
            stopped,
        };
        drop(runtime);
        watch.run();
        drop(stop);
    }
}
