//! The settings of the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use personium_store::StoreHealth;
use personium_types::Secret;

/// How a URL names the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// As the first segment of the path.
    Path,
    /// As the first label of the host name.
    VirtualHost,
}

/// The credentials of requests.
#[derive(Debug, Clone)]
pub enum S3Credentials {
    /// Those of the role of the machine, which it is asked for.
    Role,
    /// These.
    Keys {
        /// The access key.
        access_key: String,
        /// Its secret.
        secret_key: Secret<String>,
        /// The session token of temporary credentials.
        session_token: Option<Secret<String>>,
    },
    /// Those in a file in the format of the tools of AWS, as it is at the time of the request.
    File(PathBuf),
}

/// The settings of a store.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The URL of the server, `http` or `https`; `None` for that of AWS in the region.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// The bucket. It must exist.
    pub bucket: String,
    /// The beginning of the names of all objects; may be empty.
    pub prefix: String,
    /// The credentials.
    pub credentials: S3Credentials,
    /// The PEM file of the certificates that are trusted to name the server; `None` for those of the system.
    pub tls_roots: Option<PathBuf>,
    /// How a URL names the bucket.
    pub addressing: Addressing,
    /// The size of a part of a large body, at least 5 MiB on most servers.
    pub part_bytes: usize,
    /// The number of times that a request is repeated when the server fails or cannot be reached.
    pub retries: usize,
    /// The time until the head of a response, besides the time for the body of the request, and between two pieces of the
    /// body of a response.
    pub timeout: Duration,
    /// The time between the removal of a body and that of its object. Open readers can read the body so long.
    pub removal_delay: Duration,
    /// Where the store reports damaged bodies.
    pub health: Arc<StoreHealth>,
}
