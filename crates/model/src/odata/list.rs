//! Lists of entities.

use personium_odata::query::{InlineCount, TypedListQuery};
use personium_odata::skip_token::SkipToken;
use personium_store::{Direction, Limit};
use personium_types::{Code, Result};

use super::association::{Association, Cardinality};
use super::fetch::{FETCH_BATCH, fetch};
use super::index;
use super::link_cursor::LinkCursor;
use super::load::{self, Entity};
use super::page::Page;
use super::page_collector::{PageCollector, SCAN_BATCH};
use super::plan::{CandidateSource, IndexScan, QueryPlan, plan};
use super::query_budget::QueryBudget;
use super::root::{ServiceRoot, SetRef};
use crate::answer_memory::AnswerReservation;
use crate::entity::StoredEntity;
use crate::keys;

/// The size of candidates after which a scan reads no more at once.
const SCAN_BATCH_BYTES: usize = 1 << 20;

/// As [`SCAN_BATCH_BYTES`], for the first candidates, before any memory is reserved.
const FIRST_BATCH_BYTES: usize = 256 << 10;

/// Returns a page of the entities of a set that match the query. `visible` hides entities from the client; they are
/// not counted. `memory` holds the entities.
///
/// # Errors
/// [`Code::QueryRefused`] if the page lies beyond the window, is too large, or takes too long; as
/// [`AnswerReservation::hold`]; failures of the store.
pub async fn list(
    root: &ServiceRoot,
    set: &SetRef,
    query: &TypedListQuery,
    visible: Option<&(dyn Fn(&Entity) -> bool + Sync)>,
    memory: &mut AnswerReservation,
) -> Result<Page> {
    check_window(root, query)?;
    let resolved = with_values(root, set, query).await?;
    let query = resolved.as_ref().unwrap_or(query);
    let mut plan = plan(set, query);
    if query.is_page() && matches!(plan.source, CandidateSource::Index(_)) {
        // Pages need one order of entities with equal values, that of their ids. An index has another.
        plan.ordered = false;
    }
    let mut count = None;
    if query.count == InlineCount::AllPages && visible.is_none() {
        count = known_count(root, set, query, &plan).await?;
    }
    let mut run = ListRun {
        root,
        set,
        collector: PageCollector::new(root, query, &plan, count, visible),
        budget: QueryBudget::for_query(root),
        memory,
    };
    if !run.execute(&plan).await? {
        let all = QueryPlan {
            source: CandidateSource::All,
            ordered: false,
            count: None,
        };
        run.memory.free(run.collector.memory_bytes());
        run.collector = PageCollector::new(root, query, &all, count, visible);
        run.execute(&all).await?;
    }
    Ok(run.collector.finish())
}

/// The query with the values of the position where the list begins, if its token does not have them: those of the entity.
async fn with_values(
    root: &ServiceRoot,
    set: &SetRef,
    query: &TypedListQuery,
) -> Result<Option<TypedListQuery>> {
    let Some(token) = query.after.as_ref().filter(|token| token.values.is_none()) else {
        return Ok(None);
    };
    let found = load::find_by_id(root, set, &token.id).await?;
    let found = found.ok_or(Code::QueryRefused)?;
    let terms = query.order.terms().iter();
    let values = terms.map(|term| found.properties.value(&term.property.name).clone());
    let mut query = query.clone();
    query.after = Some(SkipToken {
        id: token.id.clone(),
        values: Some(values.collect()),
    });
    Ok(Some(query))
}

fn check_window(root: &ServiceRoot, query: &TypedListQuery) -> Result<()> {
    let window = u64::from(query.paging.skip) + u64::from(query.paging.top);
    if window > root.unit.settings().odata.result_window_max {
        Err(Code::QueryRefused.into())
    } else {
        Ok(())
    }
}

/// The number of matching entities, if it is known without reading them.
async fn known_count(
    root: &ServiceRoot,
    set: &SetRef,
    query: &TypedListQuery,
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

/// The execution of a list query.
struct ListRun<'a> {
    root: &'a ServiceRoot,
    set: &'a SetRef,
    collector: PageCollector<'a>,
    budget: QueryBudget,
    memory: &'a mut AnswerReservation,
}

