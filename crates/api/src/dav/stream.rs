//! Queues and topics of stream collections over HTTP.

mod delivered_body;
mod sse;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use personium_model::locate::Target;
use personium_model::stream::{Channel, ChannelKind, Message};
use personium_model::{Resource, stream};
use personium_types::{Code, Error, Operation, Result};

use self::delivered_body::{Acknowledgement, PendingDelivery};
use crate::event_cause::event_by;
use crate::request_context::CellRequest;
use crate::response::{self, Response};
use crate::{access, body, feed, preflight, stream_text};

/// The header with the receipt of a delivery that the client acknowledges.
const RECEIPT: HeaderName = HeaderName::from_static("x-personium-receipt");
/// The time for which a request waits for a message.
const WAIT: Duration = Duration::from_secs(1);
/// The time for which the right to receive is relied on, if this process knows of no change.
const RECHECK: Duration = Duration::from_secs(1);
/// The longest time for which a client can let it wait, seconds.
const WAIT_MAX_SECS: u64 = 30;

/// A request to a queue or topic.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn handle(
    request: CellRequest,
    resource: Resource,
    target: Target,
) -> Result<Response> {
    let (kind, name) = match target.rest.as_slice() {
        [kind, name] if kind == "queue" => (ChannelKind::Queue, name.as_str()),
        [kind, name] if kind == "topic" => (ChannelKind::Topic, name.as_str()),
        _ => return Err(Code::NoSuchPath.into()),
    };
    let (name, key) = match name.split_once('(') {
        Some((name, key)) => (name, key.strip_suffix(')')),
        None => (name, None),
    };
    let method = request.method.clone();
    let operation = match (method.as_str(), kind) {
        ("OPTIONS", _) => return options(&resource, &target),
        ("GET", _) | ("DELETE", ChannelKind::Queue) => Operation::ReceiveFromStream,
        ("POST" | "PUT", _) => Operation::SendToStream,
        _ => return Err(Code::MethodNotAllowed.into()),
    };
    resource.permit(&target, operation)?;
    let Some(channel) = stream::find_channel(&target, kind, name) else {
        return Err(resource.not_found());
    };
    // A privilege that another server node has taken must not be used.
    resource.check_current().await?;
    match (method.as_str(), kind) {
        ("GET", ChannelKind::Queue) => receive(request, &resource, channel).await,
        ("GET", ChannelKind::Topic) if feed::accepts_event_stream(&request) => {
            for needed in stream::NEEDED_TO_SUBSCRIBE {
                resource.permit(&target, needed)?;
            }
            sse::stream(request, resource, channel).await
        }
        ("GET", ChannelKind::Topic) => Err(Code::MethodNotAllowed.into()),
        ("DELETE", _) => {
            let receipt = key.ok_or_else(|| Error::new(Code::FieldRequired).with("receipt"))?;
            acknowledge(&request, &channel, receipt).await
        }
        _ => send(request, &channel).await,
    }
}

fn options(resource: &Resource, target: &Target) -> Result<Response> {
    let may = |operation| resource.permit(target, operation);
    may(Operation::OptionsStream)?;
    let mut methods = "OPTIONS".to_owned();
    if may(Operation::SendToStream).is_ok() {
        methods.push_str(", POST, PUT");
    }
    if may(Operation::ReceiveFromStream).is_ok() {
        methods.push_str(", GET");
    }
    Ok(preflight::allow(&methods))
}

/// Sends the body of a request.
async fn send(mut request: CellRequest, channel: &Channel) -> Result<Response> {
    request.check_untagged(Code::DavTagMismatch)?;
    let settings = &request.unit.settings().streams;
    let (max_bytes, retention) = (settings.message_max_bytes, settings.retention);
    let body = request.read_body(max_bytes).await?;
    if let Err(error) = std::str::from_utf8(&body) {
        return Err(Error::new(Code::MessageText).with_source(error));
    }
    let now = request.unit.now_ms();
    let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let message = Message {
        from: sender(&request),
        body,
        sent_ms: now,
        expires_ms: now.saturating_add(retention_ms),
    };
    let queue = request.unit.message_queue();
    queue.send(channel, message).await?;
    Ok(response::status(StatusCode::OK))
}

