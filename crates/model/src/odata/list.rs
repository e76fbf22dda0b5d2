//! Lists of entities.

use personium_odata::filter::PropertyRef;
use personium_odata::query::{InlineCount, TypedListQuery};
use personium_odata::value::Value;
use personium_store::{Direction, Key, KeyRange};
use personium_types::{Code, Result};

use super::association::Association;
use super::index;
use super::link::linked_ids;
use super::load::{self, Entity};
use super::plan::{Plan, Source, plan};
use super::root::{Root, SetRef};
use crate::entity::StoredEntity;
use crate::keys;

/// Candidates that are read at once.
const STEP: usize = 256;

/// A list query that fits its set.
pub type ListQuery = TypedListQuery;

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The entities.
    pub entities: Vec<Entity>,
    /// How many there are in all pages, if that was asked.
    pub count: Option<u64>,
}

/// A page of the entities of a set that fulfil the query and that `visible` shows.
pub async fn list(
    root: &Root,
    set: &SetRef,
    query: &ListQuery,
    visible: Option<&(dyn Fn(&Entity) -> bool + Sync)>,
) -> Result<Page> {
    check_window(root, query)?;
    let plan = plan(set, query);
    let mut count = None;
    if query.count == InlineCount::AllPages && visible.is_none() {
        count = known_count(root, set, query, &plan).await?;
    }
    let mut collector = Collector::new(query, &plan, count.is_none(), visible);
    let done = run(root, set, &plan, &mut collector).await?;
    if !done {
        // A long text stood in the way of the index order: read everything and sort.
        let all = Plan {
            source: Source::All,
            ordered: false,
            count: None,
        };
        collector = Collector::new(query, &all, count.is_none(), visible);
        run(root, set, &all, &mut collector).await?;
    }
    let mut page = collector.finish();
    page.count = match query.count {
        InlineCount::AllPages => count.or(page.count),
        InlineCount::None => None,
    };
    Ok(page)
}

fn check_window(root: &Root, query: &ListQuery) -> Result<()> {
    let window = u64::from(query.page.skip) + u64::from(query.page.top);
    if window > root.unit.settings().odata.window_max {
        Err(Code::QueryRefused.into())
    } else {
        Ok(())
    }
}

/// The number of matching entities where it is known without reading them.
async fn known_count(
    root: &Root,
    set: &SetRef,
    query: &ListQuery,
    plan: &Plan,
) -> Result<Option<u64>> {
    if let Some(range) = &plan.count {
        return Ok(Some(root.records.count(range).await?));
    }
    if query.filter.is_none() && query.text.is_none() {
        let count = root.records.counter(&keys::entity_count(&set.key)).await?;
        return Ok(Some(u64::try_from(count).unwrap_or(0)));
    }
    Ok(None)
}

/// Offers the candidates of a plan; `false` if the index cannot give their order.
async fn run(
    root: &Root,
    set: &SetRef,
    plan: &Plan,
    collector: &mut Collector<'_>,
) -> Result<bool> {
    match &plan.source {
        Source::Id(id) => {
            if let Some(entity) = load::find_by_id(root, set, id).await? {
                collector.offer(entity);
            }
            Ok(true)
        }
        Source::All => {
            scan_all(root, set, collector, |_| true).await?;
            Ok(true)
        }
        Source::Index {
            range,
            prefix,
            direction,
            nulls_follow,
        } => {
            if !scan_index(
                root,
                set,
                range,
                *prefix,
                *direction,
                plan.ordered,
                collector,
            )
            .await?
            {
                return Ok(false);
            }
            if *nulls_follow && !collector.is_full() {
                let property = collector
                    .query
                    .order
                    .terms()
                    .first()
                    .map(|t| t.property.clone());
                scan_all(root, set, collector, |entity| {
                    property
                        .as_ref()
                        .is_some_and(|p| entity.properties.value(&p.name).is_null())
                })
                .await?;
            }
            Ok(true)
        }
    }
}

async fn scan_all(
    root: &Root,
    set: &SetRef,
    collector: &mut Collector<'_>,
    wanted: impl Fn(&Entity) -> bool,
) -> Result<()> {
    let mut range = keys::entities(&set.key);
    let prefix = range.start.as_bytes().len();
    let mut step = collector.first_step();
    while !collector.is_full() {
        let found = root
            .records
            .list::<StoredEntity>(&range, Direction::Up, step)
            .await?;
        let Some((last, _)) = found.last() else { break };
        let is_last = found.len() < step;
        range = range.after(last);
        for (key, stored) in found {
            let Some(id) = keys::last_text(&key, prefix) else {
                continue;
            };
            let entity = load::complete(root, set, id, stored).await?;
            if wanted(&entity) && !collector.is_full() {
                collector.offer(entity);
            }
        }
        if is_last {
            break;
        }
        step = STEP;
    }
    Ok(())
}

