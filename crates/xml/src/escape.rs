//! Escaping of text for XML 1.0.
//!
//! A character that XML 1.0 does not allow (section 2.2) becomes U+FFFD. A carriage return becomes a character reference,
//! because a reader would turn it into a line feed (section 2.11).

/// Appends text as the content of an element.
///
/// ```
/// let mut out = String::new();
/// personium_xml::escape_text(&mut out, "a < \"b\"");
/// assert_eq!(out, "a &lt; \"b\"");
/// ```
pub fn escape_text(out: &mut String, text: &str) {
    escape(out, text, |c| match c {
        '\r' => Some("&#13;"),
        _ => None,
    });
}

/// Appends text as the content of an element, and escapes quotation marks too.
///
/// ```
/// let mut out = String::new();
/// personium_xml::escape_text_and_quotes(&mut out, "a < \"b\"");
/// assert_eq!(out, "a &lt; &quot;b&quot;");
/// ```
pub fn escape_text_and_quotes(out: &mut String, text: &str) {
    escape(out, text, |c| match c {
        '"' => Some("&quot;"),
        '\r' => Some("&#13;"),
        _ => None,
    });
}

/// Appends text as the value of an attribute between quotation marks, without the marks.
///
/// Tabs and line feeds become character references, because a reader would turn them into spaces (section 3.3.3).
///
/// ```
/// let mut out = String::new();
/// personium_xml::escape_attribute(&mut out, "\"a\"\tb");
/// assert_eq!(out, "&quot;a&quot;&#9;b");
/// ```
pub fn escape_attribute(out: &mut String, text: &str) {
    escape(out, text, |c| match c {
        '"' => Some("&quot;"),
        '\t' => Some("&#9;"),
        '\n' => Some("&#10;"),
        '\r' => Some("&#13;"),
        _ => None,
    });
}

/// Appends text with `&`, `<`, `>`, forbidden characters and those of `replacement` replaced.
fn escape(out: &mut String, text: &str, replacement: impl Fn(char) -> Option<&'static str>) {
    let replacement = |c| match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        c => replacement(c).or((!is_allowed(c)).then_some("\u{fffd}")),
    };
    let mut unchanged_from = 0;
    for (at, c) in text.char_indices() {
        if let Some(replacement) = replacement(c) {
            out.push_str(text.get(unchanged_from..at).unwrap_or_default());
            out.push_str(replacement);
            unchanged_from = at + c.len_utf8();
        }
    }
    out.push_str(text.get(unchanged_from..).unwrap_or_default());
}

/// Returns true if XML 1.0 section 2.2 allows the character in a document, escaped or not.
pub(crate) fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "&<>\"'\t\n\r\u{0}\u{1f}\u{7f}\u{fffe}\u{ffff}\u{fffd}\u{1f600}e";

    fn escaped(escape: fn(&mut String, &str)) -> String {
        let mut out = String::from("x");
        escape(&mut out, TEXT);
        out
    }

    #[test]
    fn each_context_escapes_its_characters() {
        let rest = "\u{fffd}\u{fffd}\u{7f}\u{fffd}\u{fffd}\u{fffd}\u{1f600}e";
        assert_eq!(
            escaped(escape_text),
            format!("x&amp;&lt;&gt;\"'\t\n&#13;{rest}")
        );
        assert_eq!(
            escaped(escape_text_and_quotes),
            format!("x&amp;&lt;&gt;&quot;'\t\n&#13;{rest}")
        );
        assert_eq!(
            escaped(escape_attribute),
            format!("x&amp;&lt;&gt;&quot;'&#9;&#10;&#13;{rest}")
        );
    }
}
