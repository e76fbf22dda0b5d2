//! The requests that rules send.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use personium_model::auth::token_issuer::TokenIssuer;
use personium_model::event::outbox::{OutboxEntry, RequestKind};
use personium_model::event::{EVENT_ID, Event, RULE_CHAIN, VIA};
use personium_model::{CellContext, Unit};
use personium_types::{Code, Result};
use serde_json::{Map, Value, json};

use crate::{Reply, RequestSender};

/// What is logged in place of a status if there was no answer.
pub(crate) const NO_ANSWER: &str = "404";
/// What is logged if the event is about nothing that can be sent.
const NO_ENTITY: &str = "404url is invalid";
/// What is logged if nothing was created or changed.
const UNSUPPORTED: &str = "unsupported event";
/// What is logged if who caused the event is no account any more.
const NOBODY: &str = "401";
/// Milliseconds that the token of a request is good for.
const TOKEN_LIFE: i64 = 60 * 60 * 1000;
/// Where a cell takes events.
const EVENT_ENDPOINT: &str = "__event";
/// What the token of a relayed event may do in a cell; those of other requests may do nothing at cell level.
const EVENT_SCOPE: &str = "event";
/// What begins the type of an event that was relayed.
const RELAYED: &str = "relay.";
/// What begins the type of an event that came from outside and was relayed.
const RELAYED_EXTERNAL: &str = "relay.ext.";
/// Members of an entity that its copy makes anew.
const OWN_MEMBERS: &[&str] = &["__metadata", "__published", "__updated"];

/// One rule at work.
struct Work<'a> {
    unit: &'a Unit,
    sender: &'a dyn RequestSender,
    context: &'a CellContext,
    event: &'a Event,
}

/// Sends the request of a rule; the status of the answer, or what stands for it.
pub(crate) async fn send(
    unit: &Unit,
    sender: &dyn RequestSender,
    context: &CellContext,
    action: &OutboxEntry,
) -> Result<String> {
    let (event, target) = (&action.event, action.target.as_str());
    let work = Work {
        unit,
        sender,
        context,
        event,
    };
    let own_cell = unit.urls().cell(&context.cell().name);
    let via = match action.sending {
        RequestKind::Exec | RequestKind::Relay => event.via.clone(),
        RequestKind::RelayEvent | RequestKind::RelayData => Some(match &event.via {
            Some(before) => format!("{before},{own_cell}"),
            None => own_cell,
        }),
    };
    let via = via.as_deref();
    let outcome = match action.sending {
        RequestKind::Exec | RequestKind::Relay => {
            let body = told(event).to_string();
            work.ask(Method::POST, target, body, via).await
        }
        RequestKind::RelayEvent => {
            let body = relayed(event).to_string();
            let target = format!("{target}{EVENT_ENDPOINT}");
            work.ask(Method::POST, &target, body, via).await
        }
        RequestKind::RelayData => work.copy(target, via).await,
    };
    match outcome {
        Ok(outcome) => Ok(outcome.unwrap_or_else(|| NO_ANSWER.to_owned())),
        Err(refusal) if refusal.code() == Code::AuthnFailed => Ok(NOBODY.to_owned()),
        Err(refusal) if refusal.code() == Code::TargetInvalid => Ok(NO_ANSWER.to_owned()),
        Err(other) => Err(other),
    }
}

impl Work<'_> {
    /// Sends a request for whoever caused the event; the status of the answer.
    async fn ask(
        &self,
        method: Method,
        url: &str,
        body: String,
        via: Option<&str>,
    ) -> Result<Option<String>> {
        let reply = self.exchange(method, url, body, via).await?;
        Ok(reply.map(|reply| reply.status.as_str().to_owned()))
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        body: String,
        via: Option<&str>,
    ) -> Result<Option<Reply>> {
        let event = self.event;
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::ACCEPT, "application/json")
            .header(RULE_CHAIN, event.hops.unwrap_or(u32::MAX).saturating_add(1));
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
        // A target that is no URL cannot be asked.
        let Ok(request) = request.body(Bytes::from(body)) else {
            return Ok(None);
        };
        Ok(self.sender.send(request).await)
    }

    /// The token that goes with a request to a URL.
    async fn token(&self, url: &str) -> Result<Option<String>> {
        let urls = self.unit.urls();
        let own = &self.context.cell().name;
        let target = match urls.split(url) {
            Some((cell, _)) if cell == *own => None,
            Some((cell, _)) => Some(urls.cell(&cell)),
            None => match elsewhere(url).filter(|cell| *cell != urls.unit()) {
                Some(cell) => Some(cell),
                None => return Ok(None),
            },
        };
        let scopes = match url.ends_with(EVENT_ENDPOINT) {
            true => vec![EVENT_SCOPE.to_owned()],
            false => Vec::new(),
        };
        TokenIssuer::new(self.unit, self.context)
            .action_token(self.event, scopes, target.as_deref(), TOKEN_LIFE)
            .await
    }

    /// Copies the entity that the event is about to a set elsewhere.
    async fn copy(&self, target: &str, via: Option<&str>) -> Result<Option<String>> {
        let creates = match self.event.kind.as_deref() {
            Some("odata.create") => true,
            Some("odata.update" | "odata.patch") => false,
            _ => return Ok(Some(UNSUPPORTED.to_owned())),
        };
        let own = self.unit.urls().cell(&self.context.cell().name);
        let object = self.event.object.as_deref().unwrap_or_default();
        if !object.starts_with(&own) {
            return Ok(Some(NO_ENTITY.to_owned()));
        }
        let url = format!("{object}?$format=json");
        let found = self
            .exchange(Method::GET, &url, String::new(), None)
            .await?;
        let Some(reply) = found else { return Ok(None) };
        if reply.status != StatusCode::OK {
            return Ok(Some(reply.status.as_str().to_owned()));
        }
        let Some((id, copy)) = copy_of(&reply.body) else {
            return Ok(Some(NO_ENTITY.to_owned()));
        };
        if creates {
            return self.ask(Method::POST, target, copy, via).await;
        }
        let key = id.replace('\'', "''");
        let key = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC);
        let target = format!("{target}('{key}')");
        self.ask(Method::PUT, &target, copy, via).await
    }
}

