//! The layers that the nodes of a unit share.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::memcached::Memcached;
use crate::postgres_cluster::PostgresCluster;
use crate::s3_server::{S3Program, S3Server};
use crate::unit_database::create_unit_database;

/// PostgreSQL, memcached and MinIO. Dropping it ends them.
pub struct UnitLayers {
    /// The server of records.
    pub cluster: Arc<PostgresCluster>,
    /// The server of the cache.
    pub memcached: Memcached,
    /// The server of file bodies.
    pub object_store: S3Server,
}

impl UnitLayers {
    /// Starts memcached and MinIO beside a database server.
    #[must_use]
    pub fn start(cluster: Arc<PostgresCluster>) -> Self {
        Self {
            cluster,
            memcached: Memcached::start(),
            object_store: S3Server::start(S3Program::Minio),
        }
    }

    /// Makes a database, and returns the settings of a unit on all layers, as lines with whole keys. The object store is reached
    /// at a URL, which may be that of a proxy.
    #[must_use]
    pub fn settings(&self, program: &Path, object_store_url: &str) -> String {
        let database = create_unit_database(&self.cluster, program);
        let database = database
            .iter()
            .map(|(key, value)| format!("io.personium.core.{key}={value}\n"));
        let mut lines: String = database.collect();
        let servers = self.memcached.address();
        lines.push_str(&format!(
            "io.personium.core.cache.memcached.host={servers}\n"
        ));
        lines.push_str(&S3Server::settings_at(object_store_url, "unit"));
        lines
    }
}

/// Makes a key and a certificate of a unit for this host in a folder. Returns the settings that name them, as lines with whole
/// keys. All nodes of a unit need the same.
#[must_use]
pub fn make_unit_key(folder: &Path, host: &str) -> String {
    let (key, certificate) = (folder.join("unit.key"), folder.join("unit.crt"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes"])
        .args(["-days", "2", "-subj", &format!("/CN={host}"), "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let (key, certificate) = (key.display(), certificate.display());
    format!("io.personium.core.x509.key={key}\nio.personium.core.x509.crt={certificate}\n")
}
