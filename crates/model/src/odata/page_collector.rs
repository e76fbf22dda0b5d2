//! Collects the entities of a page from the candidates of a query.

use personium_odata::filter::PropertyRef;
use personium_odata::query::{InlineCount, NextLink, TypedListQuery};
use personium_odata::skip_token::SkipToken;
use personium_odata::value::Value;
use personium_types::{Code, Result};

use super::load::Entity;
use super::page::{Page, Visibility};
use super::plan::QueryPlan;
use super::root::ServiceRoot;

/// The number of candidates that are read at once.
pub(super) const SCAN_BATCH: usize = 256;

/// Collects the entities of a page from the candidates of a query.
pub(super) struct PageCollector<'q> {
    pub query: &'q TypedListQuery,
    visible: Visibility<'q>,
    sorts: bool,
    /// The number of matching entities, if it is known without counting them.
    known_count: Option<u64>,
    /// Whether every matching entity must be counted.
    counts: bool,
    matched: u64,
    /// The number of matching entities after the position where the list begins.
    reached: u64,
    entities: Vec<Entity>,
    /// The size of the values of the collected entities.
    size_bytes: usize,
    /// The memory of the collected entities.
    memory_bytes: usize,
    max_bytes: usize,
    skip: usize,
    top: usize,
}

impl<'q> PageCollector<'q> {
    pub fn new(
        root: &ServiceRoot,
        query: &'q TypedListQuery,
        plan: &QueryPlan,
        known_count: Option<u64>,
        visible: Visibility<'q>,
    ) -> Self {
        Self {
            query,
            visible,
            sorts: !plan.ordered,
            known_count,
            counts: known_count.is_none() && query.count == InlineCount::AllPages,
            matched: 0,
            reached: 0,
            entities: Vec::new(),
            size_bytes: 0,
            memory_bytes: 0,
            max_bytes: root.unit.settings().odata.response_max_bytes,
            skip: query.paging.skip as usize,
            // One more than the page has shows whether there is a next one.
            top: query.paging.top as usize + usize::from(query.next_link == NextLink::IfMore),
        }
    }

    /// The number of candidates to read first: just the page if every candidate belongs to it.
    pub fn first_batch(&self) -> usize {
        let page = self.skip.saturating_add(self.top);
        if self.sorts || self.counts || self.query.filter.is_some() && page > SCAN_BATCH {
            SCAN_BATCH
        } else {
            page.clamp(1, SCAN_BATCH)
        }
    }

    /// The id after which candidates in the order of ids can begin.
    pub fn start_id(&self) -> Option<&str> {
        let token = self.query.after.as_ref();
        let by_id = !self.sorts && !self.counts && self.query.order.terms().is_empty();
        token.filter(|_| by_id).map(|token| &*token.id)
    }

    /// The memory of the collected entities, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Whether no further candidate can change the page.
    pub fn is_full(&self) -> bool {
        !self.sorts && !self.counts && self.entities.len() >= self.top
    }

    /// Adds a candidate.
    ///
    /// # Errors
    /// [`Code::QueryRefused`] if the page is too large.
    pub fn push(&mut self, entity: Entity) -> Result<()> {
        if !self.matches(&entity) {
            return Ok(());
        }
        self.matched += 1;
        if !self.is_after_start(&entity) {
            return Ok(());
        }
        self.reached += 1;
        if self.sorts {
            self.add(entity);
            let window = self.skip + self.top;
            let is_long = self.entities.len() >= window.saturating_mul(2).max(4 * SCAN_BATCH);
            if is_long || self.size_bytes > self.max_bytes {
                self.sort();
                self.entities.truncate(window);
                self.size_bytes = size_bytes(&self.entities);
                self.memory_bytes = memory_bytes(&self.entities);
            }
        } else if self.reached > self.skip as u64 && self.entities.len() < self.top {
            self.add(entity);
        }
        if self.size_bytes > self.max_bytes {
            return Err(Code::QueryRefused.into());
        }
        Ok(())
    }

    /// Whether an entity comes after the position where the list begins.
    fn is_after_start(&self, entity: &Entity) -> bool {
        let Some(token) = &self.query.after else {
            return true;
        };
        let values = token.values.as_deref().unwrap_or_default();
        let order = &self.query.order;
        let by_values = order.compare_with(&|p| entity.properties.value(&p.name), values);
        by_values.then_with(|| entity.id.cmp(&token.id)).is_gt()
    }

    fn add(&mut self, entity: Entity) {
        self.size_bytes += entity.properties.size_bytes();
        self.memory_bytes += entity.memory_bytes();
        self.entities.push(entity);
    }

    fn matches(&self, entity: &Entity) -> bool {
        let get = |property: &PropertyRef| entity.properties.value(&property.name);
        self.visible.is_none_or(|visible| visible(entity))
            && self
                .query
                .filter
                .as_ref()
                .is_none_or(|filter| filter.matches(&get))
            && self
                .query
                .full_text
                .as_ref()
                .is_none_or(|text| text.matches(|| searchable(entity)))
    }

    fn sort(&mut self) {
        let order = &self.query.order;
        let by_id = self.query.is_page();
        self.entities.sort_by(|a, b| {
            let by_values = order.compare(&|p| a.properties.value(&p.name), &|p| {
                b.properties.value(&p.name)
            });
            match by_id {
                true => by_values.then_with(|| a.id.cmp(&b.id)),
                false => by_values,
            }
        });
    }

    /// Returns the page.
    pub fn finish(mut self) -> Page {
        if self.sorts {
            self.sort();
            self.entities = self
                .entities
                .into_iter()
                .skip(self.skip)
                .take(self.top)
                .collect();
        }
        let top = self.query.paging.top as usize;
        let has_more = self.entities.len() > top;
        self.entities.truncate(top);
        Page {
            next: self.entities.last().filter(|_| has_more).map(|last| {
                let terms = self.query.order.terms().iter();
                let values = terms.map(|term| last.properties.value(&term.property.name).clone());
                SkipToken::new(&last.id, values.collect())
            }),
            entities: self.entities,
            count: match self.query.count {
                InlineCount::AllPages => self.known_count.or(Some(self.matched)),
                InlineCount::None => None,
            },
        }
    }
}

/// The values that a full-text search compares.
fn searchable(entity: &Entity) -> impl Iterator<Item = &Value> {
    entity
        .properties
        .iter()
        .filter(|(name, _)| !name.starts_with("__"))
        .map(|(_, value)| value)
}

/// The memory of entities, in bytes.
pub(super) fn memory_bytes(entities: &[Entity]) -> usize {
    entities.iter().map(Entity::memory_bytes).sum()
}

/// The size of the values of entities, in bytes.
pub(super) fn size_bytes(entities: &[Entity]) -> usize {
    entities.iter().map(|e| e.properties.size_bytes()).sum()
}
