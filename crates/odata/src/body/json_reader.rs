//! A JSON reader that keeps the text of numbers.

use std::borrow::Cow;

/// Deepest nesting of objects and arrays.
pub const MAX_DEPTH: usize = 64;

/// Values in a text, those of arrays and nested objects included: each takes some 50 bytes of memory, however short it is.
pub const MAX_VALUES: usize = 100_000;

/// A JSON value; scalars keep their text.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonValue<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// The characters of the number as written.
    Number(&'a str),
    /// The unescaped characters.
    String(Cow<'a, str>),
    /// The elements.
    Array(Vec<JsonValue<'a>>),
    /// The members in order of the text; names may repeat.
    Object(JsonMembers<'a>),
}

/// Members of an object in order of the text.
pub type JsonMembers<'a> = Vec<(Cow<'a, str>, JsonValue<'a>)>;

/// The text is no JSON, nested too deeply, has too many values, or is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is no JSON object")]
pub struct JsonError;

impl JsonValue<'_> {
    /// The text of a scalar as the declared type reads it; `None` for null, arrays and objects.
    #[must_use]
    pub fn scalar_text(&self) -> Option<&str> {
        match self {
            Self::Bool(true) => Some("true"),
            Self::Bool(false) => Some("false"),
            Self::Number(text) => Some(text),
            Self::String(text) => Some(text),
            Self::Null | Self::Array(_) | Self::Object(_) => None,
        }
    }
}

/// Reads one object that fills the text (RFC 8259), white space around it ignored.
///
/// Tolerated beyond the grammar: control characters inside strings, and `d` or `f` behind a number. A surrogate
/// without its partner reads as U+FFFD.
///
/// # Errors
/// [`JsonError`], also when nested more than [`MAX_DEPTH`] deep, and with more than [`MAX_VALUES`] values.
pub fn read_object(bytes: &[u8]) -> Result<JsonMembers<'_>, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError)?;
    let mut reader = JsonReader {
        text,
        at: 0,
        values: 0,
    };
    reader.skip_space();
    let members = reader.object(1)?;
    reader.skip_space();
    if reader.at == text.len() {
        Ok(members)
    } else {
        Err(JsonError)
    }
}

struct JsonReader<'a> {
    text: &'a str,
    at: usize,
    /// Values so far.
    values: usize,
}

