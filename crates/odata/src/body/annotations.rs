//! Members of request bodies that describe the entity and are no properties.

use std::borrow::Cow;

use super::read_object;

/// A body without `__metadata` and without links that are not expanded (`{"__deferred":...}`): clients of OData 2.0 send back
/// what they read. A body that is no JSON object is returned as it is.
#[must_use]
pub fn without_annotations(body: &[u8]) -> Cow<'_, [u8]> {
    match remaining(body) {
        Some(text) => Cow::Owned(text.into_bytes()),
        None => Cow::Borrowed(body),
    }
}

fn remaining(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    if !text.contains("\"__metadata\"") && !text.contains("\"__deferred\"") {
        return None;
    }
    read_object(body).ok()?;
    let mut out = String::with_capacity(text.len());
    for (name, value) in members(text)? {
        if name != "\"__metadata\"" && !is_deferred(value) {
            out.push(if out.is_empty() { '{' } else { ',' });
            out.push_str(name);
            out.push(':');
            out.push_str(value);
        }
    }
    if out.is_empty() {
        out.push('{');
    }
    out.push('}');
    Some(out)
}

fn is_deferred(value: &str) -> bool {
    let inner = value.strip_prefix('{').map(str::trim_start);
    inner.is_some_and(|inner| inner.starts_with("\"__deferred\""))
}

/// The names, in their quotes, and the values of a valid JSON object.
fn members(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut out = Vec::new();
    let mut rest = text.trim_start().strip_prefix('{')?.trim_start();
    while rest.starts_with('"') {
        let (name, tail) = rest.split_at_checked(end_of(rest, b":"))?;
        let tail = tail.strip_prefix(':')?;
        let (value, tail) = tail.split_at_checked(end_of(tail, b",}"))?;
        out.push((name.trim_end(), value.trim()));
        rest = match tail.strip_prefix(',') {
            Some(tail) => tail.trim_start(),
            None => break,
        };
    }
    Some(out)
}

/// The position of the first of these characters outside of strings, objects and arrays.
fn end_of(text: &str, ends: &[u8]) -> usize {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            _ if depth == 0 && ends.contains(&byte) => return at,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stripped(body: &str) -> String {
        String::from_utf8(without_annotations(body.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn metadata_and_deferred_links_are_left_out() {
        for (body, rest) in [
            (r#"{"__metadata":{"uri":"x"}}"#, "{}"),
            (
                r#"{"a":1,"__metadata":{"type":"A}\",b"},"b":2}"#,
                r#"{"a":1,"b":2}"#,
            ),
            (
                r#" { "_B" : { "__deferred" : {"uri":"x"} } , "a" : "__metadata" , "__metadata":null } "#,
                r#"{"a":"__metadata"}"#,
            ),
            (
                r#"{"a":{"__metadata":1,"b":[{"c":"}"}]},"n":9007199254740993,"__metadata":{}}"#,
                r#"{"a":{"__metadata":1,"b":[{"c":"}"}]},"n":9007199254740993}"#,
            ),
            (r#"{"__metadata":{}"#, r#"{"__metadata":{}"#),
            (r#"["__metadata"]"#, r#"["__metadata"]"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
        ] {
            assert_eq!(stripped(body), rest, "{body}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_body_does_not_panic(body in "([{}\\[\\],:\" \\\\]|\"__metadata\"|\"__deferred\"|\\PC)*") {
            let _ = without_annotations(body.as_bytes());
        }
    }
}
