//! The facts of a span.

use std::sync::Arc;

use crate::ids::{SpanId, TraceId};

/// The name of the attribute with what failed.
pub(crate) const ERROR_TYPE: &str = "error.type";

/// The part that a span has in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Work inside of the unit.
    Internal,
    /// The unit answers a request.
    Server,
    /// The unit waits for the answer of another program.
    Client,
}

/// The name of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanName {
    /// A fixed name.
    Fixed(&'static str),
    /// `method route`.
    Request {
        /// The method.
        method: &'static str,
        /// The template of the path.
        route: &'static str,
    },
}

/// The methods that spans name.
const METHODS: [&str; 19] = [
    "ACL",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LOCK",
    "MERGE",
    "MKCOL",
    "MOVE",
    "OPTIONS",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PUT",
    "REPORT",
    "TRACE",
    "UNLOCK",
];

/// A method as spans name it; `_OTHER` for one that this program does not know, which is a text of a client.
#[must_use]
pub fn method_word(method: &str) -> &'static str {
    let known = METHODS.iter().find(|known| **known == method);
    known.copied().unwrap_or("_OTHER")
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// A text of the program.
    Word(&'static str),
    /// An id that the logs have as well.
    Id(Box<str>),
    /// A number.
    Number(i64),
}

/// A fact about the work of a span. There is none for a text that a client sends, except the request key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// `http.request.method`: a method that this program knows, or `_OTHER`.
    Method(&'static str),
    /// `http.route`: the template of the path.
    Route(&'static str),
    /// `http.response.status_code`
    Status(u16),
    /// `url.scheme`
    Scheme(&'static str),
    /// `personium.request_key`: as in the logs. At most 128 letters, digits, `-` and `_`.
    RequestKey(Box<str>),
    /// `personium.cell.id`: as in the logs.
    CellId(Box<str>),
    /// `personium.error.code`: the code of the answer, such as `PR404-OD-0001`.
    ErrorCode(&'static str),
    /// `error.type`: what failed, as a word of the program.
    ErrorType(&'static str),
    /// `personium.attempt`: the number of the attempt, from 1.
    Attempt(u32),
    /// `personium.items`: a number of things.
    Items(u64),
    /// `personium.spans.left_out`: the number of spans below this one that were too many.
    LeftOut(u32),
}

impl Attribute {
    /// The name (OpenTelemetry Semantic Conventions where they have one), and the value.
    pub(crate) fn into_pair(self) -> (&'static str, AttributeValue) {
        use AttributeValue::{Id, Number, Word};
        match self {
            Self::Method(word) => ("http.request.method", Word(word)),
            Self::Route(word) => ("http.route", Word(word)),
            Self::Status(status) => ("http.response.status_code", Number(status.into())),
            Self::Scheme(word) => ("url.scheme", Word(word)),
            Self::RequestKey(key) => ("personium.request_key", Id(key)),
            Self::CellId(id) => ("personium.cell.id", Id(id)),
            Self::ErrorCode(code) => ("personium.error.code", Word(code)),
            Self::ErrorType(word) => (ERROR_TYPE, Word(word)),
            Self::Attempt(number) => ("personium.attempt", Number(number.into())),
            Self::Items(count) => (
                "personium.items",
                Number(i64::try_from(count).unwrap_or(i64::MAX)),
            ),
            Self::LeftOut(count) => ("personium.spans.left_out", Number(count.into())),
        }
    }
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedSpan {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub id: SpanId,
    /// The span that caused it; `None` if it begins the trace.
    pub parent: Option<SpanId>,
    /// Whether that is a span of another process.
    pub parent_is_remote: bool,
    /// The `tracestate` of the trace.
    pub state: Option<Arc<str>>,
    /// The name.
    pub name: SpanName,
    /// The kind.
    pub kind: SpanKind,
    /// The begin in nanoseconds since 1970.
    pub start_ns: u64,
    /// The end in nanoseconds since 1970.
    pub end_ns: u64,
    /// The attributes: names and values.
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// Whether the work has failed.
    pub has_failed: bool,
}
