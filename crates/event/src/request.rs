//! The requests that rules send.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use personium_model::auth::token_issuer::TokenIssuer;
use personium_model::event::outbox::{OutboxEntry, OutcomeKind, RequestKind, RequestOutcome};
use personium_model::event::{EVENT_ID, Event, VIA};
use personium_model::{CellContext, Unit};
use personium_trace::{Attribute, Span};
use personium_types::{Code, Result};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::delivery::is_temporary;
use crate::{NoResponse, ReceivedResponse, RequestSender, signing};

/// The time-out of one request with its response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The logged outcome if there was no response.
const NO_RESPONSE: &str = "404";
/// The logged outcome if the object of the event is no entity that can be copied.
const NO_ENTITY: &str = "404url is invalid";
/// The logged outcome if the event is neither a creation nor a change of an entity.
const UNSUPPORTED_EVENT: &str = "unsupported event";
/// The logged outcome if the account that caused the event does not exist any more.
const NO_ACCOUNT: &str = "401";
/// The lifetime of the token of a request, in milliseconds.
const TOKEN_TTL_MS: i64 = 60 * 60 * 1000;
/// The path of the event endpoint of a cell.
const EVENT_ENDPOINT: &str = "__event";
/// The scope of the token of a relayed event. Tokens of other requests have none.
const EVENT_SCOPE: &str = "event";
/// The beginning of the type of a relayed event.
const RELAYED: &str = "relay.";
/// The beginning of the type of a relayed external event.
const RELAYED_EXTERNAL: &str = "relay.ext.";
/// The members of an entity that are not copied.
const NOT_COPIED: &[&str] = &["__metadata", "__published", "__updated"];

/// The characters of the object of an event that cannot be in the path of its URL. A percent sign is left: the object may be
/// encoded.
const NOT_IN_OBJECT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The sending of the request of one rule.
struct RuleRequest<'a> {
    unit: &'a Unit,
    sender: &'a dyn RequestSender,
    context: &'a CellContext,
    event: &'a Event,
    kind: RequestKind,
}

/// Sends a request of a rule once, and returns its outcome.
///
/// # Errors
/// A failure of the store.
pub async fn send_entry(
    unit: &Unit,
    sender: &dyn RequestSender,
    context: &CellContext,
    entry: &OutboxEntry,
) -> Result<RequestOutcome> {
    let span = span(context, entry);
    let sending = span.scope(send(unit, sender, context, entry));
    let outcome = match tokio::time::timeout(REQUEST_TIMEOUT, sending).await {
        Ok(outcome) => outcome,
        Err(_) => Ok(outcome_without_response(entry.kind)),
    };
    match outcome.as_ref().map(|outcome| outcome.kind) {
        Ok(OutcomeKind::Success) => {}
        Ok(_) => span.fail("outcome"),
        Err(_) => span.fail("store"),
    }
    outcome
}

/// The span of an attempt to send a request.
fn span(context: &CellContext, entry: &OutboxEntry) -> Span {
    let span = personium_trace::work(match entry.kind {
        RequestKind::Exec => "rule.exec",
        RequestKind::Relay => "rule.relay",
        RequestKind::RelayEvent => "rule.relay_event",
        RequestKind::RelayData => "rule.relay_data",
        RequestKind::Publish => "rule.publish",
    });
    if span.is_recorded() {
        span.set(Attribute::CellId(context.cell().id.to_string().into()));
        span.set(Attribute::Attempt(entry.attempts.count.saturating_add(1)));
        if let Some(key) = &entry.event.request_key {
            span.set(Attribute::RequestKey(key.as_str().into()));
        }
    }
    span
}

