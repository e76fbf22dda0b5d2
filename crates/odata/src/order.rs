//! The `$orderby` option.
//!
//! [`ParsedOrder::parse`] parses it, [`ParsedOrder::check`] makes it an [`Order`], which can compare entities.

use std::cmp::Ordering;

use crate::edm::EntityType;
use crate::filter::{PropertyRef, compare_values};
use crate::value::Value;

/// The maximum number of properties in an order.
pub const MAX_ORDER_TERMS: usize = 100;

/// The direction of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortDirection {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// The reason for which an order is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The order cannot be parsed: it is empty, has an empty part, another word than `asc` and `desc` after a name, or too many
    /// properties.
    #[error("the order cannot be parsed")]
    Syntax,
    /// A string or expression is in the position of a property.
    #[error("the order has an expression instead of a property")]
    NotAProperty,
    /// The property is a list.
    #[error("the property {0} is a list, which cannot be ordered")]
    ListProperty(String),
}

/// An order that was not compared with an entity type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedOrder {
    terms: Vec<(String, SortDirection)>,
}

/// An order of the entities of one type. Without terms all entities are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    terms: Vec<OrderTerm>,
}

/// One property of an order, with its direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderTerm {
    /// The property.
    pub property: PropertyRef,
    /// The direction.
    pub direction: SortDirection,
}

impl ParsedOrder {
    /// Parses `name [asc|desc] {, name [asc|desc]}`.
    ///
    /// # Errors
    /// [`OrderError::Syntax`], also for more than [`MAX_ORDER_TERMS`] properties; [`OrderError::NotAProperty`].
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

    /// Checks the order against an entity type. Unknown and complex properties are ignored.
    ///
    /// # Errors
    /// [`OrderError::ListProperty`].
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
    /// The properties, the most significant first.
    #[must_use]
    pub fn terms(&self) -> &[OrderTerm] {
        &self.terms
    }

    /// Compares an entity with the values of another one, which are in the order of the properties. `get` returns the value of a
    /// property of the entity.
    pub fn compare_with<'v>(
        &self,
        get: &dyn Fn(&PropertyRef) -> &'v Value,
        values: &[Value],
    ) -> Ordering {
        self.terms
            .iter()
            .zip(values)
            .map(|(term, value)| compare_term(get(&term.property), value, term.direction))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// Compares two entities. `a` and `b` return the value of a property of their entity. Null, absent and very long values
    /// are last in both directions.
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
    // Only a value that can be compared has a place in the order.
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
    fn null_and_long_values_are_last_in_both_directions() {
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
    fn malformed_orders_have_their_own_errors() {
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
