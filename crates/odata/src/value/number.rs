//! Printing of numbers as decimal text.

use std::fmt::Write;

/// Appends an integer.
pub fn push_int(out: &mut String, mut number: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let negative = number < 0;
    loop {
        at -= 1;
        // The remainder of a negative number is negative; its absolute value is at most 9.
        let digit = u8::try_from((number % 10).unsigned_abs()).unwrap_or(0);
        if let Some(slot) = digits.get_mut(at) {
            *slot = b'0' + digit;
        }
        number /= 10;
        if number == 0 || at == 0 {
            break;
        }
    }
    if negative {
        out.push('-');
    }
    out.push_str(
        digits
            .get(at..)
            .and_then(|text| std::str::from_utf8(text).ok())
            .unwrap_or("0"),
    );
}

/// Appends a double without loss of precision.
///
/// A number with at most 15 integer digits and 14 fraction digits is in fixed-point notation. Any other number has the
/// shortest text that parses to the same number, in scientific notation (`1.79E308`) below 0.001 and from 10^7.
pub fn push_double(out: &mut String, number: f64) {
    let Some(parts) = DecimalDigits::of(out, number) else {
        return;
    };
    let integer_digits = parts.exponent + 1;
    let fraction_digits = parts.count() - integer_digits;
    let fits = integer_digits <= 15 && fraction_digits <= 14;
    if fits || (-3..7).contains(&parts.exponent) {
        parts.push_fixed(out);
    } else {
        parts.push_scientific(out);
    }
}

/// Appends a single in fixed-point notation without trailing zeros.
pub fn push_single(out: &mut String, number: f64) {
    if let Some(parts) = DecimalDigits::of(out, number) {
        parts.push_fixed(out);
    }
}

/// The shortest decimal digits of a finite number that is not zero: `0.d1d2d3 * 10^(exponent+1)`.
struct DecimalDigits {
    text: StackString,
    exponent: i32,
}

impl DecimalDigits {
    /// Appends the sign and returns the digits. For zero it appends `0` or `-0.0` and returns `None`.
    fn of(out: &mut String, number: f64) -> Option<Self> {
        if number == 0.0 || !number.is_finite() {
            // The fraction keeps readers from taking a negative zero for the integer 0.
            out.push_str(if number == 0.0 && number.is_sign_negative() {
                "-0.0"
            } else {
                "0"
            });
            return None;
        }
        if number < 0.0 {
            out.push('-');
        }
        let mut text = StackString::default();
        let _ = write!(text, "{:e}", number.abs());
        let (mantissa, exponent) = text.as_str().split_once('e')?;
        let exponent = exponent.parse().ok()?;
        let mut digits = StackString::default();
        for part in mantissa.split('.') {
            let _ = digits.write_str(part);
        }
        Some(Self {
            text: digits,
            exponent,
        })
    }

    fn count(&self) -> i32 {
        i32::try_from(self.text.len).unwrap_or(0)
    }

    fn push_fixed(&self, out: &mut String) {
        let digits = self.text.as_str();
        let integer_digits = self.exponent + 1;
        if integer_digits <= 0 {
            out.push_str("0.");
            (integer_digits..0).for_each(|_| out.push('0'));
            out.push_str(digits);
            return;
        }
        let whole = usize::try_from(integer_digits).unwrap_or(0);
        match digits.split_at_checked(whole) {
            Some((integer, "")) => out.push_str(integer),
            Some((integer, fraction)) => {
                out.push_str(integer);
                out.push('.');
                out.push_str(fraction);
            }
            None => {
                out.push_str(digits);
                (digits.len()..whole).for_each(|_| out.push('0'));
            }
        }
    }

    fn push_scientific(&self, out: &mut String) {
        let (first, rest) = self.text.as_str().split_at_checked(1).unwrap_or(("0", ""));
        out.push_str(first);
        out.push('.');
        out.push_str(if rest.is_empty() { "0" } else { rest });
        out.push('E');
        push_int(out, i64::from(self.exponent));
    }
}

/// A text of at most 32 bytes on the stack. The shortest text of a double has 24.
#[derive(Default)]
struct StackString {
    bytes: [u8; 32],
    len: usize,
}

impl StackString {
    fn as_str(&self) -> &str {
        self.bytes
            .get(..self.len)
            .and_then(|text| std::str::from_utf8(text).ok())
            .unwrap_or("")
    }
}

impl Write for StackString {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.bytes
            .get_mut(self.len..end)
            .ok_or(std::fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
