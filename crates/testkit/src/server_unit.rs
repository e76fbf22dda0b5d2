//! The server in the process of the test.

use std::ops::Deref;

use personium_server::config::{ConfigSources, LoadedConfig};
use personium_server::serve::{self, RunningUnit, StartError};
use tempfile::TempDir;

use crate::{MASTER_TOKEN, TestClient, free_port};

/// The number of ports that are tried if another process takes one meanwhile.
const MAX_ATTEMPTS: usize = 10;

/// A running unit with an empty data folder, at `http://localhost:<port>/`, with cells as paths. It is its own client.
///
/// It ends with the runtime of the test, and its folder with it. Nothing is synced to the disk, and passwords are hashed
/// cheaply.
pub struct ServerUnit {
    running: Option<RunningUnit>,
    folder: TempDir,
    client: TestClient,
}

impl ServerUnit {
    /// Starts a unit.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a unit with more settings: key without its prefix, value.
    pub async fn start_with(more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (running, port) = start(&folder, more).await;
        Self {
            running: Some(running),
            folder,
            client: TestClient::for_port(port),
        }
    }

    /// Stops the unit and starts one on the same data, at another port.
    pub async fn restart(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        let (running, port) = start(&self.folder, &[]).await;
        self.running = Some(running);
        self.client = TestClient::for_port(port);
    }

    /// The running unit.
    #[must_use]
    pub fn running(&self) -> &RunningUnit {
        self.running.as_ref().unwrap()
    }
}

impl Deref for ServerUnit {
    type Target = TestClient;

    fn deref(&self) -> &TestClient {
        &self.client
    }
}

async fn start(folder: &TempDir, more: &[(&str, &str)]) -> (RunningUnit, u16) {
    let data = folder.path().join("data");
    for _ in 0..MAX_ATTEMPTS {
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
        match Box::pin(serve::start(loaded, |_| Ok(()))).await {
            Ok(running) => return (running, port),
            Err(StartError::Listen { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("no port is free");
}

fn settings(port: u16, data: &str) -> Vec<(String, String)> {
    let port = port.to_string();
    let listen = format!("127.0.0.1:{port}");
    [
        ("unitScheme", "http"),
        ("unitFqdn", "localhost"),
        ("unitPort", &port),
        ("pathBasedCellUrl.enabled", "true"),
        ("masterToken", MASTER_TOKEN),
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
