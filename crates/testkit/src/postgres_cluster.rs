//! A private PostgreSQL server.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{OnDrop, Process, free_port};

/// Where distributions keep the programs of the server.
const PROGRAM_FOLDERS: &str = "/usr/lib/postgresql";

/// The time that the server may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The time that the server may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// The role that owns the server.
pub(crate) const SUPERUSER: &str = "postgres";

/// A PostgreSQL server on a free loopback port, with its data in a temporary folder and `fsync` on. It trusts every role, unless
/// its rules say otherwise. Dropping it ends the server.
///
/// The server refuses to run as root. A test that runs as root starts it as the user `postgres` or `nobody`.
#[derive(Debug)]
pub struct PostgresCluster {
    port: u16,
    owner: Owner,
    settings: Vec<String>,
    process: Mutex<Option<Process>>,
    databases: AtomicU32,
    folder: PathBuf,
    _temporary: TempDir,
}

/// The user that runs the server, unless it is that of the test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner(Option<(u32, u32)>);

impl Owner {
    pub(crate) fn find() -> Self {
        let is_root = output(Command::new("id").arg("-u")).trim() == "0";
        let ids = is_root.then(|| {
            let found = ["postgres", "nobody"].into_iter().find_map(|name| {
                let output = Command::new("getent")
                    .args(["passwd", name])
                    .output()
                    .ok()?;
                let line = String::from_utf8(output.stdout).ok()?;
                let mut fields = line.split(':').skip(2);
                Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
            });
            found.expect("there is a user postgres or nobody")
        });
        Self(ids)
    }

    /// A command that runs as this user.
    pub(crate) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        command
    }

    pub(crate) fn own(self, path: &Path) {
        if let Some((user, group)) = self.0 {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }
}

impl PostgresCluster {
    /// A server that the tests of a process share as long as one of them uses it.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<PostgresCluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(Self::start());
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    /// Starts a server.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(tempfile::tempdir().unwrap(), |_| Vec::new())
    }

    /// Starts a server in a folder. `prepare` gets the folder of its data, and returns lines for its settings.
    #[must_use]
    pub fn start_with(
        temporary: TempDir,
        prepare: impl FnOnce(&PostgresFiles<'_>) -> Vec<String>,
    ) -> Self {
        let owner = Owner::find();
        let folder = temporary.path().join("postgres");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o755)).unwrap();
        owner.own(&folder);
        let data = folder.join("data");
        let initialized = owner
            .command(&program("initdb"))
            .current_dir(&folder)
            .args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C"])
            .arg(format!("--username={SUPERUSER}"))
            .arg("-D")
            .arg(&data)
            .output()
            .unwrap();
        assert!(initialized.status.success(), "{initialized:?}");
        let settings = prepare(&PostgresFiles { data: &data, owner });
        let cluster = Self {
            port: free_port(),
            owner,
            settings,
            process: Mutex::new(None),
            databases: AtomicU32::new(0),
            folder,
            _temporary: temporary,
        };
        cluster.restart();
        cluster
    }

    /// The port of the server on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of the process of the server, whose children serve the connections; `None` if it does not run.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.lock().as_ref().map(Process::id)
    }

    /// The role that owns the server.
    #[must_use]
    pub fn user(&self) -> &'static str {
        SUPERUSER
    }

    /// Makes an empty database and returns its name.
    pub fn create_database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.sql(SUPERUSER, &format!("CREATE DATABASE {name}"));
        name
    }

    /// Runs statements as the owner of the server, and returns the rows as lines of fields separated by `|`.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let mut psql = self.psql(database);
        let output = psql.args(["-c", statements]).output().unwrap();
        assert!(output.status.success(), "{statements}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The command that runs statements in a database.
    #[must_use]
    pub fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(program("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(["-h", "127.0.0.1", "-U", SUPERUSER, "-d", database])
            .args(["-p", &self.port.to_string()]);
        psql
    }

    /// Ends the server by SIGKILL, as a crash does.
    pub fn kill(&self) {
        let process = self.lock().take();
        if let Some(mut process) = process {
            process.kill();
        }
    }

    /// Ends the server in order. Its clients are disconnected.
    pub fn stop(&self) {
        let Some(mut process) = self.lock().take() else {
            return;
        };
        let pid = process.id().to_string();
        let _ = Command::new("kill").args(["-INT", &pid]).status();
        let until = Instant::now() + STOP_TIMEOUT;
        while process.ended().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts the server, on the same port, and waits until it answers.
    pub fn restart(&self) {
        self.stop();
        let until = Instant::now() + START_TIMEOUT;
        loop {
            let mut process = self.spawn();
            loop {
                if process.ended().is_some() {
                    // What a crash left has not ended yet.
                    break;
                }
                if self.answers() {
                    *self.lock() = Some(process);
                    return;
                }
                assert!(Instant::now() < until, "{}", self.log());
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(Instant::now() < until, "{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The log of the server.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The folder of the data of the server.
    #[must_use]
    pub fn data_folder(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The folder of the programs of the server, to be put before others in `PATH`; empty if they are in `PATH`.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        let postgres = program("postgres");
        postgres.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// The folder of the server, which the user of the server can write.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A command that runs as the user of the server.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        self.owner.command(program)
    }

    fn spawn(&self) -> Process {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .unwrap();
        let mut command = self.owner.command(&program("postgres"));
        command
            .current_dir(&self.folder)
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        Process::spawn(&mut command, OnDrop::Kill)
    }

    fn answers(&self) -> bool {
        if TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            return false;
        }
        let asked = self
            .psql(SUPERUSER)
            .args(["-c", "SELECT 1"])
            .stderr(Stdio::null())
            .output();
        asked.is_ok_and(|output| output.status.success())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Drop for PostgresCluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The data folder of a server before its first start.
#[derive(Debug)]
pub struct PostgresFiles<'f> {
    data: &'f Path,
    owner: Owner,
}

impl PostgresFiles<'_> {
    /// Writes a file that only the server can read, and returns its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.data.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self.owner.own(&path);
        path
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The newest installed version of a program of the server.
pub(crate) fn program(name: &str) -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(PROGRAM_FOLDERS)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin").join(name)))
        })
        .filter(|(_, path)| path.is_file())
        .collect();
    found.sort();
    let newest = found.pop().map(|(_, path)| path);
    newest.unwrap_or_else(|| PathBuf::from(name))
}