async fn scan_index(
    root: &Root,
    set: &SetRef,
    range: &KeyRange,
    prefix: usize,
    direction: Direction,
    ordered: bool,
    collector: &mut Collector<'_>,
) -> Result<bool> {
    let mut range = range.clone();
    let mut step = collector.first_step();
    while !collector.is_full() {
        let found = root.records.list_keys(&range, direction, step).await?;
        let Some(last) = found.last() else { break };
        let is_last = found.len() < step;
        range = match direction {
            Direction::Up => range.after(last),
            Direction::Down => range.before(last),
        };
        let mut ids = Vec::with_capacity(found.len());
        for key in &found {
            let Some((id, is_long)) = index::id_of(key, prefix) else {
                continue;
            };
            if is_long && ordered && !collector.query.order.terms().is_empty() {
                return Ok(false);
            }
            ids.push(id);
        }
        for entity in fetch(root, set, &ids).await? {
            if !collector.is_full() {
                collector.offer(entity);
            }
        }
        if is_last {
            break;
        }
        step = STEP;
    }
    Ok(true)
}

/// The entities with these ids, in their order; those that are gone meanwhile are left out.
async fn fetch(root: &Root, set: &SetRef, ids: &[String]) -> Result<Vec<Entity>> {
    let wanted: Vec<Key> = ids.iter().map(|id| keys::entity(&set.key, id)).collect();
    let found = root.records.find_all::<StoredEntity>(&wanted).await?;
    let mut out = Vec::with_capacity(ids.len());
    for (id, stored) in ids.iter().zip(found) {
        if let Some(stored) = stored {
            out.push(load::complete(root, set, id.clone(), stored).await?);
        }
    }
    Ok(out)
}

/// A page of the entities that a source is linked to.
pub async fn navigate(
    root: &Root,
    association: &Association,
    source: &Entity,
    query: &ListQuery,
) -> Result<Page> {
    check_window(root, query)?;
    let plan = Plan {
        source: Source::All,
        ordered: query.order.terms().is_empty(),
        count: None,
    };
    let mut collector = Collector::new(query, &plan, true, None);
    let limit = usize::try_from(root.unit.settings().odata.top_max).unwrap_or(usize::MAX);
    let ids = linked_ids(root, association, source, limit).await?;
    for step in ids.chunks(STEP) {
        for entity in fetch(root, &association.there, step).await? {
            collector.offer(entity);
        }
    }
    let mut page = collector.finish();
    if query.count == InlineCount::None {
        page.count = None;
    }
    Ok(page)
}

/// The entities that `$expand` shows for an entity along each navigation property, newest first.
pub async fn expand(
    root: &Root,
    set: &SetRef,
    source: &Entity,
    navigations: &[String],
    max: usize,
) -> Result<Vec<(Association, Vec<Entity>)>> {
    let mut out = Vec::with_capacity(navigations.len());
    for name in navigations {
        let Some(association) = root.association(set, name) else {
            continue;
        };
        let mut found = Vec::new();
        let ids = linked_ids(root, &association, source, usize::MAX).await?;
        for step in ids.chunks(STEP) {
            found.extend(fetch(root, &association.there, step).await?);
            found.sort_by_key(|entity| std::cmp::Reverse(entity.stored.published));
            found.truncate(max);
        }
        out.push((association, found));
    }
    Ok(out)
}

/// Keeps what belongs on the page of all that is offered.
struct Collector<'q> {
    query: &'q ListQuery,
    visible: Option<&'q (dyn Fn(&Entity) -> bool + Sync)>,
    sorts: bool,
    counts: bool,
    matched: u64,
    kept: Vec<Entity>,
    skip: usize,
    top: usize,
}

impl<'q> Collector<'q> {
    fn new(
        query: &'q ListQuery,
        plan: &Plan,
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
            skip: query.page.skip as usize,
            top: query.page.top as usize,
        }
    }

    /// How many candidates to read first: just the page if nothing is left out of it.
    fn first_step(&self) -> usize {
        let page = self.skip.saturating_add(self.top);
        if self.sorts || self.counts || self.query.filter.is_some() && page > STEP {
            STEP
        } else {
            page.clamp(1, STEP)
        }
    }

    fn is_full(&self) -> bool {
        !self.sorts && !self.counts && self.kept.len() >= self.top
    }

    fn offer(&mut self, entity: Entity) {
        if !self.matches(&entity) {
            return;
        }
        self.matched += 1;
        if self.sorts {
            self.kept.push(entity);
            let window = self.skip + self.top;
            if self.kept.len() >= window.saturating_mul(2).max(4 * STEP) {
                self.sort();
                self.kept.truncate(window);
            }
        } else if self.matched > self.skip as u64 && self.kept.len() < self.top {
            self.kept.push(entity);
        }
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
                .text
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

    fn finish(mut self) -> Page {
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
