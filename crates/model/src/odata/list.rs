//! Lists of entities.

use personium_odata::query::{InlineCount, TypedListQuery};
use personium_store::{Direction, Key, Limit};
use personium_types::{Code, Result};

use super::association::{Association, Cardinality};
use super::index;
use super::link::LinkCursor;
use super::load::{self, Entity};
use super::page_collector::{PageCollector, size_bytes};
use super::plan::{CandidateSource, IndexScan, QueryPlan, plan};
use super::query_budget::QueryBudget;
use super::root::{ServiceRoot, SetRef};
use crate::entity::StoredEntity;
use crate::keys;

/// Candidates that are read at once.
pub(super) const SCAN_BATCH: usize = 256;

/// Bytes of candidates after which no more are read at once.
const SCAN_BATCH_BYTES: usize = 4 << 20;

/// Entities that are read at once by their ids: as many of the largest size may be in memory.
const FETCH_BATCH: usize = 32;

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
    root: &ServiceRoot,
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
    let mut pace = QueryBudget::for_query(root);
    let mut collector = PageCollector::new(root, query, &plan, count.is_none(), visible);
    let done = run(root, set, &plan, &mut collector, &mut pace).await?;
    if !done {
        // A long text stood in the way of the index order: read everything and sort.
        let all = QueryPlan {
            source: CandidateSource::All,
            ordered: false,
            count: None,
        };
        collector = PageCollector::new(root, query, &all, count.is_none(), visible);
        run(root, set, &all, &mut collector, &mut pace).await?;
    }
    let mut page = collector.finish();
    page.count = match query.count {
        InlineCount::AllPages => count.or(page.count),
        InlineCount::None => None,
    };
    Ok(page)
}

fn check_window(root: &ServiceRoot, query: &ListQuery) -> Result<()> {
    let window = u64::from(query.paging.skip) + u64::from(query.paging.top);
    if window > root.unit.settings().odata.result_window_max {
        Err(Code::QueryRefused.into())
    } else {
        Ok(())
    }
}

/// The number of matching entities where it is known without reading them.
async fn known_count(
    root: &ServiceRoot,
    set: &SetRef,
    query: &ListQuery,
    plan: &QueryPlan,
) -> Result<Option<u64>> {
    if let Some(range) = &plan.count {
        return Ok(Some(root.records.count(range).await?));
    }
    if query.filter.is_none() && query.full_text.is_none() {
        let count = root.records.counter(&keys::entity_count(&set.key)).await?;
        return Ok(Some(u64::try_from(count).unwrap_or(0)));
    }
    Ok(None)
}