/// The cell of another unit that a URL belongs to: what stands before `__event`, else the first segment of the path, as
/// units have it whose cells are not hosts. `None` if neither names a cell: a token for a whole unit is never sent.
fn elsewhere(url: &str) -> Option<String> {
    if let Some(cell) = url.strip_suffix(EVENT_ENDPOINT) {
        return Some(cell.to_owned());
    }
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/')?;
    let cell = path.split(['/', '?', '#']).next()?;
    let named = !cell.is_empty() && !cell.starts_with("__");
    named.then(|| format!("{scheme}://{authority}/{cell}/"))
}

/// The event as services and other servers are told of it.
fn told(event: &Event) -> Value {
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

/// The event as another cell is told of it.
fn relayed(event: &Event) -> Value {
    let kind = event.kind.as_deref().unwrap_or_default();
    let kind = match (kind.starts_with(RELAYED), event.external) {
        (true, _) => kind.to_owned(),
        (false, true) => format!("{RELAYED_EXTERNAL}{kind}"),
        (false, false) => format!("{RELAYED}{kind}"),
    };
    json!({"Type": kind, "Object": event.object, "Info": event.info})
}

/// The id of an entity and the body that makes another like it.
fn copy_of(answer: &[u8]) -> Option<(String, String)> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let entity = answer.get("d")?.get("results")?.as_object()?;
    let id = entity.get("__id")?.as_str()?.to_owned();
    let is_copied = |name: &str, value: &Value| {
        !OWN_MEMBERS.contains(&name) && value.get("__deferred").is_none()
    };
    let copied: Map<String, Value> = entity
        .iter()
        .filter(|(name, value)| is_copied(name, value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Some((id, Value::Object(copied).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(external: bool, kind: Option<&str>) -> Event {
        Event {
            external,
            schema: None,
            subject: Some("https://u.example/c/#me".to_owned()),
            account: None,
            kind: kind.map(str::to_owned),
            object: Some("o".to_owned()),
            info: None,
            request_key: None,
            id: None,
            hops: Some(0),
            via: None,
            roles: Vec::new(),
        }
    }

    #[test]
    fn what_is_missing_is_left_out() {
        let expected = json!({
            "External": true, "Subject": "https://u.example/c/#me", "Type": "t", "Object": "o",
        });
        assert_eq!(told(&event(true, Some("t"))), expected);
    }

    #[test]
    fn relayed_events_say_so_once() {
        for (external, kind, expected) in [
            (false, Some("davfile.create"), "relay.davfile.create"),
            (true, Some("t"), "relay.ext.t"),
            (true, Some("relay.davfile.create"), "relay.davfile.create"),
            (true, None, "relay.ext."),
        ] {
            assert_eq!(relayed(&event(external, kind))["Type"], expected);
        }
    }

    #[test]
    fn a_copy_has_what_the_entity_says_itself() {
        let answer = json!({"d": {"results": {
            "__metadata": {"uri": "x"}, "__id": "a'b", "__published": "/Date(0)/", "__updated": "/Date(0)/",
            "n": 1, "text": "é", "_Other": {"__deferred": {"uri": "y"}}, "complex": {"a": null},
        }}});
        let (id, copy) = copy_of(answer.to_string().as_bytes()).unwrap();
        assert_eq!(id, "a'b");
        let expected = json!({"__id": "a'b", "n": 1, "text": "é", "complex": {"a": null}});
        assert_eq!(serde_json::from_str::<Value>(&copy).unwrap(), expected);
        assert!(copy_of(b"{\"d\":{\"results\":[]}}").is_none());
        assert!(copy_of(b"<html>").is_none());
    }

    #[test]
    fn the_cell_of_a_url_elsewhere() {
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
            assert_eq!(elsewhere(url).as_deref(), cell, "{url}");
        }
    }
}
