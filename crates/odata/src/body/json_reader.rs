//! The JSON parser of request bodies.
//!
//! `serde_json` cannot replace it. It refuses the text that [`read_object`] tolerates as the original does: control
//! characters in strings, leading zeros, suffixes of numbers. It has neither the text of numbers nor
//! a limit of values without a second pass over the text (`RawValue`) for each level of depth.

use std::borrow::Cow;

/// The maximum depth of objects and arrays.
pub const MAX_DEPTH: usize = 64;

/// The maximum number of values, including those in arrays and nested objects. A value takes about 50 bytes of memory even
/// if its text is short.
pub const MAX_VALUES: usize = 100_000;

/// A JSON value. Scalars keep their text.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonValue<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// The text of the number without suffix.
    Number(&'a str),
    /// The unescaped string.
    String(Cow<'a, str>),
    /// The elements.
    Array(Vec<JsonValue<'a>>),
    /// The members.
    Object(JsonMembers<'a>),
}

/// The members of an object in the order of the text. Names may repeat.
pub type JsonMembers<'a> = Vec<(Cow<'a, str>, JsonValue<'a>)>;

/// The text is not a JSON object, exceeds [`MAX_DEPTH`] or [`MAX_VALUES`], or is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not a JSON object")]
pub struct JsonError;

impl JsonValue<'_> {
    /// The text of a scalar for [`crate::value::parse_value`]; `None` for null, arrays and objects.
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

/// Parses a text that is one JSON object (RFC 8259).
///
/// The parser also accepts control characters in strings, leading zeros, and `d` or `f` after a number.
///
/// # Errors
/// [`JsonError`] if the text is not an object, or exceeds [`MAX_DEPTH`] or [`MAX_VALUES`].
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
    /// The number of values so far.
    values: usize,
}

impl<'a> JsonReader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, expected: u8) -> Result<(), JsonError> {
        if self.peek() == Some(expected) {
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

    /// The text from a position to the current one.
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
            _ => self.keyword(),
        }
    }

    fn keyword(&mut self) -> Result<JsonValue<'a>, JsonError> {
        let rest = self.text.get(self.at..).unwrap_or("");
        for (keyword, value) in [
            ("null", JsonValue::Null),
            ("true", JsonValue::Bool(true)),
            ("false", JsonValue::Bool(false)),
        ] {
            if rest.starts_with(keyword) {
                self.at += keyword.len();
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
        // A type suffix of Java is accepted and ignored.
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
            let unescaped_from = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\')) {
                self.at += 1;
            }
            text.push_str(self.slice(unescaped_from));
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

    /// The character of `\uXXXX`, or of two of them for a surrogate pair. Half a pair is no character: what is stored would not
    /// be what was sent.
    fn unicode(&mut self) -> Result<char, JsonError> {
        let unit = self.hex4()?;
        if !(0xd800..0xdc00).contains(&unit) {
            return char::from_u32(unit).ok_or(JsonError);
        }
        if self.text.get(self.at..self.at + 2) != Some("\\u") {
            return Err(JsonError);
        }
        self.at += 2;
        let low = self.hex4()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(JsonError);
        }
        char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)).ok_or(JsonError)
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
    fn malformed_and_too_large_objects_are_refused() {
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
            "{\"a\":\"\\ud83d\"}",
            "{\"a\":\"\\ud83d\\u0041\"}",
            "{\"a\":\"\\ude00\\ud83d\"}",
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

    #[test]
    fn text_that_serde_json_refuses_is_tolerated() {
        for (text, expected) in [
            ("{\"a\":2.5d}", "2.5"),
            ("{\"a\":007}", "007"),
            ("{\"a\":\"\t\"}", "\t"),
        ] {
            let members = read_object(text.as_bytes()).unwrap();
            assert_eq!(members[0].1.scalar_text(), Some(expected), "{text}");
            assert!(
                serde_json::from_str::<serde_json::Value>(text).is_err(),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn output_of_serde_json_is_parsed(texts in prop::collection::vec(any::<String>(), 0..4), numbers in prop::collection::vec(any::<f64>(), 0..4)) {
            let json = serde_json::json!({"texts": texts, "numbers": numbers});
            let printed = json.to_string();
            let members = read_object(printed.as_bytes()).unwrap();
            let read = members.iter().find(|(name, _)| name == "texts").unwrap();
            let expected = texts.iter().map(|text| JsonValue::String(text.as_str().into())).collect();
            prop_assert_eq!(&read.1, &JsonValue::Array(expected));
        }

        #[test]
        fn arbitrary_input_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "[{}\\[\\]\",:\\\\a1u ]*") {
            let _ = read_object(&bytes);
            let _ = read_object(text.as_bytes());
        }
    }
}
