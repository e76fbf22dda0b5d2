//! Parsing of a value from the text of a JSON scalar.

use super::{Decimal, MAX_DECIMAL_BYTES, Value};
use crate::edm::{DEFAULT_NOW, SimpleType};

/// The earliest date in milliseconds since 1970: the first millisecond of 1753.
pub const MIN_DATE_MS: i64 = -6_847_804_800_000;
/// The latest date in milliseconds since 1970: the last millisecond of 9999.
pub const MAX_DATE_MS: i64 = 253_402_300_799_999;
/// The maximum size of a string in bytes of UTF-8.
pub const MAX_STRING_BYTES: usize = 51_200;

/// The text is not a value of the type, or out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a value of {}", .0.name())]
pub struct ParseValueError(pub SimpleType);

/// Parses the text of a JSON scalar as a value of `simple`: a string unescaped, a number or boolean as written.
///
/// `now` is the value of `SYSUTCDATETIME()` in milliseconds since 1970. Limits: strings have at most
/// [`MAX_STRING_BYTES`]; dates are from [`MIN_DATE_MS`] to [`MAX_DATE_MS`]; singles with a point have at most five
/// digits on each side of it; the absolute value of a double is 0 or from 2.23e-308 to 1.79e308. Numbers keep all digits.
///
/// # Errors
/// [`ParseValueError`] if the text is not such a value.
pub fn parse_value(simple: SimpleType, text: &str, now: i64) -> Result<Value, ParseValueError> {
    let value = match simple {
        SimpleType::String => {
            (text.len() <= MAX_STRING_BYTES).then(|| Value::String(text.to_owned()))
        }
        SimpleType::Boolean => match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        SimpleType::Int32 => text.parse().ok().map(Value::Int32),
        SimpleType::Single => parse_single(text),
        SimpleType::Double => parse_double(text),
        SimpleType::DateTime => parse_date(text, now).map(Value::DateTime),
    };
    value.ok_or(ParseValueError(simple))
}

/// Parses `/Date(n)/` or `SYSUTCDATETIME()` as milliseconds since 1970; `None` for other text and dates out of range.
#[must_use]
pub fn parse_date(text: &str, now: i64) -> Option<i64> {
    if text == DEFAULT_NOW {
        return Some(now);
    }
    let digits = text.strip_prefix("/Date(")?.strip_suffix(")/")?;
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits
        .parse()
        .ok()
        .filter(|millis| (MIN_DATE_MS..=MAX_DATE_MS).contains(millis))
}

/// Returns true for a decimal number with a point, one to five digits on each side of it, and an optional minus.
#[must_use]
pub fn is_single_literal(text: &str) -> bool {
    let five = |digits: &str| {
        (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    unsigned
        .split_once('.')
        .is_some_and(|(integer, fraction)| five(integer) && five(fraction))
}

fn parse_single(text: &str) -> Option<Value> {
    if text.contains('.') {
        return if is_single_literal(text) {
            text.parse().ok().map(Value::Single)
        } else {
            None
        };
    }
    let number = parse_number(text)?;
    let nearest = number.as_f64()?;
    match number {
        _ if nearest.abs() > f64::from(f32::MAX) => None,
        Value::Decimal(_) => Some(number),
        _ => Some(Value::Single(nearest)),
    }
}

fn parse_double(text: &str) -> Option<Value> {
    parse_number(text).filter(|number| {
        number.as_f64().is_some_and(|nearest| {
            nearest == 0.0 || (2.23e-308..=1.79e308).contains(&nearest.abs())
        })
    })
}

/// Parses a decimal number with optional sign, exponent and type suffix (`d`, `f`), without loss of digits: a
/// [`Value::Double`], or a [`Value::Decimal`] if no double is equal to the number.
///
/// `None` for other text, for a number that has no finite double beside it, for one so small that its double is zero, and
/// for one of more than [`MAX_DECIMAL_BYTES`] that is no double.
#[must_use]
pub fn parse_number(text: &str) -> Option<Value> {
    let text = text.trim();
    let text = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    let plausible =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    if !text.bytes().all(plausible) {
        return None;
    }
    let nearest: f64 = text
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())?;
    if nearest == 0.0 {
        let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
        let is_zero = !mantissa.contains(|c: char| matches!(c, '1'..='9'));
        return is_zero.then_some(Value::Double(nearest));
    }
    match Decimal::unless_double(text, nearest) {
        None => Some(Value::Double(nearest)),
        Some(exact) => (exact.text().len() <= MAX_DECIMAL_BYTES).then_some(Value::Decimal(exact)),
    }
}
