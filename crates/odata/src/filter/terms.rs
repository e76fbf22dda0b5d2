//! Necessary conditions of a filter.

use std::cmp::Ordering;
use std::ops::Bound;

use super::{Op, PropertyRef, Test, compare_values};
use crate::value::Value;

/// A condition on one property that every matching entity fulfils.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// The property.
    pub property: PropertyRef,
    /// What its value (for a list: one of its elements) has to be.
    pub range: Range,
}

/// A set of values next to each other in the order of [`compare_values`].
#[derive(Clone, Debug, PartialEq)]
pub enum Range {
    /// Null, absent or an empty list.
    Null,
    /// One value.
    Equal(Value),
    /// Values between two bounds, not null. Both unbounded means any value.
    Between(Bound<Value>, Bound<Value>),
    /// Strings that start so.
    Prefix(String),
}

pub(super) fn terms(test: &Test) -> Vec<Term> {
    let mut found = Vec::new();
    collect(test, &mut found);
    found
}

fn collect(test: &Test, found: &mut Vec<Term>) {
    let (property, range) = match test {
        Test::All(tests) => {
            tests.iter().for_each(|test| collect(test, found));
            return;
        }
        Test::Any(_) => return,
        Test::HasPhrase(property, _) => {
            (property, Range::Between(Bound::Unbounded, Bound::Unbounded))
        }
        Test::IsNull(property) => (property, Range::Null),
        Test::IsNotNull(property) => (property, Range::Between(Bound::Unbounded, Bound::Unbounded)),
        Test::StartsWith(property, prefix) => (property, Range::Prefix(prefix.clone())),
        Test::Compare(_, Op::Ne, _) => return,
        Test::Compare(property, op, value) => (property, range_of(*op, value.clone())),
    };
    let joined = !property.list
        && found
            .iter_mut()
            .filter(|term| term.property == *property)
            .any(|term| join(&mut term.range, &range));
    if !joined {
        found.push(Term {
            property: property.clone(),
            range,
        });
    }
}

fn range_of(op: Op, value: Value) -> Range {
    match op {
        Op::Eq | Op::Ne => Range::Equal(value),
        Op::Gt => Range::Between(Bound::Excluded(value), Bound::Unbounded),
        Op::Ge => Range::Between(Bound::Included(value), Bound::Unbounded),
        Op::Lt => Range::Between(Bound::Unbounded, Bound::Excluded(value)),
        Op::Le => Range::Between(Bound::Unbounded, Bound::Included(value)),
    }
}

/// Narrows a range by another where both have bounds.
fn join(range: &mut Range, other: &Range) -> bool {
    let (Range::Between(low, high), Range::Between(other_low, other_high)) = (range, other) else {
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
