//! Requests of the unit to itself: answered as any other request, without the network.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use personium_model::Unit;
use personium_types::{Code, Error, Result};

use crate::body;
use crate::call::Call;
use crate::outside::{Fetched, Outside};
use crate::service::Service;

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
    pub outside: &'a Arc<Outside>,
    /// How many requests of the unit to itself led here.
    pub depth: u8,
}

impl<'a> Origin<'a> {
    /// A request that is being answered.
    pub fn of(call: &'a Call) -> Self {
        Self {
            unit: &call.unit,
            outside: &call.outside,
            depth: call.depth,
        }
    }
}

/// Answers a request that names an absolute URL of this unit. The body of the answer has at most `limit` bytes.
///
/// # Errors
/// If too many such requests led here; if the body of the answer is longer or breaks off.
pub(crate) async fn ask(
    origin: Origin<'_>,
    request: Request<Bytes>,
    limit: usize,
) -> Result<Fetched> {
    if origin.depth >= DEPTH_MAX {
        return Err(Error::new(Code::RelayAnswer)
            .because("requests of the unit to itself lead to each other"));
    }
    let service = Service::inside(&origin);
    let answer = Box::pin(service.handle(request.map(body::full), None)).await;
    let (head, body) = answer.into_parts();
    Ok(Fetched {
        status: head.status,
        headers: head.headers,
        body: body::read_all(body, limit).await?,
    })
}
