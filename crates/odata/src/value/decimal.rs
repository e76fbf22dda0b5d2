//! Numbers with more digits than a double holds.

use std::cmp::Ordering;

/// The maximum length of the text of a number that is kept digit by digit. The largest double has 309 digits.
pub const MAX_DECIMAL_BYTES: usize = 400;
/// The number of digits that every double keeps.
const DOUBLE_DIGITS: usize = 15;
/// The number of digits that every 64-bit integer has room for.
const LONG_DIGITS: usize = 18;

/// A number that no double is equal to. It keeps the text of the request, which is a number of JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Decimal {
    text: Box<str>,
    nearest: f64,
}

impl Decimal {
    /// The number that a text has, if its nearest double is another one. `nearest` is that double, finite and not zero.
    pub(super) fn unless_double(text: &str, nearest: f64) -> Option<Self> {
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        if digits <= DOUBLE_DIGITS || is_equal(text, nearest) {
            return None;
        }
        Some(Self {
            text: json_number(text).into(),
            nearest,
        })
    }

    /// The number with this text, as [`Decimal::text`] returned it.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let nearest: f64 = text.parse().ok()?;
        nearest.is_finite().then(|| Self {
            text: text.into(),
            nearest,
        })
    }

    /// The text, which is a number of JSON.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The nearest double.
    #[must_use]
    pub fn nearest(&self) -> f64 {
        self.nearest
    }

    /// Whether the number is greater than its nearest double, as [`Value::compare_numbers`](super::Value::compare_numbers)
    /// compares them.
    #[must_use]
    pub fn is_above_nearest(&self) -> bool {
        compare_texts(&self.text, &format!("{:e}", self.nearest)).is_gt()
    }

    /// Appends the text. An integer with more digits than every 64-bit integer has room for gets the fraction `.0`, so that
    /// programs which read integers into 64 bits read it as a double.
    pub(super) fn push_json(&self, out: &mut String) {
        out.push_str(&self.text);
        let digits = self.text.strip_prefix('-').unwrap_or(&self.text);
        if digits.len() > LONG_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            out.push_str(".0");
        }
    }
}

/// Whether the text of a number has the value of the shortest text of a double.
fn is_equal(text: &str, number: f64) -> bool {
    compare_texts(text, &format!("{number:e}")) == Ordering::Equal
}

/// Compares the numbers that two texts have, digit by digit.
pub(super) fn compare_texts(a: &str, b: &str) -> Ordering {
    let (a, b) = (Digits::of(a), Digits::of(b));
    match (a.sign(), b.sign()) {
        (1, 1) => a.compare_size(&b),
        (-1, -1) => b.compare_size(&a),
        (a, b) => a.cmp(&b),
    }
}

/// A decimal number: `0.digits * 10^exponent`.
struct Digits {
    is_negative: bool,
    /// The digits from the first to the last one that is not zero; empty for zero.
    digits: Vec<u8>,
    exponent: i64,
}

impl Digits {
    /// The number of a text with optional sign, point and exponent.
    fn of(text: &str) -> Self {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = integer.bytes().chain(fraction.bytes()).collect();
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..zeros);
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let before_point = i64::try_from(integer.len()).unwrap_or(i64::MAX);
        let zeros = i64::try_from(zeros).unwrap_or(i64::MAX);
        let exponent: i64 = exponent.parse().unwrap_or(0);
        Self {
            is_negative: text.starts_with('-'),
            digits,
            exponent: exponent.saturating_add(before_point).saturating_sub(zeros),
        }
    }

    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    fn compare_size(&self, other: &Self) -> Ordering {
        let by_exponent = self.exponent.cmp(&other.exponent);
        by_exponent.then_with(|| self.digits.cmp(&other.digits))
    }
}

/// The text as a number of JSON: no plus sign, no leading zeros, digits on both sides of a point.
fn json_number(text: &str) -> String {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let at = unsigned.find(['e', 'E']).unwrap_or(unsigned.len());
    let (mantissa, exponent) = unsigned.split_at_checked(at).unwrap_or((unsigned, ""));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let integer = match integer.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{integer}{point}{fraction}{exponent}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Option<String> {
        let nearest: f64 = text.parse().unwrap();
        Decimal::unless_double(text, nearest).map(|found| found.text().to_owned())
    }

    #[test]
    fn number_is_kept_unless_a_double_is_equal() {
        for equal in [
            "9007199254740992",
            "9007199254740994.000",
            "0.1",
            "1e300",
            "100000000000000000000",
            "123456789012345e10",
            "0.00000000000000000000000000001",
            "9.223372036854776E18",
        ] {
            assert_eq!(decimal(equal), None, "{equal}");
        }
        for (text, kept) in [
            ("9007199254740993", "9007199254740993"),
            ("-9007199254740993", "-9007199254740993"),
            ("+009007199254740993.", "9007199254740993"),
            (".12345678901234567890", "0.12345678901234567890"),
            ("1.00000000000000000001E+5", "1.00000000000000000001E+5"),
        ] {
            assert_eq!(decimal(text).as_deref(), Some(kept), "{text}");
        }
    }

    #[test]
    fn texts_are_compared_by_their_value() {
        let ascending = [
            "-9007199254740993",
            "-9007199254740992.5",
            "-1e-20",
            "0",
            "1e-400",
            "0.1",
            "0.1000000000000000000000000001",
            "9007199254740992",
            "9007199254740993",
            "1e400",
            "1e401",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(compare_texts(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        for (a, b) in [("1.50", "15e-1"), ("-0", "0.0"), ("+1", "001.0e0")] {
            assert_eq!(compare_texts(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn long_integers_are_printed_with_a_fraction() {
        for (text, json) in [
            ("9007199254740993", "9007199254740993"),
            ("-123456789012345678", "-123456789012345678"),
            ("9223372036854775807", "9223372036854775807.0"),
            ("1.2345678901234567890", "1.2345678901234567890"),
        ] {
            let mut out = String::new();
            Decimal::from_text(text).unwrap().push_json(&mut out);
            assert_eq!(out, json);
        }
    }

    proptest! {
        #[test]
        fn doubles_are_compared_as_their_texts(a: f64, b: f64) {
            prop_assume!(a.is_finite() && b.is_finite());
            let order = compare_texts(&format!("{a:e}"), &format!("{b}"));
            prop_assert_eq!(Some(order), a.partial_cmp(&b));
        }
    }
}