/// Sends the request of a rule.
async fn send(
    unit: &Unit,
    sender: &dyn RequestSender,
    context: &CellContext,
    entry: &OutboxEntry,
) -> Result<RequestOutcome> {
    let (event, target) = (&entry.event, entry.target.as_str());
    let request = RuleRequest {
        unit,
        sender,
        context,
        event,
        kind: entry.kind,
    };
    let own_cell = unit.urls().cell(&context.cell().name);
    let via = match entry.kind {
        RequestKind::Exec | RequestKind::Relay | RequestKind::Publish => event.via.clone(),
        RequestKind::RelayEvent | RequestKind::RelayData => Some(match &event.via {
            Some(before) => format!("{before},{own_cell}"),
            None => own_cell,
        }),
    };
    let via = via.as_deref();
    let outcome = match entry.kind {
        RequestKind::Exec | RequestKind::Relay => {
            let body = event_body(event).to_string();
            request.send(Method::POST, target, body, via).await
        }
        RequestKind::RelayEvent => {
            let body = relayed_event_body(event).to_string();
            let target = format!("{target}{EVENT_ENDPOINT}");
            request.send(Method::POST, &target, body, via).await
        }
        RequestKind::RelayData => request.copy_entity(target, via).await,
        // It is no request of a rule.
        RequestKind::Publish => Ok(failure(NO_RESPONSE)),
    };
    match outcome {
        Err(refusal) if refusal.code() == Code::AuthnFailed => Ok(failure(NO_ACCOUNT)),
        Err(refusal) if refusal.code() == Code::TargetInvalid => Ok(failure(NO_RESPONSE)),
        other => other,
    }
}

/// The outcome of a request that cannot do what it should.
fn failure(text: &str) -> RequestOutcome {
    RequestOutcome {
        text: text.to_owned(),
        kind: OutcomeKind::Failure,
    }
}

/// The outcome of a request of this kind without a response in time. A script may have run, so it is not run again.
fn outcome_without_response(kind: RequestKind) -> RequestOutcome {
    RequestOutcome {
        text: NO_RESPONSE.to_owned(),
        kind: match kind {
            RequestKind::Exec => OutcomeKind::Failure,
            _ => OutcomeKind::Temporary,
        },
    }
}

/// The outcome of a request of this kind with a response.
fn outcome_of(kind: RequestKind, status: StatusCode) -> RequestOutcome {
    RequestOutcome {
        text: status.as_str().to_owned(),
        kind: match status.as_u16() {
            ..300 => OutcomeKind::Success,
            // Nobody follows a redirect, so the target does not have the event. A service may answer so.
            ..400 if kind == RequestKind::Exec => OutcomeKind::Success,
            _ if kind != RequestKind::Exec && is_temporary(status) => OutcomeKind::Temporary,
            _ => OutcomeKind::Failure,
        },
    }
}

