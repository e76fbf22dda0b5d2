//! A unit in a process of its own.

use std::fmt::Write as _;
use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::client::TestClient;
use crate::credentials::MASTER_TOKEN;
use crate::process::{OnDrop, Process, free_port};

/// The lines of the log that a failed test shows.
const SHOWN_LOG_LINES: usize = 20;

/// The folder of a unit.
enum Folder {
    /// A new temporary folder.
    New,
    /// A temporary folder that is removed when the unit ends.
    Temporary(TempDir),
    /// A folder that is kept when the unit ends.
    Kept(PathBuf),
}

/// Scheme and port in the URLs of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UrlSettings {
    /// HTTP, and the port of the unit.
    Own,
    /// HTTP without a port.
    WithoutPort,
    /// HTTPS, and the port of a proxy.
    Proxy(u16),
}

/// The program, settings and environment of a [`ProcessUnit`] that is to be started.
#[must_use = "a unit is started by `start`"]
pub struct ProcessUnitBuilder {
    program: PathBuf,
    folder: Folder,
    host: String,
    urls: UrlSettings,
    cells_have_hosts: bool,
    settings: String,
    environment: Vec<(String, String)>,
}

impl ProcessUnitBuilder {
    /// Adds a setting, given by its whole key.
    pub fn setting(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        let _ = writeln!(self.settings, "{key}={value}");
        self
    }

    /// Adds lines to the settings.
    pub fn settings(mut self, lines: &str) -> Self {
        self.settings.push_str(lines);
        self
    }

    /// Sets the host name in the URLs of the unit. It need not be resolvable.
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Leaves the port out of the URLs of the unit, as behind a reverse proxy.
    pub fn without_port_in_urls(mut self) -> Self {
        self.urls = UrlSettings::WithoutPort;
        self
    }

    /// Puts HTTPS and this port into the URLs of the unit, as behind a reverse proxy.
    pub fn behind_proxy(mut self, port: u16) -> Self {
        self.urls = UrlSettings::Proxy(port);
        self
    }

    /// Gives each cell a host of its own instead of a path.
    pub fn cells_have_hosts(mut self) -> Self {
        self.cells_have_hosts = true;
        self
    }

    /// Sets the folder of the unit, which is kept when the unit ends. Without it the unit has a temporary folder.
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Folder::Kept(folder.to_owned());
        self
    }

    /// Sets the folder of the unit, which is removed when the unit ends.
    pub fn temporary_folder(mut self, folder: TempDir) -> Self {
        self.folder = Folder::Temporary(folder);
        self
    }

    /// Adds an environment variable.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the unit, and waits until it listens.
    #[must_use]
    pub fn start(self) -> ProcessUnit {
        let port = free_port();
        let port_line = |port: u16| format!("io.personium.core.unitPort={port}\n");
        let (scheme, port_line) = match self.urls {
            UrlSettings::Own => ("http", port_line(port)),
            UrlSettings::WithoutPort => ("http", String::new()),
            // `--port` would replace the port in URLs too.
            UrlSettings::Proxy(proxy) => {
                let listen = format!("io.personium.core.listen=127.0.0.1:{port}\n");
                ("https", format!("{}{listen}", port_line(proxy)))
            }
        };
        let (host, are_paths) = (&self.host, !self.cells_have_hosts);
        let settings = format!(
            "io.personium.core.unitScheme={scheme}\nio.personium.core.unitFqdn={host}\n{port_line}\
             io.personium.core.pathBasedCellUrl.enabled={are_paths}\nio.personium.core.masterToken={MASTER_TOKEN}\n\
             io.personium.core.security.secret16=0123456789abcdef\n{}",
            self.settings
        );
        self.start_on(port, Some(&settings))
    }

    /// Starts the unit without settings, as for the first time, and waits until it listens.
    #[must_use]
    pub fn start_without_settings(self) -> ProcessUnit {
        self.start_on(free_port(), None)
    }

    fn start_on(self, port: u16, settings: Option<&str>) -> ProcessUnit {
        let (folder, temporary) = match self.folder {
            Folder::New => {
                let temporary = tempfile::tempdir().unwrap();
                (temporary.path().to_owned(), Some(temporary))
            }
            Folder::Temporary(temporary) => (temporary.path().to_owned(), Some(temporary)),
            Folder::Kept(folder) => (folder, None),
        };
        std::fs::create_dir_all(&folder).unwrap();
        if let Some(settings) = settings {
            std::fs::write(folder.join("unit.properties"), settings).unwrap();
        }
        let launch = Launch {
            program: self.program,
            folder,
            port,
            is_port_given: !matches!(self.urls, UrlSettings::Proxy(_)),
            environment: self.environment,
        };
        let (process, ready_after) = launch.listen();
        let client = match self.urls {
            UrlSettings::Proxy(proxy) => TestClient::behind_proxy(&self.host, proxy, port),
            UrlSettings::Own | UrlSettings::WithoutPort => TestClient::for_host(&self.host, port),
        };
        ProcessUnit {
            client,
            process,
            launch,
            ready_after,
            _temporary: temporary,
        }
    }
}

