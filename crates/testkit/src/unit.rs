//! A unit in the process of the test.

use std::net::TcpListener;

use personium_server::config::{ConfigSources, LoadedConfig};
use personium_server::serve::{self, RunningUnit};
use tempfile::TempDir;

use crate::Request;
use crate::request::{HttpClient, client};

/// The master token of every unit that is started here.
pub const MASTER_TOKEN: &str = "test-master-token";

/// How often another port is tried when the one that was free is taken meanwhile.
const ATTEMPTS: usize = 10;

/// A running unit with an empty data folder, at `http://localhost:<port>/`, with cells as paths.
///
/// It lives as long as the runtime of the test; its folder goes with it. Nothing is synced to the disk, and passwords
/// are hashed cheaply.
pub struct TestUnit {
    running: Option<RunningUnit>,
    folder: TempDir,
    port: u16,
    client: HttpClient,
}

/// Settings of a unit for tests.
pub(crate) fn settings(port: u16, data: &str) -> Vec<(String, String)> {
    let port = port.to_string();
    let listen = format!("127.0.0.1:{port}");
    [
        ("unitScheme", "http"),
        ("unitFqdn", "localhost"),
        ("unitPort", &port),
        ("pathBasedCellUrl.enabled", "true"),
        ("masterToken", MASTER_TOKEN),
        ("unitUser.issuers", "personium-localunit:unitadmin:/"),
        ("listen", &listen),
        ("admin.listen", "127.0.0.1:0"),
        ("data.dir", data),
        ("store.sync", "normal"),
        ("binaryData.fsync.enabled", "false"),
        ("security.auth.password.scrypt.cpuCost", "16"),
        ("log.filter", "warn"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

impl TestUnit {
    /// Starts a unit.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a unit with more settings: key without prefix, value.
    pub async fn start_with(more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (running, port) = start(&folder, more).await;
        Self {
            running: Some(running),
            folder,
            port,
            client: client(),
        }
    }

    /// Stops the unit and starts one on the same data, at another port.
    pub async fn restart(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        let (running, port) = start(&self.folder, &[]).await;
        self.running = Some(running);
        self.port = port;
    }

    /// The URL of the unit, with its final slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://localhost:{}/", self.port)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The running unit.
    #[must_use]
    pub fn running(&self) -> &RunningUnit {
        self.running.as_ref().expect("the unit runs")
    }

    /// A request to a path of the unit, which begins with a slash, or to a whole URL.
    #[must_use]
    pub fn request(&self, method: &str, path: &str) -> Request {
        let url = match path.strip_prefix('/') {
            Some(path) => self.url() + path,
            None => path.to_owned(),
        };
        Request::new(&self.client, method, &url)
    }
}

async fn start(folder: &TempDir, more: &[(&str, &str)]) -> (RunningUnit, u16) {
    let data = folder.path().join("data");
    for _ in 0..ATTEMPTS {
        let port = free_port();
        let mut options = settings(port, data.to_str().unwrap());
        options.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        let loaded = LoadedConfig::load(&ConfigSources {
            options,
            ..ConfigSources::default()
        })
        .unwrap();
        match serve::start(loaded, |_| {}).await {
            Ok(running) => return (running, port),
            Err(serve::StartError::Listen { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("no port is free");
}
