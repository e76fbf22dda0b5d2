//! The option `$skiptoken`: the position in a list after which its next page begins.
//!
//! ```
//! use personium_odata::skip_token::SkipToken;
//! use personium_odata::value::Value;
//!
//! let token = SkipToken { id: "a'b".to_owned(), values: Some(vec![Value::Int32(5)]) };
//! assert_eq!(SkipToken::parse(&token.to_string()), Some(token));
//! assert_eq!(SkipToken::parse("13S35K"), None);
//! ```

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::value::Value;

/// The maximum size of the values in a token in bytes.
const MAX_VALUES_BYTES: usize = 1500;

/// A position in an ordered list: that of one entity. It stays the same when others are inserted or deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct SkipToken {
    /// The id of the entity. Of entities with the same values, the one with the smaller id comes first.
    pub id: String,
    /// The values by which the list is ordered; `None` if they are too long for a URL.
    pub values: Option<Vec<Value>>,
}

impl SkipToken {
    /// The position of the entity with this id and these values.
    #[must_use]
    pub fn new(id: &str, values: Vec<Value>) -> Self {
        let size: usize = values.iter().map(Value::size_bytes).sum();
        Self {
            id: id.to_owned(),
            values: (size <= MAX_VALUES_BYTES).then_some(values),
        }
    }

    /// Parses the value of the option; `None` for text that [`SkipToken`] did not print.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let json = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (id, values) = serde_json::from_slice(&json).ok()?;
        Some(Self { id, values })
    }
}

impl fmt::Display for SkipToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(&(&self.id, &self.values)).map_err(|_| fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(json))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::parse_number;

    #[test]
    fn token_keeps_every_kind_of_value() {
        let values = vec![
            Value::Null,
            Value::Bool(true),
            Value::Int32(-1),
            Value::Single(0.5),
            Value::Double(1e300),
            parse_number("9007199254740993").unwrap(),
            Value::from("é'&"),
            Value::DateTime(5),
        ];
        let token = SkipToken::new("id/ +é", values);
        let text = token.to_string();
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
        assert_eq!(SkipToken::parse(&text), Some(token));
        let long = SkipToken::new("1", vec![Value::from("x".repeat(2000))]);
        assert_eq!(long.values, None);
        assert_eq!(SkipToken::parse(&long.to_string()), Some(long));
    }

    proptest! {
        #[test]
        fn arbitrary_token_does_not_panic(text in "[A-Za-z0-9_-]*|\\PC*") {
            let _ = SkipToken::parse(&text);
        }
    }
}
