//! Programs under measurement: starting, stopping, and what the system says about them.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;

/// Ticks of processor time in a second; Linux shows them so to every program.
const TICKS: f64 = 100.0;
/// How long a program may take until it listens.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A process whose figures are read; its children count with it.
#[derive(Clone, Copy)]
pub(crate) struct Watched {
    id: u32,
}

impl Watched {
    /// The process that asks.
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

    /// Processor time spent so far.
    ///
    /// # Errors
    /// When the process is gone.
    pub(crate) fn cpu(self) -> Outcome<Duration> {
        let mut ticks = 0.0;
        for id in self.ids() {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))
                .map_err(|e| format!("process {id} is gone: {e}"))?;
            // The name in parentheses may hold anything; utime and stime are the 12th and 13th field after it.
            let fields: Vec<&str> = stat
                .rsplit(')')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .collect();
            ticks += [11, 12]
                .iter()
                .filter_map(|i| fields.get(*i)?.parse::<f64>().ok())
                .sum::<f64>();
        }
        Ok(Duration::from_secs_f64(ticks / TICKS))
    }

    /// The most memory held since [`Self::forget_peak`], in bytes.
    pub(crate) fn peak(self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Memory held now, in bytes.
    pub(crate) fn resident(self) -> u64 {
        self.memory("VmRSS:")
    }

    fn memory(self, field: &str) -> u64 {
        let of = |id: u32| -> Option<u64> {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        self.ids().into_iter().filter_map(of).sum::<u64>() * 1024
    }

    /// Lets the peak begin anew at what is held now.
    pub(crate) fn forget_peak(self) {
        for id in self.ids() {
            // Where the system does not allow it, peaks are those of the whole life.
            let _ = std::fs::write(format!("/proc/{id}/clear_refs"), "5");
        }
    }
}

/// A started program; dropping it stops it by its id and waits for its end.
pub(crate) struct Running {
    child: Child,
    /// Where it listens.
    pub(crate) port: u16,
}

impl Running {
    /// Starts a program that listens on `port`, and gives it back with the time it took until it did.
    ///
    /// # Errors
    /// When it does not start, ends, or does not listen within two minutes.
    pub(crate) fn start(command: &mut Command, port: u16) -> Outcome<(Self, Duration)> {
        let began = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .map_err(|e| format!("cannot start {command:?}: {e}"))?;
        let mut running = Self { child, port };
        while began.elapsed() < READY_WITHIN {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok((running, began.elapsed()));
            }
            if let Ok(Some(status)) = running.child.try_wait() {
                return Err(format!("{command:?} ended: {status}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(format!("{command:?} does not listen on port {port}"))
    }

    /// For reading its figures.
    pub(crate) fn watched(&self) -> Watched {
        Watched {
            id: self.child.id(),
        }
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn crash(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let asked = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        let until = Instant::now() + Duration::from_secs(15);
        while asked.is_ok() && Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free now.
///
/// # Errors
/// When there is none.
pub(crate) fn free_port() -> Outcome<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| format!("no free port: {e}"))?;
    listener
        .local_addr()
        .map(|a| a.port())
        .map_err(|e| format!("no free port: {e}"))
}
