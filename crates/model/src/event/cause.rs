//! The cause of events of the unit itself: what they have in common if one request causes them, and who listens to them.

use std::borrow::Cow;
use std::sync::Arc;

use personium_types::Result;

use super::published;
use super::record::Event;
use super::rule::{self, EventRule, RuleSet};
use crate::url::LOCAL_CELL;
use crate::{CellContext, PostedEvent, Unit};

/// The cause of events of the unit itself. It exists only if somebody listens to such events of the cell, so that a change
/// without one costs nothing.
#[derive(Debug)]
pub struct EventCause {
    /// The members that all events of the cause have in common.
    template: Event,
    rules: Arc<RuleSet>,
    /// Whether somebody is subscribed to all events of the cell.
    is_fed: bool,
    /// Whether events are published to other systems.
    is_published: bool,
    /// The details of all events of the cause, in place of their own.
    info: Option<String>,
    /// The URL of the cell.
    cell_url: String,
    /// The entity id of the rule whose timer it is, if it is one.
    timer: Option<String>,
}

impl EventCause {
    /// The cause of the events of a request to a cell; `None` if nobody listens to them. `template` returns what all of them
    /// have in common.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn find(
        unit: &Unit,
        context: &CellContext,
        template: impl FnOnce() -> Event,
    ) -> Result<Option<Arc<Self>>> {
        let rules = rule::load(unit, context).await?;
        let is_fed = context.is_fed().await?;
        let is_published = unit.settings().events.published_max.is_some();
        if !is_fed && !is_published && !rules.has_internal() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Self {
            template: template(),
            rules,
            is_fed,
            is_published,
            info: None,
            timer: None,
            cell_url: unit.urls().cell(&context.cell().name),
        })))
    }

    /// The timer of a rule as the cause of an event.
    ///
    /// # Errors
    /// A failure of the store.
    pub(super) async fn of_timer(
        unit: &Unit,
        context: &CellContext,
        rules: &Arc<RuleSet>,
        (rule, template): (&str, Event),
    ) -> Result<Self> {
        Ok(Self {
            template,
            rules: Arc::clone(rules),
            is_fed: context.is_fed().await?,
            is_published: unit.settings().events.published_max.is_some(),
            info: None,
            timer: Some(rule.to_owned()),
            cell_url: unit.urls().cell(&context.cell().name),
        })
    }

    /// The same cause, with the details of all its events.
    #[must_use]
    pub fn with_info(&self, info: String) -> Self {
        Self {
            template: self.template.clone(),
            rules: Arc::clone(&self.rules),
            is_fed: self.is_fed,
            is_published: self.is_published,
            info: Some(info),
            timer: self.timer.clone(),
            cell_url: self.cell_url.clone(),
        }
    }

    /// Whether somebody is subscribed to all events of the cell.
    pub(super) fn is_fed(&self) -> bool {
        self.is_fed
    }

    /// Whether an event is published to other systems.
    pub(super) fn publishes(&self, event: &Event) -> bool {
        self.is_published && published::is_published(event)
    }

    /// Whether somebody may listen to events of this type.
    #[must_use]
    pub fn wants(&self, kind: &str) -> bool {
        self.is_fed
            || (self.is_published && published::is_change(kind))
            || self.rules.may_match_internal(kind)
    }

    /// The event of this type about an object, if somebody may listen to it.
    pub fn event(
        &self,
        kind: impl Into<Cow<'static, str>>,
        object: impl FnOnce() -> String,
        info: impl FnOnce() -> String,
    ) -> Option<PostedEvent> {
        let kind = kind.into();
        self.wants(&kind).then(|| PostedEvent {
            kind,
            object: object(),
            info: info(),
        })
    }

    /// The rules that an event matches, of those that existed when the request began. A timer has no effect on the rules with
    /// other timers.
    pub(super) fn matching(&self, event: &Event, hops_max: u32) -> Vec<Arc<EventRule>> {
        let mut matching = self.rules.matching(event, hops_max);
        if let Some(own) = &self.timer {
            matching.retain(|rule| !rule.is_timer() || rule.id == *own);
        }
        matching
    }

    /// The event as rules act on it. That of a timer acts as nobody unless its subject is an account of the cell.
    pub(super) fn acting(&self, event: Event) -> Event {
        match self.timer.is_some() && event.account.is_none() {
            true => Event {
                subject: None,
                ..event
            },
            false => event,
        }
    }

    /// The whole event.
    pub(super) fn complete(&self, posted: PostedEvent) -> Event {
        let info = match self.timer {
            // The details of a timer are those of its rule, which may have none.
            Some(_) => self.template.info.clone(),
            None => Some(self.info.clone().unwrap_or(posted.info)),
        };
        Event {
            external: false,
            kind: Some(posted.kind.into_owned()),
            object: Some(posted.object),
            info,
            ..self.template.clone()
        }
    }

    /// The `http(s)` form of an object.
    #[must_use]
    pub fn url_of(&self, object: &str) -> String {
        match object.strip_prefix(LOCAL_CELL) {
            Some(path) => format!(
                "{}{}",
                self.cell_url,
                path.strip_prefix('/').unwrap_or(path)
            ),
            None => object.to_owned(),
        }
    }
}
