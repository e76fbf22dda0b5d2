//! Running programs, in the foreground and in the background.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::TaskResult;

/// The time in which a unit must listen.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The time in which a program must end after SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// The pause between two attempts to connect, or two looks whether a program ended.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Runs a program to its end. It inherits the output.
///
/// # Errors
/// A message if it cannot be started or fails.
pub(crate) fn run(command: &mut Command) -> TaskResult {
    let shown = format!("{command:?}").replace('"', "");
    println!("\n$ {shown}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown}: {status}")),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

/// A program in the background. Dropping it stops it by its id and waits for its end.
pub(crate) struct ChildProcess {
    child: Child,
}

impl ChildProcess {
    /// Starts a program.
    ///
    /// # Errors
    /// A message if it cannot be started.
    pub(crate) fn start(command: &mut Command) -> TaskResult<Self> {
        let child = command
            .spawn()
            .map_err(|error| format!("cannot start {command:?}: {error}"))?;
        Ok(Self { child })
    }

    /// Waits until the program ends by itself, and returns its status; after this time it is ended.
    pub(crate) fn wait_at_most(mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        None
    }

    /// Waits until a unit listens on the port.
    ///
    /// # Errors
    /// A message if the program ends, or does not listen in time.
    pub(crate) fn wait_for_port(&mut self, port: u16) -> TaskResult {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the unit ended before it listened: {status}"));
            }
            if TcpStream::connect(("localhost", port)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Err(format!(
            "the unit did not listen on port {port} within {START_TIMEOUT:?}"
        ))
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        let signalled = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while signalled.is_ok() && Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A temporary folder. Dropping it removes it.
pub(crate) struct TempFolder {
    path: PathBuf,
}

impl TempFolder {
    /// Creates an empty folder in the system's folder of temporary files.
    ///
    /// # Errors
    /// A message if it cannot be created.
    pub(crate) fn new(purpose: &str) -> TaskResult<Self> {
        let path = std::env::temp_dir().join(format!("personium-{purpose}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path)
            .map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(Self { path })
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Whether nothing listens on a port of this machine and it can be bound.
pub(crate) fn is_port_free(port: u16) -> bool {
    TcpStream::connect(("localhost", port)).is_err()
        && TcpListener::bind(("127.0.0.1", port)).is_ok()
}
