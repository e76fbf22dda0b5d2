//! The one error that crosses rooms: a code, what fills its message, and why.

use std::error::Error as StdError;
use std::fmt;

use crate::Code;

/// The result of everything that can be refused with a [`Code`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refusal or failure with its code.
///
/// The parameters fill the `{0}`, `{1}` places of the code's message. The source is for the log only and never
/// reaches a client.
pub struct Error(Box<Inner>);

struct Inner {
    code: Code,
    params: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with this code and no parameters.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self(Box::new(Inner {
            code,
            params: Vec::new(),
            source: None,
        }))
    }

    /// Adds the next message parameter.
    #[must_use]
    pub fn with(mut self, param: impl Into<String>) -> Self {
        self.0.params.push(param.into());
        self
    }

    /// Sets what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// An unexpected failure of the server itself, to be logged with its cause.
    #[must_use]
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Code::Unknown).with_source(source)
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The parameters of its message.
    #[must_use]
    pub fn params(&self) -> &[String] {
        &self.0.params
    }

    /// The message with its parameters filled in; control characters of parameters show as `\uXXXX`.
    #[must_use]
    pub fn message(&self) -> String {
        let mut out = self.0.code.message().to_owned();
        for (i, param) in self.0.params.iter().enumerate() {
            out = out.replace(&format!("{{{i}}}"), &printable(param));
        }
        out
    }
}

fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.code.as_str(), self.message())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|s| s as &(dyn StdError + 'static))
    }
}

/// An error and its sources, separated by `: `.
#[must_use]
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_fill_the_message_and_are_made_printable() {
        let e = Error::new(Code::HeaderInvalid)
            .with("Depth")
            .with("a\u{1}b");
        assert!(e.message().contains("Depth"), "{}", e.message());
        assert!(e.message().contains("a\\u0001b"), "{}", e.message());
        assert_eq!(e.code().status(), 400);
    }
}
