//! Which records answer a list query.

use std::ops::Bound;

use personium_odata::edm::{ID, UPDATED};
use personium_odata::filter::{CompareOp, Condition, PropertyRange, ValueRange};
use personium_odata::order;
use personium_odata::query::TypedListQuery;
use personium_odata::value::Value;
use personium_store::{Direction, Key, KeyRange};

use super::index;
use super::root::SetRef;
use crate::keys;

/// Where the candidates of a list come from. All of them are checked with the filter afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CandidateSource {
    /// Every entity of the set, by id.
    All,
    /// The one entity with this id.
    Id(String),
    /// An index range.
    Index(IndexScan),
}

/// A part of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexScan {
    /// The keys.
    pub range: KeyRange,
    /// The length of the keys before the class of the value.
    pub prefix: usize,
    /// The order of the scan.
    pub direction: Direction,
    /// Whether the range holds every entity, except those whose value is null and which come last.
    pub nulls_follow: bool,
}

/// How a list is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueryPlan {
    /// Where the candidates come from.
    pub source: CandidateSource,
    /// Whether the candidates come in the order that is asked for.
    pub ordered: bool,
    /// A range whose size is the number of matching entities.
    pub count: Option<KeyRange>,
}

/// Chooses the cheapest source.
///
/// One value of an indexed property with the order of change, or no order, is a single range; so is any order by
/// one indexed property, and any range of one without order. Everything else reads more and sorts.
pub(super) fn plan(set: &SetRef, query: &TypedListQuery) -> QueryPlan {
    let terms = query
        .filter
        .as_ref()
        .map(|f| f.necessary_ranges())
        .unwrap_or_default();
    let order = query.order.terms();
    if let Some(id) = terms
        .iter()
        .find_map(equal_id)
        .filter(|_| set.type_id.is_some())
    {
        return QueryPlan {
            source: CandidateSource::Id(id),
            ordered: true,
            count: None,
        };
    }
    let equal = terms.iter().find_map(|term| equal_range(set, term));
    if let Some((range, prefix)) = equal {
        let by_change = match order {
            [] => Some(Direction::Up),
            [only] if &*only.property.name == UPDATED => Some(direction(only.direction)),
            _ => None,
        };
        let exact = query
            .filter
            .as_ref()
            .is_some_and(|f| matches!(f.condition(), Condition::Compare(_, CompareOp::Eq, _)));
        return QueryPlan {
            count: (exact && query.full_text.is_none() && !is_long_equal(&terms))
                .then(|| range.clone()),
            ordered: by_change.is_some(),
            source: CandidateSource::Index(IndexScan {
                range,
                prefix,
                direction: by_change.unwrap_or(Direction::Up),
                nulls_follow: false,
            }),
        };
    }
    if let [only] = order
        && let Some(prefix) = index_prefix(set, &only.property.name)
    {
        let source = CandidateSource::Index(IndexScan {
            range: KeyRange::prefix(&prefix),
            prefix: prefix.as_bytes().len(),
            direction: direction(only.direction),
            nulls_follow: true,
        });
        return QueryPlan {
            source,
            ordered: true,
            count: None,
        };
    }
    match terms.iter().find_map(|term| open_range(set, term)) {
        Some((range, prefix)) => QueryPlan {
            source: CandidateSource::Index(IndexScan {
                range,
                prefix,
                direction: Direction::Up,
                nulls_follow: false,
            }),
            ordered: order.is_empty(),
            count: None,
        },
        None => QueryPlan {
            source: CandidateSource::All,
            ordered: order.is_empty(),
            count: None,
        },
    }
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

fn is_long_equal(terms: &[PropertyRange]) -> bool {
    terms.iter().any(
        |t| matches!(&t.range, ValueRange::Equal(Value::String(text)) if index::is_shortened(text)),
    )
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
            // Bounds are taken inclusively: the filter decides about the edges.
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
