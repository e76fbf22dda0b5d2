//! The messages of streams as JSON.

use bytes::Bytes;
use serde::de::IgnoredAny;

/// The text of a message as JSON: unchanged if it is JSON, else as the member `content` of an object.
pub(crate) fn array_of(body: &Bytes) -> String {
    let text = String::from_utf8_lossy(body);
    match is_json(&text) {
        true => format!("[{}]", text.trim()),
        false => serde_json::json!([{ "content": text }]).to_string(),
    }
}

/// The text of a message as a value: unchanged if it is JSON, else as a string.
pub(crate) fn json_of(body: &Bytes) -> String {
    let text = String::from_utf8_lossy(body);
    match is_json(&text) {
        true => text.trim().to_owned(),
        false => serde_json::Value::from(text).to_string(),
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_as_it_is_and_other_text_is_wrapped() {
        let deep = "[".repeat(100_000);
        for (text, array, value) in [
            (r#" {"a": 1}"#, r#"[{"a": 1}]"#, r#"{"a": 1}"#),
            ("5", "[5]", "5"),
            ("", r#"[{"content":""}]"#, r#""""#),
            ("a\"b", r#"[{"content":"a\"b"}]"#, r#""a\"b""#),
            ("{} {}", r#"[{"content":"{} {}"}]"#, r#""{} {}""#),
            (
                &deep,
                &format!("[{{\"content\":\"{deep}\"}}]"),
                &format!("\"{deep}\""),
            ),
        ] {
            let body = Bytes::copy_from_slice(text.as_bytes());
            assert_eq!(array_of(&body), array);
            assert_eq!(json_of(&body), value);
        }
    }
}
