//! Forms and JSON members.

use serde_json::Value;
use url::form_urlencoded::{Serializer, byte_serialize};

/// Encodes a form.
#[must_use]
pub fn encode_form(fields: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Escapes a text for a form, or for a key in a path.
#[must_use]
pub fn escape(text: &str) -> String {
    let escaped: String = byte_serialize(text.as_bytes()).collect();
    escaped.replace('+', "%20")
}

/// A text member of a JSON object.
#[track_caller]
#[must_use]
pub fn text_member(body: &Value, member: &str) -> String {
    let value = body[member].as_str();
    assert!(value.is_some(), "no {member} in {body}");
    value.unwrap().to_owned()
}
