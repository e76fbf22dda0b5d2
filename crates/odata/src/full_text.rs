//! Words of text and the search for phrases of words.
//!
//! A word is a word of UAX #29 with a letter or digit in it, in lower case: runs of letters, digits and `_`, runs of
//! Katakana, single Han and Hiragana characters. Everything else separates words.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;

use crate::value::{Value, push_plain_text};

/// Longest search text in bytes.
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

/// Consecutive words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    words: Vec<String>,
}

impl Phrase {
    /// The words of a text.
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

    /// True when the words stand one behind the other in the text. A phrase without words is nowhere.
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

    /// True when the phrase is in the value: in a string, in a number or boolean as text, in a member of a complex
    /// value, in an element of a list.
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

/// The text is empty or too long to search for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the search text has to have 1 to {MAX_FULL_TEXT_QUERY_BYTES} bytes")]
pub struct FullTextQueryError;

/// A full-text search: phrases that all have to be found, each in any value of the entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTextQuery {
    phrases: Vec<Phrase>,
}

impl FullTextQuery {
    /// Reads the option `q`: phrases are separated by spaces.
    ///
    /// # Errors
    /// [`TextQueryError`] unless the text has 1 to [`MAX_QUERY_BYTES`] bytes.
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

    /// True when every phrase is in one of the values.
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
    fn phrases_are_found_by_whole_words() {
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
    fn queries_look_into_every_kind_of_value() {
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
        fn every_run_of_words_is_found_again(text in "\\PC*", from in 0usize..8, len in 1usize..4) {
            let all: Vec<String> = words(&text).map(Cow::into_owned).collect();
            if let Some(part) = all.get(from..from + len) {
                let phrase = Phrase { words: part.to_vec() };
                prop_assert!(phrase.is_in(&text));
            }
        }
    }
}
