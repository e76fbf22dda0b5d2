//! The rules of a cell and their comparison with events.

use std::sync::Arc;

use personium_types::Result;

use super::log::LogLevel;
use super::record::Event;
use super::rule_request::{Attempts, OutboxEntry, RequestKind};
use crate::entity::{self, StoredEntity};
use crate::keys::{self, ControlSet, SetKey};
use crate::timer_index::is_timer;
use crate::url::{LOCAL_BOX, LOCAL_CELL};
use crate::{BoxInfo, CellContext, Unit, UnitUrls};

/// The largest number of rules of a cell, those of timers included. Further ones are refused.
pub(crate) const MAX_RULES: usize = 10_000;
/// The largest number of rules of a cell that are applied: creations at the same time may exceed the other limit.
const APPLIED_MAX: usize = 2 * MAX_RULES;
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
pub struct RuleSet {
    rules: Vec<Arc<EventRule>>,
    /// Whether one of them is for events of the unit itself that are not those of timers.
    has_internal: bool,
}

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
    for (id, found) in entity::list(context.records(), &set, APPLIED_MAX).await? {
        let in_box = match found.value.links.get("Box").and_then(|id| id.parse().ok()) {
            Some(id) => context.find_box_by_id(&id).await?,
            None => None,
        };
        let cell = unit.urls().cell(&context.cell().name);
        rules.extend(EventRule::of(unit.urls(), &cell, id, found.value, in_box).map(Arc::new));
    }
    Ok(context.insert_cached(CACHE_KEY.to_owned(), RuleSet::new(rules)))
}

/// The rules of a cell in the order of their names, each with the number of events that it has matched.
///
/// # Errors
/// A failure of the store.
pub async fn list_with_hits(
    unit: &Unit,
    context: &CellContext,
) -> Result<Vec<(Arc<EventRule>, i64)>> {
    let mut rules = load(unit, context).await?.rules.clone();
    rules.sort_by_cached_key(|rule| (rule.stored.text("Name"), rule.id.clone()));
    let hits: Vec<_> = rules.iter().map(|rule| keys::rule_hits(&rule.id)).collect();
    let hits = context.records().counters(&hits).await?;
    Ok(rules.into_iter().zip(hits).collect())
}

impl RuleSet {
    fn new(rules: Vec<Arc<EventRule>>) -> Self {
        let has_internal = rules
            .iter()
            .any(|rule| !rule.conditions.external && !rule.is_timer());
        Self {
            rules,
            has_internal,
        }
    }

    /// The rules that an event matches. Only those that write into the log, if `hops_max` rules or more led to the event: these end no
    /// chain, and a caller who says so must not avoid the log. None, if no rule is to be applied at all.
    #[must_use]
    pub fn matching(&self, event: &Event, hops_max: u32) -> Vec<Arc<EventRule>> {
        if hops_max == 0 {
            return Vec::new();
        }
        let may_send = event.chain.length < hops_max;
        let is_applied =
            |rule: &Arc<EventRule>| may_send || matches!(rule.action, RuleAction::Log(_));
        let matching = self
            .rules
            .iter()
            .filter(|rule| is_applied(rule) && rule.conditions.match_event(event));
        matching.cloned().collect()
    }

    /// The rule with this name, in the box with this name or in none.
    #[must_use]
    pub fn find_named(&self, name: &str, box_name: Option<&str>) -> Option<Arc<EventRule>> {
        let is_it = |rule: &&Arc<EventRule>| {
            let in_box = rule.in_box.as_ref().map(|found| found.name.as_str());
            in_box == box_name && rule.stored.text("Name").as_deref() == Some(name)
        };
        self.rules.iter().find(is_it).cloned()
    }

    /// The rule with this entity id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<EventRule>> {
        self.rules.iter().find(|rule| rule.id == id).cloned()
    }

    /// Whether one of the rules is for events of the unit itself that are not those of timers.
    #[must_use]
    pub fn has_internal(&self) -> bool {
        self.has_internal
    }

    /// Whether one of the rules may match an event of the unit itself of this type.
    #[must_use]
    pub fn may_match_internal(&self, kind: &str) -> bool {
        let of_kind = |rule: &Arc<EventRule>| {
            !rule.conditions.external && matches_kind(rule.conditions.kind.as_deref(), Some(kind))
        };
        self.has_internal && self.rules.iter().any(of_kind)
    }
}

impl EventRule {
    /// The subject that it is for, as an `http(s)` URL.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.conditions.subject.as_deref()
    }

    /// The application that it is for, as an `http(s)` URL.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.conditions.schema.as_deref()
    }

    /// The request that it sends for an event, as if the event had matched. `None` if it sends none.
    #[must_use]
    pub fn request_for(
        &self,
        unit: &Unit,
        context: &CellContext,
        event: &Event,
    ) -> Option<OutboxEntry> {
        let RuleAction::Send(kind) = self.action else {
            return None;
        };
        let cell = unit.urls().cell(&context.cell().name);
        let event = Event {
            external: self.conditions.external,
            ..event.clone()
        };
        Some(OutboxEntry {
            event: event.to_external(&cell, unit.random()),
            kind,
            target: self.target.clone().unwrap_or_default(),
            at_ms: unit.now_ms(),
            attempts: Attempts::default(),
        })
    }

    /// Whether it is for a timer.
    #[must_use]
    pub fn is_timer(&self) -> bool {
        self.conditions.kind.as_deref().is_some_and(is_timer)
    }

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
        // The object of a timer is a number, so a part of it would be another number.
        let object = match self.kind.as_deref().is_some_and(is_timer) {
            true => equal(&self.object, &event.object),
            false => begins(&self.object, &event.object),
        };
        matches_kind(self.kind.as_deref(), event.kind.as_deref())
            && self.external == event.external
            && equal(&self.schema, &event.schema)
            && equal(&self.subject, &event.subject)
            && object
            && begins(&self.info, &event.info)
    }
}

/// Whether the type of an event begins with that of a rule, or ends with it if that begins with a dot.
fn matches_kind(wanted: Option<&str>, found: Option<&str>) -> bool {
    match (wanted, found) {
        (None, _) => true,
        (Some(wanted), Some(found)) if wanted.starts_with('.') => found.ends_with(wanted),
        (Some(wanted), Some(found)) => found.starts_with(wanted),
        (Some(_), None) => false,
    }
}

/// Converts a URL relative to a box into one relative to the cell; others stay as they are, also those whose path has no slash at its
/// beginning: they could lead into a box whose name begins with that of the box.
fn in_cell(box_name: Option<&str>, url: String) -> String {
    match (url.strip_prefix(LOCAL_BOX), box_name) {
        (Some(path), Some(name)) if path.is_empty() || path.starts_with('/') => {
            format!("{LOCAL_CELL}/{name}{path}")
        }
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
