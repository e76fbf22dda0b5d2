//! The JSON and plain-text forms of values.

use super::Value;
use super::number::{push_double, push_int, push_single};

/// The number of bytes that are looked at together for one that is escaped.
const ESCAPE_BLOCK: usize = 32;

/// Appends a value as JSON for a response body. Every `/` is escaped, a date is `"\/Date(n)\/"`.
pub fn push_json_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int32(number) => push_int(out, i64::from(*number)),
        Value::Single(number) => push_single(out, *number),
        Value::Double(number) => push_double(out, *number),
        Value::Decimal(number) => number.push_json(out),
        Value::String(text) => push_json_string(out, text),
        Value::DateTime(millis) => {
            out.push_str("\"\\/Date(");
            push_int(out, *millis);
            out.push_str(")\\/\"");
        }
        Value::Complex(members) => {
            out.push('{');
            for (at, (name, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                push_json_string(out, name);
                out.push(':');
                push_json_value(out, value);
            }
            out.push('}');
        }
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                push_json_value(out, item);
            }
            out.push(']');
        }
    }
}

/// Appends a value as plain text for full-text search and XML: a string unchanged, a number or boolean as in JSON, a date
/// as `/Date(n)/`, nothing for null, a complex value or a list.
pub fn push_plain_text(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => out.push_str(text),
        Value::DateTime(millis) => {
            out.push_str("/Date(");
            push_int(out, *millis);
            out.push_str(")/");
        }
        Value::Decimal(number) => out.push_str(number.text()),
        Value::Null | Value::Complex(_) | Value::List(_) => {}
        other => push_json_value(out, other),
    }
}

/// Appends a JSON string with its quotes. `/`, `"` and `\` are escaped with a backslash, control characters and U+007F with
/// their short escape or `\uXXXX`. Other characters are UTF-8.
pub fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    push_json_escaped(out, text);
    out.push('"');
}

/// Appends the content of a JSON string, without the quotes.
pub(crate) fn push_json_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = first_escaped(rest.as_bytes()) {
        let (clean, tail) = rest.split_at(at);
        out.push_str(clean);
        let Some(found) = tail.bytes().next() else {
            break;
        };
        match found {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'/' => out.push_str("\\/"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            other => {
                out.push_str("\\u00");
                out.push(hex(other >> 4));
                out.push(hex(other & 15));
            }
        }
        rest = tail.get(1..).unwrap_or("");
    }
    out.push_str(rest);
}

/// Returns the position of the first byte that is escaped. Whole blocks are looked at without a branch for each byte, which
/// the compiler turns into vector instructions.
fn first_escaped(bytes: &[u8]) -> Option<usize> {
    let is_clean = |block: &&[u8]| {
        !block
            .iter()
            .fold(false, |found, byte| found | needs_escape(*byte))
    };
    let blocks = bytes.chunks_exact(ESCAPE_BLOCK);
    let clean = blocks.take_while(is_clean).count() * ESCAPE_BLOCK;
    let rest = bytes.get(clean..)?;
    rest.iter()
        .position(|byte| needs_escape(*byte))
        .map(|at| clean + at)
}

const fn needs_escape(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == b'/') | (byte == 0x7f)
}

fn hex(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}
