//! The texts of a script, and the messages for its errors, which are made from them.

use std::collections::HashMap;
use std::rc::Rc;

use crate::rhino_message::{ErrorPlace, rhino_message};
use crate::source_tokens::SourceTokens;

/// The most messages that are kept for errors that are thrown again.
const MESSAGES_MAX: usize = 256;

/// The most texts that are kept.
const SOURCES_MAX: usize = 4;

/// An error of the engine.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct EngineError {
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) message: String,
    /// Whether a function of the language threw it, which was called at the place.
    pub(crate) is_in_native: bool,
    /// Whether it is an error of the syntax at the place.
    pub(crate) is_of_syntax: bool,
}

/// The texts of a script that were read, and the messages that were made.
#[derive(Default)]
pub(crate) struct ErrorTexts {
    sources: HashMap<String, Option<Rc<SourceTokens>>>,
    messages: HashMap<EngineError, Option<String>>,
}

impl ErrorTexts {
    /// The message that was found for an error; `None` if there was none yet.
    pub(crate) fn known(&self, error: &EngineError) -> Option<Option<String>> {
        self.messages.get(error).cloned()
    }

    /// The message of Rhino for an error in a file with this text.
    pub(crate) fn message(
        &mut self,
        error: EngineError,
        read: impl FnOnce() -> Option<String>,
    ) -> Option<String> {
        let source = match self.sources.get(&error.file) {
            // Errors of the syntax need no text.
            _ if error.is_of_syntax => None,
            Some(known) => known.clone(),
            None => {
                let made = read().and_then(SourceTokens::new).map(Rc::new);
                if self.sources.len() >= SOURCES_MAX {
                    self.sources.clear();
                }
                self.sources.insert(error.file.clone(), made.clone());
                made
            }
        };
        let place = ErrorPlace {
            source: source.as_deref(),
            line: error.line,
            column: error.column,
            is_in_native: error.is_in_native,
            is_of_syntax: error.is_of_syntax,
        };
        let message = rhino_message(&error.message, &place);
        if self.messages.len() >= MESSAGES_MAX {
            self.messages.clear();
        }
        self.messages.insert(error, message.clone());
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(file: &str, message: &str) -> EngineError {
        EngineError {
            file: file.to_owned(),
            line: 1,
            column: 1,
            message: message.to_owned(),
            is_in_native: false,
            is_of_syntax: false,
        }
    }

    #[test]
    fn texts_and_messages_are_read_once_and_not_kept_without_bound() {
        let mut texts = ErrorTexts::default();
        let called = Some("f is not a function, it is undefined.".to_owned());
        let first = error("a", "not a function");
        assert_eq!(texts.known(&first), None);
        assert_eq!(
            texts.message(first.clone(), || Some("f()".to_owned())),
            called
        );
        assert_eq!(texts.known(&first), Some(called.clone()));
        assert_eq!(texts.message(first, || None), called);
        for number in 0..1000 {
            let other = error(&format!("b{number}"), "not a function");
            assert_eq!(texts.message(other, || None), None);
            assert!(texts.messages.len() <= MESSAGES_MAX);
            assert!(texts.sources.len() <= SOURCES_MAX);
        }
    }
}