impl ListRun<'_> {
    /// Passes the candidates of a plan to the collector. Returns `false` if the index does not give their order, because
    /// it contains a text that was shortened: then the caller reads everything and sorts.
    async fn execute(&mut self, plan: &QueryPlan) -> Result<bool> {
        match &plan.source {
            CandidateSource::Id(id) => {
                if let Some(entity) = load::find_by_id(self.root, self.set, id).await? {
                    self.memory.hold(entity.memory_bytes())?;
                    self.collector.push(entity)?;
                }
            }
            CandidateSource::All => self.scan_all(|_| true).await?,
            CandidateSource::Index(scan) => {
                if !self.scan_index(plan, scan).await? {
                    return Ok(false);
                }
                if scan.nulls_follow && !self.collector.is_full() {
                    self.scan_nulls().await?;
                }
            }
        }
        Ok(true)
    }

    /// Reads the entities without a value of the property by which the list is ordered.
    async fn scan_nulls(&mut self) -> Result<()> {
        let order = self.collector.query.order.terms();
        let Some(property) = order.first().map(|term| term.property.clone()) else {
            return Ok(());
        };
        self.scan_all(|entity| entity.properties.value(&property.name).is_null())
            .await
    }

    async fn scan_all(&mut self, is_candidate: impl Fn(&Entity) -> bool) -> Result<()> {
        let mut range = keys::entities(&self.set.key);
        let prefix = range.start.as_bytes().len();
        if let Some(start) = self.collector.start_id() {
            range = range.after(&keys::entity(&self.set.key, start));
        }
        let mut limit = Limit::records(self.collector.first_batch()).or_bytes(FIRST_BATCH_BYTES);
        let mut ahead = 0;
        while !self.collector.is_full() {
            let (found, is_cut) = self
                .root
                .records
                .list_within::<StoredEntity>(&range, Direction::Up, limit)
                .await?;
            let Some((last, _)) = found.last() else { break };
            range = range.after(last);
            let read = found.iter().map(|(_, e)| e.value.memory_bytes()).sum();
            self.memory.free(ahead);
            self.memory.hold(read)?;
            let before = self.collector.memory_bytes() + read;
            for (key, stored) in found {
                self.budget.tick().await?;
                let Some(id) = keys::last_text(&key, prefix) else {
                    continue;
                };
                let entity = load::complete(self.root, self.set, id, stored).await?;
                if is_candidate(&entity) && !self.collector.is_full() {
                    self.collector.push(entity)?;
                }
            }
            self.memory.correct(before, self.collector.memory_bytes());
            if !is_cut {
                break;
            }
            limit = Limit::records(SCAN_BATCH).or_bytes(SCAN_BATCH_BYTES);
            ahead = SCAN_BATCH_BYTES;
            self.memory.hold(ahead)?;
        }
        Ok(())
    }

    /// As [`Self::execute`], for an index range.
    async fn scan_index(&mut self, plan: &QueryPlan, scan: &IndexScan) -> Result<bool> {
        let needs_order = plan.ordered && !self.collector.query.order.terms().is_empty();
        let mut range = scan.range.clone();
        let mut batch = self.collector.first_batch();
        while !self.collector.is_full() {
            let found = self
                .root
                .records
                .list_keys(&range, scan.direction, batch)
                .await?;
            let Some(last) = found.last() else { break };
            let is_last = found.len() < batch;
            range = match scan.direction {
                Direction::Up => range.after(last),
                Direction::Down => range.before(last),
            };
            let mut ids = Vec::with_capacity(found.len());
            for key in &found {
                let Some((id, is_shortened)) = index::id_of(key, scan.prefix) else {
                    continue;
                };
                if is_shortened && needs_order {
                    return Ok(false);
                }
                ids.push(id);
            }
            self.push_by_id(&ids).await?;
            if is_last {
                break;
            }
            batch = SCAN_BATCH;
        }
        Ok(true)
    }

    /// Reads candidates by their ids, until the page is full.
    async fn push_by_id(&mut self, ids: &[String]) -> Result<()> {
        let mut rest = ids;
        let mut batch = FETCH_BATCH;
        while !rest.is_empty() && !self.collector.is_full() {
            let (now, later) = rest.split_at(batch.min(rest.len()));
            rest = later;
            let found = fetch(self.root, self.set, now, self.memory).await?;
            let before = self.collector.memory_bytes() + found.memory_bytes;
            batch = found.next_batch();
            for entity in found.entities {
                self.budget.tick().await?;
                if !self.collector.is_full() {
                    self.collector.push(entity)?;
                }
            }
            self.memory.correct(before, self.collector.memory_bytes());
        }
        Ok(())
    }
}

/// Returns a page of the entities that a source entity is linked to. `memory` holds them.
///
/// # Errors
/// As [`list`].
pub async fn navigate(
    root: &ServiceRoot,
    association: &Association,
    source: &Entity,
    query: &TypedListQuery,
    memory: &mut AnswerReservation,
) -> Result<Page> {
    check_window(root, query)?;
    let resolved = with_values(root, &association.target.set, query).await?;
    let query = resolved.as_ref().unwrap_or(query);
    let plan = QueryPlan {
        source: CandidateSource::All,
        ordered: query.order.terms().is_empty(),
        count: None,
    };
    let mut collector = PageCollector::new(root, query, &plan, None, None);
    let mut budget = QueryBudget::for_query(root);
    let mut remaining = match association.source.cardinality {
        // Of many-to-many links only the first are read.
        Cardinality::Many => root.unit.settings().odata.top_max as usize,
        Cardinality::One => usize::MAX,
    };
    let mut cursor = LinkCursor::new(association, source);
    let mut batch = FETCH_BATCH;
    while !collector.is_full() {
        let ids = cursor.next(root, remaining.min(batch)).await?;
        if ids.is_empty() {
            break;
        }
        remaining -= ids.len();
        let found = fetch(root, &association.target.set, &ids, memory).await?;
        let before = collector.memory_bytes() + found.memory_bytes;
        batch = found.next_batch();
        for entity in found.entities {
            budget.tick().await?;
            collector.push(entity)?;
        }
        memory.correct(before, collector.memory_bytes());
    }
    Ok(collector.finish())
}
