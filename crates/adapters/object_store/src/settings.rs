//! The settings of the store.

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
    /// The access key and its secret; `None` for the role of the machine.
    pub credentials: Option<(String, Secret<String>)>,
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
