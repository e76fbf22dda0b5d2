//! A unit as a process of its own.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Request;
use crate::request::{HttpClient, client};
use crate::unit::{free_port, settings};

/// How long a unit may take until it listens.
const START: Duration = Duration::from_secs(60);

/// A unit in a process. Dropping it kills the process.
pub struct ProcessUnit {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    child: Child,
    client: HttpClient,
}

impl ProcessUnit {
    /// Starts `program` with an empty data folder.
    #[must_use]
    pub fn start(program: impl Into<PathBuf>) -> Self {
        let (program, folder, port) = (program.into(), tempfile::tempdir().unwrap(), free_port());
        let child = spawn(&program, folder.path(), port);
        let mut unit = Self {
            program,
            folder,
            port,
            child,
            client: client(),
        };
        unit.wait();
        unit
    }

    fn wait(&mut self) {
        let until = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < until,
                "the unit does not listen:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The id of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process at once, whatever it is doing.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same data and port, after [`ProcessUnit::kill`].
    pub fn start_again(&mut self) {
        self.child = spawn(&self.program, self.folder.path(), self.port);
        self.wait();
    }

    /// A request to a path of the unit.
    #[must_use]
    pub fn request(&self, method: &str, path: &str) -> Request {
        Request::new(
            &self.client,
            method,
            &format!("http://localhost:{}{path}", self.port),
        )
    }
}

impl Drop for ProcessUnit {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, folder: &Path, port: u16) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .unwrap();
    let mut command = Command::new(program);
    command.arg("serve");
    for (key, value) in settings(port, folder.join("data").to_str().unwrap()) {
        command.args(["-c", &format!("{key}={value}")]);
    }
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}