impl RuleRequest<'_> {
    /// Sends a request on behalf of the subject of the event.
    async fn send(
        &self,
        method: Method,
        url: &str,
        body: String,
        via: Option<&str>,
    ) -> Result<RequestOutcome> {
        let sent = self.exchange(method, url, body, via).await?;
        Ok(match sent {
            Ok(response) => outcome_of(self.kind, response.status),
            Err(none) => self.without_response(&none),
        })
    }

    fn without_response(&self, none: &NoResponse) -> RequestOutcome {
        match none.is_temporary {
            true => outcome_without_response(self.kind),
            false => failure(NO_RESPONSE),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        body: String,
        via: Option<&str>,
    ) -> Result<std::result::Result<ReceivedResponse, NoResponse>> {
        let event = self.event;
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::ACCEPT, "application/json");
        let chain = event
            .chain
            .after_rule_of(self.unit, &self.context.cell().id);
        for (name, value) in chain.headers() {
            request = request.header(name, value);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in [
            ("X-Personium-RequestKey", event.request_key.as_deref()),
            (EVENT_ID, event.id.as_deref()),
            (VIA, via),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        if let Some(token) = self.token(url).await? {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        // The target may be no valid URL.
        let Ok(mut request) = request.body(Bytes::from(body)) else {
            return Ok(Err(NoResponse {
                reason: "The URL is not valid.".to_owned(),
                is_temporary: false,
            }));
        };
        signing::sign(self.unit, self.context, &mut request).await?;
        Ok(self.sender.send(request).await)
    }

    /// The token for a request to a URL.
    async fn token(&self, url: &str) -> Result<Option<String>> {
        let urls = self.unit.urls();
        let own = &self.context.cell().name;
        let target = match urls.split(url) {
            Some((cell, _)) if cell == *own => None,
            Some((cell, _)) => Some(urls.cell(&cell)),
            None => match cell_of_other_unit(url).filter(|cell| *cell != urls.unit()) {
                Some(cell) => Some(cell),
                None => return Ok(None),
            },
        };
        let scopes = match url.ends_with(EVENT_ENDPOINT) {
            true => vec![EVENT_SCOPE.to_owned()],
            false => Vec::new(),
        };
        TokenIssuer::new(self.unit, self.context)
            .action_token(self.event, scopes, target.as_deref(), TOKEN_TTL_MS)
            .await
    }

    /// Copies the entity that the event is about to another entity set.
    async fn copy_entity(&self, target: &str, via: Option<&str>) -> Result<RequestOutcome> {
        let creates = match self.event.kind.as_deref() {
            Some("odata.create") => true,
            Some("odata.update" | "odata.patch") => false,
            _ => return Ok(failure(UNSUPPORTED_EVENT)),
        };
        let own = self.unit.urls().cell(&self.context.cell().name);
        let object = self.event.object.as_deref().unwrap_or_default();
        if !object.starts_with(&own) {
            return Ok(failure(NO_ENTITY));
        }
        // The event has the object as its sender wrote it, maybe with blanks in the id.
        let object = utf8_percent_encode(object, NOT_IN_OBJECT);
        let url = format!("{object}?$format=json");
        let found = self
            .exchange(Method::GET, &url, String::new(), None)
            .await?;
        let response = match found {
            Ok(response) => response,
            Err(none) => return Ok(self.without_response(&none)),
        };
        if response.status != StatusCode::OK {
            // Who may not know whether there is such an entity is not told by the log.
            return Ok(match outcome_of(self.kind, response.status).kind {
                OutcomeKind::Temporary => RequestOutcome {
                    text: NO_RESPONSE.to_owned(),
                    kind: OutcomeKind::Temporary,
                },
                _ => failure(NO_RESPONSE),
            });
        }
        let Some((id, copy)) = copy_of(&response.body) else {
            return Ok(failure(NO_ENTITY));
        };
        if creates {
            return self.send(Method::POST, target, copy, via).await;
        }
        let key = id.replace('\'', "''");
        let key = utf8_percent_encode(&key, NON_ALPHANUMERIC);
        let target = format!("{target}('{key}')");
        self.send(Method::PUT, &target, copy, via).await
    }
}

/// The URL of the cell of another unit that a URL belongs to: the part before `__event`, else the URL up to the first segment
/// of the path, as in units whose cells are paths. `None` if neither names a cell: a token for a whole unit is never sent.
fn cell_of_other_unit(url: &str) -> Option<String> {
    if let Some(cell) = url.strip_suffix(EVENT_ENDPOINT) {
        return Some(cell.to_owned());
    }
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/')?;
    let cell = path.split(['/', '?', '#']).next()?;
    let is_cell_name = !cell.is_empty() && !cell.starts_with("__");
    is_cell_name.then(|| format!("{scheme}://{authority}/{cell}/"))
}

/// The body of a request to a service or another server.
fn event_body(event: &Event) -> Value {
    let mut out = Map::new();
    out.insert("External".to_owned(), event.external.into());
    for (name, value) in [
        ("Schema", &event.schema),
        ("Subject", &event.subject),
        ("Type", &event.kind),
        ("Object", &event.object),
        ("Info", &event.info),
    ] {
        if let Some(value) = value {
            out.insert(name.to_owned(), value.as_str().into());
        }
    }
    Value::Object(out)
}

/// The body of a request that posts the event to another cell.
fn relayed_event_body(event: &Event) -> Value {
    let kind = event.kind.as_deref().unwrap_or_default();
    let kind = match (kind.starts_with(RELAYED), event.external) {
        (true, _) => kind.to_owned(),
        (false, true) => format!("{RELAYED_EXTERNAL}{kind}"),
        (false, false) => format!("{RELAYED}{kind}"),
    };
    json!({"Type": kind, "Object": event.object, "Info": event.info})
}

/// Values by name, as they are in the text: numbers keep their digits.
type RawMembers = BTreeMap<String, Box<RawValue>>;

/// The id of the entity in a response, and the body that creates a copy of it. The entity is in `d.results`, or in `d` if the unit
/// has the form of OData 2.0.
fn copy_of(response: &[u8]) -> Option<(String, String)> {
    let mut response: BTreeMap<String, RawMembers> = serde_json::from_slice(response).ok()?;
    let members = response.remove("d")?;
    let mut entity: RawMembers = match members.get("results") {
        Some(entity) if !members.contains_key("__id") => serde_json::from_str(entity.get()).ok()?,
        _ => members,
    };
    let id = serde_json::from_str(entity.get("__id")?.get()).ok()?;
    let is_deferred = |value: &RawValue| {
        let members: Option<RawMembers> = serde_json::from_str(value.get()).ok();
        members.is_some_and(|members| members.contains_key("__deferred"))
    };
    entity.retain(|name, value| !NOT_COPIED.contains(&name.as_str()) && !is_deferred(value));
    Some((id, serde_json::to_string(&entity).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(external: bool, kind: Option<&str>) -> Event {
        Event {
            external,
            subject: Some("https://u.example/c/#me".to_owned()),
            kind: kind.map(str::to_owned),
            object: Some("o".to_owned()),
            ..Event::internal()
        }
    }

    #[test]
    fn event_body_omits_missing_values() {
        let expected = json!({
            "External": true, "Subject": "https://u.example/c/#me", "Type": "t", "Object": "o",
        });
        assert_eq!(event_body(&event(true, Some("t"))), expected);
    }

    #[test]
    fn relayed_event_type_gets_the_prefix_once() {
        for (external, kind, expected) in [
            (false, Some("davfile.create"), "relay.davfile.create"),
            (true, Some("t"), "relay.ext.t"),
            (true, Some("relay.davfile.create"), "relay.davfile.create"),
            (true, None, "relay.ext."),
        ] {
            assert_eq!(relayed_event_body(&event(external, kind))["Type"], expected);
        }
    }

    #[test]
    fn copy_has_the_properties_of_the_entity_without_metadata() {
        let response = json!({"d": {"results": {
            "__metadata": {"uri": "x"}, "__id": "a'b", "__published": "/Date(0)/", "__updated": "/Date(0)/",
            "n": 1, "text": "é", "_Other": {"__deferred": {"uri": "y"}}, "complex": {"a": null},
        }}});
        let (id, copy) = copy_of(response.to_string().as_bytes()).unwrap();
        assert_eq!(id, "a'b");
        let expected = json!({"__id": "a'b", "n": 1, "text": "é", "complex": {"a": null}});
        assert_eq!(serde_json::from_str::<Value>(&copy).unwrap(), expected);
        let standard = json!({"d": {"__metadata": {}, "__id": "a", "results": 1}}).to_string();
        let (id, copy) = copy_of(standard.as_bytes()).unwrap();
        assert_eq!((&*id, &*copy), ("a", r#"{"__id":"a","results":1}"#));
        assert!(copy_of(b"{\"d\":{\"results\":[]}}").is_none());
        assert!(copy_of(b"<html>").is_none());
    }

    #[test]
    fn copy_keeps_every_digit() {
        for number in [
            "9007199254740993",
            "0.12345678901234567890",
            "18446744073709551617.0",
            "-0.0",
        ] {
            let response =
                format!(r#"{{"d":{{"results":{{"__id":"a","l":[{number}],"n":{number}}}}}}}"#);
            let (_, copy) = copy_of(response.as_bytes()).unwrap();
            assert_eq!(
                copy,
                format!(r#"{{"__id":"a","l":[{number}],"n":{number}}}"#)
            );
        }
    }

    #[test]
    fn cell_of_other_unit_is_found_in_the_url() {
        for (url, cell) in [
            ("https://u.example/c/__event", Some("https://u.example/c/")),
            ("https://c.u.example/__event", Some("https://c.u.example/")),
            ("https://u.example/c/box/file", Some("https://u.example/c/")),
            ("https://u.example/c", Some("https://u.example/c/")),
            ("https://u.example/__ctl/Cell", None),
            ("https://u.example/?q", None),
            ("https://u.example", None),
            ("nothing", None),
        ] {
            assert_eq!(cell_of_other_unit(url).as_deref(), cell, "{url}");
        }
    }
}
