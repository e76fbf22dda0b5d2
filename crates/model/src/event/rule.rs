//! The rules of a cell and their comparison with events.

use std::sync::Arc;

use personium_types::Result;

use super::log::LogLevel;
use super::outbox::RequestKind;
use super::record::Event;
use crate::entity::{self, StoredEntity};
use crate::keys::{self, ControlSet, SetKey};
use crate::url::{LOCAL_BOX, LOCAL_CELL};
use crate::{BoxInfo, CellContext, Unit, UnitUrls};

/// The largest number of rules of a cell that are applied.
const MAX_RULES: usize = 10_000;
/// The key of the rules in the cache of the context of their cell.
const CACHE_KEY: &str = "rules";

/// The action of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAction {
    /// Writes a line into the event log.
    Log(LogLevel),
    /// Sends a request.
    Send(RequestKind),
}

impl RuleAction {
    /// Reads the property `Action` of a rule; `None` for an unknown one.
    fn parse(action: &str) -> Option<Self> {
        Some(match action {
            "log" | "log.info" => Self::Log(LogLevel::Info),
            "log.warn" => Self::Log(LogLevel::Warn),
            "log.error" => Self::Log(LogLevel::Error),
            "exec" => Self::Send(RequestKind::Exec),
            "relay" => Self::Send(RequestKind::Relay),
            "relay.event" => Self::Send(RequestKind::RelayEvent),
            "relay.data" => Self::Send(RequestKind::RelayData),
            _ => return None,
        })
    }
}

/// A rule in the form in which it is compared with events.
#[derive(Debug, Clone)]
pub struct EventRule {
    /// Its entity id.
    pub id: String,
    /// The box it belongs to.
    pub in_box: Option<Arc<BoxInfo>>,
    /// Its action.
    pub action: RuleAction,
    /// The URL that it sends requests to, as an `http(s)` URL.
    pub target: Option<String>,
    /// The rule as it is stored.
    pub stored: StoredEntity,
    conditions: Conditions,
}

/// The conditions of a rule. `None` matches every event.
#[derive(Debug, Clone, Default)]
struct Conditions {
    external: bool,
    /// Equal, as an `http(s)` URL.
    schema: Option<String>,
    /// Equal, as an `http(s)` URL.
    subject: Option<String>,
    /// The beginning; the end, if it begins with a dot.
    kind: Option<String>,
    /// The beginning, as a `personium-localcell:` URL.
    object: Option<String>,
    /// The beginning.
    info: Option<String>,
}

/// The rules of a cell.
#[derive(Debug, Clone, Default)]
pub struct RuleSet(Vec<Arc<EventRule>>);

/// Loads the rules of a cell.
///
/// # Errors
/// A failure of the store.
pub async fn load(unit: &Unit, context: &CellContext) -> Result<Arc<RuleSet>> {
    if let Some(cached) = context.get_cached(CACHE_KEY) {
        return Ok(cached);
    }
    let set = SetKey::control(ControlSet::Rule);
    let mut rules = Vec::new();
    for (id, found) in entity::list(context.records(), &set, MAX_RULES).await? {
        let in_box = match found.value.links.get("Box").and_then(|id| id.parse().ok()) {
            Some(id) => context.find_box_by_id(&id).await?,
            None => None,
        };
        let cell = unit.urls().cell(&context.cell().name);
        rules.extend(EventRule::of(unit.urls(), &cell, id, found.value, in_box).map(Arc::new));
    }
    Ok(context.insert_cached(CACHE_KEY.to_owned(), RuleSet(rules)))
}

/// The rules of a cell in the order of their names, each with the number of events that it has matched.
///
/// # Errors
/// A failure of the store.
pub async fn list_with_hits(
    unit: &Unit,
    context: &CellContext,
) -> Result<Vec<(Arc<EventRule>, i64)>> {
    let mut rules = load(unit, context).await?.0.clone();
    rules.sort_by_cached_key(|rule| (rule.stored.text("Name"), rule.id.clone()));
    let hits: Vec<_> = rules.iter().map(|rule| keys::rule_hits(&rule.id)).collect();
    let hits = context.records().counters(&hits).await?;
    Ok(rules.into_iter().zip(hits).collect())
}

impl RuleSet {
    /// The rules that an event matches. None, if `hops_max` rules or more led to the event.
    #[must_use]
    pub fn matching(&self, event: &Event, hops_max: u32) -> Vec<Arc<EventRule>> {
        if event.hops.is_none_or(|hops| hops >= hops_max) {
            return Vec::new();
        }
        let matching = self
            .0
            .iter()
            .filter(|rule| rule.conditions.match_event(event));
        matching.cloned().collect()
    }
}

impl EventRule {
    /// Reads a stored rule; `None` if its action is unknown.
    fn of(
        urls: &UnitUrls,
        cell_url: &str,
        id: String,
        stored: StoredEntity,
        in_box: Option<Arc<BoxInfo>>,
    ) -> Option<Self> {
        let action = RuleAction::parse(&stored.text("Action")?)?;
        let box_name = in_box.as_ref().map(|found| found.name.as_str());
        let target = stored
            .text("TargetUrl")
            .map(|url| absolute(urls, cell_url, box_name, &url));
        let resolved = |url: String| urls.resolve(&url).unwrap_or(url);
        let conditions = Conditions {
            external: stored.doc.value("EventExternal").as_bool().unwrap_or(false),
            schema: in_box.as_ref().and_then(|b| b.schema.clone()).map(resolved),
            subject: stored.text("EventSubject").map(resolved),
            kind: stored.text("EventType"),
            object: stored
                .text("EventObject")
                .map(|object| in_cell(box_name, object)),
            info: stored.text("EventInfo"),
        };
        Some(Self {
            id,
            in_box,
            action,
            target,
            stored,
            conditions,
        })
    }
}

impl Conditions {
    fn match_event(&self, event: &Event) -> bool {
        let equal =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        let begins = |wanted: &Option<String>, found: &Option<String>| match (wanted, found) {
            (None, _) => true,
            (Some(wanted), Some(found)) => found.starts_with(wanted.as_str()),
            (Some(_), None) => false,
        };
        let kind = match (&self.kind, &event.kind) {
            (Some(wanted), Some(found)) if wanted.starts_with('.') => found.ends_with(wanted),
            (wanted, found) => begins(wanted, found),
        };
        kind && self.external == event.external
            && equal(&self.schema, &event.schema)
            && equal(&self.subject, &event.subject)
            && begins(&self.object, &event.object)
            && begins(&self.info, &event.info)
    }
}

/// Converts a URL relative to a box into one relative to the cell; others stay as they are.
fn in_cell(box_name: Option<&str>, url: String) -> String {
    match (url.strip_prefix(LOCAL_BOX), box_name) {
        (Some(path), Some(name)) => format!("{LOCAL_CELL}/{name}{path}"),
        _ => url,
    }
}

/// The `http(s)` form of the target of a rule.
fn absolute(urls: &UnitUrls, cell_url: &str, box_name: Option<&str>, url: &str) -> String {
    let url = in_cell(box_name, url.to_owned());
    match url.strip_prefix(LOCAL_CELL) {
        Some(path) => format!("{cell_url}{}", path.strip_prefix('/').unwrap_or(path)),
        None => urls.resolve(&url).unwrap_or(url),
    }
}

#[cfg(test)]
mod tests;
