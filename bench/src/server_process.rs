//! Programs under measurement: their processor time and memory, and servers among them.

use std::process::Command;
use std::time::Duration;

use personium_testkit::{OnDrop, Process};

use crate::BenchResult;

/// Clock ticks per second in `/proc`; Linux shows the same value to every program.
const TICKS_PER_SEC: f64 = 100.0;
/// Reads processor time and memory of a process and its children.
#[derive(Clone, Copy)]
pub(crate) struct ProcessMonitor {
    id: u32,
}

impl ProcessMonitor {
    /// Monitors a process by its id.
    pub(crate) fn new(id: u32) -> Self {
        Self { id }
    }

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

    /// Returns the processor time spent so far, also by children that have ended and were waited for.
    ///
    /// # Errors
    /// A message if the process has ended.
    pub(crate) fn cpu_time(self) -> BenchResult<Duration> {
        let mut ticks = 0.0;
        for id in self.ids() {
            let stat = match std::fs::read_to_string(format!("/proc/{id}/stat")) {
                Ok(stat) => stat,
                // A child that ended since it was listed.
                Err(_) if id != self.id => continue,
                Err(error) => return Err(format!("process {id} has ended: {error}")),
            };
            // The name in parentheses may contain any character; utime and stime are the 12th and 13th field after it, and
            // those of children that have ended follow.
            let fields: Vec<&str> = stat
                .rsplit(')')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .collect();
            let counted = if id == self.id { 11..=14 } else { 11..=12 };
            ticks += counted
                .filter_map(|index: usize| fields.get(index)?.parse::<f64>().ok())
                .sum::<f64>();
        }
        Ok(Duration::from_secs_f64(ticks / TICKS_PER_SEC))
    }

    /// Returns the mean of the memory that each child has for itself; 0 if it cannot be read.
    pub(crate) fn private_bytes_of_children(self) -> f64 {
        let kib_of = |id: u32| -> Option<f64> {
            let text = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
            let private = text.lines().filter(|line| line.starts_with("Private_"));
            let kib =
                private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
            Some(kib.sum())
        };
        let children = self.ids().into_iter().filter(|id| *id != self.id);
        let found: Vec<f64> = children.filter_map(kib_of).collect();
        found.iter().sum::<f64>() * 1024.0 / found.len().max(1) as f64
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

/// A running server. Dropping it stops it.
pub(crate) struct ServerProcess {
    process: Process,
    /// The port on which it listens.
    pub(crate) port: u16,
}

impl ServerProcess {
    /// Starts a program and waits until it listens on `port`.
    ///
    /// # Errors
    /// A message if it ends or does not listen in time.
    pub(crate) fn start(command: &mut Command, port: u16) -> BenchResult<Self> {
        let (process, _) = Process::listen(command, port, OnDrop::Terminate)?;
        Ok(Self { process, port })
    }

    /// Returns a monitor of the process.
    pub(crate) fn monitor(&self) -> ProcessMonitor {
        ProcessMonitor::new(self.process.id())
    }
}
