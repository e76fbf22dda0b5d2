//! Full-text search: phrases of words in texts and values.
//!
//! A word is a word of UAX #29 with at least one letter or digit, in lower case: a sequence of letters, digits and `_`, a
//! sequence of Katakana, a single Han or Hiragana character. Other characters separate words.
//!
//! ```
//! use personium_odata::full_text::Phrase;
//!
//! assert!(Phrase::new("Search value").is_in("a search, VALUE by value"));
//! assert!(!Phrase::new("sea").is_in("search"));
//! ```

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;

use crate::value::{Value, push_plain_text};

/// The maximum size of a search text in bytes.
pub const MAX_FULL_TEXT_QUERY_BYTES: usize = 255;

/// The words of a text in order, in lower case.
pub fn words(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.unicode_words().map(lower)
}

fn lower(word: &str) -> Cow<'_, str> {
    let unchanged = word
        .bytes()
        .all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    if unchanged {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(word.to_lowercase())
    }
}

/// A sequence of words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    words: Vec<String>,
}

impl Phrase {
    /// The phrase of the words of a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self {
            words: words(text).map(Cow::into_owned).collect(),
        }
    }

    /// The words, in lower case.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Returns true if the text contains the words one after the other. No text contains a phrase without words.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        match self.words.as_slice() {
            [] => false,
            [single] => words(text).any(|word| word == **single),
            several => {
                let all: Vec<_> = words(text).collect();
                all.windows(several.len())
                    .any(|window| window.iter().zip(several).all(|(a, b)| a == b.as_str()))
            }
        }
    }

    /// Returns true if the value contains the phrase: in a string, in a number, boolean or date as text, in a member of a
    /// complex value, in an element of a list.
    #[must_use]
    pub fn is_in_value(&self, value: &Value) -> bool {
        match value {
            Value::Null => false,
            Value::String(text) => self.is_in(text),
            Value::Complex(members) => members.iter().any(|(_, member)| self.is_in_value(member)),
            Value::List(items) => items.iter().any(|item| self.is_in_value(item)),
            scalar => {
                let mut text = String::new();
                push_plain_text(&mut text, scalar);
                self.is_in(&text)
            }
        }
    }
}

/// The search text is empty or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the search text has to have 1 to {MAX_FULL_TEXT_QUERY_BYTES} bytes")]
pub struct FullTextQueryError;

/// A full-text query: phrases that the values of an entity have to contain, each of them in any value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTextQuery {
    phrases: Vec<Phrase>,
}

impl FullTextQuery {
    /// Parses the option `q`: phrases, separated by spaces.
    ///
    /// # Errors
    /// [`FullTextQueryError`] unless the text has 1 to [`MAX_FULL_TEXT_QUERY_BYTES`] bytes.
    pub fn parse(text: &str) -> Result<Self, FullTextQueryError> {
        if text.is_empty() || text.len() > MAX_FULL_TEXT_QUERY_BYTES {
            return Err(FullTextQueryError);
        }
        Ok(Self {
            phrases: text
                .split(' ')
                .filter(|token| !token.is_empty())
                .map(Phrase::new)
                .collect(),
        })
    }

    /// The phrases.
    #[must_use]
    pub fn phrases(&self) -> &[Phrase] {
        &self.phrases
    }

    /// Returns true if each phrase is in one of the values.
    pub fn matches<'v, I>(&self, values: impl Fn() -> I) -> bool
    where
        I: Iterator<Item = &'v Value>,
    {
        self.phrases
            .iter()
            .all(|phrase| values().any(|value| phrase.is_in_value(value)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn phrases_match_whole_words() {
        let english = "Test Substringof Search value";
        let japanese = "部分一致検索漢字のテスト";
        for (phrase, text, found) in [
            ("value", english, true),
            ("VALUE", english, true),
            ("Search value", english, true),
            ("Substringof value", english, false),
            ("Search substr", english, false),
            ("test", "testing", false),
            ("", english, false),
            ("!?", "!?", false),
            ("検索漢字", japanese, true),
            ("テスト", japanese, true),
            ("テス", japanese, false),
            ("けんさく", "ひらがなけんさくてすと", true),
            ("けさ", "ひらがなけんさくてすと", false),
            ("a_b", "x a_b y", true),
            ("a-b", "a b", true),
        ] {
            assert_eq!(Phrase::new(phrase).is_in(text), found, "{phrase} in {text}");
        }
    }

    #[test]
    fn queries_search_values_of_every_type() {
        let values = [
            Value::from("string data"),
            Value::Double(1234.0),
            Value::Bool(true),
            Value::Null,
        ];
        let found = |text: &str| {
            FullTextQuery::parse(text)
                .unwrap()
                .matches(|| values.iter())
        };
        assert!(found("data") && found("data 1234") && found("TRUE string") && found("  data "));
        assert!(!found("dat") && !found("data other") && !found("\"data\" ?") && !found("null"));
        assert_eq!(FullTextQuery::parse(""), Err(FullTextQueryError));
        assert!(FullTextQuery::parse(&"a".repeat(255)).is_ok());
        assert_eq!(
            FullTextQuery::parse(&"a".repeat(256)),
            Err(FullTextQueryError)
        );
    }

    proptest! {
        #[test]
        fn each_sequence_of_words_of_a_text_is_found(text in "\\PC*", from in 0usize..8, len in 1usize..4) {
            let all: Vec<String> = words(&text).map(Cow::into_owned).collect();
            if let Some(part) = all.get(from..from + len) {
                let phrase = Phrase { words: part.to_vec() };
                prop_assert!(phrase.is_in(&text));
            }
        }
    }
}
