//! `__rule/test`: a rule sends its request for an event that the caller makes up.

use http::{Method, StatusCode};
use personium_event::send_entry;
use personium_model::event::outbox::OutcomeKind;
use personium_model::event::rule;
use personium_odata::body::{JsonValue, read_object};
use personium_types::{Code, Error, Operation, Result};
use serde_json::json;

use crate::event::{MAX_EVENT_BYTES, read};
use crate::event_cause::event_of;
use crate::preflight;
use crate::request_context::CellRequest;
use crate::response::{self, Response};

/// Sends the request of the rule `Name` (in the box `_Box.Name`, or in none) once, for an event with the `Type`, `Object` and `Info` of the
/// body, which the caller causes. Nothing is counted, logged or kept.
///
/// # Errors
/// [`Code::NoSuchEntity`] if there is no such rule, [`Code::FieldFormat`] if it sends no requests, or another refusal.
pub(super) async fn handle(mut request: CellRequest) -> Result<Response> {
    match request.method {
        Method::POST => {}
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, POST")),
        _ => return Err(request.method_not_allowed()),
    }
    request.permit(Operation::TestRule).await?;
    let bytes = request.read_body(MAX_EVENT_BYTES).await?;
    let event = read(&bytes, event_of(&request))?;
    let (name, box_name) = rule_of(&bytes)?;
    let (unit, context) = (&request.unit, &request.context);
    let rules = rule::load(unit, context).await?;
    let found = rules.find_named(&name, box_name.as_deref());
    let found = found.ok_or(Code::NoSuchEntity)?;
    let entry = found
        .request_for(unit, context, &event)
        .ok_or_else(|| Error::new(Code::FieldFormat).with("Action"))?;
    let outcome = send_entry(unit, &request.http_client, context, &entry).await?;
    let body = json!({
        "Action": entry.kind.name(),
        "TargetUrl": entry.target,
        "Status": outcome.text,
        "Success": outcome.kind == OutcomeKind::Success,
        "EventId": entry.event.id,
    });
    Ok(response::json(StatusCode::OK, &body))
}

/// The name of the rule and of its box in a body.
fn rule_of(bytes: &[u8]) -> Result<(String, Option<String>)> {
    let members = read_object(bytes).map_err(|_| Error::new(Code::RequestJson))?;
    let (mut name, mut box_name) = (None, None);
    for (member, value) in members {
        let place = match member.as_ref() {
            "Name" => &mut name,
            "_Box.Name" => &mut box_name,
            _ => continue,
        };
        *place = match value {
            JsonValue::Null => None,
            JsonValue::String(text) => Some(text.into_owned()),
            _ => return Err(Error::new(Code::FieldFormat).with(member)),
        };
    }
    let name = name.ok_or_else(|| Error::new(Code::FieldFormat).with("Name"))?;
    Ok((name, box_name))
}
