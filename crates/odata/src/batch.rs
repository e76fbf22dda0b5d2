//! `$batch`: several requests in one `multipart/mixed` body (RFC 2046, section 5.1), and their responses.
//!
//! ```
//! use personium_odata::batch::{self, BatchLimits, BatchMethod, BatchTarget, BatchWriter};
//!
//! let body = "--b\nContent-Type: application/http\n\nGET Book('1')?$select=title HTTP/1.1\n\n--b--";
//! let parts = batch::parse("multipart/mixed; boundary=b", body.as_bytes(), &BatchLimits::default())?;
//! let book = BatchTarget::Entity { set: "Book".to_owned(), id: "1".to_owned() };
//! assert_eq!((parts[0].method, &parts[0].target), (BatchMethod::Get, &book));
//! assert_eq!(parts[0].query, "$select=title");
//!
//! let mut writer = BatchWriter::new("b");
//! writer.push_part(parts[0].changeset, 200, &[], Some("{}"));
//! assert!(writer.finish().ends_with("HTTP/1.1 200 OK\n\n{}\n\n--b--"));
//! # Ok::<(), batch::BatchError>(())
//! ```

mod read;
mod write;

pub use read::{boundary_of, parse};
pub use write::BatchWriter;

use std::fmt::Write;

/// Limits of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// The maximum number of parts, including those in changesets.
    pub max_parts: usize,
    /// The maximum of the sum of `$top` over all parts, in entities.
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

/// The method of a part.
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

/// The target of a part, with decoded keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchTarget {
    /// `Set`
    Set(String),
    /// `Set('id')`
    Entity {
        /// The entity set.
        set: String,
        /// The key of the entity.
        id: String,
    },
    /// `Set('id')/_Nav` or `Set('id')/_Nav('target')`.
    Navigation {
        /// The entity set of the source.
        set: String,
        /// The key of the source.
        id: String,
        /// The navigation property.
        navigation: String,
        /// The key of the target, if there is one.
        target: Option<String>,
    },
    /// `Set('id')/$links/_Nav` or `Set('id')/$links/_Nav('target')`.
    Links {
        /// The entity set of the source.
        set: String,
        /// The key of the source.
        id: String,
        /// The navigation property.
        navigation: String,
        /// The key of the target, if there is one.
        target: Option<String>,
    },
}

/// A part of a batch: one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPart<'a> {
    /// The method.
    pub method: BatchMethod,
    /// The target.
    pub target: BatchTarget,
    /// The query string without `?`, not decoded, empty if there is none.
    pub query: &'a str,
    /// The headers in order.
    pub headers: Vec<(&'a str, &'a str)>,
    /// The body.
    pub body: &'a str,
    /// The changeset that the part belongs to.
    pub changeset: Option<Changeset<'a>>,
}

impl<'a> BatchPart<'a> {
    /// The first header with this name. Names are compared without regard to case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        find_header(&self.headers, name)
    }
}

fn find_header<'a>(headers: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| *value)
}

/// A changeset. Its parts are not atomic: it only groups them in request and response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changeset<'a> {
    /// The number of the changeset in the batch.
    pub number: usize,
    /// The boundary. Several changesets may have the same.
    pub boundary: &'a str,
}

/// The reason for which the batch as a whole is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The body has text before its first boundary, no final boundary, no part, or is not UTF-8.
    #[error("the parts of the batch are not delimited by its boundary")]
    MalformedFraming,
    /// The `Content-Type` of the batch or of a part is missing or not supported.
    #[error("the content type of the batch or of a part is missing or not supported")]
    UnsupportedContentType,
    /// A changeset contains a changeset.
    #[error("a changeset contains a changeset")]
    NestedChangeset,
    /// The batch has too many parts; the value is their number.
    #[error("the batch has too many parts: {0}")]
    TooManyParts(usize),
    /// A part has an unsupported method.
    #[error("the method {0} is not supported in a batch")]
    UnsupportedMethod(String),
    /// A part has a path that is malformed or not supported with its method; the text is the request line.
    #[error("the request line is not supported in a batch: {0}")]
    MalformedRequestLine(String),
    /// The sum of `$top` is too large.
    #[error("the sum of $top over the parts is too large")]
    TopSumTooLarge,
}

/// A number with commas between groups of three digits, for messages.
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
