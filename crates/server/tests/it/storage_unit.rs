//! A unit whose storage is changed from outside, with its admin listener.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use personium_testkit::{ProcessUnit, ProcessUnitBuilder, TestClient, free_port};

/// The time within which the unit must find out about its storage.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(20);

/// A unit with a port for its admin listener.
pub struct StorageUnit {
    unit: ProcessUnit,
    admin_port: u16,
}

impl StorageUnit {
    /// Starts a unit.
    pub fn start(builder: ProcessUnitBuilder) -> Self {
        let admin_port = free_port();
        let listen = format!("127.0.0.1:{admin_port}");
        let unit = builder
            .setting("io.personium.core.admin.listen", listen)
            .start();
        Self { unit, admin_port }
    }

    /// The port of the admin listener.
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// Status and text of an admin resource.
    pub async fn admin_text(&self, path: &str) -> (u16, String) {
        let until = Instant::now() + NOTICE_TIMEOUT;
        loop {
            // The admin port opens after the port of the unit.
            let client = TestClient::for_port(self.admin_port);
            match client.request("GET", path).try_send().await {
                Ok(response) => return (response.status.as_u16(), response.text()),
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, name: &str) -> u64 {
        let (_, metrics) = self.admin_text("metrics").await;
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("{name} in\n{metrics}"))
    }

    /// Waits until `/ready` answers with this text in it.
    pub async fn wait_until_ready_says(&self, wanted: &str) -> (u16, String) {
        let until = Instant::now() + NOTICE_TIMEOUT;
        loop {
            let found = self.admin_text("ready").await;
            if found.1.contains(wanted) {
                return found;
            }
            assert!(Instant::now() < until, "{wanted} not in {found:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// Runs a command of the program on the data folder.
    pub fn command(&self, name: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_personium"))
            .arg(name)
            .arg("--data")
            .arg(self.data())
            .arg("--config")
            .arg(self.folder().join("unit.properties"))
            .output()
            .unwrap()
    }

    /// The report of `personium check`, and whether it has no errors.
    pub fn check(&self) -> (bool, String) {
        let out = self.command("check");
        let text = String::from_utf8(out.stdout).unwrap();
        (out.status.success(), text)
    }
}

impl Deref for StorageUnit {
    type Target = ProcessUnit;

    fn deref(&self) -> &ProcessUnit {
        &self.unit
    }
}

impl DerefMut for StorageUnit {
    fn deref_mut(&mut self) -> &mut ProcessUnit {
        &mut self.unit
    }
}

/// The files below a folder that are not temporary, with these endings, in order.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return found;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The database files of cells.
pub fn cell_files(data: &Path) -> Vec<PathBuf> {
    files(&data.join("records/cells"), ".db")
}

/// The file bodies.
pub fn bodies(data: &Path) -> Vec<PathBuf> {
    let mut found = files(&data.join("files"), "");
    found.retain(|path| path.file_name().unwrap() != "unit.id");
    found
}

/// Copies a folder with everything in it.
pub fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}