impl<'a> JsonReader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, wanted: u8) -> Result<(), JsonError> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            return Ok(());
        }
        Err(JsonError)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn slice(&self, from: usize) -> &'a str {
        self.text.get(from..self.at).unwrap_or("")
    }

    fn value(&mut self, depth: usize) -> Result<JsonValue<'a>, JsonError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(JsonError);
        }
        match self.peek() {
            Some(b'{') => self.object(depth + 1).map(JsonValue::Object),
            Some(b'[') => self.array(depth + 1).map(JsonValue::Array),
            Some(b'"') => self.string().map(JsonValue::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(JsonValue::Number),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<JsonValue<'a>, JsonError> {
        let rest = self.text.get(self.at..).unwrap_or("");
        for (word, value) in [
            ("null", JsonValue::Null),
            ("true", JsonValue::Bool(true)),
            ("false", JsonValue::Bool(false)),
        ] {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(JsonError)
    }

    fn object(&mut self, depth: usize) -> Result<JsonMembers<'a>, JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError);
        }
        self.eat(b'{')?;
        self.skip_space();
        let mut members = Vec::new();
        if self.eat(b'}').is_ok() {
            return Ok(members);
        }
        loop {
            let name = self.string()?;
            self.skip_space();
            self.eat(b':')?;
            self.skip_space();
            members.push((name, self.value(depth)?));
            self.skip_space();
            if self.eat(b'}').is_ok() {
                return Ok(members);
            }
            self.eat(b',')?;
            self.skip_space();
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<JsonValue<'a>>, JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError);
        }
        self.eat(b'[')?;
        self.skip_space();
        let mut items = Vec::new();
        if self.eat(b']').is_ok() {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth)?);
            self.skip_space();
            if self.eat(b']').is_ok() {
                return Ok(items);
            }
            self.eat(b',')?;
            self.skip_space();
        }
    }

    fn number(&mut self) -> Result<&'a str, JsonError> {
        let from = self.at;
        let _ = self.eat(b'-');
        self.digits()?;
        if self.eat(b'.').is_ok() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let number = self.slice(from);
        // A suffix as in Java source is tolerated and does not count.
        if matches!(self.peek(), Some(b'd' | b'D' | b'f' | b'F')) {
            self.at += 1;
        }
        Ok(number)
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > from {
            Ok(())
        } else {
            Err(JsonError)
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.eat(b'"')?;
        let from = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let text = self.slice(from);
                    self.at += 1;
                    return Ok(Cow::Borrowed(text));
                }
                Some(b'\\') => break,
                Some(_) => self.at += 1,
                None => return Err(JsonError),
            }
        }
        let mut text = self.slice(from).to_owned();
        loop {
            let clean = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\')) {
                self.at += 1;
            }
            text.push_str(self.slice(clean));
            let byte = self.peek().ok_or(JsonError)?;
            self.at += 1;
            if byte == b'"' {
                return Ok(Cow::Owned(text));
            }
            text.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = self.peek().ok_or(JsonError)?;
        self.at += 1;
        Ok(match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(JsonError),
        })
    }

    fn unicode(&mut self) -> Result<char, JsonError> {
        let unit = self.hex4()?;
        if (0xd800..0xdc00).contains(&unit) && self.text.get(self.at..self.at + 2) == Some("\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let point = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(JsonError)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(JsonError);
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| JsonError)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scalars_keep_their_text() {
        let members = read_object(b" {\"a\":1.50, \"b\":-1e3,\"c\":2.5d,\"d\":\"\\u65e5\\ud83d\\ude00\\/\\n\",\"e\":[null,true,{}]}\n").unwrap();
        let texts: Vec<_> = members
            .iter()
            .map(|(_, value)| value.scalar_text())
            .collect();
        assert_eq!(
            texts,
            [
                Some("1.50"),
                Some("-1e3"),
                Some("2.5"),
                Some("日😀/\n"),
                None
            ]
        );
        assert_eq!(
            members[4].1,
            JsonValue::Array(vec![
                JsonValue::Null,
                JsonValue::Bool(true),
                JsonValue::Object(vec![])
            ])
        );
    }

    #[test]
    fn other_text_is_refused() {
        for bad in [
            "",
            " ",
            "a",
            "\"a\"",
            "[]",
            "{",
            "{\"a\":1",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\" 1}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":+1}",
            "{\"a\":.5}",
            "{\"a\":1.}",
            "{\"a\":nul}",
            "{}x",
            "{\"a\":\"",
            "<a/>",
        ] {
            assert_eq!(read_object(bad.as_bytes()), Err(JsonError), "{bad}");
        }
        assert_eq!(read_object(b"{\"a\":\"\xff\"}"), Err(JsonError));
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(read_object(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
        assert_eq!(read_object(nested(MAX_DEPTH).as_bytes()), Err(JsonError));
        assert_eq!(read_object(nested(100_000).as_bytes()), Err(JsonError));
        let long = |values: usize| format!("{{\"a\":[0{}]}}", ",0".repeat(values - 2));
        assert!(read_object(long(MAX_VALUES).as_bytes()).is_ok());
        assert_eq!(read_object(long(MAX_VALUES + 1).as_bytes()), Err(JsonError));
    }

    proptest! {
        #[test]
        fn what_other_writers_print_is_read(texts in prop::collection::vec(any::<String>(), 0..4), numbers in prop::collection::vec(any::<f64>(), 0..4)) {
            let json = serde_json::json!({"texts": texts, "numbers": numbers});
            let printed = json.to_string();
            let members = read_object(printed.as_bytes()).unwrap();
            let read = members.iter().find(|(name, _)| name == "texts").unwrap();
            let expected = texts.iter().map(|text| JsonValue::String(text.as_str().into())).collect();
            prop_assert_eq!(&read.1, &JsonValue::Array(expected));
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "[{}\\[\\]\",:\\\\a1u ]*") {
            let _ = read_object(&bytes);
            let _ = read_object(text.as_bytes());
        }
    }
}
