//! `__event`: events that clients post.

use http::{Method, StatusCode};
use personium_model::event::{self, Event, MAX_TEXT_UTF16_UNITS};
use personium_odata::body::{JsonValue, read_object};
use personium_types::{Code, Error, Operation, Result};

use crate::event_cause::event_of;
use crate::request_context::CellRequest;
use crate::response::{self, Response};
use crate::{feed, preflight, web_socket};

/// The largest event in bytes: three texts with each character escaped.
pub(crate) const MAX_EVENT_BYTES: usize = 1 << 20;

/// Posts the event in a request to `__event`.
///
/// # Errors
/// The refusal of the request.
pub(crate) async fn handle(mut request: CellRequest) -> Result<Response> {
    match request.method {
        Method::POST => {}
        Method::GET if web_socket::is_upgrade(&request) => return feed::upgrade(request),
        Method::GET if feed::accepts_event_stream(&request) => return feed::stream(request).await,
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, GET, POST")),
        ref other if matches!(other.as_str(), "PROPFIND" | "PROPPATCH") => {
            return Err(Code::NotImplementedMethod.into());
        }
        _ => return Err(request.method_not_allowed()),
    }
    let permit = request.permit(Operation::PostEvent).await?;
    request.check_untagged(Code::DavTagMismatch)?;
    let bytes = request.read_body(MAX_EVENT_BYTES).await?;
    let event = Event {
        external: true,
        ..read(&bytes, event_of(&request))?
    };
    request.context.records().check_growth(bytes.len()).await?;
    event::post(&request.unit, &request.context, &permit, event).await?;
    Ok(response::status(StatusCode::OK))
}

/// Reads `{"Type":"...","Object":"...","Info":"..."}`. Each may be missing; other members are ignored.
pub(crate) fn read(bytes: &[u8], mut event: Event) -> Result<Event> {
    let members = read_object(bytes).map_err(|_| Error::new(Code::RequestJson))?;
    for (name, value) in members {
        let member = match name.as_ref() {
            "Type" => &mut event.kind,
            "Object" => &mut event.object,
            "Info" => &mut event.info,
            _ => continue,
        };
        *member = match value {
            JsonValue::Null => None,
            JsonValue::String(text) if text.encode_utf16().count() <= MAX_TEXT_UTF16_UNITS => {
                Some(text.into_owned())
            }
            _ => return Err(Error::new(Code::EventFormat).with(name)),
        };
    }
    Ok(event)
}
