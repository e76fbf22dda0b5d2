//! Value ranges that every entity matching a filter is in.

use std::cmp::Ordering;
use std::ops::Bound;

use super::{CompareOp, Condition, PropertyRef, compare_values};
use crate::value::Value;

/// A value range of one property that every matching entity is in.
#[derive(Clone, Debug, PartialEq)]
pub struct PropertyRange {
    /// The property.
    pub property: PropertyRef,
    /// The range of its value; for a list, of one of its elements.
    pub range: ValueRange,
}

/// Consecutive values in the order of [`compare_values`].
#[derive(Clone, Debug, PartialEq)]
pub enum ValueRange {
    /// Null, absent or an empty list.
    Null,
    /// One value.
    Equal(Value),
    /// The values between two bounds. Null is not in the range, also if there is no bound.
    Between(Bound<Value>, Bound<Value>),
    /// The strings that start with this prefix.
    Prefix(String),
}

pub(super) fn necessary_ranges(condition: &Condition) -> Vec<PropertyRange> {
    let mut found = Vec::new();
    collect(condition, &mut found);
    found
}

fn collect(condition: &Condition, found: &mut Vec<PropertyRange>) {
    let (property, range) = match condition {
        Condition::All(conditions) => {
            conditions.iter().for_each(|each| collect(each, found));
            return;
        }
        Condition::Any(_) => return,
        Condition::HasPhrase(property, _) => (
            property,
            ValueRange::Between(Bound::Unbounded, Bound::Unbounded),
        ),
        Condition::IsNull(property) => (property, ValueRange::Null),
        Condition::IsNotNull(property) => (
            property,
            ValueRange::Between(Bound::Unbounded, Bound::Unbounded),
        ),
        Condition::StartsWith(property, prefix) => (property, ValueRange::Prefix(prefix.clone())),
        Condition::Compare(_, CompareOp::Ne, _) => return,
        Condition::Compare(property, op, value) => (property, range_of(*op, value.clone())),
    };
    let is_joined = !property.is_list
        && found
            .iter_mut()
            .filter(|known| known.property == *property)
            .any(|known| intersect(&mut known.range, &range));
    if !is_joined {
        found.push(PropertyRange {
            property: property.clone(),
            range,
        });
    }
}

fn range_of(op: CompareOp, value: Value) -> ValueRange {
    match op {
        CompareOp::Eq | CompareOp::Ne => ValueRange::Equal(value),
        CompareOp::Gt => ValueRange::Between(Bound::Excluded(value), Bound::Unbounded),
        CompareOp::Ge => ValueRange::Between(Bound::Included(value), Bound::Unbounded),
        CompareOp::Lt => ValueRange::Between(Bound::Unbounded, Bound::Excluded(value)),
        CompareOp::Le => ValueRange::Between(Bound::Unbounded, Bound::Included(value)),
    }
}

/// Narrows a range to the part that is in another, if both have bounds; returns false otherwise.
fn intersect(range: &mut ValueRange, other: &ValueRange) -> bool {
    let (ValueRange::Between(low, high), ValueRange::Between(other_low, other_high)) =
        (range, other)
    else {
        return false;
    };
    narrow(low, other_low, Ordering::Greater);
    narrow(high, other_high, Ordering::Less);
    true
}

/// Replaces a bound by another that is stricter.
fn narrow(bound: &mut Bound<Value>, other: &Bound<Value>, stricter: Ordering) {
    let (Bound::Included(value) | Bound::Excluded(value)) = other else {
        return;
    };
    let replace = match &*bound {
        Bound::Unbounded => true,
        Bound::Included(known) | Bound::Excluded(known) => match compare_values(value, known) {
            Some(Ordering::Equal) => matches!(other, Bound::Excluded(_)),
            order => order == Some(stricter),
        },
    };
    if replace {
        *bound = other.clone();
    }
}
