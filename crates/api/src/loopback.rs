//! Requests of the unit to itself: answered as any other request, without the network.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use personium_model::Unit;
use personium_model::install::InstallAuthority;
use personium_types::{Code, Error, Result};

use crate::body;
use crate::http_client::{Fetched, HttpClient};
use crate::request_context::RequestContext;
use crate::service::ApiService;

/// Whether a URL leads to this unit or to one of its cells.
#[must_use]
pub(crate) fn is_own(unit: &Unit, url: &str) -> bool {
    url.starts_with(&unit.urls().unit()) || unit.urls().split(url).is_some()
}

/// How many requests of the unit to itself may lead to each other. A page of a cell is one, and what it fetches another.
const DEPTH_MAX: u8 = 2;

/// What a request of the unit to itself comes from.
pub(crate) struct Origin<'a> {
    /// The unit.
    pub unit: &'a Arc<Unit>,
    /// The way to other servers.
    pub http_client: &'a Arc<HttpClient>,
    /// The authority to install boxes.
    pub installs: &'a InstallAuthority,
    /// How many requests of the unit to itself led here.
    pub depth: u8,
}

impl<'a> Origin<'a> {
    /// A request that is being answered.
    pub fn of(request: &'a RequestContext) -> Self {
        Self {
            unit: &request.unit,
            http_client: &request.http_client,
            installs: &request.installs,
            depth: request.depth,
        }
    }
}

/// Answers a request that names an absolute URL of this unit. The body of the answer has at most `limit` bytes.
///
/// # Errors
/// If too many such requests led here; if the body of the answer is longer or breaks off.
pub(crate) async fn send(
    origin: Origin<'_>,
    request: Request<Bytes>,
    limit: usize,
) -> Result<Fetched> {
    if origin.depth >= DEPTH_MAX {
        return Err(Error::new(Code::PageResponse)
            .with_source("requests of the unit to itself lead to each other"));
    }
    let service = ApiService::inside(&origin);
    let response = Box::pin(service.handle(request.map(body::full), None)).await;
    let (head, body) = response.into_parts();
    Ok(Fetched {
        status: head.status,
        headers: head.headers,
        body: body::read_all(body, limit).await?,
    })
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
mod tests {
    use http::StatusCode;
    use personium_model::credentials::UnitKeys;
    use personium_model::unit::Ports;
    use personium_model::{Settings, UnitUrls};
    use personium_store::memory::{MemoryBlobs, MemoryCache, MemoryRecords};
    use personium_types::{Clock, SystemClock, SystemRandom};

    use super::*;

    #[tokio::test]
    async fn requests_to_oneself_lead_to_each_other_so_often_and_no_more() {
        let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom::new()));
        let now_ms = clock.now_ms();
        let ports = Ports {
            records: Arc::new(MemoryRecords::new()),
            blobs: Arc::new(MemoryBlobs::new(clock.clone(), random.clone())),
            cache: Arc::new(MemoryCache::new(1 << 10)),
            clock,
            random,
        };
        let keys = UnitKeys::self_signed("unit.example", "a secret of this test", now_ms);
        let urls = UnitUrls::new("http", "unit.example", None, true);
        let (unit, server) = Unit::new(ports, urls, Settings::default(), keys.unwrap().into());
        let installs = InstallAuthority::new(server);
        let http_client = Arc::new(HttpClient::new(unit.settings()));
        let unit = Arc::new(unit);
        for (depth, answered) in [(0, true), (DEPTH_MAX - 1, true), (DEPTH_MAX, false)] {
            let origin = Origin {
                unit: &unit,
                http_client: &http_client,
                installs: &installs,
                depth,
            };
            let request = Request::get("http://unit.example/none/")
                .body(Bytes::new())
                .unwrap();
            let reply = send(origin, request, 1 << 10).await.ok();
            let expected = answered.then_some(StatusCode::NOT_FOUND);
            assert_eq!(reply.map(|reply| reply.status), expected, "{depth}");
        }
    }
}
