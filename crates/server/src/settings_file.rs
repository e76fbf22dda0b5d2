//! Changes of one key in a settings file, line by line: all else stays as it was written.

use crate::config::PREFIX;
use crate::config::properties::{self, Property};

/// Returns the text of a settings file in which a key (without prefix) has another value, or none. `given` is the value in force.
/// `None` if the file cannot be edited line by line, the value in force is not the one in the file, or the new one has
/// characters that a line cannot have.
#[must_use]
pub(crate) fn with_value(
    before: &str,
    key: &str,
    given: &str,
    value: Option<&str>,
) -> Option<String> {
    let is_this_key = |property: &&Property| {
        let name = property.key.strip_prefix("io.personium.");
        let name =
            name.and_then(|name| name.strip_prefix("core.").or(name.strip_prefix("engine.")));
        name == Some(key)
    };
    let found = properties::parse(before.as_bytes()).ok()?;
    let of_key: Vec<&Property> = found.iter().filter(is_this_key).collect();
    let last = of_key.last();
    let in_file = last
        .map(|property| property.value.trim())
        .unwrap_or_default();
    let has_lone_return = before.replace("\r\n", "").contains('\r');
    let is_plain = |text: &str| !text.contains(|c: char| c == '\\' || c.is_control());
    if in_file != given.trim() || has_lone_return || !value.is_none_or(is_plain) {
        return None;
    }
    let line = value.map(|value| format!("{PREFIX}{key}={value}"));
    let is_replaced = |number: usize| {
        let mut all = of_key.iter();
        all.any(|property| (property.line..=property.last_line).contains(&number))
    };
    let mut lines: Vec<&str> = Vec::new();
    let kept = before.strip_suffix('\n').unwrap_or(before);
    for (text, number) in kept.split('\n').zip(1..) {
        if last.is_some_and(|property| property.line == number) {
            lines.extend(line.as_deref());
        } else if !is_replaced(number) {
            lines.push(text);
        }
    }
    if last.is_none() {
        lines.retain(|text| !(before.is_empty() && text.is_empty()));
        // A line that is continued would swallow the new one.
        if lines.last().is_some_and(|text| text.ends_with('\\')) {
            return None;
        }
        lines.extend(line.as_deref());
    }
    match lines.is_empty() {
        true => Some(String::new()),
        false => Some(lines.join("\n") + "\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "x509.root";
    const KEY_LINE: &str = "io.personium.core.x509.root=";

    #[test]
    fn value_is_written_to_the_line_that_counts_and_all_else_stays() {
        for (before, given, value, after) in [
            ("", "", Some("/c.crt"), format!("{KEY_LINE}/c.crt\n")),
            (
                "# a\nb=1",
                "",
                Some("/c.crt"),
                format!("# a\nb=1\n{KEY_LINE}/c.crt\n"),
            ),
            (
                "a=1\nio.personium.core.x509.root : /a.crt \\\n  b.crt\n# end\n",
                "/a.crt b.crt",
                Some("/a.crt b.crt /c.crt"),
                format!("a=1\n{KEY_LINE}/a.crt b.crt /c.crt\n# end\n"),
            ),
            (
                "io.personium.core.x509.root=/a.crt\r\nx=1\r\nio.personium.core.x509.root=/b.crt\r\n",
                "/b.crt",
                Some("/b.crt /c.crt"),
                format!("x=1\r\n{KEY_LINE}/b.crt /c.crt\n"),
            ),
            (
                "io.personium.core.x509.root=\n",
                "",
                Some("/c.crt"),
                format!("{KEY_LINE}/c.crt\n"),
            ),
            (
                "a=1\nio.personium.engine.x509.root=/a.crt\nio.personium.core.x509.root=/b.crt\n# end\n",
                "/b.crt",
                None,
                "a=1\n# end\n".to_owned(),
            ),
            (
                "io.personium.core.x509.root=/a.crt\n",
                "/a.crt",
                None,
                String::new(),
            ),
            ("a=1\n", "", None, "a=1\n".to_owned()),
        ] {
            assert_eq!(
                with_value(before, KEY, given, value),
                Some(after),
                "{before}"
            );
        }
    }

    #[test]
    fn file_that_does_not_have_the_value_in_use_is_not_edited() {
        for (before, given) in [
            ("io.personium.core.x509.root=/a.crt\n", "/b.crt"),
            ("a=1\n", "/b.crt"),
            ("a=1\rb=2\n", ""),
            ("a=1\\\n", ""),
            ("a=\\uzz\n", ""),
        ] {
            assert_eq!(
                with_value(before, KEY, given, Some("/c.crt")),
                None,
                "{before}"
            );
        }
        for value in ["a\nmasterToken=b", "a\\"] {
            assert_eq!(with_value("", KEY, "", Some(value)), None, "{value}");
        }
    }
}
