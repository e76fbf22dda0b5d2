//! Running programs, and stopping them again whatever happens.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::Outcome;

/// How long a unit may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a unit may take to stop before it is ended.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// Runs a program to its end, its output on ours.
///
/// # Errors
/// When it cannot be started or ends with a failure.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let shown = format!("{command:?}").replace('"', "");
    println!("\n$ {shown}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown}: {status}")),
        Err(e) => Err(format!("{shown}: {e}")),
    }
}

/// A started program; dropping it stops it by its id and waits for its end.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// Starts a program in the background.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        let child = command
            .spawn()
            .map_err(|e| format!("cannot start {command:?}: {e}"))?;
        Ok(Self { child })
    }

    /// Waits until the port accepts connections.
    ///
    /// # Errors
    /// When the program ends before, or takes longer than a minute.
    pub(crate) fn wait_for_port(&mut self, port: u16) -> Outcome {
        let until = Instant::now() + READY_WITHIN;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the unit ended before it listened: {status}"));
            }
            if TcpStream::connect(("localhost", port)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!(
            "the unit did not listen on port {port} within {READY_WITHIN:?}"
        ))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let asked = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        let until = Instant::now() + STOP_WITHIN;
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

/// An empty folder for one run; dropping it removes it.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the folder under the system's folder for temporary files.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn new(purpose: &str) -> Outcome<Self> {
        let path = std::env::temp_dir().join(format!("personium-{purpose}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path)
            .map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// The wished port if nobody listens there, else one that is free now.
///
/// # Errors
/// When the system has no free port.
pub(crate) fn free_port(wished: u16) -> Outcome<u16> {
    if TcpStream::connect(("localhost", wished)).is_err()
        && TcpListener::bind(("127.0.0.1", wished)).is_ok()
    {
        return Ok(wished);
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| format!("no free port: {e}"))?;
    listener
        .local_addr()
        .map(|a| a.port())
        .map_err(|e| format!("no free port: {e}"))
}
