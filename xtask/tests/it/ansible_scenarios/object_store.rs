//! An object store (MinIO) with two empty buckets, on the gateway of a network.

use std::fs;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::booted_debian::{cache, wait_until};
use crate::test_network::TestNetwork;

/// The address.
const ADDRESS: &str = "172.16.1.1:9000";

/// The access key.
pub const ACCESS_KEY: &str = "test-access-key";

/// The secret key.
pub const SECRET_KEY: &str = "test-secret-key-0123";

/// The bucket of file bodies.
pub const BODIES: &str = "bodies";

/// The bucket of back-ups.
pub const BACKUPS: &str = "backups";

/// The store. Dropping it ends it and removes what it has.
pub struct ObjectStore {
    process: Child,
    _folder: TempDir,
}

/// The URL, as the machines of the network have it.
pub fn url() -> String {
    format!("http://{ADDRESS}")
}

impl ObjectStore {
    pub fn start(network: &TestNetwork) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        for bucket in [BODIES, BACKUPS] {
            fs::create_dir_all(data.join(bucket)).unwrap();
        }
        let mut command = network.command(cache().join("bin/minio"));
        command
            .args(["server", "--quiet", "--address", ADDRESS])
            .args(["--console-address", "127.0.0.1:9001"])
            .arg(&data)
            .env("MINIO_ROOT_USER", ACCESS_KEY)
            .env("MINIO_ROOT_PASSWORD", SECRET_KEY)
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off")
            .env("HOME", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let store = Self {
            process: command.spawn().unwrap(),
            _folder: folder,
        };
        let health = format!("{}/minio/health/cluster", url());
        wait_until("the object store takes writes", || {
            let mut curl = network.command("curl");
            curl.args(["-sf", "--max-time", "5", "-o", "/dev/null", &health]);
            curl.status().unwrap().success()
        });
        store
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
