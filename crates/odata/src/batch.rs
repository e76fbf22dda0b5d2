//! `$batch`: several requests in one `multipart/mixed` body (RFC 2046, section 5.1), and their responses.
//!
//! ```
//! use personium_odata::batch::{self, BatchLimits, BatchMethod, BatchRoot, BatchTarget, BatchWriter, ResponsePart};
//!
//! let body = "--b\nContent-Type: application/http\n\nGET Book('1')?$select=title HTTP/1.1\n\n--b--";
//! let root = BatchRoot { url: "http://h/c/b/od/", host: None };
//! let parts = batch::parse("multipart/mixed; boundary=b", body.as_bytes(), root, &BatchLimits::default())?;
//! let book = BatchTarget::Entity { set: "Book".to_owned(), id: "1".to_owned() };
//! assert_eq!((parts[0].method, &parts[0].target), (BatchMethod::Get, &book));
//! assert_eq!(parts[0].query, "$select=title");
//!
//! let mut writer = BatchWriter::new("b");
//! let response = ResponsePart { status: 200, reason: "OK", body: Some(b"{}"), ..ResponsePart::default() };
//! writer.push_part(parts[0].change_set, &response);
//! assert!(writer.finish().ends_with(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}\r\n--b--\r\n"));
//! # Ok::<(), batch::BatchError>(())
//! ```

mod address;
mod content_type;
mod multipart;
mod read;
mod write;

pub use address::{BatchRoot, target_of};
pub use content_type::boundary_of;
pub use read::parse;
pub use write::{BatchWriter, ResponsePart};

use std::borrow::Cow;
use std::fmt::Write;

/// Limits of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// The maximum number of parts, including those in change sets.
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

/// The largest number of headers of a part, and of lines before them that are none.
pub const MAX_PART_HEADERS: usize = 100;

/// The method of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchMethod {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `MERGE` or `PATCH`
    Merge,
    /// `DELETE`
    Delete,
}

impl BatchMethod {
    /// The method with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "GET" => Self::Get,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "MERGE" | "PATCH" => Self::Merge,
            "DELETE" => Self::Delete,
            _ => return None,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Merge => "MERGE",
            Self::Delete => "DELETE",
        }
    }
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
    /// `$1`, `$1/_Nav`, ...: the entity of an earlier part of the change set, or a path below it.
    Reference {
        /// The `Content-ID` of the earlier part.
        content_id: String,
    },
    /// Another path below the service root.
    Other,
}

/// A part of a batch: one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchPart<'a> {
    /// The method.
    pub method: BatchMethod,
    /// The target.
    pub target: BatchTarget,
    /// The path below the service root, not decoded.
    pub path: Cow<'a, str>,
    /// The query string without `?`, not decoded, empty if there is none.
    pub query: &'a str,
    /// Whether the request line names a version of HTTP.
    pub has_http_version: bool,
    /// The headers of the request in order.
    pub headers: Vec<(&'a str, &'a str)>,
    /// The body.
    pub body: Cow<'a, str>,
    /// The change set that the part belongs to.
    pub change_set: Option<ChangeSetFrame<'a>>,
    /// The name by which later parts of the change set refer to the entity of this one.
    pub content_id: Option<ContentId<'a>>,
}

impl<'a> BatchPart<'a> {
    /// The first header of the request with this name. Names are compared without regard to case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        find_header(&self.headers, name)
    }
}

/// The `Content-ID` of a part. The response repeats it at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentId<'a> {
    /// The value.
    pub value: &'a str,
    /// Whether it is a header of the part, and not of the request in the part.
    pub is_of_part: bool,
}

fn find_header<'a>(headers: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| *value)
}

/// A change set as a section of request and response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeSetFrame<'a> {
    /// The number of the change set in the batch.
    pub number: usize,
    /// The boundary. Several change sets may have the same.
    pub boundary: &'a str,
}

/// The reason for which the batch as a whole is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The body has no delimiter, is nested in another multipart body, has no final delimiter, no part, too many headers, or
    /// is not UTF-8.
    #[error("the parts of the batch are not delimited by its boundary")]
    MalformedFraming,
    /// The `Content-Type` of the batch or of a part is missing or not supported.
    #[error("the content type of the batch or of a part is missing or not supported")]
    UnsupportedContentType,
    /// Two parts of a change set have the same `Content-ID`.
    #[error("two parts of a change set have the same content id")]
    DuplicateContentId,
    /// A change set contains a change set.
    #[error("a change set contains a change set")]
    NestedChangeSet,
    /// The batch has too many parts; the value is their number.
    #[error("the batch has too many parts: {0}")]
    TooManyParts(usize),
    /// A part has an unsupported method.
    #[error("the method {0} is not supported in a batch")]
    UnsupportedMethod(String),
    /// A part has a path that is malformed, not below the service root, or not supported with its method; the text is the
    /// request line.
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
