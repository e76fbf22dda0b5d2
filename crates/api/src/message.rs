//! `__message`: messages between cells.

mod delivery;

use http::{Method, StatusCode};
use personium_event::delivery::ATTEMPT;
use personium_model::odata::message::{
    self, DeliverySender, MessageCommand, Received, ReceivedDelivery, waiting,
};
use personium_odata::body::{JsonValue, read_object};
use personium_odata::key::KeyStyle;
use personium_types::{Code, Error, Operation, Result};

use crate::event_cause::chain_of;
use crate::headers::VERSION;
use crate::request_context::CellRequest;
use crate::response::{self, Response};
use crate::{odata, preflight};

/// The largest message in bytes: the longest list of cells and the longest body, both escaped, and some requests.
const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// The largest command about a message in bytes.
const MAX_COMMAND_BYTES: usize = 64 << 10;

/// Sends, receives, or changes the status of a message.
///
/// # Errors
/// The refusal of the request.
pub(crate) async fn handle(request: CellRequest) -> Result<Response> {
    let below = request.path.decoded.get(1..).unwrap_or_default();
    let below: Vec<&str> = below.iter().map(String::as_str).collect();
    let known = matches!(below.as_slice(), ["send" | "port"] | ["received", _]);
    match request.method {
        _ if !known => Err(Code::NoSuchPath.into()),
        Method::OPTIONS => Ok(preflight::allow("OPTIONS, POST")),
        Method::POST => match below.as_slice() {
            ["send"] => send(request).await,
            ["port"] => receive(request).await,
            _ => change_status(request).await,
        },
        _ => Err(request.method_not_allowed()),
    }
}

async fn send(mut request: CellRequest) -> Result<Response> {
    let permit = request.permit(Operation::SendMessage).await?;
    let bytes = request.read_body(MAX_MESSAGE_BYTES).await?;
    let memory = request.memory_for_echo(&bytes).await?;
    let (context, chain) = (request.context.clone(), chain_of(&request));
    let request = odata::cell_control_request(request).await?;
    let app = request.access.app();
    let outgoing = message::prepare(&request.root, &bytes, app).await?;
    context.records().check_growth(bytes.len()).await?;
    waiting::check_limit(context.records(), outgoing.recipients.len()).await?;
    let version = request.headers.get(&VERSION);
    let version = version.and_then(|version| version.to_str().ok());
    let sender = DeliverySender::of(&request.access, version, &chain);
    let sent = (&outgoing, &sender);
    let expires = waiting::expiry(&request.unit);
    let results = delivery::deliver(&request, &context, sent, expires).await?;
    let sent = message::store_sent(&request.root, &permit, sent, (&results, expires)).await?;
    let set = request.root.set("SentMessage")?;
    odata::created(&request, &set, &sent, KeyStyle::Encoded, memory)
}

async fn receive(mut request: CellRequest) -> Result<Response> {
    let (permit, sender) = request.access.permit_delivery(request.context.cell())?;
    let sender = sender.to_owned();
    let bytes = request.read_body(MAX_MESSAGE_BYTES).await?;
    let memory = request.memory_for_echo(&bytes).await?;
    let request = odata::cell_control_request(request).await?;
    let delivery = ReceivedDelivery {
        sender: &sender,
        bytes: &bytes,
        is_repeated: request.headers.contains_key(ATTEMPT),
    };
    match message::receive(&request.root, &permit, delivery).await? {
        Received::New(received) => {
            let set = request.root.set("ReceivedMessage")?;
            odata::created(&request, &set, &received, KeyStyle::Encoded, memory)
        }
        Received::Before => Ok(response::status(StatusCode::OK)),
    }
}

async fn change_status(mut request: CellRequest) -> Result<Response> {
    let message_permit = request.permit(Operation::ChangeMessageStatus).await?;
    let bytes = request.read_body(MAX_COMMAND_BYTES).await?;
    let command = command(&bytes)?;
    let (context, node) = (request.context.clone(), request.context.cell_node().await?);
    let request = odata::cell_control_request(request).await?;
    let (access, urls) = (&request.access, request.unit.urls());
    let permit_change =
        |operation| access.permit_cell(urls, context.cell(), &node.value.acl, operation);
    let id = request.path.decoded.get(2).map_or("", String::as_str);
    let changed =
        message::change_status(&request.root, &message_permit, id, command, &permit_change).await?;
    Ok(odata::no_content(Some(changed.stored.etag())))
}

/// Reads `{"Command":"..."}`.
fn command(bytes: &[u8]) -> Result<MessageCommand> {
    let members = read_object(bytes).map_err(|_| Error::new(Code::RequestJson))?;
    let given = members.iter().find(|(name, _)| name == "Command");
    match given {
        Some((_, JsonValue::String(text))) => text.parse(),
        _ => Err(Error::new(Code::FieldFormat).with("Command")),
    }
}