/// Offers the candidates of a plan; `false` if the index cannot give their order.
async fn run(
    root: &ServiceRoot,
    set: &SetRef,
    plan: &QueryPlan,
    collector: &mut PageCollector<'_>,
    pace: &mut QueryBudget,
) -> Result<bool> {
    match &plan.source {
        CandidateSource::Id(id) => {
            if let Some(entity) = load::find_by_id(root, set, id).await? {
                collector.push(entity)?;
            }
            Ok(true)
        }
        CandidateSource::All => {
            scan_all(root, set, collector, pace, |_| true).await?;
            Ok(true)
        }
        CandidateSource::Index(scan) => {
            if !scan_index(root, set, scan, plan.ordered, collector, pace).await? {
                return Ok(false);
            }
            if scan.nulls_follow && !collector.is_full() {
                let property = collector
                    .query
                    .order
                    .terms()
                    .first()
                    .map(|t| t.property.clone());
                scan_all(root, set, collector, pace, |entity| {
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
    root: &ServiceRoot,
    set: &SetRef,
    collector: &mut PageCollector<'_>,
    pace: &mut QueryBudget,
    wanted: impl Fn(&Entity) -> bool,
) -> Result<()> {
    let mut range = keys::entities(&set.key);
    let prefix = range.start.as_bytes().len();
    let mut step = collector.first_step();
    while !collector.is_full() {
        let limit = Limit::records(step).or_bytes(SCAN_BATCH_BYTES);
        let (found, is_cut) = root
            .records
            .list_within::<StoredEntity>(&range, Direction::Up, limit)
            .await?;
        let Some((last, _)) = found.last() else { break };
        range = range.after(last);
        for (key, stored) in found {
            pace.tick().await?;
            let Some(id) = keys::last_text(&key, prefix) else {
                continue;
            };
            let entity = load::complete(root, set, id, stored).await?;
            if wanted(&entity) && !collector.is_full() {
                collector.push(entity)?;
            }
        }
        if !is_cut {
            break;
        }
        step = SCAN_BATCH;
    }
    Ok(())
}

async fn scan_index(
    root: &ServiceRoot,
    set: &SetRef,
    scan: &IndexScan,
    ordered: bool,
    collector: &mut PageCollector<'_>,
    pace: &mut QueryBudget,
) -> Result<bool> {
    let mut range = scan.range.clone();
    let mut step = collector.first_step();
    while !collector.is_full() {
        let found = root.records.list_keys(&range, scan.direction, step).await?;
        let Some(last) = found.last() else { break };
        let is_last = found.len() < step;
        range = match scan.direction {
            Direction::Up => range.after(last),
            Direction::Down => range.before(last),
        };
        let mut ids = Vec::with_capacity(found.len());
        for key in &found {
            let Some((id, is_long)) = index::id_of(key, scan.prefix) else {
                continue;
            };
            if is_long && ordered && !collector.query.order.terms().is_empty() {
                return Ok(false);
            }
            ids.push(id);
        }
        for some in ids.chunks(FETCH_BATCH) {
            if collector.is_full() {
                break;
            }
            for entity in fetch(root, set, some).await? {
                pace.tick().await?;
                if !collector.is_full() {
                    collector.push(entity)?;
                }
            }
        }
        if is_last {
            break;
        }
        step = SCAN_BATCH;
    }
    Ok(true)
}

/// The entities with these ids, in their order; those that are gone meanwhile are left out.
async fn fetch(root: &ServiceRoot, set: &SetRef, ids: &[String]) -> Result<Vec<Entity>> {
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
    root: &ServiceRoot,
    association: &Association,
    source: &Entity,
    query: &ListQuery,
) -> Result<Page> {
    check_window(root, query)?;
    let plan = QueryPlan {
        source: CandidateSource::All,
        ordered: query.order.terms().is_empty(),
        count: None,
    };
    let mut collector = PageCollector::new(root, query, &plan, true, None);
    let mut pace = QueryBudget::for_query(root);
    let mut left = match association.source_cardinality {
        // Of links where both sides may have many, only the first are looked at.
        Cardinality::Many => root.unit.settings().odata.top_max as usize,
        Cardinality::One => usize::MAX,
    };
    let mut linked = LinkCursor::of(association, source);
    while !collector.is_full() {
        let ids = linked.next(root, left.min(FETCH_BATCH)).await?;
        if ids.is_empty() {
            break;
        }
        left -= ids.len();
        for entity in fetch(root, &association.target_set, &ids).await? {
            pace.tick().await?;
            collector.push(entity)?;
        }
    }
    let mut page = collector.finish();
    if query.count == InlineCount::None {
        page.count = None;
    }
    Ok(page)
}

/// The entities that `$expand` shows for an entity along each navigation property, newest first.
///
/// # Errors
/// 400 if those of one property are too large for an answer, or take too long.
pub async fn expand(
    root: &ServiceRoot,
    set: &SetRef,
    source: &Entity,
    navigations: &[String],
    max: usize,
) -> Result<Vec<(Association, Vec<Entity>)>> {
    let mut out = Vec::with_capacity(navigations.len());
    let mut pace = QueryBudget::for_query(root);
    let bytes_max = root.unit.settings().odata.response_max_bytes;
    for name in navigations {
        let Some(association) = root.association(set, name) else {
            continue;
        };
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut linked = LinkCursor::of(&association, source);
        loop {
            let ids = linked.next(root, FETCH_BATCH).await?;
            if ids.is_empty() {
                break;
            }
            pace.tick().await?;
            let entities = fetch(root, &association.target_set, &ids).await?;
            bytes += size_bytes(&entities);
            found.extend(entities);
            if bytes > bytes_max || found.len() >= max.saturating_add(SCAN_BATCH) {
                keep_newest(&mut found, max);
                bytes = size_bytes(&found);
            }
            if bytes > bytes_max {
                return Err(Code::QueryRefused.into());
            }
        }
        keep_newest(&mut found, max);
        out.push((association, found));
    }
    Ok(out)
}

fn keep_newest(entities: &mut Vec<Entity>, max: usize) {
    entities.sort_by_key(|entity| std::cmp::Reverse(entity.stored.published));
    entities.truncate(max);
}