/// Where and how the process of a unit is started.
struct Launch {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    /// Whether the port is given as an argument; otherwise it is in the settings.
    is_port_given: bool,
    environment: Vec<(String, String)>,
}

impl Launch {
    fn command(&self) -> Command {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let mut command = Command::new(&self.program);
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .arg("serve")
            .arg("--data")
            .arg(self.folder.join("data"))
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if self.is_port_given {
            command.args(["--port", &self.port.to_string()]);
        }
        let settings = self.folder.join("unit.properties");
        if settings.exists() {
            command.arg("--config").arg(settings);
        }
        command
    }

    fn listen(&self) -> (Process, Duration) {
        Process::listen(&mut self.command(), self.port, OnDrop::Kill)
            .unwrap_or_else(|e| panic!("{e}\n{}", std::fs::read_to_string(self.log()).unwrap()))
    }

    fn log(&self) -> PathBuf {
        self.folder.join("unit.log")
    }
}

/// A unit in a process of its own, on a free port. Dropping it kills the process; a failed test shows the end of its log.
pub struct ProcessUnit {
    client: TestClient,
    process: Process,
    launch: Launch,
    ready_after: Duration,
    _temporary: Option<TempDir>,
}

impl ProcessUnit {
    /// Returns a builder for a unit of this program.
    pub fn builder(program: impl Into<PathBuf>) -> ProcessUnitBuilder {
        ProcessUnitBuilder {
            program: program.into(),
            folder: Folder::New,
            host: "localhost".to_owned(),
            urls: UrlSettings::Own,
            cells_have_hosts: false,
            settings: String::new(),
            environment: Vec::new(),
        }
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.launch.port
    }

    /// The folder with settings, log and, in `data`, the data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.launch.folder
    }

    /// The time from the newest start until the unit listened.
    #[must_use]
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// The log of all starts.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.launch.log()).unwrap_or_default()
    }

    /// The id of the process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Whether the process runs.
    pub fn is_running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Ends the process at once by SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops the process without ending it, by SIGSTOP.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets the process go on after [`Self::pause`].
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Asks the process to end, by SIGTERM.
    pub fn terminate(&self) {
        self.process.request_end();
    }

    /// Waits until the process ends by itself. Whether it ended without an error.
    pub fn wait(&mut self) -> bool {
        self.process.wait().success()
    }

    /// Starts the unit again on its folder and port, after [`ProcessUnit::kill`].
    pub fn restart(&mut self) {
        (self.process, self.ready_after) = self.launch.listen();
        self.client = self.client.reconnect();
    }

    /// Starts the unit again after [`ProcessUnit::kill`], which must fail. Returns the log of that.
    pub fn expect_refused_restart(&mut self) -> String {
        let before = self.log().len();
        self.process = Process::spawn(&mut self.launch.command(), OnDrop::Kill);
        let status = self.process.wait();
        assert!(!status.success());
        self.log().split_off(before)
    }

    /// Replaces a text in the settings, for the next start.
    pub fn replace_in_settings(&self, from: &str, to: &str) {
        let path = self.launch.folder.join("unit.properties");
        let settings = std::fs::read_to_string(&path).unwrap();
        assert!(settings.contains(from), "{settings}");
        std::fs::write(path, settings.replace(from, to)).unwrap();
    }
}

impl Deref for ProcessUnit {
    type Target = TestClient;

    fn deref(&self) -> &TestClient {
        &self.client
    }
}

/// Whether a line of the log is about a request that was not refused.
fn is_success(line: &str) -> bool {
    let is_access = line.contains(r#""message":"access""#);
    is_access
        && (line.contains(r#""response.status":2"#) || line.contains(r#""response.status":3"#))
}

impl Drop for ProcessUnit {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().filter(|line| !is_success(line)).collect();
            let shown = &lines[lines.len().saturating_sub(SHOWN_LOG_LINES)..];
            eprintln!("the end of the log of the unit, without requests that succeeded:");
            shown.iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}
