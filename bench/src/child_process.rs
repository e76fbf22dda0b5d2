//! The programs under measurement: starting and stopping them, and what the system reports about them.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::BenchResult;

/// Clock ticks per second in `/proc`; Linux shows the same value to every program.
const TICKS_PER_SEC: f64 = 100.0;
/// The time in which a program must listen.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// The pause between two attempts to connect to it.
const START_POLL_INTERVAL: Duration = Duration::from_millis(2);
/// The time in which a program must end after SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// The pause between two looks whether it ended.
const STOP_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Reads processor time and memory of a process and its children.
#[derive(Clone, Copy)]
pub(crate) struct ProcessMonitor {
    id: u32,
}

impl ProcessMonitor {
    /// Monitors the current process.
    pub(crate) fn this() -> Self {
        Self {
            id: std::process::id(),
        }
    }

    fn ids(self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.id);
        let children = std::fs::read_to_string(path).unwrap_or_default();
        let mut ids: Vec<u32> = children
            .split_whitespace()
            .filter_map(|id| id.parse().ok())
            .collect();
        ids.push(self.id);
        ids
    }

    /// Returns the processor time spent so far.
    ///
    /// # Errors
    /// A message if the process has ended.
    pub(crate) fn cpu_time(self) -> BenchResult<Duration> {
        let mut ticks = 0.0;
        for id in self.ids() {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))
                .map_err(|error| format!("process {id} has ended: {error}"))?;
            // The name in parentheses may contain any character; utime and stime are the 12th and 13th field after it.
            let fields: Vec<&str> = stat
                .rsplit(')')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .collect();
            ticks += [11, 12]
                .iter()
                .filter_map(|index| fields.get(*index)?.parse::<f64>().ok())
                .sum::<f64>();
        }
        Ok(Duration::from_secs_f64(ticks / TICKS_PER_SEC))
    }

    /// Returns the largest resident memory since [`Self::reset_peak`].
    pub(crate) fn peak_bytes(self) -> u64 {
        self.memory_bytes("VmHWM:")
    }

    /// Returns the current resident memory.
    pub(crate) fn resident_bytes(self) -> u64 {
        self.memory_bytes("VmRSS:")
    }

    fn memory_bytes(self, field: &str) -> u64 {
        let kib_of = |id: u32| -> Option<u64> {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        self.ids().into_iter().filter_map(kib_of).sum::<u64>() * 1024
    }

    /// Resets the peak to the current resident memory.
    pub(crate) fn reset_peak(self) {
        for id in self.ids() {
            // Where the system does not permit it, the peak is that of the whole run of the process.
            let _ = std::fs::write(format!("/proc/{id}/clear_refs"), "5");
        }
    }
}

/// A running program. Dropping it stops it by its id and waits for its end.
pub(crate) struct ChildProcess {
    child: Child,
    /// The port on which it listens.
    pub(crate) port: u16,
    /// The time from its start until it listened.
    pub(crate) start_time: Duration,
}

impl ChildProcess {
    /// Starts a program and waits until it listens on `port`.
    ///
    /// # Errors
    /// A message if it does not start, ends, or does not listen in time.
    pub(crate) fn start(command: &mut Command, port: u16) -> BenchResult<Self> {
        let start = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {command:?}: {error}"))?;
        let mut process = Self {
            child,
            port,
            start_time: Duration::ZERO,
        };
        while start.elapsed() < START_TIMEOUT {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                process.start_time = start.elapsed();
                return Ok(process);
            }
            if let Ok(Some(status)) = process.child.try_wait() {
                return Err(format!("{command:?} ended: {status}"));
            }
            std::thread::sleep(START_POLL_INTERVAL);
        }
        Err(format!("{command:?} does not listen on port {port}"))
    }

    /// Returns a monitor of the process.
    pub(crate) fn monitor(&self) -> ProcessMonitor {
        ProcessMonitor {
            id: self.child.id(),
        }
    }

    /// Kills it, which is like a crash.
    pub(crate) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        let signalled = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while signalled.is_ok() && Instant::now() < deadline {
            if self.has_ended() {
                return;
            }
            std::thread::sleep(STOP_POLL_INTERVAL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a port that is free at the moment.
///
/// # Errors
/// A message if there is none.
pub(crate) fn free_port() -> BenchResult<u16> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}
