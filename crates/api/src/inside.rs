//! Requests of the unit to itself: answered as any other request, without the network.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use personium_model::Unit;
use personium_types::Result;

use crate::body;
use crate::outside::{Fetched, Outside};
use crate::service::Service;

/// Whether a URL leads to this unit or to one of its cells.
#[must_use]
pub(crate) fn is_own(unit: &Unit, url: &str) -> bool {
    url.starts_with(&unit.urls().unit()) || unit.urls().split(url).is_some()
}

/// Answers a request that names an absolute URL of this unit. The body of the answer has at most `limit` bytes.
///
/// # Errors
/// If the body of the answer is longer or breaks off.
pub(crate) async fn ask(
    unit: &Arc<Unit>,
    outside: &Arc<Outside>,
    request: Request<Bytes>,
    limit: usize,
) -> Result<Fetched> {
    let service = Service::with_outside(Arc::clone(unit), Arc::clone(outside));
    let answer = Box::pin(service.handle(request.map(body::full), None)).await;
    let (head, body) = answer.into_parts();
    Ok(Fetched {
        status: head.status,
        headers: head.headers,
        body: body::read_all(body, limit).await?,
    })
}
