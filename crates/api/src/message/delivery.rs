//! Delivery of messages to cells: of this unit without the network, of others over it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Request, header};
use personium_model::CellContext;
use personium_model::auth::token_issuer::TokenIssuer;
use personium_model::odata::message::{DeliveryResult, OutgoingMessage};
use personium_types::{Code, Error, Result};

use crate::http_client::{Fetched, UrlTrust};
use crate::loopback::{self, Origin};
use crate::request_context::RequestContext;

/// Cells that a message is delivered to at once.
const AT_ONCE: usize = 8;
/// Time for all deliveries of a message.
const PATIENCE: Duration = Duration::from_secs(60);
/// Milliseconds that the token of a delivery is good for.
const TOKEN_LIFE: i64 = 60 * 60 * 1000;
/// Bytes of an answer that are read: more than a cell says about the longest message.
const ANSWER_MAX: usize = 8 << 20;
/// Characters of a reason that are kept.
const REASON_MAX: usize = 1024;
/// The header with the version of the API that a client expects.
const VERSION: &str = "x-personium-version";

/// Delivers a message to all its recipients; what each said, in their order.
///
/// # Errors
/// 500 if one of them cannot be reached, or all together take too long. Others may have the message then.
pub(super) async fn deliver(
    request: &RequestContext,
    context: &CellContext,
    message: &OutgoingMessage,
) -> Result<Vec<DeliveryResult>> {
    let deliveries = stream::iter(message.recipients.iter().cloned())
        .map(|to| deliver_one(request, context, message, to))
        .buffered(AT_ONCE)
        .try_collect();
    tokio::time::timeout(PATIENCE, deliveries)
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
    let token = TokenIssuer::new(unit, context).delivery_token(&request.access, &to, TOKEN_LIFE)?;
    let from = unit.urls().cell(&context.cell().name);
    let letter = Bytes::from(message.delivery_body(&from, &to));
    let mut delivery = Request::post(format!("{to}__message/port"))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(version) = request.headers.get(VERSION) {
        delivery = delivery.header(VERSION, version);
    }
    let delivery = delivery
        .body(letter)
        .map_err(|e| unreachable().with_source(e))?;
    let response = if loopback::is_own(unit, &to) {
        loopback::send(Origin::of(request), delivery, ANSWER_MAX).await?
    } else {
        let asked = request
            .http_client
            .ask(delivery, UrlTrust::CellOwner, ANSWER_MAX)
            .await;
        asked.map_err(|e| unreachable().with_source(e))?
    };
    Ok(DeliveryResult {
        code: response.status.as_str().to_owned(),
        reason: reason(&response),
        to,
    })
}

/// What an answer says: the message of an error, or what its status means.
fn reason(response: &Fetched) -> String {
    if response.status.as_u16() == 201 {
        return "Created.".to_owned();
    }
    let body: Option<serde_json::Value> = serde_json::from_slice(&response.body).ok();
    let told = body
        .as_ref()
        .and_then(|body| body.get("message")?.get("value")?.as_str());
    let usual = response.status.canonical_reason().unwrap_or_default();
    told.unwrap_or(usual).chars().take(REASON_MAX).collect()
}
