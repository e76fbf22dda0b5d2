//! Type checking of a filter.

use super::literal::Literal;
use super::syntax::{CompareOp, Expr};
use super::{Condition, FilterError, MAX_PREFIX_CHARS, PropertyRef};
use crate::edm::{EntityType, ID, SimpleType};
use crate::full_text::Phrase;
use crate::value::{MAX_DATE_MS, MIN_DATE_MS, Value, is_single_literal, push_single};

pub(super) fn check(expr: &Expr, entity_type: &EntityType) -> Result<Condition, FilterError> {
    match expr {
        Expr::All(parts) => parts
            .iter()
            .map(|part| check(part, entity_type))
            .collect::<Result<_, _>>()
            .map(Condition::All),
        Expr::Any(parts) => parts
            .iter()
            .map(|part| check(part, entity_type))
            .collect::<Result<_, _>>()
            .map(Condition::Any),
        Expr::Compare(name, op, literal) => compare(find(entity_type, name)?, *op, literal),
        Expr::StartsWith(name, argument) => {
            let property = find(entity_type, name)?;
            let prefix = text_argument(&property, argument.as_ref())?;
            if prefix.chars().count() > MAX_PREFIX_CHARS {
                return Err(FilterError::PrefixTooLong);
            }
            Ok(Condition::StartsWith(property, prefix))
        }
        Expr::SubstringOf(name, argument) => {
            let property = find(entity_type, name)?;
            let text = text_argument(&property, argument.as_ref())?;
            // Identifiers and control sets have no full-text search: the whole value is compared.
            if name == ID || !entity_type.is_open() {
                return Ok(Condition::Compare(
                    property,
                    CompareOp::Eq,
                    Value::String(text),
                ));
            }
            Ok(Condition::HasPhrase(property, Phrase::new(&text)))
        }
    }
}

/// The property with this name.
fn find(entity_type: &EntityType, name: &str) -> Result<PropertyRef, FilterError> {
    let unknown = || FilterError::UnknownProperty(name.to_owned());
    let position = entity_type.properties.position(name).ok_or_else(unknown)?;
    let property = entity_type.properties.get(name).ok_or_else(unknown)?;
    PropertyRef::new(property, position).ok_or(FilterError::Syntax)
}

fn mismatch(property: &PropertyRef) -> FilterError {
    FilterError::TypeMismatch(property.name.to_string())
}

fn out_of_range(property: &PropertyRef) -> FilterError {
    FilterError::OutOfRange(property.name.to_string())
}

/// The text that a string property is searched for.
fn text_argument(
    property: &PropertyRef,
    argument: Option<&Literal>,
) -> Result<String, FilterError> {
    match (property.simple, argument) {
        (SimpleType::String, Some(Literal::Text(raw))) => unescape(raw),
        _ => Err(mismatch(property)),
    }
}

fn compare(
    property: PropertyRef,
    op: CompareOp,
    literal: &Literal,
) -> Result<Condition, FilterError> {
    let equality = matches!(op, CompareOp::Eq | CompareOp::Ne);
    let is_unordered = matches!(literal, Literal::Null | Literal::Bool(_));
    if (is_unordered && !equality) || matches!(literal, Literal::Property) {
        return Err(FilterError::Syntax);
    }
    let value = match (property.simple, literal) {
        (_, Literal::Null) if op == CompareOp::Eq => return Ok(Condition::IsNull(property)),
        (_, Literal::Null) => return Ok(Condition::IsNotNull(property)),
        (SimpleType::String, Literal::Text(raw)) => Value::String(unescape(raw)?),
        (SimpleType::Boolean, Literal::Bool(truth)) => Value::Bool(*truth),
        (SimpleType::Int32, Literal::Integer(digits)) => digits
            .parse()
            .map(Value::Int32)
            .map_err(|_| out_of_range(&property))?,
        (SimpleType::Single, literal) => {
            let number = number(literal).ok_or_else(|| mismatch(&property))?;
            let mut text = String::new();
            push_single(&mut text, number);
            if !text.contains('.') {
                text.push_str(".0");
            }
            if !is_single_literal(&text) {
                return Err(out_of_range(&property));
            }
            Value::Single(number)
        }
        (SimpleType::Double, literal) => {
            Value::Double(number(literal).ok_or_else(|| mismatch(&property))?)
        }
        (SimpleType::DateTime, literal) => {
            let millis = match literal {
                Literal::Date(millis) => Some(*millis),
                Literal::Integer(digits) => digits.parse().ok(),
                _ => return Err(mismatch(&property)),
            };
            let in_range = |millis: &i64| (MIN_DATE_MS..=MAX_DATE_MS).contains(millis);
            Value::DateTime(
                millis
                    .filter(in_range)
                    .ok_or_else(|| out_of_range(&property))?,
            )
        }
        _ => return Err(mismatch(&property)),
    };
    Ok(Condition::Compare(property, op, value))
}

fn number(literal: &Literal) -> Option<f64> {
    match literal {
        Literal::Integer(digits) => digits.parse().ok(),
        Literal::Decimal(number) => Some(*number),
        _ => None,
    }
}

/// Replaces escape sequences as JavaScript does. An unknown sequence is its character.
fn unescape(raw: &str) -> Result<String, FilterError> {
    if !raw.contains('\\') {
        return Ok(raw.to_owned());
    }
    let malformed = || FilterError::MalformedEscape(raw.to_owned());
    let mut units: Vec<u16> = Vec::with_capacity(raw.len());
    let mut chars = raw.chars();
    let mut buffer = [0u16; 2];
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => match chars.next() {
                None => '\\',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('u') => {
                    let digits = chars.as_str().get(..4).ok_or_else(malformed)?;
                    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                        return Err(malformed());
                    }
                    units.push(u16::from_str_radix(digits, 16).map_err(|_| malformed())?);
                    chars = chars.as_str().get(4..).unwrap_or("").chars();
                    continue;
                }
                Some(other) => other,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut buffer));
    }
    Ok(String::from_utf16_lossy(&units))
}
