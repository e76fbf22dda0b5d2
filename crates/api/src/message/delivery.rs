//! Delivery of messages to cells of this unit and of others.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Request, header};
use personium_model::CellContext;
use personium_model::auth::token_issuer::TokenIssuer;
use personium_model::odata::message::{DeliveryResult, OutgoingMessage};
use personium_types::{Code, Error, Result};

use crate::headers::VERSION;
use crate::http_client::{FetchedResponse, UrlTrust};
use crate::request_context::RequestContext;

/// The number of cells that a message is delivered to at the same time.
const MAX_CONCURRENT_DELIVERIES: usize = 8;
/// The time for all deliveries of a message.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// The lifetime of the token of a delivery.
const TOKEN_TTL_MS: i64 = 60 * 60 * 1000;
/// The largest body of a response in bytes: larger than the response to the longest message.
const MAX_RESPONSE_BYTES: usize = 8 << 20;
/// The number of characters of a reason that are stored.
const MAX_REASON_CHARS: usize = 1024;

/// Delivers a message to all its recipients. Returns their responses in the order of the recipients.
///
/// # Errors
/// [`Code::MessageUndelivered`] if one of them cannot be reached, or if all together take too long. Others may have the
/// message then.
pub(super) async fn deliver(
    request: &RequestContext,
    context: &CellContext,
    message: &OutgoingMessage,
) -> Result<Vec<DeliveryResult>> {
    let deliveries = stream::iter(message.recipients.iter().cloned())
        .map(|to| deliver_one(request, context, message, to))
        .buffered(MAX_CONCURRENT_DELIVERIES)
        .try_collect();
    tokio::time::timeout(DELIVERY_TIMEOUT, deliveries)
        .await
        .unwrap_or_else(|e| {
            Err(Error::new(Code::MessageUndelivered)
                .with(message.recipients.join(" "))
                .with_source(e))
        })
}

async fn deliver_one(
    request: &RequestContext,
    context: &CellContext,
    message: &OutgoingMessage,
    to: String,
) -> Result<DeliveryResult> {
    let unit = &request.unit;
    let unreachable = || Error::new(Code::MessageUndelivered).with(to.as_str());
    let token =
        TokenIssuer::new(unit, context).delivery_token(&request.access, &to, TOKEN_TTL_MS)?;
    let from = unit.urls().cell(&context.cell().name);
    let body = Bytes::from(message.delivery_body(&from, &to));
    let mut delivery = Request::post(format!("{to}__message/port"))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(version) = request.headers.get(&VERSION) {
        delivery = delivery.header(&VERSION, version);
    }
    let delivery = delivery
        .body(body)
        .map_err(|e| unreachable().with_source(e))?;
    let sent = request
        .http_client
        .send(delivery, UrlTrust::CellOwner, MAX_RESPONSE_BYTES)
        .await;
    let response = sent.map_err(|e| unreachable().with_source(e))?;
    Ok(DeliveryResult {
        code: response.status.as_str().to_owned(),
        reason: reason(&response),
        to,
    })
}

/// The message of an error response, else the reason phrase of the status.
fn reason(response: &FetchedResponse) -> String {
    if response.status.as_u16() == 201 {
        return "Created.".to_owned();
    }
    let body: Option<serde_json::Value> = serde_json::from_slice(&response.body).ok();
    let message = body
        .as_ref()
        .and_then(|body| body.get("message")?.get("value")?.as_str());
    let reason_phrase = response.status.canonical_reason().unwrap_or_default();
    message
        .unwrap_or(reason_phrase)
        .chars()
        .take(MAX_REASON_CHARS)
        .collect()
}
