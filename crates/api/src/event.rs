//! `__event`: events that clients post.

use http::{Method, StatusCode};
use personium_model::event::{self, EVENT_ID, Event, MAX_TEXT_UTF16_UNITS, RULE_CHAIN, VIA};
use personium_model::{Access, Identity};
use personium_odata::body::{JsonValue, read_object};
use personium_types::{Code, Error, Operation, Result};

use crate::preflight;
use crate::request_context::CellRequest;
use crate::response::{self, Response};

/// The largest event in bytes: three texts with each character escaped.
const MAX_EVENT_BYTES: usize = 1 << 20;
/// The largest header about the chain of events in bytes.
const MAX_HEADER_BYTES: usize = 8 << 10;

/// Posts the event in a request to `__event`.
///
/// # Errors
/// The refusal of the request.
pub(crate) async fn handle(mut request: CellRequest) -> Result<Response> {
    match request.method {
        Method::POST => {}
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, POST")),
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
    event::post(&request.unit, &request.context, &permit, event).await?;
    Ok(response::status(StatusCode::OK))
}

/// An event with the members that describe the request that causes it.
pub(crate) fn event_of(request: &CellRequest) -> Event {
    let cell_url = request.cell_url();
    let header = |name| {
        let value = request
            .header(name)
            .filter(|value| value.len() <= MAX_HEADER_BYTES);
        value.map(str::to_owned)
    };
    Event {
        external: false,
        schema: schema(&request.access),
        subject: subject(&request.access, &cell_url),
        account: request.access.account_id().map(str::to_owned),
        kind: None,
        object: None,
        info: None,
        request_key: Some(request.request_key.clone()),
        id: header(EVENT_ID),
        hops: hops(request.header(RULE_CHAIN)),
        via: header(VIA),
        roles: request.access.roles.clone(),
    }
}

/// The number of rules that led to a request; `None` if the header is not a number. A negative number, which would extend the
/// limit of the operator, counts as zero.
fn hops(header: Option<&str>) -> Option<u32> {
    let Some(text) = header else { return Some(0) };
    let number = text.trim().parse::<i64>().ok()?;
    Some(u32::try_from(number.max(0)).unwrap_or(u32::MAX))
}

fn subject(access: &Access, cell_url: &str) -> Option<String> {
    match &access.identity {
        Identity::Basic { account, .. } => Some(format!("{cell_url}#{account}")),
        _ => access.subject().map(str::to_owned),
    }
}

fn schema(access: &Access) -> Option<String> {
    match &access.identity {
        Identity::Resident { .. } | Identity::Visitor { .. } | Identity::TransCell { .. } => {
            Some(access.app().unwrap_or_default().to_owned())
        }
        _ => None,
    }
}

/// Reads `{"Type":"...","Object":"...","Info":"..."}`. Each may be missing; other members are ignored.
fn read(bytes: &[u8], mut event: Event) -> Result<Event> {
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

#[cfg(test)]
mod tests {
    use super::hops;

    #[test]
    fn negative_hops_do_not_extend_the_rule_chain() {
        for (header, expected) in [
            (None, Some(0)),
            (Some("0"), Some(0)),
            (Some(" 2 "), Some(2)),
            (Some("-1000"), Some(0)),
            (Some("99999999999"), Some(u32::MAX)),
            (Some("99999999999999999999"), None),
            (Some("two"), None),
            (Some(""), None),
        ] {
            assert_eq!(hops(header), expected, "{header:?}");
        }
    }
}
