//! The syntax of Java properties files.
//!
//! A file that is valid UTF-8 is read as UTF-8, any other as ISO-8859-1. Both may contain `\uXXXX`.

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The key without escapes.
    pub key: String,
    /// The value without escapes.
    pub value: String,
    /// The number of its first line, from 1.
    pub line: usize,
    /// The number of its last line.
    pub last_line: usize,
}

/// A malformed `\u` escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: \\u is not followed by four hex digits that make a character")]
pub struct PropertiesError {
    /// The number of the line, from 1.
    pub line: usize,
}

/// Returns the properties of a file in order. A key may occur several times.
///
/// # Errors
/// [`PropertiesError`] if a `\u` escape is malformed. Any other text is valid.
pub fn parse(bytes: &[u8]) -> Result<Vec<Property>, PropertiesError> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    let mut properties = Vec::new();
    let mut lines = natural_lines(&text).into_iter().zip(1..);
    while let Some((first, line)) = lines.next() {
        let first = first.trim_start_matches(is_blank);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        let mut last_line = line;
        while is_continued(&logical) {
            logical.pop();
            match lines.next() {
                Some((more, number)) => {
                    logical.push_str(more.trim_start_matches(is_blank));
                    last_line = number;
                }
                None => break,
            }
        }
        properties.push(Property {
            last_line,
            ..property(&logical, line)?
        });
    }
    Ok(properties)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// Returns the lines, which end with CR, LF or CR LF.
fn natural_lines(text: &str) -> Vec<&str> {
    text.split('\n')
        .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
        .collect()
}

/// Whether the line ends with an odd number of backslashes.
fn is_continued(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn property(logical: &str, line: usize) -> Result<Property, PropertiesError> {
    let mut escaped = false;
    let key_end = logical.find(|c: char| {
        let ends = !escaped && (is_blank(c) || c == '=' || c == ':');
        escaped = !escaped && c == '\\';
        ends
    });
    let (key, rest) = logical.split_at(key_end.unwrap_or(logical.len()));
    let rest = rest.trim_start_matches(is_blank);
    let rest = rest
        .strip_prefix(['=', ':'])
        .unwrap_or(rest)
        .trim_start_matches(is_blank);
    Ok(Property {
        key: unescape(key, line)?,
        value: unescape(rest, line)?,
        line,
        last_line: line,
    })
}

fn unescape(text: &str, line: usize) -> Result<String, PropertiesError> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let mut buffer = [0; 2];
    while let Some(c) = chars.next() {
        let unescaped = match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let hex =
                        digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                    let unit = u16::from_str_radix(&digits, 16)
                        .ok()
                        .filter(|_| hex)
                        .ok_or(PropertiesError { line })?;
                    units.push(unit);
                    continue;
                }
                Some(other) => other,
                None => continue,
            },
            other => other,
        };
        units.extend_from_slice(unescaped.encode_utf16(&mut buffer));
    }
    String::from_utf16(&units).map_err(|_| PropertiesError { line })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(bytes: &[u8]) -> Vec<(String, String)> {
        parse(bytes)
            .unwrap()
            .into_iter()
            .map(|property| (property.key, property.value))
            .collect()
    }

    fn single(text: &str) -> (String, String) {
        let mut found = pairs(text.as_bytes());
        assert_eq!(found.len(), 1, "{text}");
        found.remove(0)
    }

    #[test]
    fn key_ends_at_separator_or_blank() {
        for text in [
            "a=b",
            "a:b",
            "a b",
            "a = b",
            " \t a\t:\tb",
            "a   b",
            "a=b\r\n",
            "\u{feff}a=b",
        ] {
            assert_eq!(single(text), ("a".into(), "b".into()), "{text:?}");
        }
        assert_eq!(single("a"), ("a".into(), String::new()));
        assert_eq!(single("a="), ("a".into(), String::new()));
        assert_eq!(single("a==b"), ("a".into(), "=b".into()));
        assert_eq!(single("a b = c "), ("a".into(), "b = c ".into()));
        assert_eq!(single("=b"), (String::new(), "b".into()));
    }

    #[test]
    fn escapes_are_resolved_and_malformed_ones_refused() {
        assert_eq!(single(r"a\=b\:c\ d=e"), ("a=b:c d".into(), "e".into()));
        assert_eq!(
            single(r"a=\t\n\r\f\\\z"),
            ("a".into(), "\t\n\r\u{c}\\z".into())
        );
        assert_eq!(single(r"a=\u00e9\u3042"), ("a".into(), "éあ".into()));
        assert_eq!(single(r"a=\ud83d\ude00"), ("a".into(), "😀".into()));
        for text in [
            r"a=\u12",
            r"a=\u12g4",
            r"a=\u+123",
            r"a=\ud83d",
            "x=1\na=\\uzzzz",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(parse(b"x=1\ny=2\na=\\u").unwrap_err().line, 3);
    }

    #[test]
    fn comments_are_skipped_and_continued_lines_joined() {
        let text = "# a comment\\\n ! another\n\n  \nkey = one, \\\n    two, \\\r\n  three\nend = c:\\\\\nlast\\";
        assert_eq!(
            pairs(text.as_bytes()),
            [
                ("key".into(), "one, two, three".into()),
                ("end".into(), "c:\\".into()),
                ("last".into(), String::new())
            ]
        );
        let found = parse(text.as_bytes()).unwrap();
        assert_eq!(
            found
                .iter()
                .map(|property| property.line)
                .collect::<Vec<_>>(),
            [5, 8, 9]
        );
    }

    #[test]
    fn utf8_and_latin1_are_read() {
        assert_eq!(pairs(b"a=caf\xe9"), [("a".into(), "café".into())]);
        assert_eq!(
            pairs("a=café あ".as_bytes()),
            [("a".into(), "café あ".into())]
        );
    }

    fn escape(text: &str) -> String {
        let mut buffer = [0; 2];
        let unit = |unit: &u16| format!("\\u{unit:04x}");
        text.chars()
            .map(|c| {
                c.encode_utf16(&mut buffer)
                    .iter()
                    .map(unit)
                    .collect::<String>()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn escaped_properties_round_trip(key: String, value: String) {
            let text = format!("{}={}", escape(&key), escape(&value));
            prop_assert_eq!(pairs(text.as_bytes()), [(key, value)]);
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
