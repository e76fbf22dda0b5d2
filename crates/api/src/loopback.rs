//! The port for requests of the unit to itself.

use std::sync::Arc;

use async_trait::async_trait;
use http::Request;

use crate::body::Body;
use crate::response::Response;

/// The number of loopback requests that may be nested. A page of a cell is one, and a page that it needs another.
pub(crate) const MAX_DEPTH: u8 = 2;

/// Answers requests of the unit to itself like those of clients, without the network.
#[async_trait]
pub trait Loopback: Send + Sync {
    /// Whether a URL is one of this unit or of one of its cells.
    fn serves(&self, url: &str) -> bool;

    /// Answers a request. `depth` is the number of nested loopback requests, this one included.
    async fn respond(self: Arc<Self>, request: Request<Body>, depth: u8) -> Response;
}
