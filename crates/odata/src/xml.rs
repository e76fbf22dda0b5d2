//! Writing of XML text.

/// Beginning of every document.
pub(crate) const DECLARATION: &str = "<?xml version='1.0' encoding='utf-8'?>";
/// Namespace of types and entity metadata.
pub(crate) const METADATA_NAMESPACE: &str =
    "http://schemas.microsoft.com/ado/2007/08/dataservices/metadata";
/// Namespace of properties, and the stem of link relations.
pub(crate) const DATA_NAMESPACE: &str = "http://schemas.microsoft.com/ado/2007/08/dataservices";

/// Appends the text of an element. Characters that XML 1.0 cannot hold become U+FFFD.
pub(crate) fn push_text(out: &mut String, text: &str) {
    push(out, text, |c| matches!(c, '\r'));
}

/// Appends the value of an attribute in double quotes, the quotes not included.
pub(crate) fn push_attribute_text(out: &mut String, text: &str) {
    push(out, text, |c| matches!(c, '\r' | '\n' | '\t'));
}

fn push(out: &mut String, text: &str, as_number: impl Fn(char) -> bool) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c if as_number(c) => out.push_str(match c {
                '\r' => "&#13;",
                '\n' => "&#10;",
                _ => "&#9;",
            }),
            '\t' | '\n' => out.push(c),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
}

/// Appends ` name="value"`.
pub(crate) fn push_attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    push_attribute_text(out, value);
    out.push('"');
}

/// Appends ` name="value"` for each pair.
pub(crate) fn push_attributes(out: &mut String, pairs: &[(&str, &str)]) {
    for (name, value) in pairs {
        push_attribute(out, name, value);
    }
}
