//! The `Content-Type` of batches and change sets.

/// The largest length of a boundary (RFC 2046, section 5.1.1).
const MAX_BOUNDARY_BYTES: usize = 70;

/// The boundary parameter of a `Content-Type` header, quoted or not; `None` unless it is that of `multipart/mixed`.
#[must_use]
pub fn boundary_of(content_type: &str) -> Option<&str> {
    let (media_type, mut rest) = content_type.split_once(';')?;
    if !media_type.trim().eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    loop {
        let (name, tail) = rest.split_once('=')?;
        let (value, tail) = take_value(tail.trim_start())?;
        // An empty parameter may precede the name.
        let name = name.rsplit(';').next().unwrap_or_default();
        if name.trim().eq_ignore_ascii_case("boundary") {
            return is_boundary(value).then_some(value);
        }
        rest = tail;
    }
}

/// Splits a text after the value of a parameter. Boundaries have no characters that a quoted value would have to escape.
fn take_value(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.split_once('"');
    }
    let (value, rest) = text.split_once(';').unwrap_or((text, ""));
    Some((value.trim_end(), rest))
}

fn is_boundary(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    (1..=MAX_BOUNDARY_BYTES).contains(&text.len())
        && text.bytes().all(is_allowed)
        && !text.ends_with(' ')
}

/// The `Content-Type` of a multipart body with this boundary.
pub(super) fn multipart(boundary: &str) -> String {
    // The other characters of boundaries may not stand in a token (RFC 9110, section 5.6.2).
    if boundary.contains(|c: char| "()/:=?, ".contains(c)) {
        format!("multipart/mixed; boundary=\"{boundary}\"")
    } else {
        format!("multipart/mixed; boundary={boundary}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundary_is_read_with_and_without_quotes() {
        for (content_type, boundary) in [
            ("multipart/mixed; boundary=b", Some("b")),
            ("Multipart/Mixed;BOUNDARY=b", Some("b")),
            ("multipart/mixed; boundary=\"b\"", Some("b")),
            (
                "multipart/mixed; boundary=\"b c:1\"; charset=utf-8",
                Some("b c:1"),
            ),
            ("multipart/mixed; charset=utf-8; boundary=b", Some("b")),
            (
                "multipart/mixed; charset=\"a;b\"; boundary=b ; x=y",
                Some("b"),
            ),
            ("multipart/mixed; ; boundary=b", Some("b")),
            ("multipart/mixed", None),
            ("multipart/mixed; boundary", None),
            ("multipart/mixed; boundary=", None),
            ("multipart/mixed; boundary=\"b", None),
            ("multipart/mixed; boundary=\"b;c\"", None),
            ("multipart/mixed; boundary=é", None),
            ("multipart/form-data; boundary=b", None),
            ("application/json", None),
        ] {
            assert_eq!(boundary_of(content_type), boundary, "{content_type}");
        }
        assert!(boundary_of(&multipart(&"b".repeat(70))).is_some());
        assert!(boundary_of(&multipart(&"b".repeat(71))).is_none());
    }

    #[test]
    fn boundary_is_quoted_where_it_is_no_token() {
        assert_eq!(multipart("b_1-2"), "multipart/mixed; boundary=b_1-2");
        assert_eq!(multipart("b:1"), "multipart/mixed; boundary=\"b:1\"");
    }
}
