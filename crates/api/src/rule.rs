//! `__rule`: the active rules of a cell, what their requests have come to, and a test of them.

mod failed;
mod trial;

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use personium_model::UnitUrls;
use personium_model::event::rule::{self, EventRule};
use personium_model::event::rule_state;
use personium_model::event::timer::{self, ShownTimer};
use personium_types::time::iso_time;
use personium_types::{Code, Operation, Result};
use serde_json::{Map, Value, json};

use crate::preflight;
use crate::request_context::CellRequest;
use crate::response::{self, Response};

/// The members of a rule that are shown as they are stored.
const MEMBERS: &[&str] = &["EventType", "EventObject", "EventInfo", "Action", "Name"];

/// Answers a request to `__rule` or below it.
///
/// # Errors
/// The refusal of the request.
pub(crate) async fn handle(request: CellRequest) -> Result<Response> {
    let below = request.path.decoded.get(1..).unwrap_or_default();
    let below: Vec<&str> = below.iter().map(String::as_str).collect();
    match below.as_slice() {
        [] => list(request).await,
        ["state"] => show_state(request).await,
        ["failed"] => failed::list(request).await,
        ["failed", id] => {
            let id = (*id).to_owned();
            failed::one(request, &id).await
        }
        ["test"] => trial::handle(request).await,
        _ => Err(Code::NoSuchPath.into()),
    }
}

/// Shows for each rule what its last request has come to.
async fn show_state(request: CellRequest) -> Result<Response> {
    match request.method {
        Method::GET => {}
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, GET")),
        _ => return Err(request.method_not_allowed()),
    }
    request.permit(Operation::ReadActiveRules).await?;
    let found = rule::list_with_hits(&request.unit, &request.context).await?;
    let records = request.context.records();
    let ids: Vec<&str> = found.iter().map(|(rule, _)| rule.id.as_str()).collect();
    let states = rule_state::list(records, &ids).await?;
    let rules = found.iter().zip(states).map(|((rule, hits), state)| {
        let in_box = rule.in_box.as_ref().map(|found| found.name.as_str());
        json!({
            "Name": rule.stored.text("Name"),
            "_Box.Name": in_box,
            "HitCount": hits,
            "LastRequest": state.map(|state| json!({
                "Time": iso_time(state.last_ms),
                "Status": state.outcome,
                "Success": state.is_success,
                "Attempts": state.attempts,
                "NextAttempt": state.next_ms.map(iso_time),
            })),
        })
    });
    let rules: Value = rules.collect();
    let counts = rule_state::counts(records).await?;
    let body = json!({"rules": rules, "Waiting": counts.waiting, "Failed": counts.failed});
    Ok(response::json(StatusCode::OK, &body))
}

/// Lists the rules with the number of events that matched them, and the boxes that they belong to.
async fn list(request: CellRequest) -> Result<Response> {
    match request.method {
        Method::GET => {}
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, GET")),
        _ => return Err(request.method_not_allowed()),
    }
    request.permit(Operation::ReadActiveRules).await?;
    let found = rule::list_with_hits(&request.unit, &request.context).await?;
    let boxes: BTreeMap<_, _> = found
        .iter()
        .filter_map(|(rule, _)| rule.in_box.as_ref())
        .map(|found| (found.name.clone(), found))
        .collect();
    let urls = request.unit.urls();
    let boxes = boxes.values().map(|found| {
        let schema = found.schema.as_deref().map(|url| resolved(urls, url));
        json!({"Name": found.name, "Schema": schema, "id": found.id.to_string()})
    });
    let rules = found.iter().map(|(rule, hits)| show(urls, rule, *hits));
    let mut body = Map::new();
    body.insert("rules".to_owned(), rules.collect());
    body.insert("boxes".to_owned(), boxes.collect());
    // As at the original: a process that fires no timers shows none.
    if request.unit.settings().events.fires_timers {
        let timers = timer::list(&request.unit, &request.context).await?;
        body.insert("timers".to_owned(), timers.iter().map(show_timer).collect());
    }
    Ok(response::json(StatusCode::OK, &Value::Object(body)))
}

fn show_timer(shown: &ShownTimer) -> Value {
    let text = |name| shown.rule.stored.text(name);
    json!({
        "EventSubject": shown.rule.subject(),
        "EventObject": text("EventObject"),
        "EventInfo": text("EventInfo"),
        "boxId": shown.rule.in_box.as_ref().map(|found| found.id.to_string()),
        "count": shown.timer.fired,
        "interval": shown.timer.plan.interval_ms.unwrap_or(0),
        "nextTime": shown.timer.plan.due,
    })
}

/// The `http(s)` form of a unit-local URL; other URLs, also those local to a box or cell, as they are stored.
fn resolved(urls: &UnitUrls, url: &str) -> String {
    urls.resolve(url).unwrap_or_else(|| url.to_owned())
}

fn show(urls: &UnitUrls, rule: &EventRule, hits: i64) -> Value {
    let mut out = Map::new();
    let external = rule.stored.doc.value("EventExternal").as_bool();
    out.insert("EventExternal".to_owned(), external.unwrap_or(false).into());
    for member in MEMBERS {
        out.insert((*member).to_owned(), rule.stored.text(member).into());
    }
    out.insert("EventSubject".to_owned(), rule.subject().into());
    let target = rule.stored.text("TargetUrl");
    let target = target.map(|url| resolved(urls, &url));
    out.insert("TargetUrl".to_owned(), target.into());
    out.insert("HitCount".to_owned(), hits.into());
    if let Some(found) = &rule.in_box {
        out.insert("Schema".to_owned(), rule.schema().into());
        out.insert("_Box.Name".to_owned(), found.name.clone().into());
    }
    Value::Object(out)
}
