//! Members that the original takes from any scalar: archives by hand have numbers and truth values where texts are expected, and the
//! other way round.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A text, or the text of a number or a truth value.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(truth) => Ok(Some(truth.to_string())),
        Value::Array(_) | Value::Object(_) => Err(D::Error::custom("expected a text")),
    }
}

/// A truth value: as such, as a text, or as a whole number, where only zero is false. An empty text is none.
pub(crate) fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let text = match &value {
        Value::Null => return Ok(None),
        Value::Bool(truth) => return Ok(Some(*truth)),
        Value::Number(number) => return number.as_i64().map_or_else(refused, |n| Ok(Some(n != 0))),
        Value::String(text) => text.trim(),
        Value::Array(_) | Value::Object(_) => return refused(),
    };
    match text {
        "" => Ok(None),
        "true" | "True" | "TRUE" => Ok(Some(true)),
        "false" | "False" | "FALSE" => Ok(Some(false)),
        _ => refused(),
    }
}

fn refused<E: Error>() -> Result<Option<bool>, E> {
    Err(E::custom("expected true or false"))
}
