//! Type checking of a filter.

use super::literal::Literal;
use super::syntax::{CompareOp, Expr};
use super::{Condition, FilterError, MAX_PREFIX_CHARS, PropertyRef};
use crate::dialect::Dialect;
use crate::edm::{EntityType, ID, SimpleType};
use crate::full_text::Phrase;
use crate::value::{MAX_DATE_MS, MIN_DATE_MS, Value, is_single_literal, parse_number, push_single};

pub(super) fn check(
    expr: &Expr,
    dialect: Dialect,
    entity_type: &EntityType,
) -> Result<Condition, FilterError> {
    let all = |parts: &[Expr]| -> Result<Vec<Condition>, FilterError> {
        let parts = parts.iter();
        parts
            .map(|part| check(part, dialect, entity_type))
            .collect()
    };
    match expr {
        Expr::All(parts) => all(parts).map(Condition::All),
        Expr::Any(parts) => all(parts).map(Condition::Any),
        Expr::Compare(name, op, literal) => {
            compare(find(entity_type, name)?, *op, literal, dialect)
        }
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
    dialect: Dialect,
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
        (SimpleType::Int32, literal) if dialect == Dialect::Standard => {
            number(&property, literal, dialect)?
        }
        (SimpleType::Single, literal) => single(&property, literal, dialect)?,
        (SimpleType::Double, literal) => number(&property, literal, dialect)?,
        (SimpleType::DateTime, literal) => date(&property, literal)?,
        _ => return Err(mismatch(&property)),
    };
    Ok(Condition::Compare(property, op, value))
}

/// The number that a literal has, with all digits. A number beyond all doubles is infinite.
fn number(
    property: &PropertyRef,
    literal: &Literal,
    dialect: Dialect,
) -> Result<Value, FilterError> {
    let text = match literal {
        Literal::Integer(text) | Literal::Decimal(text) => text,
        Literal::Suffixed(text) if dialect == Dialect::Standard => text,
        _ => return Err(mismatch(property)),
    };
    let infinite = || {
        text.parse()
            .ok()
            .filter(|number: &f64| number.is_infinite())
    };
    parse_number(text)
        .or_else(|| infinite().map(Value::Double))
        .ok_or_else(|| out_of_range(property))
}

fn single(
    property: &PropertyRef,
    literal: &Literal,
    dialect: Dialect,
) -> Result<Value, FilterError> {
    let Value::Double(number) = number(property, literal, dialect)? else {
        return Err(out_of_range(property));
    };
    let mut text = String::new();
    push_single(&mut text, number);
    if !text.contains('.') {
        text.push_str(".0");
    }
    if !is_single_literal(&text) {
        return Err(out_of_range(property));
    }
    Ok(Value::Single(number))
}

fn date(property: &PropertyRef, literal: &Literal) -> Result<Value, FilterError> {
    let millis = match literal {
        Literal::Date(millis) => Some(*millis),
        Literal::Integer(digits) => digits.parse().ok(),
        _ => return Err(mismatch(property)),
    };
    millis
        .filter(|millis| (MIN_DATE_MS..=MAX_DATE_MS).contains(millis))
        .map(Value::DateTime)
        .ok_or_else(|| out_of_range(property))
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
