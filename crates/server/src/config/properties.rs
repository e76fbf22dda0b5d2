//! The syntax of properties files, as Java writes and reads them.
//!
//! Bytes that are valid UTF-8 are read as UTF-8, others as ISO-8859-1; `\uXXXX` works in both.

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The key, escapes resolved.
    pub key: String,
    /// The value, escapes resolved.
    pub value: String,
    /// The line where it begins, from 1.
    pub line: usize,
}

/// A file that cannot be read, with the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: \\u is not followed by four hex digits that make a character")]
pub struct SyntaxError {
    /// The line, from 1.
    pub line: usize,
}

/// The pairs of a file, in order; a key may occur more than once, then the last one counts.
///
/// # Errors
/// If a `\u` escape is malformed; everything else means something.
pub fn parse(bytes: &[u8]) -> Result<Vec<Pair>, SyntaxError> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    let mut pairs = Vec::new();
    let mut lines = natural_lines(&text).into_iter().zip(1..);
    while let Some((first, line)) = lines.next() {
        let first = first.trim_start_matches(is_blank);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while ends_in_escape(&logical) {
            logical.pop();
            match lines.next() {
                Some((more, _)) => logical.push_str(more.trim_start_matches(is_blank)),
                None => break,
            }
        }
        pairs.push(pair(&logical, line)?);
    }
    Ok(pairs)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// Lines that end with CR, LF or CR LF.
fn natural_lines(text: &str) -> Vec<&str> {
    text.split('\n')
        .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
        .collect()
}

/// Whether the line ends with an odd number of backslashes.
fn ends_in_escape(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn pair(logical: &str, line: usize) -> Result<Pair, SyntaxError> {
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
    Ok(Pair {
        key: unescape(key, line)?,
        value: unescape(rest, line)?,
        line,
    })
}

fn unescape(text: &str, line: usize) -> Result<String, SyntaxError> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    let mut buffer = [0; 2];
    while let Some(c) = chars.next() {
        let meant = match c {
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
                        .ok_or(SyntaxError { line })?;
                    units.push(unit);
                    continue;
                }
                Some(other) => other,
                None => continue,
            },
            other => other,
        };
        units.extend_from_slice(meant.encode_utf16(&mut buffer));
    }
    String::from_utf16(&units).map_err(|_| SyntaxError { line })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(bytes: &[u8]) -> Vec<(String, String)> {
        parse(bytes)
            .unwrap()
            .into_iter()
            .map(|pair| (pair.key, pair.value))
            .collect()
    }

    fn one(text: &str) -> (String, String) {
        let mut found = pairs(text.as_bytes());
        assert_eq!(found.len(), 1, "{text}");
        found.remove(0)
    }

    #[test]
    fn separators_and_blanks() {
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
            assert_eq!(one(text), ("a".into(), "b".into()), "{text:?}");
        }
        assert_eq!(one("a"), ("a".into(), String::new()));
        assert_eq!(one("a="), ("a".into(), String::new()));
        assert_eq!(one("a==b"), ("a".into(), "=b".into()));
        assert_eq!(one("a b = c "), ("a".into(), "b = c ".into()));
        assert_eq!(one("=b"), (String::new(), "b".into()));
    }

    #[test]
    fn escapes() {
        assert_eq!(one(r"a\=b\:c\ d=e"), ("a=b:c d".into(), "e".into()));
        assert_eq!(
            one(r"a=\t\n\r\f\\\z"),
            ("a".into(), "\t\n\r\u{c}\\z".into())
        );
        assert_eq!(one(r"a=\u00e9\u3042"), ("a".into(), "éあ".into()));
        assert_eq!(one(r"a=\ud83d\ude00"), ("a".into(), "😀".into()));
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
    fn comments_and_continued_lines() {
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
            found.iter().map(|pair| pair.line).collect::<Vec<_>>(),
            [5, 8, 9]
        );
    }

    #[test]
    fn both_encodings() {
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
        fn what_is_escaped_is_read_back(key: String, value: String) {
            let text = format!("{}={}", escape(&key), escape(&value));
            prop_assert_eq!(pairs(text.as_bytes()), [(key, value)]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
