//! Programs in processes of their own.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::SplitMix64;

/// The time that a program may take until it listens.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(120);

/// The time that a program may take to end after a signal.
const END_TIMEOUT: Duration = Duration::from_secs(15);

/// The ports of [`free_port`]. They lie below those that systems give to outgoing connections, so that none of these takes the port
/// of a unit that is being started again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port that is free now, and that no other call in this process returns.
#[must_use]
pub fn free_port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    // Processes start at different ports.
    let first = SplitMix64::new(std::process::id().into()).next_u64();
    let count = u64::from(PORTS.end - PORTS.start);
    loop {
        let call = u64::from(CALLS.fetch_add(1, Ordering::Relaxed));
        assert!(call < count, "no port is free");
        let offset = u16::try_from(first.wrapping_add(call) % count).unwrap();
        let port = PORTS.start + offset;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The path of a program that `cargo xtask clients` built.
#[must_use]
pub fn built_program(name: &str) -> PathBuf {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_default();
    let path = home.join(".cache/personium-tests/bin").join(name);
    assert!(
        path.exists(),
        "{} is missing; run `cargo xtask clients`",
        path.display()
    );
    path
}

/// The folder of packages that `cargo xtask clients` installed from a list; fails if it installed others.
#[must_use]
pub fn installed_packages(name: &str, list: &str) -> PathBuf {
    let folder = package_folder(name);
    assert!(
        are_packages_installed(name, list),
        "the packages in {} are missing or others; run `cargo xtask clients`",
        folder.display()
    );
    folder
}

/// Whether `cargo xtask clients` installed packages from this list.
pub(crate) fn are_packages_installed(name: &str, list: &str) -> bool {
    let installed = std::fs::read_to_string(package_folder(name).join("installed.lock"));
    installed.is_ok_and(|installed| installed == list)
}

fn package_folder(name: &str) -> PathBuf {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_default();
    home.join(".cache/personium-tests").join(name)
}

/// How a process ends when its [`Process`] is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDrop {
    /// By SIGKILL.
    Kill,
    /// By SIGTERM, so that it can end processes of its own, and by SIGKILL if that takes too long.
    Terminate,
}

/// A running process. Dropping it ends the process and waits for its end.
#[derive(Debug)]
pub struct Process {
    child: Child,
    on_drop: OnDrop,
}

impl Process {
    /// Starts a program.
    #[track_caller]
    #[must_use]
    pub fn spawn(command: &mut Command, on_drop: OnDrop) -> Self {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        Self { child, on_drop }
    }

    /// Starts a program that listens on a port of this machine; returns it with the time until it listened.
    ///
    /// # Errors
    /// If the program ends, or does not listen in time.
    pub fn listen(
        command: &mut Command,
        port: u16,
        on_drop: OnDrop,
    ) -> Result<(Self, Duration), String> {
        let started = Instant::now();
        let mut process = Self::spawn(command, on_drop);
        while started.elapsed() < LISTEN_TIMEOUT {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok((process, started.elapsed()));
            }
            if let Some(status) = process.ended() {
                return Err(format!("{command:?} ended: {status}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(format!("{command:?} does not listen on port {port}"))
    }

    /// The id of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The output of the process, if the command pipes it and nobody took it before.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The status with which the process ended; nothing while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until the process ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Ends the process at once by SIGKILL.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops the process without ending it, by SIGSTOP, and waits until all of its threads have stopped.
    pub fn pause(&self) {
        self.signal("-STOP");
        // The threads stop one after the other, when each is next scheduled.
        while !self.is_paused() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets a paused process go on, by SIGCONT.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn is_paused(&self) -> bool {
        let mut tasks = std::fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        tasks.all(|task| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat"));
            // A thread that has ended meanwhile.
            let stat = stat.unwrap_or_else(|_| ") T".to_owned());
            stat.rsplit(')').next().unwrap().trim().starts_with('T')
        })
    }

    fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success(), "kill {signal} {id}");
    }

    /// Asks the process to end, by SIGTERM. Whether the signal was sent.
    pub fn request_end(&self) -> bool {
        let sent = Command::new("kill")
            .args(["-TERM", &self.id().to_string()])
            .status();
        sent.is_ok_and(|status| status.success())
    }

    fn terminate(&mut self) {
        let sent = self.request_end();
        let until = Instant::now() + END_TIMEOUT;
        while sent && Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let runs = matches!(self.child.try_wait(), Ok(None));
        if runs && self.on_drop == OnDrop::Terminate {
            self.terminate();
        }
        self.kill();
    }
}
