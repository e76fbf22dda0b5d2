//! `__rule/failed`: requests of rules that were given up.

use http::{Method, StatusCode};
use personium_model::event::dead_letter::{self, DeadLetter, DeadLetterId};
use personium_model::event::rule::{self, RuleSet};
use personium_model::event::send_again;
use personium_types::time::iso_time;
use personium_types::{Code, Error, Operation, Result};
use serde_json::{Value, json};

use crate::preflight;
use crate::request_context::CellRequest;
use crate::response::{self, Response};

/// The size of the events of a page, in bytes.
const PAGE_MAX_BYTES: usize = 1 << 20;

/// Lists requests, the oldest first: those after the id in the query parameter `after`, if there is one.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn list(request: CellRequest) -> Result<Response> {
    match request.method {
        Method::GET => {}
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, GET")),
        _ => return Err(request.method_not_allowed()),
    }
    request.permit(Operation::ManageFailedRequests).await?;
    let after = match request.query_value("after") {
        Some(after) => {
            let after = after.parse::<DeadLetterId>();
            Some(after.map_err(|_| Error::new(Code::FieldFormat).with("after"))?)
        }
        None => None,
    };
    let records = request.context.records();
    let page = dead_letter::list(records, after, PAGE_MAX_BYTES).await?;
    let rules = rule::load(&request.unit, &request.context).await?;
    let requests: Value = page
        .letters
        .iter()
        .map(|(id, letter)| show(&rules, *id, letter))
        .collect();
    let last = page.letters.last().filter(|_| page.has_more);
    let next = last.map(|(id, _)| id.to_string());
    let body = json!({"requests": requests, "next": next});
    Ok(response::json(StatusCode::OK, &body))
}

/// Shows one request, sends it again, or removes it.
///
/// # Errors
/// The refusal of the request.
pub(super) async fn one(request: CellRequest, id: &str) -> Result<Response> {
    match request.method {
        Method::GET | Method::POST | Method::DELETE => {}
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, GET, POST, DELETE")),
        _ => return Err(request.method_not_allowed()),
    }
    let permit = request.permit(Operation::ManageFailedRequests).await?;
    let id: DeadLetterId = id.parse().map_err(Error::new)?;
    let (unit, context) = (&request.unit, &request.context);
    match request.method {
        Method::POST => send_again(unit, context, &permit, id).await?,
        Method::DELETE => dead_letter::remove(unit, context, &permit, id).await?,
        _ => {
            let letter = dead_letter::get(context.records(), id).await?;
            let rules = rule::load(unit, context).await?;
            return Ok(response::json(StatusCode::OK, &show(&rules, id, &letter)));
        }
    }
    Ok(response::status(StatusCode::NO_CONTENT))
}

fn show(rules: &RuleSet, id: DeadLetterId, letter: &DeadLetter) -> Value {
    let rule = rules.find(&letter.rule);
    let in_box = rule.as_ref().and_then(|rule| rule.in_box.as_ref());
    let (entry, event) = (&letter.entry, &letter.entry.event);
    json!({
        "Id": id.to_string(),
        "Rule": rule.as_ref().and_then(|rule| rule.stored.text("Name")),
        "_Box.Name": in_box.map(|found| found.name.as_str()),
        "Action": entry.kind.name(),
        "TargetUrl": entry.target,
        "Status": letter.outcome,
        "Attempts": entry.attempts.count,
        "Time": iso_time(letter.given_up_ms),
        "Event": {
            "External": event.external,
            "Schema": event.schema,
            "Subject": event.subject,
            "Type": event.kind,
            "Object": event.object,
            "Info": event.info,
            "RequestKey": event.request_key,
            "EventId": event.id,
        },
    })
}
