//! The `$orderby` option.

use std::cmp::Ordering;

use crate::edm::EntityType;
use crate::filter::{PropertyRef, compare_values};
use crate::value::Value;

/// Most properties an order may name.
pub const MAX_ORDER_TERMS: usize = 100;

/// Ascending or descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortDirection {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// Why an order is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Empty, a stray comma, or another word than `asc` and `desc` behind a name.
    #[error("the order cannot be parsed")]
    Syntax,
    /// A quoted text or an expression where a name is expected.
    #[error("the order names no property")]
    NotAProperty,
    /// The property is a list.
    #[error("the property {0} is a list, which has no order")]
    ListProperty(String),
}

/// An order as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedOrder {
    terms: Vec<(String, SortDirection)>,
}

/// An order that fits an entity type. Without terms every entity is equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    terms: Vec<OrderTerm>,
}

/// One property of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderTerm {
    /// The property.
    pub property: PropertyRef,
    /// Its direction.
    pub direction: SortDirection,
}

impl ParsedOrder {
    /// Reads `name [asc|desc] {, name [asc|desc]}`.
    ///
    /// # Errors
    /// [`OrderError::Syntax`] (also for more than [`MAX_ORDER_TERMS`]) and [`OrderError::NoProperty`].
    pub fn parse(text: &str) -> Result<Self, OrderError> {
        let mut terms = Vec::new();
        for item in text.split(',') {
            let mut words = item.split_ascii_whitespace();
            let name = words.next().ok_or(OrderError::Syntax)?;
            if name.contains(['\'', '(', ')']) {
                return Err(OrderError::NotAProperty);
            }
            let direction = match words.next() {
                None | Some("asc") => SortDirection::Ascending,
                Some("desc") => SortDirection::Descending,
                Some(_) => return Err(OrderError::Syntax),
            };
            if words.next().is_some() || terms.len() == MAX_ORDER_TERMS {
                return Err(OrderError::Syntax);
            }
            terms.push((name.to_owned(), direction));
        }
        Ok(Self { terms })
    }

    /// Fits the order to an entity type; unknown and complex properties are left out.
    ///
    /// # Errors
    /// [`OrderError::List`].
    pub fn check(&self, entity_type: &EntityType) -> Result<Order, OrderError> {
        let mut terms = Vec::with_capacity(self.terms.len());
        for (name, direction) in &self.terms {
            let Some(property) = entity_type.properties.get(name) else {
                continue;
            };
            if property.is_list() {
                return Err(OrderError::ListProperty(name.clone()));
            }
            let position = entity_type.properties.position(name).unwrap_or(0);
            if let Some(property) = PropertyRef::new(property, position) {
                terms.push(OrderTerm {
                    property,
                    direction: *direction,
                });
            }
        }
        Ok(Order { terms })
    }
}

impl Order {
    /// The properties, most significant first.
    #[must_use]
    pub fn terms(&self) -> &[OrderTerm] {
        &self.terms
    }

    /// The order of two entities; each function gives the value of a property of its entity. Null, missing
    /// and very long values come last in both directions.
    pub fn compare<'v>(
        &self,
        a: &dyn Fn(&PropertyRef) -> &'v Value,
        b: &dyn Fn(&PropertyRef) -> &'v Value,
    ) -> Ordering {
        self.terms
            .iter()
            .map(|term| compare_term(a(&term.property), b(&term.property), term.direction))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

fn compare_term(a: &Value, b: &Value, direction: SortDirection) -> Ordering {
    // A value that compares with itself takes part in the order.
    let sortable = |value: &Value| compare_values(value, value).is_some();
    match (sortable(a), sortable(b)) {
        (true, true) => {
            let order = compare_values(a, b).unwrap_or(Ordering::Equal);
            if direction == SortDirection::Descending {
                order.reverse()
            } else {
                order
            }
        }
        (a, b) => b.cmp(&a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edm::{Property, SimpleType};

    fn entity_type() -> EntityType {
        EntityType::user_data(
            "T",
            vec![
                Property::new("a", SimpleType::String),
                Property::new("b", SimpleType::Double),
                Property::new("l", SimpleType::String).list(),
                Property::complex("c", "C"),
            ],
        )
    }

    fn sorted(order: &str, rows: &[(Option<&str>, f64)]) -> Vec<usize> {
        let order = ParsedOrder::parse(order)
            .unwrap()
            .check(&entity_type())
            .unwrap();
        let values: Vec<[Value; 2]> = rows
            .iter()
            .map(|(a, b)| [a.map_or(Value::Null, Value::from), Value::Double(*b)])
            .collect();
        let mut numbers: Vec<usize> = (0..rows.len()).collect();
        let get = |row: usize| {
            let row = &values[row];
            move |property: &PropertyRef| {
                if &*property.name == "a" {
                    &row[0]
                } else {
                    &row[1]
                }
            }
        };
        numbers.sort_by(|x, y| order.compare(&get(*x), &get(*y)));
        numbers
    }

    #[test]
    fn null_is_last_in_both_directions() {
        let rows = [
            (None, 1.0),
            (Some("b"), 2.0),
            (Some("B"), 3.0),
            (Some("b"), 1.0),
        ];
        assert_eq!(sorted("a", &rows), [2, 1, 3, 0]);
        assert_eq!(sorted("a desc", &rows), [1, 3, 2, 0]);
        assert_eq!(sorted("a desc, b asc", &rows), [3, 1, 2, 0]);
        assert_eq!(sorted("unknown,c,b desc", &rows), [2, 1, 0, 3]);
        let long = "a".repeat(4097);
        assert_eq!(sorted("a", &[(Some(&long), 1.0), (Some("b"), 1.0)]), [1, 0]);
    }

    #[test]
    fn faults_are_told_apart() {
        for bad in ["", " ", "a,", ",a", "a ASC", "a x", "a 'asc'", "a asc desc"] {
            assert_eq!(ParsedOrder::parse(bad), Err(OrderError::Syntax), "{bad}");
        }
        for bad in ["'a'", "length(a)", "a,'b'"] {
            assert_eq!(
                ParsedOrder::parse(bad),
                Err(OrderError::NotAProperty),
                "{bad}"
            );
        }
        let list = ParsedOrder::parse("a,l desc").unwrap();
        assert_eq!(
            list.check(&entity_type()),
            Err(OrderError::ListProperty("l".into()))
        );
    }
}
