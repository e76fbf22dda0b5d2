//! Evaluation of a filter on an entity.

use std::cmp::Ordering;

use super::{CompareOp, Condition, MAX_COMPARED_CHARS, PropertyRef};
use crate::full_text::Phrase;
use crate::value::Value;

pub(super) fn matches<'v>(condition: &Condition, get: &dyn Fn(&PropertyRef) -> &'v Value) -> bool {
    match condition {
        Condition::All(conditions) => conditions.iter().all(|each| matches(each, get)),
        Condition::Any(conditions) => conditions.iter().any(|each| matches(each, get)),
        Condition::Compare(property, op, expected) => compares(get(property), *op, expected),
        Condition::IsNull(property) => is_null_or_empty(get(property)),
        Condition::IsNotNull(property) => !is_null_or_empty(get(property)),
        Condition::StartsWith(property, prefix) => any_item(get(property), |item| {
            item.as_str().is_some_and(|text| text.starts_with(prefix))
        }),
        Condition::HasPhrase(property, phrase) => {
            any_item(get(property), |item| has_phrase(item, phrase))
        }
    }
}

fn has_phrase(item: &Value, phrase: &Phrase) -> bool {
    item.as_str().is_some_and(|text| phrase.is_in(text))
}

fn is_null_or_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::List(items) => items.is_empty(),
        _ => false,
    }
}

/// Returns true if `holds` is true for the value, or for an element if the value is a list.
fn any_item(value: &Value, holds: impl Fn(&Value) -> bool) -> bool {
    match value {
        Value::List(items) => items.iter().any(holds),
        single => holds(single),
    }
}

fn compares(value: &Value, op: CompareOp, expected: &Value) -> bool {
    let holds = |accepts: fn(Ordering) -> bool| {
        any_item(value, |item| {
            compare_values(item, expected).is_some_and(accepts)
        })
    };
    match op {
        CompareOp::Eq => holds(Ordering::is_eq),
        CompareOp::Ne => !holds(Ordering::is_eq),
        CompareOp::Gt => holds(Ordering::is_gt),
        CompareOp::Lt => holds(Ordering::is_lt),
        CompareOp::Ge => holds(Ordering::is_ge),
        CompareOp::Le => holds(Ordering::is_le),
    }
}

/// Compares two values: strings by code point, numbers and dates by size, false before true.
///
/// `None` if they cannot be compared: values of different types, null, lists, complex values, and strings with more than
/// [`MAX_COMPARED_CHARS`] characters.
#[must_use]
pub fn compare_values(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => {
            (is_comparable(a) && is_comparable(b)).then(|| a.cmp(b))
        }
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Int32(a), Value::Int32(b)) => Some(a.cmp(b)),
        (Value::DateTime(a), Value::DateTime(b)) => Some(a.cmp(b)),
        (a, b) => a.compare_numbers(b),
    }
}

fn is_comparable(text: &str) -> bool {
    text.len() <= MAX_COMPARED_CHARS || text.chars().count() <= MAX_COMPARED_CHARS
}
