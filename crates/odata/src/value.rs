//! Values of properties.
//!
//! [`Value`] is one value, [`Properties`] are the values of an entity. Both are parsed from the scalars of a request body
//! ([`parse_value`]), printed into response bodies ([`push_json_value`], [`push_plain_text`]) and stored
//! ([`Properties::to_stored`]).

use std::cmp::Ordering;
use std::sync::Arc;

use crate::edm::{EntityType, PropertyList, Schema, SimpleType, ValueType};

mod decimal;
mod number;
mod parse;
mod print;
mod stored;

pub use decimal::{Decimal, MAX_DECIMAL_BYTES};
pub use number::{push_double, push_int, push_single};
pub use parse::{
    MAX_DATE_MS, MAX_STRING_BYTES, MIN_DATE_MS, ParseValueError, is_single_literal, parse_date,
    parse_number, parse_value,
};
pub(crate) use print::push_json_escaped;
pub use print::{push_json_string, push_json_value, push_plain_text};
pub use stored::StoredPropertiesError;

/// One value of a property.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Null or absence.
    #[default]
    Null,
    /// `Edm.Boolean`
    Bool(bool),
    /// `Edm.Int32`
    Int32(i32),
    /// `Edm.Single`, with the precision of a double so that it keeps the digits of the request.
    Single(f64),
    /// `Edm.Double`
    Double(f64),
    /// `Edm.Double` or `Edm.Single` with more digits than a double holds.
    Decimal(Decimal),
    /// `Edm.String`
    String(String),
    /// `Edm.DateTime` in milliseconds since 1970.
    DateTime(i64),
    /// A complex value. Its members are in the order of its type.
    Complex(Properties),
    /// The elements of a list.
    List(Vec<Value>),
}

/// The value of references to absent values.
pub static NULL: Value = Value::Null;