/// The cell that a message is from: that of the requester. Headers do not name it, because anybody can send them.
fn sender(request: &CellRequest) -> String {
    let cell_url = request.cell_url();
    let subject = event_by(&request.access, &cell_url).subject;
    let cell = subject.as_deref().and_then(|it| it.split('#').next());
    cell.filter(|it| !it.is_empty())
        .map_or(cell_url, str::to_owned)
}

/// Delivers the next message, or none.
async fn receive(
    mut request: CellRequest,
    resource: &Resource,
    channel: Channel,
) -> Result<Response> {
    request.check_untagged(Code::DavTagMismatch)?;
    // Unlike other GETs it changes something.
    let owner = request.context.cell().owner.as_deref();
    request.maintenance.check_owner(owner)?;
    let wait = match request.query_value("wait") {
        None => WAIT,
        Some(seconds) => match seconds.parse::<u64>() {
            Ok(seconds) if seconds <= WAIT_MAX_SECS => Duration::from_secs(seconds),
            _ => return Err(Error::new(Code::FieldFormat).with("wait")),
        },
    };
    let acknowledgement = match request.query_value("ack").as_deref() {
        None | Some("auto") => Acknowledgement::WhenSent,
        Some("explicit") => Acknowledgement::ByClient,
        Some(_) => return Err(Error::new(Code::FieldFormat).with("ack")),
    };
    if request.is_head {
        // RFC 9110, section 9.3.2: it changes nothing, so that no message is taken.
        let none = response::with_media_type(StatusCode::OK, "application/json", body::empty());
        return Ok(response::not_stored(none));
    }
    let begun = request.unit.monotonic();
    let mut memory = request.answers.reservation();
    let queue = request.unit.message_queue();
    let Some(delivery) = queue.receive(&channel, wait).await? else {
        let none = response::content(StatusCode::OK, "application/json", "[]");
        return Ok(response::not_stored(none));
    };
    let pending = PendingDelivery::new(queue, channel.clone(), delivery.receipt.clone());
    let waited = request.unit.monotonic().saturating_duration_since(begun);
    if waited >= RECHECK || !request.unit.is_cached(&request.context) {
        // If it is refused, the message is released.
        check_again(&mut request, resource, &channel).await?;
    }
    let text = stream_text::array_of(&delivery.message.body);
    // If there is no memory, the message is released.
    memory.hold(text.len())?;
    let body = body::held(text.into(), memory);
    let body = pending.body(body, acknowledgement);
    let mut response = response::with_media_type(StatusCode::OK, "application/json", body);
    if let (Acknowledgement::ByClient, Ok(receipt)) =
        (acknowledgement, HeaderValue::from_str(&delivery.receipt))
    {
        response.headers_mut().insert(RECEIPT, receipt);
    }
    Ok(response::not_stored(response))
}

/// Checks that who waited for a message may still receive it: meanwhile the token may have ended, somebody may have taken the
/// privilege, or removed the queue.
async fn check_again(
    request: &mut CellRequest,
    resource: &Resource,
    channel: &Channel,
) -> Result<()> {
    let found = request.unit.find_cell_by_id(&channel.cell).await?;
    request.context = found.ok_or(Code::NoSuchCell)?;
    let resource = Resource {
        context: Arc::clone(&request.context),
        access: access::of_cell_request(request).await?,
        ..resource.clone()
    };
    let target = resource.locate().await?;
    resource.permit(&target, Operation::ReceiveFromStream)?;
    match stream::find_channel(&target, channel.kind, &channel.name) {
        // Another collection with the same name has other messages.
        Some(found) if found.collection == channel.collection => Ok(()),
        _ => Err(resource.not_found()),
    }
}

/// Removes a message that was delivered.
async fn acknowledge(request: &CellRequest, channel: &Channel, receipt: &str) -> Result<Response> {
    request.check_untagged(Code::DavTagMismatch)?;
    let queue = Arc::clone(&request.unit).message_queue();
    match queue.acknowledge(channel, receipt).await? {
        true => Ok(response::status(StatusCode::NO_CONTENT)),
        false => Err(Code::NoSuchDelivery.into()),
    }
}
