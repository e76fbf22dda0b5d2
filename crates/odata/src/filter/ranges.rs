//! Necessary conditions of a filter.

use std::cmp::Ordering;
use std::ops::Bound;

use super::{CompareOp, Condition, PropertyRef, compare_values};
use crate::value::Value;

/// A condition on one property that every matching entity fulfils.
#[derive(Clone, Debug, PartialEq)]
pub struct PropertyRange {
    /// The property.
    pub property: PropertyRef,
    /// What its value (for a list: one of its elements) has to be.
    pub range: ValueRange,
}

/// A set of values next to each other in the order of [`compare_values`].
#[derive(Clone, Debug, PartialEq)]
pub enum ValueRange {
    /// Null, absent or an empty list.
    Null,
    /// One value.
    Equal(Value),
    /// Values between two bounds, not null. Both unbounded means any value.
    Between(Bound<Value>, Bound<Value>),
    /// Strings that start so.
    Prefix(String),
}

pub(super) fn necessary_ranges(test: &Condition) -> Vec<PropertyRange> {
    let mut found = Vec::new();
    collect(test, &mut found);
    found
}

fn collect(test: &Condition, found: &mut Vec<PropertyRange>) {
    let (property, range) = match test {
        Condition::All(tests) => {
            tests.iter().for_each(|test| collect(test, found));
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
    let joined = !property.is_list
        && found
            .iter_mut()
            .filter(|term| term.property == *property)
            .any(|term| join(&mut term.range, &range));
    if !joined {
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

/// Narrows a range by another where both have bounds.
fn join(range: &mut ValueRange, other: &ValueRange) -> bool {
    let (ValueRange::Between(low, high), ValueRange::Between(other_low, other_high)) =
        (range, other)
    else {
        return false;
    };
    narrow(low, other_low, Ordering::Greater);
    narrow(high, other_high, Ordering::Less);
    true
}

fn narrow(bound: &mut Bound<Value>, other: &Bound<Value>, stricter: Ordering) {
    let (Bound::Included(value) | Bound::Excluded(value)) = other else {
        return;
    };
    let replace = match &*bound {
        Bound::Unbounded => true,
        Bound::Included(own) | Bound::Excluded(own) => match compare_values(value, own) {
            Some(Ordering::Equal) => matches!(other, Bound::Excluded(_)),
            order => order == Some(stricter),
        },
    };
    if replace {
        *bound = other.clone();
    }
}
