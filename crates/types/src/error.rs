//! The error type that all crates share: a code, message parameters and a source.

use std::error::Error as StdError;
use std::fmt;

use crate::Code;

/// The result of an operation that can fail with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with a [`Code`], message parameters and an optional source.
///
/// The parameters replace the placeholders `{0}` and `{1}` of the code's message. The source is written to the log and
/// is never sent to a client.
pub struct Error(Box<ErrorParts>);

struct ErrorParts {
    code: Code,
    params: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error with this code and no parameters.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self(Box::new(ErrorParts {
            code,
            params: Vec::new(),
            source: None,
        }))
    }

    /// Appends a message parameter.
    #[must_use]
    pub fn with(mut self, param: impl Into<String>) -> Self {
        self.0.params.push(param.into());
        self
    }

    /// Sets the cause of the error.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Creates an error for an unexpected failure of the server ([`Code::Unknown`]).
    #[must_use]
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Code::Unknown).with_source(source)
    }

    /// The code of the error.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The message parameters.
    #[must_use]
    pub fn params(&self) -> &[String] {
        &self.0.params
    }

    /// The message with its placeholders replaced. Control characters in parameters are escaped as `\uXXXX`.
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
        let mut out = f.debug_struct("Error");
        out.field("code", &self.0.code.as_str());
        out.field("params", &self.0.params);
        if let Some(source) = &self.0.source {
            out.field("source", source);
        }
        out.finish()
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

/// An error and its sources, separated by `: `. A source whose text the error before it contains already is left out.
#[must_use]
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !next.is_empty() && !last.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
            last = next;
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_code_params_and_source() {
        let e = Error::new(Code::NoSuchBox)
            .with("box1")
            .with_source("no record");
        assert_eq!(
            format!("{e:?}"),
            r#"Error { code: "PR404-DV-0002", params: ["box1"], source: "no record" }"#
        );
    }

    /// An error with a text and a source.
    #[derive(Debug)]
    struct Link(&'static str, Option<Box<Link>>);

    impl fmt::Display for Link {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl StdError for Link {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            self.1.as_deref().map(|s| s as &(dyn StdError + 'static))
        }
    }

    #[test]
    fn chain_names_each_cause_once() {
        let of = |texts: &[&'static str]| {
            let links = texts.iter().rev();
            let error = links.fold(None, |source, text| Some(Box::new(Link(text, source))));
            chain(&*error.unwrap())
        };
        for (texts, expected) in [
            (&["a"][..], "a"),
            (&["a", "b", "c"], "a: b: c"),
            (&["a", "a", "b"], "a: b"),
            (
                &["cannot open x: no file", "no file"],
                "cannot open x: no file",
            ),
            (&["no file", "no file", "no file"], "no file"),
            (
                &["start", "open x: no file", "no file"],
                "start: open x: no file",
            ),
            (&["a", "", "b"], "a: b"),
        ] {
            assert_eq!(of(texts), expected, "{texts:?}");
        }
    }

    #[test]
    fn parameters_replace_placeholders_and_are_escaped() {
        let e = Error::new(Code::HeaderInvalid)
            .with("Depth")
            .with("a\u{1}b");
        assert!(e.message().contains("Depth"), "{}", e.message());
        assert!(e.message().contains("a\\u0001b"), "{}", e.message());
        assert_eq!(e.code().status(), 400);
    }
}
