//! Conditions of a request: RFC 9110, section 13, and the `If` header of RFC 4918, section 10.4.

mod if_header;
mod tag_list;

use self::if_header::IfHeader;
use self::tag_list::TagList;
use crate::etag::ETag;
use crate::time::parse_http_date;

/// How a client uses a resource: it decides what a failed condition means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// GET or HEAD.
    Read,
    /// Another method: one that may change something, or PROPFIND.
    Write,
}

/// The form in which a resource shows its entity tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagForm {
    /// Files and collections: `"3-17"`. Their tags match in both forms.
    Strong,
    /// Entities: `W/"3-17"`. `If-Match` needs this form, as in OData.
    Weak,
}

/// The state of a resource as far as conditions ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceState {
    /// There is no resource.
    Absent,
    /// A resource without entity tag and date, such as a set of entities or a link.
    Untagged,
    /// A resource with the time of its last change, milliseconds since 1970, and without an entity tag.
    Dated(i64),
    /// A resource with an entity tag.
    Tagged(ETag, TagForm),
}

impl ResourceState {
    /// The state of a file or collection; `None` if it does not exist.
    #[must_use]
    pub fn of_node(tag: Option<ETag>) -> Self {
        tag.map_or(Self::Absent, |tag| Self::Tagged(tag, TagForm::Strong))
    }

    /// The state of an entity.
    #[must_use]
    pub fn of_entity(tag: ETag) -> Self {
        Self::Tagged(tag, TagForm::Weak)
    }

    fn tag(self) -> Option<(ETag, TagForm)> {
        match self {
            Self::Absent | Self::Untagged | Self::Dated(_) => None,
            Self::Tagged(tag, form) => Some((tag, form)),
        }
    }

    /// The second of the last change, as `Last-Modified` shows it.
    fn modified_second(self) -> Option<i64> {
        let updated_ms = match self {
            Self::Absent | Self::Untagged => return None,
            Self::Dated(updated_ms) => updated_ms,
            Self::Tagged(tag, _) => tag.updated_ms,
        };
        Some(updated_ms.div_euclid(1000))
    }
}

/// The meaning of the conditions of a request for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The request is carried out.
    Proceed,
    /// The client has the current state: 304.
    NotModified,
    /// A condition is false: 412.
    Failed,
}

/// The headers that [`Preconditions`] are read from. The lines of a header are joined by commas.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConditionHeaders<'h> {
    /// `If-Match`
    pub if_match: Option<&'h str>,
    /// `If-None-Match`
    pub if_none_match: Option<&'h str>,
    /// `If-Modified-Since`
    pub if_modified_since: Option<&'h str>,
    /// `If-Unmodified-Since`
    pub if_unmodified_since: Option<&'h str>,
    /// `If`
    pub if_header: Option<&'h str>,
}

/// The conditions of a request.
///
/// A malformed `If-Match`, or a malformed `If`, is false. A malformed `If-None-Match` is false for a write and has no effect
/// for a read. A malformed date has no effect (RFC 9110, section 13.1.3).
///
/// ```
/// use personium_types::ETag;
/// use personium_types::preconditions::{ConditionHeaders, Outcome, Preconditions, RequestKind, ResourceState};
///
/// let create_only = Preconditions::parse(&ConditionHeaders {
///     if_none_match: Some("*"),
///     ..ConditionHeaders::default()
/// });
/// let current = ResourceState::of_node(Some(ETag { version: 3, updated_ms: 17 }));
/// assert_eq!(create_only.evaluate(RequestKind::Write, current), Outcome::Failed);
/// assert_eq!(create_only.evaluate(RequestKind::Write, ResourceState::Absent), Outcome::Proceed);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    if_match: Option<TagList>,
    if_none_match: Option<TagList>,
    /// Seconds since 1970.
    if_modified_since: Option<i64>,
    /// Seconds since 1970.
    if_unmodified_since: Option<i64>,
    if_header: Option<IfHeader>,
}

impl Preconditions {
    /// No conditions.
    pub const NONE: &'static Self = &Self {
        if_match: None,
        if_none_match: None,
        if_modified_since: None,
        if_unmodified_since: None,
        if_header: None,
    };

    /// Reads the conditions from the headers of a request.
    #[must_use]
    pub fn parse(headers: &ConditionHeaders<'_>) -> Self {
        Self {
            if_match: headers.if_match.map(TagList::parse),
            if_none_match: headers.if_none_match.map(TagList::parse),
            if_modified_since: headers.if_modified_since.and_then(parse_http_date),
            if_unmodified_since: headers.if_unmodified_since.and_then(parse_http_date),
            if_header: headers.if_header.map(IfHeader::parse),
        }
    }

    /// Keeps the lists of the `If` header whose URL is one of the target, as if they were not tagged, and takes those for
    /// false that are about another resource.
    #[must_use]
    pub fn for_target(mut self, is_target: impl Fn(&str) -> bool) -> Self {
        if let Some(header) = &mut self.if_header {
            header.keep_lists_of(is_target);
        }
        self
    }

    /// Evaluates the conditions in the order of RFC 9110, section 13.2.2, after the `If` header.
    ///
    /// `If-Match: *` is true for a resource that does not exist: clients of this API send it with each upload.
    #[must_use]
    pub fn evaluate(&self, kind: RequestKind, state: ResourceState) -> Outcome {
        if self.if_header.as_ref().is_some_and(|h| !h.is_true(state)) {
            return Outcome::Failed;
        }
        let unchanged = match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) => tags.allows(state),
            (None, Some(since)) => state.modified_second().is_none_or(|at| at <= since),
            (None, None) => true,
        };
        if !unchanged {
            return Outcome::Failed;
        }
        match (&self.if_none_match, kind) {
            (Some(tags), RequestKind::Write) if tags.excludes(state) => Outcome::Failed,
            (Some(tags), RequestKind::Read) if tags.names_tag_of(state) => Outcome::NotModified,
            (None, RequestKind::Read) => {
                let since = self.if_modified_since.zip(state.modified_second());
                match since {
                    Some((since, modified)) if modified <= since => Outcome::NotModified,
                    _ => Outcome::Proceed,
                }
            }
            _ => Outcome::Proceed,
        }
    }
}

/// Whether an `If-Range` header permits to answer a `Range` header with a part (RFC 9110, section 13.1.5). Absent, or the
/// strong entity tag or the exact date of the current state: yes.
#[must_use]
pub fn if_range_allows_part(header: Option<&str>, current: ETag) -> bool {
    let Some(header) = header else { return true };
    let header = header.trim_matches([' ', '\t']);
    header == current.strong().to_string()
        || parse_http_date(header) == Some(current.updated_ms.div_euclid(1000))
}

#[cfg(test)]
mod tests;
