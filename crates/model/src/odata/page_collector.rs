//! What of many candidates belongs on a page.

use personium_odata::filter::PropertyRef;
use personium_odata::query::InlineCount;
use personium_odata::value::Value;
use personium_types::{Code, Result};

use super::list::{ListQuery, Page, SCAN_BATCH};
use super::load::Entity;
use super::plan::QueryPlan;
use super::root::ServiceRoot;

/// Keeps what belongs on the page of all that is offered.
pub(super) struct PageCollector<'q> {
    pub query: &'q ListQuery,
    visible: Option<&'q (dyn Fn(&Entity) -> bool + Sync)>,
    sorts: bool,
    counts: bool,
    matched: u64,
    kept: Vec<Entity>,
    /// Bytes of the values of all that is kept, and how many they may be.
    bytes: usize,
    bytes_max: usize,
    skip: usize,
    top: usize,
}

impl<'q> PageCollector<'q> {
    pub fn new(
        root: &ServiceRoot,
        query: &'q ListQuery,
        plan: &QueryPlan,
        counts: bool,
        visible: Option<&'q (dyn Fn(&Entity) -> bool + Sync)>,
    ) -> Self {
        Self {
            query,
            visible,
            sorts: !plan.ordered,
            counts: counts && query.count == InlineCount::AllPages,
            matched: 0,
            kept: Vec::new(),
            bytes: 0,
            bytes_max: root.unit.settings().odata.response_max_bytes,
            skip: query.paging.skip as usize,
            top: query.paging.top as usize,
        }
    }

    /// How many candidates to read first: just the page if nothing is left out of it.
    pub fn first_step(&self) -> usize {
        let page = self.skip.saturating_add(self.top);
        if self.sorts || self.counts || self.query.filter.is_some() && page > SCAN_BATCH {
            SCAN_BATCH
        } else {
            page.clamp(1, SCAN_BATCH)
        }
    }

    pub fn is_full(&self) -> bool {
        !self.sorts && !self.counts && self.kept.len() >= self.top
    }

    /// # Errors
    /// 400 if what belongs on the page is too large.
    pub fn push(&mut self, entity: Entity) -> Result<()> {
        if !self.matches(&entity) {
            return Ok(());
        }
        self.matched += 1;
        if self.sorts {
            self.keep(entity);
            let window = self.skip + self.top;
            let is_long = self.kept.len() >= window.saturating_mul(2).max(4 * SCAN_BATCH);
            if is_long || self.bytes > self.bytes_max {
                self.sort();
                self.kept.truncate(window);
                self.bytes = size_bytes(&self.kept);
            }
        } else if self.matched > self.skip as u64 && self.kept.len() < self.top {
            self.keep(entity);
        }
        if self.bytes > self.bytes_max {
            return Err(Code::QueryRefused.into());
        }
        Ok(())
    }

    fn keep(&mut self, entity: Entity) {
        self.bytes += entity.properties.size_bytes();
        self.kept.push(entity);
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
        self.kept.sort_by(|a, b| {
            order.compare(&|p| a.properties.value(&p.name), &|p| {
                b.properties.value(&p.name)
            })
        });
    }

    pub fn finish(mut self) -> Page {
        if self.sorts {
            self.sort();
            self.kept = self
                .kept
                .into_iter()
                .skip(self.skip)
                .take(self.top)
                .collect();
        }
        Page {
            entities: self.kept,
            count: Some(self.matched),
        }
    }
}

/// The values that a full-text search looks at.
fn searchable(entity: &Entity) -> impl Iterator<Item = &Value> {
    entity
        .properties
        .iter()
        .filter(|(name, _)| !name.starts_with("__"))
        .map(|(_, value)| value)
}

/// Bytes of the values of entities.
pub(super) fn size_bytes(entities: &[Entity]) -> usize {
    entities.iter().map(|e| e.properties.size_bytes()).sum()
}