impl Value {
    /// Returns true for null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text of a string, `None` for other values.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The boolean, `None` for other values.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The number as a double, rounded if no double is equal to it; `None` for values that are not numeric.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int32(number) => Some(f64::from(*number)),
            Self::Single(number) | Self::Double(number) => Some(*number),
            Self::Decimal(number) => Some(number.nearest()),
            _ => None,
        }
    }

    /// Compares two numbers, `None` if one of the values is not numeric.
    #[must_use]
    pub fn compare_numbers(&self, other: &Self) -> Option<Ordering> {
        let order = self.as_f64()?.partial_cmp(&other.as_f64()?)?;
        let is_exact = |value: &Self| !matches!(value, Self::Decimal(_));
        if order.is_ne() || is_exact(self) && is_exact(other) {
            return Some(order);
        }
        // Both have the same nearest double: the digits decide.
        Some(decimal::compare_texts(
            &self.number_text(),
            &other.number_text(),
        ))
    }

    fn number_text(&self) -> String {
        match self {
            Self::Decimal(number) => number.text().to_owned(),
            other => format!("{:e}", other.as_f64().unwrap_or_default()),
        }
    }

    /// The date in milliseconds since 1970, `None` for other values.
    #[must_use]
    pub fn as_millis(&self) -> Option<i64> {
        match self {
            Self::DateTime(millis) => Some(*millis),
            _ => None,
        }
    }

    /// The approximate size as text in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            Self::Decimal(number) => number.text().len(),
            Self::Complex(members) => members.size_bytes(),
            Self::List(items) => items.iter().map(Self::size_bytes).sum(),
            Self::Null | Self::Bool(_) => 4,
            Self::Int32(_) | Self::Single(_) | Self::Double(_) | Self::DateTime(_) => 12,
        }
    }

    /// The approximate memory of the value in bytes, without the value itself if that is inside of another one.
    fn heap_bytes(&self) -> usize {
        match self {
            Self::String(text) => text.capacity(),
            Self::Decimal(number) => number.text().len(),
            Self::Complex(members) => members.memory_bytes(),
            Self::List(items) => {
                let inner = items.iter().map(Self::heap_bytes).sum::<usize>();
                items.capacity() * size_of::<Self>() + inner
            }
            Self::Null
            | Self::Bool(_)
            | Self::Int32(_)
            | Self::Single(_)
            | Self::Double(_)
            | Self::DateTime(_) => 0,
        }
    }

    /// Converts an integer or single to a double if `simple` is `Edm.Double`, in lists too: the type of the property may
    /// have been widened since the value was stored. Other values are returned unchanged.
    #[must_use]
    pub fn convert_to(self, simple: SimpleType) -> Self {
        match (simple, self) {
            (SimpleType::Double, Self::Int32(number)) => Self::Double(f64::from(number)),
            (SimpleType::Double, Self::Single(number)) => Self::Double(number),
            (_, Self::List(items)) => Self::List(
                items
                    .into_iter()
                    .map(|item| item.convert_to(simple))
                    .collect(),
            ),
            (_, other) => other,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

/// Property values by name, in a stable order. An absent value is null.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    entries: Vec<(Arc<str>, Value)>,
}

impl Properties {
    /// No values.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No values, with capacity for `count`.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self {
            entries: Vec::with_capacity(count),
        }
    }

    /// The value with this name, `None` if absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.entries
            .iter()
            .find(|(known, _)| &**known == name)
            .map(|(_, value)| value)
    }

    /// The value with this name, null if absent.
    #[must_use]
    pub fn value(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(&NULL)
    }

    /// The text of the value with this name, `None` if it is absent or not a string.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name).as_str()
    }

    /// The value with this name, `None` if absent. The search starts after the entry that was found last, so that names in
    /// the order of the entries cost one comparison each. `cursor` starts at 0; each call moves it.
    #[must_use]
    pub fn get_next(&self, name: &str, cursor: &mut usize) -> Option<&Value> {
        if let Some((known, value)) = self.entries.get(*cursor)
            && &**known == name
        {
            *cursor += 1;
            return Some(value);
        }
        let at = self
            .entries
            .iter()
            .position(|(known, _)| &**known == name)?;
        *cursor = at + 1;
        self.entries.get(at).map(|(_, value)| value)
    }

    /// The approximate size of names and values as text in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let entries = self.entries.iter();
        entries
            .map(|(name, value)| name.len() + value.size_bytes())
            .sum()
    }

    /// The approximate memory of names and values in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let entries = self.entries.iter();
        let heap = entries.map(|(name, value)| name.len() + value.heap_bytes());
        self.entries.capacity() * size_of::<(Arc<str>, Value)>() + heap.sum::<usize>()
    }

    /// Keeps the values whose names satisfy a condition.
    pub fn retain(&mut self, keeps: impl Fn(&str) -> bool) {
        self.entries.retain(|(name, _)| keeps(name));
        self.entries.shrink_to_fit();
    }

    /// Sets a value. A new name is added at the end, a known name keeps its position.
    pub fn set(&mut self, name: impl Into<Arc<str>>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.entries.iter_mut().find(|(known, _)| *known == name) {
            Some((_, slot)) => *slot = value,
            None => self.entries.push((name, value)),
        }
    }

    /// Adds a value at the end. The name must be absent.
    pub fn push(&mut self, name: Arc<str>, value: Value) {
        self.entries.push((name, value));
    }

    /// Removes and returns the value with this name.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self
            .entries
            .iter()
            .position(|(known, _)| &**known == name)?;
        Some(self.entries.remove(at).1)
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Value)> {
        self.entries.iter().map(|(name, value)| (name, value))
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Renames entries from names in requests to names in stored entities, in complex values too.
    pub fn into_stored_names(self, schema: &Schema, entity_type: &EntityType) -> Self {
        self.renamed(schema, &entity_type.properties, NameMapping::WireToStored)
    }

    /// Renames entries from names in stored entities to names in responses, in complex values too. It converts each value to
    /// its declared type ([`Value::convert_to`]), orders the entries as the schema does, and drops entries without property.
    pub fn into_wire_names(self, schema: &Schema, entity_type: &EntityType) -> Self {
        self.renamed(schema, &entity_type.properties, NameMapping::StoredToWire)
    }

    fn renamed(mut self, schema: &Schema, list: &PropertyList, direction: NameMapping) -> Self {
        let mut renamed = Self::with_capacity(self.entries.len());
        let mut cursor = 0;
        for property in list {
            let (from, to) = match direction {
                NameMapping::WireToStored => (&property.name, property.stored_name()),
                NameMapping::StoredToWire => (property.stored_name(), &property.name),
            };
            let Some(value) = self.take_next(from, &mut cursor) else {
                continue;
            };
            let value = match (&property.value_type, value) {
                (ValueType::Complex(name), value) => match schema.complex_type(name) {
                    Some(complex) => rename_members(schema, &complex.properties, direction, value),
                    None => value,
                },
                (ValueType::Simple(simple), value) => value.convert_to(*simple),
            };
            renamed.push(to.clone(), value);
        }
        if let NameMapping::WireToStored = direction {
            renamed.entries.extend(
                self.entries
                    .into_iter()
                    .filter(|(name, _)| list.get(name).is_none()),
            );
        }
        renamed
    }

    fn take_next(&mut self, name: &str, cursor: &mut usize) -> Option<Value> {
        let at = match self.entries.get(*cursor) {
            Some((known, _)) if &**known == name => *cursor,
            _ => self
                .entries
                .iter()
                .position(|(known, _)| &**known == name)?,
        };
        *cursor = at + 1;
        self.entries
            .get_mut(at)
            .map(|(_, value)| std::mem::take(value))
    }
}

#[derive(Clone, Copy)]
enum NameMapping {
    WireToStored,
    StoredToWire,
}

/// Renames the members of a complex value or of a list of them.
fn rename_members(
    schema: &Schema,
    list: &PropertyList,
    direction: NameMapping,
    value: Value,
) -> Value {
    match value {
        Value::Complex(members) => Value::Complex(members.renamed(schema, list, direction)),
        Value::List(items) => Value::List(
            items
                .into_iter()
                .map(|item| rename_members(schema, list, direction, item))
                .collect(),
        ),
        other => other,
    }
}

impl FromIterator<(Arc<str>, Value)> for Properties {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Value)>>(entries: I) -> Self {
        let mut properties = Self::new();
        for (name, value) in entries {
            properties.set(name, value);
        }
        properties
    }
}

#[cfg(test)]
mod tests;
