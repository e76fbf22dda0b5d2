//! `$batch`: requests in `multipart/mixed` (RFC 2046, section 5.1) and the answer to them.

mod read;
mod write;

pub use read::{boundary_of, parse};
pub use write::BatchWriter;

use std::fmt::Write;

/// Bounds of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most parts; each write in a changeset is one.
    pub max_parts: usize,
    /// Largest sum of the `$top` options of all parts.
    pub max_top_sum: u32,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            max_parts: 1000,
            max_top_sum: 10_000,
        }
    }
}

/// Method of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchMethod {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
}

/// What a part addresses; keys are decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchTarget {
    /// `Set`
    Set(String),
    /// `Set('id')`
    Entity {
        /// Name of the set.
        set: String,
        /// Key of the entity.
        id: String,
    },
    /// `Set('id')/_Nav`, or with a key behind, which nothing accepts.
    Navigation {
        /// Name of the source set.
        set: String,
        /// Key of the source.
        id: String,
        /// Name of the navigation property.
        navigation: String,
        /// Key of the target, if given.
        target: Option<String>,
    },
    /// `Set('id')/$links/_Nav`, possibly with the key of the target behind.
    Links {
        /// Name of the source set.
        set: String,
        /// Key of the source.
        id: String,
        /// Name of the navigation property.
        navigation: String,
        /// Key of the target, if given.
        target: Option<String>,
    },
}

/// One request of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPart<'a> {
    /// Its method.
    pub method: BatchMethod,
    /// What it addresses.
    pub target: BatchTarget,
    /// Its raw query string without `?`, empty when there is none.
    pub query: &'a str,
    /// Its header lines in order.
    pub headers: Vec<(&'a str, &'a str)>,
    /// Its body.
    pub body: &'a str,
    /// The changeset it stands in.
    pub changeset: Option<Changeset<'a>>,
}

impl<'a> BatchPart<'a> {
    /// The first header of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        find_header(&self.headers, name)
    }
}

fn find_header<'a>(headers: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(own, _)| own.eq_ignore_ascii_case(name))
        .map(|(_, value)| *value)
}

/// A changeset: framing only, nothing in it is atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changeset<'a> {
    /// Its number in the batch; boundaries may repeat.
    pub number: usize,
    /// Its boundary.
    pub boundary: &'a str,
}

/// Why a whole batch is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The body does not begin and end with its boundary, is empty or no UTF-8.
    #[error("the batch is not framed by its boundary")]
    MalformedFraming,
    /// The type of the batch or of a part is missing or not allowed there.
    #[error("the type of a part is missing or not allowed")]
    UnsupportedContentType,
    /// A changeset in a changeset.
    #[error("a changeset stands in another")]
    NestedChangeset,
    /// More parts than allowed.
    #[error("the batch has too many parts: {0}")]
    TooManyParts(usize),
    /// A method that parts cannot have.
    #[error("parts cannot have the method {0}")]
    UnsupportedMethod(String),
    /// A path that parts cannot have with their method; the text is the whole request line.
    #[error("parts cannot have this request line: {0}")]
    MalformedRequestLine(String),
    /// The sum of `$top` is too large.
    #[error("the parts ask for too many entities together")]
    TopSumTooLarge,
}

/// A number with commas between groups of three digits, as messages show it.
#[must_use]
pub fn grouped_digits(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            let _ = out.write_char(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
