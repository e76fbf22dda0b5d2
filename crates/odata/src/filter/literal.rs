//! Literals in filters.

use super::FilterError;

/// A literal before it is compared with the type of a property.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// An integer: digits with an optional minus, without the suffix `L`.
    Integer(String),
    /// The text of a number with a point, an exponent or the suffix `d`, without the suffix.
    Decimal(String),
    /// The text of a number with the suffix `f` or `m`, without the suffix.
    Suffixed(String),
    /// A string, with its escape sequences.
    Text(String),
    /// `datetime'...'` or `datetimeoffset'...'` in milliseconds since 1970.
    Date(i64),
    /// A literal of a type that no property can have.
    Other,
    /// The name of a property instead of a literal. No operator compares two properties.
    Property,
}

/// Parses a literal with its type before the quotes, such as `datetime'...'`.
pub(super) fn typed_literal(type_name: &str, content: &str) -> Result<Literal, FilterError> {
    match type_name {
        "datetime" => parse_date(content, false)
            .map(Literal::Date)
            .ok_or(FilterError::Syntax),
        "datetimeoffset" => parse_date(content, true)
            .map(Literal::Date)
            .ok_or(FilterError::Syntax),
        "guid" | "time" | "X" | "binary" => Ok(Literal::Other),
        _ => Err(FilterError::Syntax),
    }
}

/// Parses a number with an optional suffix for its type; `None` for other text.
pub(super) fn number_literal(text: &str) -> Option<Literal> {
    let (digits, suffix) = match text.strip_suffix(['L', 'l', 'f', 'F', 'm', 'M', 'd', 'D']) {
        Some(digits) => (digits, text.bytes().last()),
        None => (text, None),
    };
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    let all_digits =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (integer, fraction) = match mantissa.split_once('.') {
        Some((integer, fraction)) => (integer, Some(fraction)),
        None => (mantissa, None),
    };
    let exponent_fits = exponent
        .is_none_or(|exponent| all_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)));
    if !all_digits(integer) || !fraction.is_none_or(all_digits) || !exponent_fits {
        return None;
    }
    let is_integer = fraction.is_none() && exponent.is_none();
    match suffix {
        None | Some(b'L' | b'l') if is_integer => Some(Literal::Integer(digits.to_owned())),
        None | Some(b'd' | b'D') => Some(Literal::Decimal(digits.to_owned())),
        Some(b'f' | b'F' | b'm' | b'M') => Some(Literal::Suffixed(digits.to_owned())),
        Some(_) => Some(Literal::Other),
    }
}

/// Parses `YYYY-MM-DDThh:mm[:ss[.fffffff]]` as milliseconds since 1970. With `zoned` the text may end with a time zone,
/// `Z` or `±hh:mm`; without time zone it is UTC.
fn parse_date(text: &str, zoned: bool) -> Option<i64> {
    let (local, offset_minutes) = if zoned { split_zone(text)? } else { (text, 0) };
    let (date, time) = local.split_once('T')?;
    let mut date = date.split('-');
    let year: i16 = digits(date.next()?, 4)?.try_into().ok()?;
    let month: i8 = digits(date.next()?, 2)?.try_into().ok()?;
    let day: i8 = digits(date.next()?, 2)?.try_into().ok()?;
    let mut clock = time.split(':');
    let hour: i8 = digits(clock.next()?, 2)?.try_into().ok()?;
    let minute: i8 = digits(clock.next()?, 2)?.try_into().ok()?;
    let (second, millis) = match clock.next() {
        None => (0, 0),
        Some(text) => seconds(text)?,
    };
    if date.next().is_some() || clock.next().is_some() {
        return None;
    }
    let civil = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let since_epoch = civil.duration_since(jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
    let whole = i64::try_from(since_epoch.as_millis()).ok()?;
    whole
        .checked_add(millis)?
        .checked_sub(offset_minutes * 60_000)
}

/// Parses `ss` or `ss.fffffff` as seconds and milliseconds.
fn seconds(text: &str) -> Option<(i8, i64)> {
    let Some((second, fraction)) = text.split_once('.') else {
        return Some((digits(text, 2)?.try_into().ok()?, 0));
    };
    if !(1..=7).contains(&fraction.len()) {
        return None;
    }
    digits(fraction, fraction.len())?;
    let millis = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some((digits(second, 2)?.try_into().ok()?, millis))
}

/// Splits the time zone from a date; returns the local time and the offset from UTC in minutes.
fn split_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(local) = text.strip_suffix('Z') {
        return Some((local, 0));
    }
    let time_at = text.find('T')?;
    let Some(at) = text.get(time_at..)?.find(['+', '-']).map(|at| at + time_at) else {
        return Some((text, 0));
    };
    let (local, zone) = text.split_at_checked(at)?;
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours <= 18 && minutes < 60).then_some((local, sign * (hours * 60 + minutes)))
}

/// Parses a number of exactly `count` digits.
fn digits(text: &str, count: usize) -> Option<i64> {
    let fits = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}
