//! Query plans: which records answer a list query.

use std::ops::Bound;

use personium_odata::edm::{ID, SimpleType, UPDATED};
use personium_odata::filter::{CompareOp, Condition, PropertyRange, ValueRange};
use personium_odata::order;
use personium_odata::query::TypedListQuery;
use personium_odata::value::Value;
use personium_store::{Direction, Key, KeyRange};

use super::index;
use super::root::SetRef;
use crate::keys;

/// The source of the candidates of a list. All candidates are checked with the filter afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CandidateSource {
    /// Every entity of the set, by id.
    All,
    /// The one entity with this id.
    Id(String),
    /// An index range.
    Index(IndexScan),
}

/// A scan of a range of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexScan {
    /// The range of keys.
    pub range: KeyRange,
    /// The length of the part of the keys before the class of the value, in bytes.
    pub prefix: usize,
    /// The order of the scan.
    pub direction: Direction,
    /// Whether the range holds every entity, except those whose value is null and which come last.
    pub nulls_follow: bool,
}

/// The plan of a list query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueryPlan {
    /// The source of the candidates.
    pub source: CandidateSource,
    /// Whether the source returns the candidates in the order of the query.
    pub ordered: bool,
    /// A range with as many keys as there are matching entities, if there is one.
    pub count: Option<KeyRange>,
}

impl QueryPlan {
    /// The plan of an index scan that returns the candidates in the order of the query.
    fn ordered_scan(scan: IndexScan) -> Self {
        Self {
            source: CandidateSource::Index(scan),
            ordered: true,
            count: None,
        }
    }
}

/// Chooses the cheapest source.
///
/// A single index range answers a query for one value of an indexed property that is ordered by time of change or not
/// at all, a query that is ordered by one indexed property, and a query for a range of an indexed property without
/// order. Any other query reads more candidates and sorts them.
pub(super) fn plan(set: &SetRef, query: &TypedListQuery) -> QueryPlan {
    let terms = query
        .filter
        .as_ref()
        .map(|f| f.necessary_ranges())
        .unwrap_or_default();
    let order = query.order.terms();
    let id = terms.iter().find_map(equal_id);
    if let Some(id) = id.filter(|_| set.type_id.is_some()) {
        return QueryPlan {
            source: CandidateSource::Id(id),
            ordered: true,
            count: None,
        };
    }
    if let Some(plan) = plan_equal(set, query, &terms) {
        return plan;
    }
    if let [only] = order
        && let Some(prefix) = index_prefix(set, &only.property.name)
    {
        let scan = IndexScan {
            range: KeyRange::prefix(&prefix),
            prefix: prefix.as_bytes().len(),
            direction: direction(only.direction),
            nulls_follow: true,
        };
        return QueryPlan::ordered_scan(scan);
    }
    match terms.iter().find_map(|term| open_range(set, term)) {
        Some((range, prefix)) => {
            let scan = IndexScan {
                range,
                prefix,
                direction: Direction::Up,
                nulls_follow: false,
            };
            QueryPlan {
                ordered: order.is_empty(),
                ..QueryPlan::ordered_scan(scan)
            }
        }
        None => QueryPlan {
            source: CandidateSource::All,
            ordered: order.is_empty(),
            count: None,
        },
    }
}

/// The plan for one value of an indexed property; `None` if the filter does not require one.
fn plan_equal(set: &SetRef, query: &TypedListQuery, terms: &[PropertyRange]) -> Option<QueryPlan> {
    let (range, prefix) = terms.iter().find_map(|term| equal_range(set, term))?;
    let by_change = match query.order.terms() {
        [] => Some(Direction::Up),
        [only] if &*only.property.name == UPDATED => Some(direction(only.direction)),
        _ => None,
    };
    let is_exact = query.full_text.is_none()
        && !compares_part_of_value(terms)
        && query
            .filter
            .as_ref()
            .is_some_and(|f| matches!(f.condition(), Condition::Compare(_, CompareOp::Eq, _)));
    let count = is_exact.then(|| range.clone());
    let scan = IndexScan {
        range,
        prefix,
        direction: by_change.unwrap_or(Direction::Up),
        nulls_follow: false,
    };
    Some(QueryPlan {
        count,
        ordered: by_change.is_some(),
        ..QueryPlan::ordered_scan(scan)
    })
}

fn direction(direction: order::SortDirection) -> Direction {
    match direction {
        order::SortDirection::Ascending => Direction::Up,
        order::SortDirection::Descending => Direction::Down,
    }
}

fn equal_id(term: &PropertyRange) -> Option<String> {
    match &term.range {
        ValueRange::Equal(Value::String(id)) if &*term.property.name == ID => Some(id.clone()),
        _ => None,
    }
}

/// Whether entities with other values may have the same index keys: those of shortened texts and of rounded numbers.
fn compares_part_of_value(terms: &[PropertyRange]) -> bool {
    terms.iter().any(|term| match &term.range {
        ValueRange::Equal(Value::String(text)) => index::is_shortened(text),
        ValueRange::Equal(Value::Decimal(_)) => true,
        ValueRange::Equal(_) => {
            matches!(
                term.property.simple,
                SimpleType::Double | SimpleType::Single
            )
        }
        _ => false,
    })
}

fn index_prefix(set: &SetRef, name: &str) -> Option<Key> {
    let property = set
        .entity_type
        .properties
        .get(name)
        .filter(|p| index::is_indexed(set, p))?;
    Some(keys::index(&set.key, property.stored_name()).build())
}

fn equal_range(set: &SetRef, term: &PropertyRange) -> Option<(KeyRange, usize)> {
    let ValueRange::Equal(value) = &term.range else {
        return None;
    };
    let prefix = index_prefix(set, &term.property.name)?.as_bytes().len();
    let property = set.entity_type.properties.get(&term.property.name)?;
    let key = index::with_value(keys::index(&set.key, property.stored_name()), value)?.build();
    Some((KeyRange::prefix(&key), prefix))
}

fn open_range(set: &SetRef, term: &PropertyRange) -> Option<(KeyRange, usize)> {
    let all = index_prefix(set, &term.property.name)?;
    let prefix = all.as_bytes().len();
    let property = set.entity_type.properties.get(&term.property.name)?;
    let start = || keys::index(&set.key, property.stored_name());
    let whole = KeyRange::prefix(&all);
    let range = match &term.range {
        ValueRange::Prefix(text) => {
            KeyRange::prefix(&index::with_text_prefix(start(), text).build())
        }
        ValueRange::Between(low, high) => {
            // Bounds are inclusive here: the filter decides about equal values.
            let low = match low {
                Bound::Included(v) | Bound::Excluded(v) => index::with_value(start(), v)?.build(),
                Bound::Unbounded => whole.start,
            };
            let high = match high {
                Bound::Included(v) | Bound::Excluded(v) => index::up_to(start(), v)?.after_prefix(),
                Bound::Unbounded => whole.end,
            };
            KeyRange {
                start: low,
                end: high,
            }
        }
        ValueRange::Null | ValueRange::Equal(_) => return None,
    };
    Some((range, prefix))
}
